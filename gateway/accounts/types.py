"""Members, their acts and claims, and the emission factors: types and what their fields read."""

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import strawberry

from alliance.accounts.v1 import accounts_pb2 as pb
from gateway.access import INHERITED, OPERATOR, PUBLIC, of_member, of_member_alone
from gateway.accounts import sources
from gateway.connections import Connection, within
from gateway.engine.declare import argument, connection, derived, enum_value, federated, join, value
from gateway.logistics.sources import drop_offs, drop_offs_of_member
from gateway.nodes import Node
from gateway.partners.sources import partners
from gateway.rewards.sources import earnings, entries_of_member, redemptions_of_member, wallets
from gateway.scalars import DateTime, Long, Milligrams
from gateway.why import make as why

if TYPE_CHECKING:
    from gateway.logistics.types import DropOff
    from gateway.partners.types import Partner
    from gateway.rewards.types import Earning, Entry, Redemption, RedemptionStatus, Wallet
    from gateway.why.types import Why

PartnerType = Annotated["Partner", strawberry.lazy("gateway.partners.types")]
DropOffType = Annotated["DropOff", strawberry.lazy("gateway.logistics.types")]
WalletType = Annotated["Wallet", strawberry.lazy("gateway.rewards.types")]
EntryType = Annotated["Entry", strawberry.lazy("gateway.rewards.types")]
EarningType = Annotated["Earning", strawberry.lazy("gateway.rewards.types")]
RedemptionType = Annotated["Redemption", strawberry.lazy("gateway.rewards.types")]
RedemptionStatusType = Annotated["RedemptionStatus", strawberry.lazy("gateway.rewards.types")]
WhyType = Annotated["Why", strawberry.lazy("gateway.why.types")]
MemberType = Annotated["Member", strawberry.lazy("gateway.accounts.types")]
ClaimType = Annotated["Claim", strawberry.lazy("gateway.accounts.types")]

MEMBER = of_member("id")


@strawberry.enum(description="What was done. The unit of its quantity is fixed by the kind.")
class ActKind(Enum):
    BUS_TRIP = enum_value(pb.ACT_KIND_BUS_TRIP, "A bus trip instead of one by car; metres.")
    METRO_TRIP = enum_value(pb.ACT_KIND_METRO_TRIP, "A metro trip instead of one by car; metres.")
    LIGHT_RAIL_TRIP = enum_value(pb.ACT_KIND_LIGHT_RAIL_TRIP, "A light rail trip instead of one by car; metres.")
    ELECTRONIC_BILL = enum_value(pb.ACT_KIND_ELECTRONIC_BILL, "An electronic bill instead of a paper one; bills.")
    BOX_REUSE = enum_value(pb.ACT_KIND_BOX_REUSE, "A parcel box used again; boxes.")
    PET_RECYCLING = enum_value(pb.ACT_KIND_PET_RECYCLING, "PET handed in for recycling at a machine; grams.")
    CARDBOARD_RECYCLING = enum_value(
        pb.ACT_KIND_CARDBOARD_RECYCLING, "Cardboard handed in for recycling at a machine; grams."
    )
    OWN_CUP = enum_value(
        pb.ACT_KIND_OWN_CUP,
        "A drink in one's own cup; cups. No sound factor exists: it avoids no gram, though it may earn points.",
    )


@strawberry.enum(description="What came of a reported act.")
class ActStatus(Enum):
    CREDITED = enum_value(pb.ACT_STATUS_CREDITED, "It made a new claim, and may earn points.")
    DUPLICATE = enum_value(
        pb.ACT_STATUS_DUPLICATE, "It was known already, from this reporter or another: 0 new grams, no points."
    )
    CAPPED = enum_value(
        pb.ACT_STATUS_CAPPED, "The member did more of this kind on that day than counts: 0 grams, no points."
    )
    REFUSED = enum_value(pb.ACT_STATUS_REFUSED, "It cannot count, for example because the member is unknown.")


@federated(
    pb.Factor,
    "A dated, immutable row of the catalogue of emission factors.",
    rule=PUBLIC,
    key="id",
    source=sources.factors,
    ids="",
    max_age=3_600,
)
class Factor(Node):
    id: strawberry.ID = value("For example metro-trip-2025.")
    kind: ActKind | None = value("The kind of act that it is for.")
    version: int = value("Counts up per kind, from 1.")
    avoided_ug_per_unit: Long = value("Micrograms CO2e avoided per unit of the kind; 0 where no sound figure exists.")
    unit: str = value("The unit of the kind: m, g, bill, box or cup.")
    baseline: str = value("What it is compared with.")
    source: str = value("Where the numbers come from.")
    region: str = value("Where they hold, for example GB.")
    grade: str = value("How sound the source is: A official statistics, B published study, C operator's claim, none.")
    valid_from: DateTime | None = value("In force for acts from here on, until the next version of the kind.")


@federated(
    pb.Identity,
    "A brand's own customer number that belongs to a member.",
    rule=of_member("member_id", "partner_id"),
)
class Identity:
    partner: PartnerType | None = join(partners, "The brand whose number it is.", on="partner_id")
    customer_number: str | None = value(
        "The brand's own number; shown to that brand and to the member, null for anyone else.",
        rule=of_member_alone("member_id", "partner_id"),
        silent=True,
    )
    member: MemberType | None = join(sources.members, "The member whose number it is.", on="member_id")
    linked_at: DateTime | None = value("When it was linked.")


@federated(pb.Consent, "A member's word on whether a brand may see the member's data.", rule=of_member())
class Consent:
    member: MemberType | None = join(sources.members, "The member whose word it is.", on="member_id")
    partner: PartnerType | None = join(partners, "The brand that it is about.", on="partner_id")
    granted: bool = value("Whether the brand may see the member's data.")
    changed_at: DateTime | None = value("When the member last said so.")


@federated(pb.CarbonTotal, "What a member has avoided in all.", rule=of_member())
class CarbonTotal:
    claims: Long = value("How many claims it is the sum of.")
    co2e_mg: Milligrams = value("Milligrams CO2e avoided.")


@federated(
    pb.Act,
    "One report of something that a member did. Immutable.",
    rule=of_member("member_id", "partner_id"),
    key="id",
    source=sources.acts,
    ids="act",
)
class Act(Node):
    id: strawberry.ID = value("TypeID with prefix act.")
    member: MemberType | None = join(
        sources.members, "Who did it; null if the report named no known member.", on="member_id"
    )
    partner: PartnerType | None = join(partners, "The brand that reported it, or whose machine did.", on="partner_id")
    kind: ActKind | None = value("What was done.")
    quantity: Long = value("How much, in the unit of the kind.")
    occurred_at: DateTime | None = value("When it was done.")
    recorded_at: DateTime | None = value("When the alliance learned of it.")
    reference: str | None = value("The number of the ticket, receipt or bill behind it, as its issuer printed it.")
    status: ActStatus | None = value("What came of it.")
    reason: str | None = value("Why it was not credited, for programs: DUPLICATE_ACT, DAILY_CAP_REACHED and others.")
    message: str | None = value("Why it was not credited, for a person.")
    claim: ClaimType | None = join(
        sources.claims, "The claim that it made or found; null if it has none.", on="claim_id"
    )
    new_co2e_mg: Milligrams = value("Milligrams CO2e that are new by this act; 0 unless credited.")
    drop_off: DropOffType | None = join(drop_offs, "The drop-off that caused it, if one did.", on="drop_off_id")
    earning: EarningType | None = join(earnings, "The points that its claim earned.", on="claim_id")


@federated(
    pb.Claim,
    "Avoided emissions, credited once to one member. Immutable.",
    rule=of_member("member_id", "partner_id"),
    key="id",
    source=sources.claims,
    ids="claim",
)
class Claim(Node):
    id: strawberry.ID = value("TypeID with prefix claim.")
    member: MemberType | None = join(sources.members, "Whose it is.", on="member_id")
    act: Act | None = join(sources.acts, "The act that made it.", on="act_id")
    partner: PartnerType | None = join(partners, "The brand whose report made it.", on="partner_id")
    kind: ActKind | None = value("What was done.")
    quantity: Long = value("How much, in the unit of the kind.")
    co2e_mg: Milligrams = value("Milligrams CO2e avoided: the quantity times the factor, rounded down.")
    factor: Factor | None = join(sources.factors, "The row of the factor catalogue that was used.", on="factor_id")
    occurred_at: DateTime | None = value("When it was done.")
    recorded_at: DateTime | None = value("When it was credited.")
    earning: EarningType | None = join(earnings, "The points that it earned.", on="id")
    why: WhyType | None = derived("Why it has these grams and points.", why.of_claim, reads=why.READS)


@federated(
    pb.Member, "A consumer who takes part in the alliance.", rule=MEMBER, key="id", source=sources.members, ids="member"
)
class Member(Node):
    id: strawberry.ID = value("TypeID with prefix member.")
    display_name: str = value("How the member wants to be called; personal data.")
    enrolled_at: DateTime | None = value("When the member joined.")
    enrolled_by: PartnerType | None = join(partners, "The brand that enrolled the member.", on="enrolled_by_partner_id")
    identities: list[Identity] | None = join(
        sources.identities_of_member,
        "The brands' customer numbers that are the member's.",
        on="id",
        rule=MEMBER,
        size=10,
    )
    consents: list[Consent] | None = join(
        sources.consents_of_member,
        "What the member has said to brands on its data.",
        on="id",
        rule=MEMBER,
        size=10,
    )
    wallet: WalletType | None = join(wallets, "The member's points.", on="id", rule=MEMBER)
    carbon: CarbonTotal | None = join(
        sources.carbon_totals, "What the member has avoided in all.", on="id", rule=MEMBER
    )
    acts: Connection[Act] | None = connection(
        sources.acts_of_member,
        "What the member did, newest first.",
        on="id",
        filters=within("recorded", border=True),
        rule=MEMBER,
    )
    claims: Connection[Claim] | None = connection(
        sources.claims_of_member,
        "What the member was credited with, newest first.",
        on="id",
        filters=within("credited", border=True),
        rule=MEMBER,
    )
    drop_offs: Connection[DropOffType] | None = connection(
        drop_offs_of_member,
        "What the member handed in, newest first.",
        on="id",
        filters=within("handed in"),
        rule=MEMBER,
    )
    entries: Connection[EntryType] | None = connection(
        entries_of_member, "What moved in the member's wallet, newest first.", on="id", rule=MEMBER
    )
    redemptions: Connection[RedemptionType] | None = connection(
        redemptions_of_member,
        "The rewards that the member redeemed, newest first.",
        on="id",
        filters=[*within("asked for"), argument("status", RedemptionStatusType | None, "Only what is in this state.")],
        rule=MEMBER,
    )


@federated(pb.SummarizeActsResponse.KindTotal, "All acts of a kind.", rule=INHERITED, name="ActKindTotal")
class ActKindTotal:
    kind: ActKind | None = value("What was done.")
    acts: Long = value("All reports of the kind, whatever came of them.")
    claims: Long = value("How many were credited.")
    co2e_mg: Milligrams = value("Milligrams CO2e avoided.")


@federated(pb.SummarizeActsResponse.RefusalTotal, "All acts that were not credited for a reason.", rule=INHERITED)
class ActRefusalTotal:
    reason: str = value("The reason, for programs.")
    acts: Long = value("How many acts.")


@federated(pb.SummarizeActsResponse.PartnerTotal, "All claims that the reports of a brand made.", rule=INHERITED)
class ActPartnerTotal:
    partner: PartnerType | None = join(partners, "The brand.", on="partner_id")
    claims: Long = value("How many claims.")
    co2e_mg: Milligrams = value("Milligrams CO2e avoided.")


@federated(
    pb.SummarizeActsResponse, "The alliance's acts in numbers; the total is the sum of unique claims.", rule=OPERATOR
)
class ActSummary:
    kinds: list[ActKindTotal] = value("By kind of act.", size=10)
    refusals: list[ActRefusalTotal] = value("Why acts were not credited.", size=10)
    partners: list[ActPartnerTotal] = value("By the brand whose report made the claim.", size=10)
    claims: Long = value("How many claims there are.")
    co2e_mg: Milligrams = value("Milligrams CO2e avoided, in all.")
