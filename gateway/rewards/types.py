"""Points, rewards, redemptions and settlements: types and what their fields read."""

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import strawberry

from alliance.rewards.v1 import rewards_pb2 as pb
from gateway.access import ALLIANCE, INHERITED, OPERATOR, PUBLIC, of_member, of_member_alone, of_partner
from gateway.accounts.sources import claims, members
from gateway.accounts.types import ActKind, Claim, Member
from gateway.connections import Connection
from gateway.engine.declare import connection, derived, enum_value, federated, join, value
from gateway.nodes import Node
from gateway.partners.sources import campaigns, partners, rules
from gateway.partners.types import Campaign, EarnRule, Money, Partner
from gateway.rewards import sources
from gateway.scalars import DateTime, Long, Points
from gateway.why import make as why

if TYPE_CHECKING:
    from gateway.why.types import Why

WhyType = Annotated["Why", strawberry.lazy("gateway.why.types")]


@strawberry.enum(description="What came of a claim's points.")
class EarningStatus(Enum):
    ISSUED = enum_value(pb.EARNING_STATUS_ISSUED, "The member has them.")
    REFUSED = enum_value(pb.EARNING_STATUS_REFUSED, "No points; the reason says why.")
    CANCELLED = enum_value(pb.EARNING_STATUS_CANCELLED, "Issued and taken back.")


@strawberry.enum(description="What moved a wallet.")
class EntryKind(Enum):
    EARN = enum_value(pb.ENTRY_KIND_EARN, "Points for a claim.")
    SPEND = enum_value(pb.ENTRY_KIND_SPEND, "Points given for a reward.")
    EXPIRE = enum_value(pb.ENTRY_KIND_EXPIRE, "Points whose time was over.")
    CANCEL = enum_value(pb.ENTRY_KIND_CANCEL, "Points of a claim, taken back.")
    REPAY = enum_value(pb.ENTRY_KIND_REPAY, "Points that went to what the member had to repay.")
    REVERSE = enum_value(pb.ENTRY_KIND_REVERSE, "Points given for a reward, given back.")
    GIVE = enum_value(pb.ENTRY_KIND_GIVE, "Points given to another member.")
    TAKE = enum_value(pb.ENTRY_KIND_TAKE, "Points that another member gave.")


@strawberry.enum(description="Where a redemption is.")
class RedemptionStatus(Enum):
    HELD = enum_value(pb.REDEMPTION_STATUS_HELD, "The points are held, the voucher is good.")
    CAPTURED = enum_value(pb.REDEMPTION_STATUS_CAPTURED, "The voucher was taken in, the points are spent.")
    VOIDED = enum_value(pb.REDEMPTION_STATUS_VOIDED, "Given up; the points are free again.")
    EXPIRED = enum_value(pb.REDEMPTION_STATUS_EXPIRED, "Nobody came; the points are free again.")
    REVERSED = enum_value(pb.REDEMPTION_STATUS_REVERSED, "Captured, and points of it given back.")


@federated(pb.Lot, "Points of one issuer with one value and one expiry.", rule=INHERITED)
class Lot:
    issuer: Partner | None = join(
        partners, "The partner that issued them, and pays when they are spent elsewhere.", on="issuer_partner_id"
    )
    points: Points = value("In a wallet what is left, holds included; in an earning what was issued.")
    unit_value: Money | None = value("The value of one point, fixed at issue.")
    expires_at: DateTime | None = value("Until when they are good.")
    rule: EarnRule | None = join(
        rules, "In an earning: the rule that gave them.", on="rule_id", prefix="rule_", entry=INHERITED
    )
    campaign: Campaign | None = join(
        campaigns, "In an earning: the campaign that gave them.", on="rule_id", prefix="campaign_", entry=INHERITED
    )
    id: strawberry.ID | None = value(
        "In a wallet and in its entries: which of the member's lots it is, for good.",
        deprecated="Use `lotId`. Clients that keep one object per type and `id` take the amount in an entry "
        "for that in the wallet.",
    )
    lot_id: strawberry.ID | None = value(
        "In a wallet and in its entries: which of the member's lots it is, for good. In each of them the lot has "
        "another amount.",
        of="id",
    )
    claim: Claim | None = join(claims, "In an earning: what they are for.", on="claim_id")
    agreement_id: strawberry.ID | None = value("In an earning: the agreement that fixed the value.")
    earnings: Connection["Earning"] | None = connection(
        sources.earnings_of_lot,
        "In a wallet and in its entries: all that went into the lot, newest first, also what has been taken back or "
        "spent since. Points that are alike are one lot, so that no point in it has a history of its own.",
        on="id",
    )
    why: WhyType | None = derived("Why there are such points.", why.of_lot, reads=why.READS)


@federated(
    pb.Earning,
    "Points for a claim.",
    rule=of_member("member_id", "partner_id"),
    key="claim { id }",
    source=sources.earnings,
    ids="earning",
    keys="claim",
)
class Earning(Node):
    id: strawberry.ID = value("With prefix earning, else as its claim's.", of="claim_id", prefix="earning")
    claim: Claim | None = join(claims, "What they are for.", on="claim_id")
    member: Member | None = join(members, "Who earned them.", on="member_id")
    partner: Partner | None = join(partners, "Whose rules gave them.", on="partner_id")
    status: EarningStatus | None = value("What came of them.")
    points: Points = value("Points issued, over all lots.")
    reason: str | None = value("Why there are none, for programs: PARTNER_SUSPENDED, NO_EARN_RULE and others.")
    lots: list[Lot] = value("What was issued, by rule.", size=3)
    decided_at: DateTime | None = value("When it was decided.")
    available_at: DateTime | None = value(
        "If the points were issued as pending: from here on the member has them. Null if from the start."
    )
    kind: ActKind | None = value("The kind of act that they are for.")
    why: WhyType | None = derived("Why there are these points, or none.", why.of_earning, reads=why.READS)


@federated(pb.PendingEarning, "Points that a member will have, unless they are taken back before.", rule=INHERITED)
class PendingEarning:
    claim: Claim | None = join(claims, "What they are for.", on="claim_id")
    points: Points = value("How many.")
    available_at: DateTime | None = value("From here on the member has them.")
    lots: list[Lot] = value("What they are made of.", size=3)


@federated(
    pb.Wallet,
    "A member's points.",
    rule=of_member(),
    key="member { id }",
    source=sources.wallets,
    ids="wallet",
    keys="member",
)
class Wallet(Node):
    id: strawberry.ID = value("With prefix wallet, else as its member's.", of="member_id", prefix="wallet")
    member: Member | None = join(members, "Whose it is.", on="member_id")
    balance: Points = value("All points, held ones included, pending ones not.")
    held: Points = value("Points held for open redemptions.")
    available: Points = value("What can be spent: balance less held.")
    shortfall: Points = value("What the member still has to repay out of future points.")
    next_expiry_at: DateTime | None = value("When points expire next; null if none do.")
    points_expiring_next: Points = value("How many expire then.")
    lots: list[Lot] = value("What it is made of, earliest expiry first.", size=10)
    pending: Points = value("Points that are not there yet: what they were given for can still be returned.")
    pending_earnings: list[PendingEarning] = value("Those, soonest first.", size=3)


@federated(pb.Entry, "One movement of a wallet. Immutable.", rule=of_member())
class Entry:
    id: strawberry.ID = value("The entry's id.")
    member: Member | None = join(members, "Whose wallet moved.", on="member_id")
    kind: EntryKind | None = value("What moved it.")
    points: Points = value("Signed: what the balance changed by.")
    at: DateTime | None = value("When.")
    claim: Claim | None = join(claims, "The claim of an EARN, CANCEL or REPAY.", on="claim_id")
    redemption: "Redemption | None" = join(
        sources.redemptions, "The redemption of a SPEND or REVERSE.", on="redemption_id"
    )
    gift: "Gift | None" = join(sources.gifts, "The gift of a GIVE or TAKE.", on="gift_id")
    lots: list[Lot] = value("What it was made of: the amount per issuer.", size=3)
    partner: Partner | None = join(
        partners, "Where a SPEND or REVERSE was, and whom a REPAY was owed to.", on="partner_id"
    )
    why: WhyType | None = derived("Why the wallet moved.", why.of_entry, reads=why.READS)


@federated(
    pb.Reward,
    "Something a partner gives for points.",
    rule=PUBLIC,
    key="id",
    source=sources.rewards,
    ids="reward",
    max_age=5,
)
class Reward(Node):
    id: strawberry.ID = value("TypeID with prefix reward.")
    partner: Partner | None = join(partners, "Who gives it.", on="partner_id")
    title: str = value("What it is called.")
    description: str = value("What it is.")
    points: Points = value("What it costs.")
    stock: Long = value("How many are left.")
    created_at: DateTime | None = value("Since when it is offered.")


@federated(
    pb.Redemption,
    "A reward on its way from a member's wallet to a partner's till.",
    rule=of_member("member_id", "partner_id"),
    key="id",
    source=sources.redemptions,
    ids="redemption",
)
class Redemption(Node):
    id: strawberry.ID = value("TypeID with prefix redemption.")
    reward: Reward | None = join(sources.rewards, "What is redeemed.", on="reward_id")
    member: Member | None = join(members, "Who redeems.", on="member_id")
    partner: Partner | None = join(partners, "The partner that offers the reward.", on="partner_id")
    status: RedemptionStatus | None = value("Where it is.")
    points: Points = value("Points held, and after a capture points spent.")
    voucher_code: str | None = value(
        "The code for the partner's till; shown to the member, null for anyone else.",
        rule=of_member_alone(),
        silent=True,
    )
    created_at: DateTime | None = value("When the member asked for it.")
    expires_at: DateTime | None = value("When an open hold ends by itself.")
    resolved_at: DateTime | None = value("When it was captured, voided or expired; null until then.")
    lots: list[Lot] = value("After a capture: whose points were spent.", size=3)
    reversed_points: Points = value("Points given back after a capture.")
    reversed_at: DateTime | None = value("When they were; null if they were not.")
    reversed_lots: list[Lot] = value("Whose they are.", size=3)
    why: WhyType | None = derived(
        "Whose points it took, and who owes what to whom for them.", why.of_redemption, reads=why.READS
    )


@federated(pb.Gift, "Points from one member to another.", rule=INHERITED)
class Gift:
    id: strawberry.ID = value("TypeID with prefix gift.")
    points: Points = value("How many.")
    lots: list[Lot] = value("Whose points they are, with value and expiry.", size=3)
    given_at: DateTime | None = value("When they were given.")


@federated(
    pb.SettlementLine,
    "One spend at a partner of points that another partner issued, or the reversal of one.",
    rule=of_partner("debtor_partner_id", "creditor_partner_id"),
)
class SettlementLine:
    id: strawberry.ID = value("The line's id.")
    redemption: Redemption | None = join(sources.redemptions, "The spend.", on="redemption_id")
    claim: Claim | None = join(
        claims, "Instead of a redemption: the claim whose points were taken back after they were spent.", on="claim_id"
    )
    debtor: Partner | None = join(partners, "Who owes: the issuer; of a reversal the shop.", on="debtor_partner_id")
    creditor: Partner | None = join(
        partners, "Who is owed: the shop; of a reversal the issuer.", on="creditor_partner_id"
    )
    points: Points = value("How many points.")
    unit_value: Money | None = value("The value of one of them, fixed at issue.")
    amount: Money | None = value("Points times unit value.")
    spent_at: DateTime | None = value("When they were spent, or given back.")
    reverses: bool = value("Whether it is the reversal of a spend.")


@federated(pb.NetPosition, "What a partner gets or pays in a settlement.", rule=of_partner())
class NetPosition:
    partner: Partner | None = join(partners, "The partner.", on="partner_id")
    receivable: Money | None = value("What others owe it, before netting.")
    payable: Money | None = value("What it owes others, before netting.")
    net: Money | None = value("Receivable less payable, exact; the positions of a settlement sum to zero.")
    due: Money | None = value("Whole cents to be paid, positive if it gets them; they too sum to zero.")
    carried: Money | None = value("What rounding left over, carried into the partner's next settlement.")


@federated(
    pb.Settlement,
    "One netting between all partners.",
    rule=ALLIANCE,
    key="id",
    source=sources.settlements,
    ids="settlement",
)
class Settlement(Node):
    id: strawberry.ID = value("TypeID with prefix settlement.")
    number: Long = value("Counts up from 1.")
    from_: DateTime | None = value("Spends after this moment ...", of="from", name="from")
    until: DateTime | None = value("... up to and with this one.")
    positions: list[NetPosition] = value(
        "By partner id; to a partner only its own, to an operator all.", filtered=True, size=10
    )
    line_count: Long = value("How many lines there are, over all partners.", of="lines")
    lines: Connection[SettlementLine] | None = connection(
        sources.lines_of_settlement,
        "The lines behind it, in the order of the spends; to a partner those in which it owes or is owed.",
        on="id",
        arguments={"partner_id": lambda request: request.viewer.partner_id},
    )
    lines_hash: str = value("SHA-256, hex, over all lines in order: a rerun over the ledger gives the same.")


@federated(
    pb.PartnerPoints,
    "A partner's points, by the ledger: issued = cancelled + spent + expired + outstanding.",
    rule=of_partner(),
    source=sources.partner_points,
    ids="points",
    keys="partner",
)
class PartnerPoints(Node):
    id: strawberry.ID = value("With prefix points, else as its partner's.", of="partner_id", prefix="points")
    partner: Partner | None = join(partners, "The issuer.", on="partner_id")
    allotted: Points = value("Bought ahead, in all.")
    allotment_left: Points = value("What it may still issue.")
    issued: Points = value("Issued to members, in all, cancelled ones included.")
    cancelled: Points = value("Issued and taken back.")
    spent: Points = value("Its points that members spent, anywhere.")
    expired: Points = value("Its points whose time was over.")
    outstanding: Points = value("Its points in members' wallets now.")
    liability: Money | None = value("What the outstanding points are worth.")
    accepted: Points = value("Points of any issuer that were spent at this partner.")


@federated(pb.SummarizeEarningsResponse.KindTotal, "What claims of a kind earned.", rule=INHERITED)
class EarningKindTotal:
    kind: ActKind | None = value("The kind of act.")
    earnings: Long = value("How many claims earned points.")
    points: Points = value("How many points.")


@federated(pb.SummarizeEarningsResponse.RefusalTotal, "Claims that earned nothing for a reason.", rule=INHERITED)
class EarningRefusalTotal:
    reason: str = value("The reason, for programs.")
    earnings: Long = value("How many claims.")


@federated(pb.SummarizeEarningsResponse, "What claims earned, in numbers.", rule=OPERATOR)
class EarningSummary:
    kinds: list[EarningKindTotal] = value("By kind of act.", size=10)
    refusals: list[EarningRefusalTotal] = value("Why claims earned nothing.", size=10)


@federated(pb.VerifyLedgerResponse, "The check of the whole ledger.", rule=OPERATOR)
class LedgerCheck:
    clean: bool = value("Whether the books sum to zero and the chain of entries is unbroken.")
    finding: str | None = value("The first thing that is wrong; null when clean.")
    entries: Long = value("How many entries were checked.")
    members: Long = value("How many members' wallets were checked.")
