"""Partner brands, their agreements, blocks and rules: types and what their fields read."""

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import strawberry

from alliance.common.v1 import money_pb2
from alliance.partners.v1 import partners_pb2 as pb
from gateway.access import INHERITED, PUBLIC, of_partner
from gateway.accounts.sources import acts_of_partner, claims_of_partner, members_of_partner
from gateway.accounts.types import Act, ActKind, ActStatus, Claim, Member
from gateway.connections import Connection, within
from gateway.engine.declare import argument, connection, enum_value, federated, join, value
from gateway.logistics.sources import drop_offs_of_partner
from gateway.nodes import Node
from gateway.partners import sources
from gateway.rewards.sources import partner_points, redemptions_of_partner
from gateway.scalars import DateTime, Long, Points

if TYPE_CHECKING:
    from gateway.logistics.types import DropOff
    from gateway.rewards.types import PartnerPoints, Redemption, RedemptionStatus

PartnerPointsType = Annotated["PartnerPoints", strawberry.lazy("gateway.rewards.types")]
DropOffType = Annotated["DropOff", strawberry.lazy("gateway.logistics.types")]
RedemptionType = Annotated["Redemption", strawberry.lazy("gateway.rewards.types")]
RedemptionStatusType = Annotated["RedemptionStatus", strawberry.lazy("gateway.rewards.types")]
PartnerType = Annotated["Partner", strawberry.lazy("gateway.partners.types")]

ITSELF = of_partner("id")


@strawberry.enum(description="Where a partner is in its life.")
class PartnerStatus(Enum):
    APPLIED = enum_value(pb.PARTNER_STATUS_APPLIED, "It has asked to join; an operator decides.")
    APPROVED = enum_value(pb.PARTNER_STATUS_APPROVED, "It issues and accepts points.")
    SUSPENDED = enum_value(
        pb.PARTNER_STATUS_SUSPENDED, "It cannot issue; its points still spend, and it still accepts points."
    )
    CLOSED = enum_value(pb.PARTNER_STATUS_CLOSED, "Final: it neither issues nor accepts.")


@federated(money_pb2.Money, "An amount of money.", rule=INHERITED, shareable=True)
class Money:
    currency: str = value("ISO 4217, for example EUR.")
    micros: Long = value("Millionths of the currency's unit; may be negative.")


@federated(pb.ApiClient, "Credentials of a backend; the secret itself is not stored.", rule=of_partner())
class ApiClient:
    id: strawberry.ID = value("TypeID with prefix client; the client_id at the token endpoint.")
    partner: PartnerType | None = join(sources.partners, "Whose it is; null for an operator's.", on="partner_id")
    label: str = value("What the owner calls it.")
    revoked: bool = value("Whether it has been ended.")
    created_at: DateTime | None = value("When it was made.")


@federated(pb.Agreement, "What a partner pays for one of its points when it is spent at another.", rule=of_partner())
class Agreement:
    id: strawberry.ID = value("TypeID with prefix agreement.")
    partner: PartnerType | None = join(sources.partners, "The partner that it is with.", on="partner_id")
    unit_value: Money | None = value("The value of one point.")
    valid_from: DateTime | None = value("In force from here on, once accepted, until the next.")
    offered_at: DateTime | None = value("When the operator offered it.")
    accepted_at: DateTime | None = value("When the partner accepted it; null until then.")


@federated(pb.PrepaidBlock, "Points bought ahead.", rule=of_partner())
class PrepaidBlock:
    id: strawberry.ID = value("TypeID with prefix block.")
    partner: PartnerType | None = join(sources.partners, "Who ordered it.", on="partner_id")
    points: Points = value("How many points it has.")
    price: Money | None = value("What it costs.")
    ordered_at: DateTime | None = value("When it was ordered.")
    paid_at: DateTime | None = value("When an operator confirmed the payment; null until then.")


@federated(
    pb.EarnRule,
    "Points for a kind of act: quantity / perQuantity * points, rounded down.",
    rule=of_partner(),
    key="id",
    source=sources.rules,
    ids="rule",
)
class EarnRule(Node):
    id: strawberry.ID = value("TypeID with prefix rule.")
    partner: PartnerType | None = join(sources.partners, "Whose rule it is.", on="partner_id")
    kind: ActKind | None = value("The kind of act that it is for.")
    version: int = value("Counts up per partner and kind, from 1.")
    points: Points = value("This many points ...")
    per_quantity: Long = value("... for this much of the act, in the unit of its kind.")
    valid_from: DateTime | None = value("In force for acts from here on, until the partner's next rule of the kind.")
    points_valid_months: int = value("The points are good until the end of the month this many months after the act.")
    return_window_days: int = value(
        "For so many days after the act its points are pending, from then on they are there."
    )


@federated(
    pb.Campaign, "Extra points for a while.", rule=of_partner(), key="id", source=sources.campaigns, ids="campaign"
)
class Campaign(Node):
    id: strawberry.ID = value("TypeID with prefix campaign.")
    partner: PartnerType | None = join(sources.partners, "Whose campaign it is.", on="partner_id")
    name: str = value("What the partner calls it.")
    kind: ActKind | None = value("The kind of act that it is for.")
    extra_percent: int = value("Extra points in percent of what the rule gives, rounded down: 100 doubles them.")
    valid_from: DateTime | None = value("In force for acts from here on ...")
    valid_until: DateTime | None = value("... and before this moment.")
    budget_points: Points | None = value(
        "All that the campaign may give; null to others.", rule=of_partner(), silent=True
    )
    member_cap_points: Points = value("All that one member may get from it.")
    points_expire_at: DateTime | None = value("The extra points are good until this moment.")
    granted_points: Points | None = value(
        "What has been given out of the budget; null to others than the brand and operators.",
        rule=of_partner(),
        silent=True,
    )


@federated(
    pb.Partner, "A brand of the alliance.", rule=PUBLIC, key="id", source=sources.partners, ids="partner", max_age=60
)
class Partner(Node):
    id: strawberry.ID = value("TypeID with prefix partner.")
    name: str = value("What the brand is called.")
    trade: str = value("What it does, for example grocer.")
    country: str = value("ISO 3166-1 alpha-2.")
    status: PartnerStatus | None = value("Where it is in its life.")
    applied_at: DateTime | None = value("When it asked to join.")
    status_changed_at: DateTime | None = value("When its status last changed.")
    logo_url: str | None = value("https URL of its logo.")
    api_clients: list[ApiClient] | None = join(
        sources.clients_of_partner,
        "Its credentials that are in use, newest first; those that have ended are left out.",
        on="id",
        rule=ITSELF,
        size=5,
    )
    agreements: list[Agreement] | None = join(
        sources.agreements_of_partner,
        "What it pays for a point, newest first.",
        on="id",
        rule=ITSELF,
        size=10,
    )
    prepaid_blocks: list[PrepaidBlock] | None = join(
        sources.blocks_of_partner,
        "The points it bought ahead, newest first.",
        on="id",
        rule=ITSELF,
        size=10,
    )
    earn_rules: list[EarnRule] | None = join(
        sources.rules_of_partner,
        "By what rules its members earn, newest first.",
        on="id",
        rule=ITSELF,
        size=10,
    )
    campaigns: list[Campaign] | None = join(
        sources.campaigns_of_partner,
        "Its campaigns, newest first.",
        on="id",
        rule=ITSELF,
        size=10,
    )
    points: PartnerPointsType | None = join(
        partner_points, "What it has issued, and what became of it.", on="id", rule=ITSELF
    )
    members: Connection[Member] | None = connection(
        members_of_partner,
        "The members that let it see their data now, who joined first comes first.",
        on="id",
        rule=ITSELF,
    )
    acts: Connection[Act] | None = connection(
        acts_of_partner,
        "What it reported, or its machines recorded, newest first.",
        on="id",
        filters=[
            *within("recorded", border=True),
            argument("status", ActStatus | None, "Only those of which this came."),
        ],
        rule=ITSELF,
    )
    claims: Connection[Claim] | None = connection(
        claims_of_partner,
        "What was credited by its reports, newest first.",
        on="id",
        filters=within("credited", border=True),
        rule=ITSELF,
    )
    drop_offs: Connection[DropOffType] | None = connection(
        drop_offs_of_partner,
        "What was handed in at its machines, newest first.",
        on="id",
        filters=[
            *within("handed in"),
            argument("machine_id", strawberry.ID | None, "Only what was handed in at this machine."),
        ],
        rule=ITSELF,
    )
    redemptions: Connection[RedemptionType] | None = connection(
        redemptions_of_partner,
        "What members redeemed of its rewards, newest first.",
        on="id",
        filters=[*within("asked for"), argument("status", RedemptionStatusType | None, "Only what is in this state.")],
        rule=ITSELF,
    )
