"""What an act earns: dated rules, campaigns with a budget and a cap per member, and the decision itself."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from services.partners.domain.agreement import Agreement, Money, agreement_at
from services.partners.domain.partner import PartnerStatus

PARTNER_NOT_FOUND = "PARTNER_NOT_FOUND"
PARTNER_SUSPENDED = "PARTNER_SUSPENDED"
PARTNER_CLOSED = "PARTNER_CLOSED"
NO_EARN_RULE = "NO_EARN_RULE"
NO_AGREEMENT_IN_FORCE = "NO_AGREEMENT_IN_FORCE"
POINTS_OVER_ALREADY = "POINTS_OVER_ALREADY"

_DAYS_OF_MONTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True)
class EarnRule:
    """Points for a kind of act: floor(quantity * points / per_quantity), for acts from `valid_from` on."""

    id: str
    partner_id: str
    kind: str
    version: int
    points: int
    per_quantity: int
    valid_from: datetime
    points_valid_months: int
    return_window_days: int = 0

    def available_at(self, occurred_at: datetime) -> datetime | None:
        """Until when points for an act of that moment are pending: the first midnight in UTC after the window."""
        if not self.return_window_days:
            return None
        day = occurred_at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return day + timedelta(days=self.return_window_days + 1)

    def points_for(self, quantity: int) -> int:
        """Exact: in whole numbers, rounded down once."""
        return quantity * self.points // self.per_quantity


@dataclass(frozen=True)
class Campaign:
    """Extra points, in percent of what the rule gives, for acts in [valid_from, valid_until)."""

    id: str
    partner_id: str
    name: str
    kind: str
    extra_percent: int
    valid_from: datetime
    valid_until: datetime
    budget_points: int
    member_cap_points: int
    points_expire_at: datetime
    granted_points: int = 0

    def in_force(self, at: datetime) -> bool:
        """Whether acts of that moment get something from it."""
        return self.valid_from <= at < self.valid_until

    def extra_for(self, rule_points: int) -> int:
        """What it would give if it had no limits, rounded down."""
        return rule_points * self.extra_percent // 100


@dataclass(frozen=True)
class Question:
    """A claim to be priced. `quantity` is in the unit of the act's kind."""

    claim_id: str
    partner_id: str
    member_id: str
    kind: str
    quantity: int
    occurred_at: datetime


@dataclass(frozen=True)
class Grant:
    """Points of one rule or of one campaign, at least 1; the other id is empty."""

    points: int
    expires_at: datetime
    rule_id: str = ""
    campaign_id: str = ""


@dataclass(frozen=True)
class Decision:
    """What a claim earns. Without grants `reason` says why, or is empty: the rule itself gives 0."""

    claim_id: str
    partner_id: str
    member_id: str
    grants: tuple[Grant, ...] = ()
    reason: str = ""
    unit_value: Money | None = None
    # The agreement that says so; empty for what was decided before it was noted.
    agreement_id: str = ""
    available_at: datetime | None = None


# A campaign's id and a member's.
CampaignMember = tuple[str, str]
Dated = TypeVar("Dated", EarnRule, Campaign)


@dataclass(frozen=True)
class Taken:
    """Points taken from campaigns: from each budget, and by each member."""

    by_campaign: Counter[str]
    by_member: Counter[CampaignMember]


@dataclass(frozen=True)
class Book:
    """All that decisions are made from, for the partners in question."""

    statuses: Mapping[str, PartnerStatus]
    agreements: Sequence[Agreement]
    rules: Sequence[EarnRule]
    campaigns: Sequence[Campaign]
    member_points: Mapping[CampaignMember, int]

    def refusal(self, partner_id: str) -> str:
        """Why the partner may not issue now; empty if it may. One that has only applied is not known yet."""
        match self.statuses.get(partner_id):
            case PartnerStatus.APPROVED:
                return ""
            case PartnerStatus.SUSPENDED:
                return PARTNER_SUSPENDED
            case PartnerStatus.CLOSED:
                return PARTNER_CLOSED
            case _:
                return PARTNER_NOT_FOUND


def end_of_month(at: datetime, months_later: int) -> datetime:
    """The first moment after the month that is so many months after the moment's own, in UTC."""
    month = at.year * 12 + at.month - 1 + months_later + 1
    return datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)


def longest_return_window(points_valid_months: int) -> int:
    """Days that a return window can have, so that points which are good for so many months are good for a day behind it
    whenever the act was: on the last day of a month at the latest, before the shortest months that follow each other.
    """
    months = range(points_valid_months)
    return min(sum(_DAYS_OF_MONTHS[(first + month) % 12] for month in months) for first in range(12)) - 1


def decide(questions: Sequence[Question], book: Book, now: datetime) -> list[Decision]:
    """What each claim earns, in order; what earlier ones take from a campaign is not there for later ones.

    Whether the partner may issue is judged as of the book, that is now; rule, campaigns and agreement are those in
    force when the act happened. No points are given that would expire before anybody could have them, since the act has
    come so late or the return window is so long: they would only take from the partner's block.
    """
    decider = _Decider(book, now)
    return [decider.decide(question) for question in questions]


def members_in_question(questions: Iterable[Question], campaigns: Iterable[Campaign]) -> set[CampaignMember]:
    """Whose points from which campaigns have to be known to decide."""
    by_kind = _by_kind(campaigns)
    return {
        (campaign.id, question.member_id)
        for question in questions
        for campaign in by_kind.get((question.partner_id, question.kind), ())
        if campaign.in_force(question.occurred_at)
    }


def taken_by(decisions: Iterable[Decision]) -> Taken:
    """What the decisions take from campaigns, summed."""
    by_campaign: Counter[str] = Counter()
    by_member: Counter[CampaignMember] = Counter()
    for decision in decisions:
        for grant in decision.grants:
            if grant.campaign_id:
                by_campaign[grant.campaign_id] += grant.points
                by_member[grant.campaign_id, decision.member_id] += grant.points
    return Taken(by_campaign, by_member)


class _Decider:
    """Decides one claim after the other, and keeps count of what they took."""

    def __init__(self, book: Book, now: datetime) -> None:
        self._book = book
        self._now = now
        self._rules = _by_kind(sorted(book.rules, key=lambda rule: rule.valid_from, reverse=True))
        self._campaigns = _by_kind(sorted(book.campaigns, key=lambda campaign: campaign.id))
        self._agreements: dict[str, list[Agreement]] = {}
        for agreement in book.agreements:
            self._agreements.setdefault(agreement.partner_id, []).append(agreement)
        self._granted = Counter({campaign.id: campaign.granted_points for campaign in book.campaigns})
        self._member_points = Counter(book.member_points)

    def decide(self, question: Question) -> Decision:
        if reason := self._book.refusal(question.partner_id):
            return _nothing(question, reason)
        kind = (question.partner_id, question.kind)
        rules = self._rules.get(kind, ())
        rule = next((rule for rule in rules if rule.valid_from <= question.occurred_at), None)
        if rule is None:
            return _nothing(question, NO_EARN_RULE)
        agreement = agreement_at(self._agreements.get(question.partner_id, ()), question.occurred_at)
        if agreement is None:
            return _nothing(question, NO_AGREEMENT_IN_FORCE)
        points = rule.points_for(question.quantity)
        available_at = rule.available_at(question.occurred_at)
        there_at = max(self._now, available_at or self._now)
        expires_at = end_of_month(question.occurred_at, rule.points_valid_months)
        grants = [Grant(points, expires_at, rule_id=rule.id)] if expires_at > there_at else []
        grants += [
            Grant(self._take(campaign, question.member_id, points), campaign.points_expire_at, campaign_id=campaign.id)
            for campaign in self._campaigns.get(kind, ())
            if campaign.in_force(question.occurred_at) and campaign.points_expire_at > there_at
        ]
        grants = [grant for grant in grants if grant.points]
        if points and not grants:
            return _nothing(question, POINTS_OVER_ALREADY)
        return Decision(
            claim_id=question.claim_id,
            partner_id=question.partner_id,
            member_id=question.member_id,
            grants=tuple(grants),
            unit_value=agreement.unit_value,
            agreement_id=agreement.id,
            available_at=available_at,
        )

    def _take(self, campaign: Campaign, member_id: str, rule_points: int) -> int:
        """What the campaign adds: cut to what its budget and the member's cap have left."""
        of_member = (campaign.id, member_id)
        left = min(
            campaign.budget_points - self._granted[campaign.id],
            campaign.member_cap_points - self._member_points[of_member],
        )
        points = max(0, min(campaign.extra_for(rule_points), left))
        self._granted[campaign.id] += points
        self._member_points[of_member] += points
        return points


def _by_kind(rows: Iterable[Dated]) -> dict[tuple[str, str], list[Dated]]:
    """Rules or campaigns by partner and kind of act, in the order given."""
    groups: dict[tuple[str, str], list[Dated]] = {}
    for row in rows:
        groups.setdefault((row.partner_id, row.kind), []).append(row)
    return groups


def _nothing(question: Question, reason: str) -> Decision:
    return Decision(question.claim_id, question.partner_id, question.member_id, reason=reason)
