"""The domain's values as messages, and back."""

from typing import Any

from alliance.accounts.v1.accounts_pb2 import ActKind
from alliance.common.v1.money_pb2 import Money as MoneyMessage
from alliance.partners.v1 import partners_pb2 as pb
from services.partners.domain.agreement import Agreement, Money, PrepaidBlock
from services.partners.domain.client import ApiClient
from services.partners.domain.earning import Campaign, Decision, EarnRule, Question
from services.partners.domain.partner import Partner, PartnerStatus
from services.shared import checks
from services.shared.proto import enum_name, enum_number, timestamp

_KIND = "ACT_KIND_"
_STATUS = "PARTNER_STATUS_"
_LARGEST_QUANTITY = 1_000_000_000


def partner(value: Partner) -> pb.Partner:
    return pb.Partner(
        id=value.id,
        name=value.name,
        trade=value.trade,
        country=value.country,
        status=enum_number(pb.PartnerStatus, value.status, _STATUS),
        applied_at=timestamp(value.applied_at),
        status_changed_at=timestamp(value.status_changed_at),
        logo_url=value.logo_url,
    )


def api_client(value: ApiClient) -> pb.ApiClient:
    return pb.ApiClient(
        id=value.id,
        partner_id=value.partner_id,
        label=value.label,
        revoked=value.revoked,
        created_at=timestamp(value.created_at),
    )


def agreement(value: Agreement) -> pb.Agreement:
    return pb.Agreement(
        id=value.id,
        partner_id=value.partner_id,
        unit_value=money(value.unit_value),
        valid_from=timestamp(value.valid_from),
        offered_at=timestamp(value.offered_at),
        accepted_at=timestamp(value.accepted_at),
    )


def block(value: PrepaidBlock) -> pb.PrepaidBlock:
    return pb.PrepaidBlock(
        id=value.id,
        partner_id=value.partner_id,
        points=value.points,
        price=money(value.price),
        ordered_at=timestamp(value.ordered_at),
        paid_at=timestamp(value.paid_at),
    )


def rule(value: EarnRule) -> pb.EarnRule:
    return pb.EarnRule(
        id=value.id,
        partner_id=value.partner_id,
        kind=enum_number(ActKind, value.kind, _KIND),
        version=value.version,
        points=value.points,
        per_quantity=value.per_quantity,
        valid_from=timestamp(value.valid_from),
        points_valid_months=value.points_valid_months,
        return_window_days=value.return_window_days,
    )


def campaign(value: Campaign) -> pb.Campaign:
    return pb.Campaign(
        id=value.id,
        partner_id=value.partner_id,
        name=value.name,
        kind=enum_number(ActKind, value.kind, _KIND),
        extra_percent=value.extra_percent,
        valid_from=timestamp(value.valid_from),
        valid_until=timestamp(value.valid_until),
        budget_points=value.budget_points,
        member_cap_points=value.member_cap_points,
        points_expire_at=timestamp(value.points_expire_at),
        granted_points=value.granted_points,
    )


def decision(value: Decision) -> pb.EarnDecision:
    return pb.EarnDecision(
        claim_id=value.claim_id,
        partner_id=value.partner_id,
        grants=[
            pb.EarnGrant(
                rule_id=grant.rule_id,
                campaign_id=grant.campaign_id,
                points=grant.points,
                expires_at=timestamp(grant.expires_at),
            )
            for grant in value.grants
        ],
        reason=value.reason,
        unit_value=money(value.unit_value) if value.unit_value else None,
        agreement_id=value.agreement_id,
        available_at=timestamp(value.available_at),
    )


def money(value: Money) -> MoneyMessage:
    return MoneyMessage(currency=value.currency, micros=value.micros)


def to_money(message: MoneyMessage) -> Money:
    return Money(message.currency, message.micros)


def to_status(number: int) -> PartnerStatus:
    """FieldInvalid unless it is one of the known values."""
    return PartnerStatus(_known(pb.PartnerStatus, number, _STATUS, "status"))


def to_kind(number: int, field: str = "kind") -> str:
    """The kind of act as the domain writes it; FieldInvalid unless it is one of the known values."""
    return _known(ActKind, number, _KIND, field)


def to_question(message: pb.EarnQuestion, at: str) -> Question:
    """FieldInvalid names what is wrong, behind `at`, for example "questions[3]"."""
    return Question(
        claim_id=checks.id_of(message.claim_id, f"{at}.claim_id", "claim"),
        partner_id=message.partner_id,
        member_id=checks.id_of(message.member_id, f"{at}.member_id", "member"),
        kind=to_kind(message.kind, f"{at}.kind"),
        quantity=checks.whole(message.quantity, f"{at}.quantity", 0, _LARGEST_QUANTITY),
        occurred_at=checks.moment(message.occurred_at, f"{at}.occurred_at"),
    )


def _known(enum: Any, number: int, prefix: str, field: str) -> str:
    name = enum_name(enum, number, prefix)
    if not name:
        raise checks.FieldInvalid(field, "needs one of the known values.")
    return name
