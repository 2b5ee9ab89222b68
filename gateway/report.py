"""The alliance in numbers, over all four services; and who is asking."""

from enum import Enum

import strawberry

from gateway.access import BY_TYPE, INHERITED, OPERATOR, PUBLIC
from gateway.accounts.sources import act_summary, members
from gateway.accounts.types import ActSummary, Member
from gateway.engine.declare import by_global_id, join, present, shape, value, whole
from gateway.logistics.sources import drop_off_summary
from gateway.logistics.types import DropOffSummary
from gateway.nodes import Node
from gateway.partners.sources import partners
from gateway.partners.types import Partner
from gateway.rewards.sources import all_partner_points, earning_summary, ledger_check
from gateway.rewards.types import EarningSummary, LedgerCheck, PartnerPoints
from services.shared.identity import CallerKind


@strawberry.enum(description="What kind of token a request came with.")
class ViewerKind(Enum):
    OPERATOR = strawberry.enum_value(CallerKind.OPERATOR.value, description="A person or job that runs the alliance.")
    PARTNER = strawberry.enum_value(CallerKind.PARTNER.value, description="The backend of a brand.")
    MEMBER = strawberry.enum_value(CallerKind.MEMBER.value, description="A member, through the frontend of a brand.")
    ANYONE = strawberry.enum_value(CallerKind.ANYONE.value, description="Nobody that is known: there is no token.")


@shape("Who is asking.", rule=INHERITED)
class Viewer:
    kind: ViewerKind = value("What kind of token the request came with.")
    partner: Partner | None = join(
        partners, "The brand that asks, or through whose frontend the member asks.", on="partner_id"
    )
    member: Member | None = join(members, "The member that asks.", on="member_id")


@shape("The alliance in numbers.", rule=OPERATOR)
class AllianceReport:
    acts: ActSummary | None = whole(act_summary, "Acts and claims.")
    drop_offs: DropOffSummary | None = whole(drop_off_summary, "What the machines sent.")
    earnings: EarningSummary | None = whole(earning_summary, "What claims earned.")
    partners: list[PartnerPoints] | None = whole(all_partner_points, "Each partner's points, by the ledger.", size=10)
    ledger: LedgerCheck | None = whole(ledger_check, "A check of the whole ledger; reads everything.")


@strawberry.type
class AllianceQuery:
    """Queries that belong to no single domain."""

    node: Node | None = by_global_id(
        "Anything that has an id of its own, to whom it may be shown; null if nothing has this id.", rule=BY_TYPE
    )

    viewer: Viewer = present("Who is asking.", lambda request: request.viewer, rule=PUBLIC)
    report: AllianceReport | None = present(
        "The alliance in numbers. For operators.", lambda request: request, rule=OPERATOR
    )
