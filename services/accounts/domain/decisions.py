"""What becomes of reports: one pure function decides a whole batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.accounts.domain.acts import Act, ActKind, ActStatus, Claim, Factor, Reason, factor_in_force
from services.accounts.domain.caps import DAILY_CAPS, CapKey, cap_key
from services.accounts.domain.keys import box_key, claim_key

OLDEST_ACT = timedelta(days=400)
CLOCK_DIFFERENCE = timedelta(minutes=5)


@dataclass(frozen=True)
class Report:
    """A checked report. `act_id` and `claim_id` are fresh ids for what it may become. `member_id` is empty if it names
    nobody known; `refusal` says why whoever it names cannot be credited."""

    act_id: str
    claim_id: str
    partner_id: str
    member_id: str
    kind: ActKind
    quantity: int
    occurred_at: datetime
    reference: str = ""
    refusal: Reason | None = None
    drop_off_id: str = ""
    event_id: str = ""
    event_hash: str = ""
    box_number: str = ""

    @property
    def key(self) -> str:
        """The same for all reports of the same act."""
        return claim_key(
            self.kind,
            self.member_id,
            self.quantity,
            self.occurred_at,
            reference=self.reference,
            event_hash=self.event_hash,
        )

    @property
    def box_key(self) -> str:
        """The same for all reports of the same box in the same hands; empty if its number is not known."""
        return box_key(self.member_id, self.box_number, self.occurred_at)

    @property
    def keys(self) -> Sequence[str]:
        """Each of them is that of one claim at most."""
        return [key for key in (self.key, self.box_key) if key]

    @property
    def cap(self) -> CapKey:
        """The counter that it falls under."""
        return cap_key(self.member_id, self.kind, self.occurred_at)


@dataclass(frozen=True)
class Known:
    """What a decision rests on: claim ids by each of their keys, how much of each cap is used, and the factors."""

    claims: Mapping[str, str]
    used: Mapping[CapKey, int]
    factors: Sequence[Factor]


@dataclass(frozen=True)
class Decision:
    """An act for each report in its order, the new claims, and the caps whose use changed, with their new use."""

    acts: Sequence[Act]
    claims: Sequence[Claim]
    used: Mapping[CapKey, int]


@dataclass(frozen=True)
class _Fate:
    status: ActStatus
    reason: Reason | None = None
    message: str = ""
    claim_id: str = ""


def decide(reports: Sequence[Report], known: Known, now: datetime) -> Decision:
    """Decides the reports one after the other; an earlier one counts as known for those behind it."""
    claim_ids = dict(known.claims)
    used: dict[CapKey, int] = {}
    acts: list[Act] = []
    claims: list[Claim] = []
    for report in reports:
        factor = factor_in_force(known.factors, report.kind, report.occurred_at)
        use = used.get(report.cap, known.used.get(report.cap, 0))
        fate = _fate(report, claim_ids, use, factor, now)
        co2e_mg = 0
        if fate.status is ActStatus.CREDITED and factor is not None:
            co2e_mg = factor.avoided_mg(report.quantity)
            claims.append(_claim(report, factor, co2e_mg, now))
            claim_ids |= dict.fromkeys(report.keys, report.claim_id)
            used[report.cap] = use + DAILY_CAPS[report.kind].used_by(report.quantity)
        acts.append(_act(report, fate, co2e_mg, now))
    return Decision(acts, claims, used)


def _fate(report: Report, claim_ids: Mapping[str, str], used: int, factor: Factor | None, now: datetime) -> _Fate:
    if refusal := report.refusal or _outside_window(report, now):
        return _Fate(ActStatus.REFUSED, refusal, _MESSAGES[refusal])
    # Before the cap: what is known already does not use it up.
    if claim_id := next((claim_ids[key] for key in report.keys if key in claim_ids), ""):
        return _Fate(ActStatus.DUPLICATE, Reason.DUPLICATE_ACT, _MESSAGES[Reason.DUPLICATE_ACT], claim_id)
    if factor is None:
        return _Fate(ActStatus.REFUSED, Reason.NO_FACTOR_IN_FORCE, _MESSAGES[Reason.NO_FACTOR_IN_FORCE])
    cap = DAILY_CAPS[report.kind]
    if used + cap.used_by(report.quantity) > cap.most:
        message = f"{cap.most} {cap.noun} a day count ({cap.why}); the member had {used} on {report.cap.day} UTC."
        return _Fate(ActStatus.CAPPED, Reason.DAILY_CAP_REACHED, message)
    return _Fate(ActStatus.CREDITED, claim_id=report.claim_id)


def _outside_window(report: Report, now: datetime) -> Reason | None:
    if report.event_id:
        # Its machine has been told that it counts, by another clock than ours and perhaps some time ago.
        return None
    if report.occurred_at > now + CLOCK_DIFFERENCE:
        return Reason.OCCURRED_IN_FUTURE
    if report.occurred_at < now - OLDEST_ACT:
        return Reason.OCCURRED_TOO_LONG_AGO
    return None


def _claim(report: Report, factor: Factor, co2e_mg: int, now: datetime) -> Claim:
    return Claim(
        id=report.claim_id,
        key=report.key,
        box_key=report.box_key,
        member_id=report.member_id,
        act_id=report.act_id,
        partner_id=report.partner_id,
        kind=report.kind,
        quantity=report.quantity,
        co2e_mg=co2e_mg,
        factor_id=factor.id,
        occurred_at=report.occurred_at,
        recorded_at=now,
    )


def _act(report: Report, fate: _Fate, co2e_mg: int, now: datetime) -> Act:
    return Act(
        id=report.act_id,
        member_id=report.member_id,
        partner_id=report.partner_id,
        kind=report.kind,
        quantity=report.quantity,
        occurred_at=report.occurred_at,
        recorded_at=now,
        reference=report.reference,
        status=fate.status,
        reason=fate.reason or "",
        message=fate.message,
        claim_id=fate.claim_id,
        new_co2e_mg=co2e_mg,
        drop_off_id=report.drop_off_id,
        event_id=report.event_id,
    )


_MESSAGES = {
    Reason.DUPLICATE_ACT: "This act is known already; it counts once, whoever reports it.",
    Reason.MEMBER_NOT_FOUND: "No member has that id; enrol the member first.",
    Reason.CUSTOMER_NOT_LINKED: "No member has linked this partner's customer number; let the member link it first.",
    Reason.OCCURRED_IN_FUTURE: "The act lies more than 5 minutes in the future; set the reporter's clock right.",
    Reason.OCCURRED_TOO_LONG_AGO: "The act lies more than 400 days back; it can no longer count.",
    Reason.NO_FACTOR_IN_FORCE: "No emission factor was in force for this kind of act at that time.",
}
