"""The rows of explanations, as the gateway makes them."""

from dataclasses import dataclass, field
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from alliance.accounts.v1.accounts_pb2 import Factor
from alliance.common.v1.money_pb2 import Money


@dataclass(frozen=True)
class EventRow:
    """What happened, and how the alliance knows."""

    kind: int | None
    quantity: int
    unit: str
    occurred_at: Timestamp
    recorded_at: Timestamp | None
    reference: str | None
    partner_id: str
    act_id: str
    drop_off_id: str
    machine_id: str


@dataclass(frozen=True)
class GramsRow:
    """How grams were worked out."""

    co2e_mg: int
    arithmetic: str
    factor: Factor | None


@dataclass(frozen=True)
class GrantRow:
    """How points of one rule or campaign were worked out. `rule_id` is a rule's or a campaign's."""

    points: int
    arithmetic: str
    rule_id: str
    expires_at: Timestamp | None


@dataclass(frozen=True)
class PaymentRow:
    """Who pays for points, how much, and to whom."""

    issuer_partner_id: str
    payee_partner_id: str
    points: int
    unit_value: Money
    amount: Money
    agreement_id: str | None


@dataclass(frozen=True)
class WhyRow:
    """An explanation; what has no part in it is empty."""

    sentence: str
    event: EventRow | None = None
    grams: GramsRow | None = None
    grants: list[GrantRow] = field(default_factory=list)
    refusal: str | None = None
    payments: list[PaymentRow] = field(default_factory=list)
    redemption: Any = None
