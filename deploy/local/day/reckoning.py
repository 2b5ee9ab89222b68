"""What has to come of a plan, worked out from the rules of the alliance alone: nothing here asks a service.

Rules, as the contract states them: an act is credited once (a ticket's number however it is spelled, else kind, second
and quantity), up to the daily cap, with floor(quantity * factor) milligrams; it earns floor(quantity * points /
per_quantity) by the brand's rule in force when it happened, plus what a campaign adds; points are spent earliest expiry
first, and whoever issued them owes their value to the brand where they were spent.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime

from deploy.local.day.cast import CAPPED_BY_PIECE, DAILY_CAPS, FACTORS, KIND_OF_MATERIAL, Kind
from deploy.local.day.plan import Campaign, Item, Plan, Report, Rule


@dataclass
class KindTotal:
    """What was done of one kind, and what came of it. `points` are those issued."""

    acts: int = 0
    claims: int = 0
    co2e_mg: int = 0
    points: int = 0


@dataclass
class BrandTotal:
    """A brand's points, and in millionths of a euro what it is owed and owes."""

    issued: int = 0
    spent: int = 0
    expired: int = 0
    accepted: int = 0
    receivable_micros: int = 0
    payable_micros: int = 0

    @property
    def outstanding(self) -> int:
        """Issued, and neither spent nor expired."""
        return self.issued - self.spent - self.expired

    @property
    def net_micros(self) -> int:
        """What it gets (positive) or pays."""
        return self.receivable_micros - self.payable_micros


@dataclass(frozen=True)
class Lot:
    """Points of one issuer with one expiry in one wallet."""

    issuer: str
    points: int
    expires_at: datetime
    unit_value_micros: int


@dataclass
class Reckoning:
    """The outcome of a plan."""

    kinds: dict[Kind, KindTotal] = field(default_factory=lambda: defaultdict(KindTotal))
    brands: dict[str, BrandTotal] = field(default_factory=lambda: defaultdict(BrandTotal))
    # Claims by the brand whose report made them, with their milligrams.
    claims_of: dict[str, tuple[int, int]] = field(default_factory=dict)
    acts_refused: Counter[str] = field(default_factory=Counter)
    earnings_refused: Counter[str] = field(default_factory=Counter)
    items_accepted: int = 0
    items_duplicate: int = 0
    items_invalid: int = 0
    batches_forged: int = 0
    # Each member's points that have not expired, earliest expiry first.
    wallets: dict[str, list[Lot]] = field(default_factory=lambda: defaultdict(list))
    # Members whose points hang on who was served first; the totals do not.
    uncertain: set[str] = field(default_factory=set)

    @property
    def claims(self) -> int:
        """Acts that were credited."""
        return sum(kind.claims for kind in self.kinds.values())

    @property
    def co2e_mg(self) -> int:
        """Milligrams that they avoided."""
        return sum(kind.co2e_mg for kind in self.kinds.values())

    def points(self, what: str) -> int:
        """The sum over all brands of `issued`, `spent`, `expired`, `outstanding` or `accepted`."""
        return sum(getattr(brand, what) for brand in self.brands.values())

    def balance(self, member: str) -> int:
        """What a member can spend."""
        return sum(lot.points for lot in self.wallets[member])


@dataclass(frozen=True)
class _Claim:
    brand: str
    member: str
    kind: Kind
    quantity: int
    occurred_at: datetime


def reckon(plan: Plan) -> Reckoning:
    """The outcome of the whole plan."""
    result = Reckoning()
    claims = [*_drop_offs(plan, result), *_reports(plan, result)]
    _count(claims, result)
    _earn(plan, claims, result)
    _spend(plan, result)
    return result


def factor(kind: Kind, at: datetime) -> int:
    """Micrograms per unit, by the factor in force when the act happened."""
    rows = [row for row in FACTORS if row.kind == kind and row.valid_from <= at.date()]
    return max(rows, key=lambda row: row.valid_from).avoided_ug_per_unit


def spelled_alike(reference: str) -> str:
    """A ticket's number without what a person may change about it."""
    return "".join(character for character in reference.casefold() if character.isalnum())


def is_bad(item: Item) -> bool:
    """Whether a machine could not have weighed this."""
    return item.material != "REUSABLE_BOX" and item.weight_grams <= 0


def _drop_offs(plan: Plan, result: Reckoning) -> Iterable[_Claim]:
    brand_of = {place.key: place.brand for place in plan.places}
    for batch in plan.batches:
        bad = sum(is_bad(item) for item in batch.items)
        if batch.fate == "FORGED":
            result.batches_forged += 1
        elif batch.fate == "KNOWN":
            result.items_duplicate += len(batch.items)
        elif bad and batch.mode == "ROLLBACK":
            result.items_invalid += bad
        else:
            result.items_invalid += bad
            for item in batch.items:
                if not is_bad(item):
                    result.items_accepted += 1
                    yield _claim_of(item, brand_of[batch.machine], result)


def _claim_of(item: Item, brand: str, result: Reckoning) -> _Claim:
    kind = KIND_OF_MATERIAL[item.material]
    result.kinds[kind].acts += 1
    quantity = 1 if item.material == "REUSABLE_BOX" else item.weight_grams
    return _Claim(brand, item.member, kind, quantity, item.occurred_at)


def _reports(plan: Plan, result: Reckoning) -> Iterable[_Claim]:
    known: set[tuple[object, ...]] = set()
    used: Counter[tuple[str, Kind, date]] = Counter()
    for report in plan.reports():
        result.kinds[report.kind].acts += 1
        if reason := _refusal(plan, report, known, used):
            result.acts_refused[reason] += 1
        else:
            yield _Claim(report.brand, report.member, report.kind, report.quantity, report.occurred_at)


def _refusal(
    plan: Plan, report: Report, known: set[tuple[object, ...]], used: Counter[tuple[str, Kind, date]]
) -> str | None:
    if not report.member:
        return "CUSTOMER_NOT_LINKED"
    if (plan.scale.day - report.occurred_at.date()).days > 400:
        return "OCCURRED_TOO_LONG_AGO"
    second = report.occurred_at.replace(microsecond=0)
    same = spelled_alike(report.reference) if report.reference else (second, report.quantity)
    if (report.kind, report.member, same) in known:
        return "DUPLICATE_ACT"
    today = (report.member, report.kind, report.occurred_at.astimezone(UTC).date())
    use = report.quantity if report.kind in CAPPED_BY_PIECE else 1
    if used[today] + use > DAILY_CAPS[report.kind]:
        return "DAILY_CAP_REACHED"
    known.add((report.kind, report.member, same))
    used[today] += use
    return None


def _count(claims: Iterable[_Claim], result: Reckoning) -> None:
    for claim in claims:
        co2e_mg = claim.quantity * factor(claim.kind, claim.occurred_at) // 1000
        total = result.kinds[claim.kind]
        total.claims += 1
        total.co2e_mg += co2e_mg
        number, so_far = result.claims_of.get(claim.brand, (0, 0))
        result.claims_of[claim.brand] = (number + 1, so_far + co2e_mg)


def _earn(plan: Plan, claims: list[_Claim], result: Reckoning) -> None:
    midnight = datetime(plan.scale.day.year, plan.scale.day.month, plan.scale.day.day, tzinfo=UTC)
    agreements = {agreement.brand: agreement for agreement in plan.agreements}
    left = {agreement.brand: agreement.block_points for agreement in plan.agreements}
    given: Counter[tuple[str, str]] = Counter()
    by_brand: dict[str, set[str]] = defaultdict(set)
    short: set[str] = set()
    lots: dict[tuple[str, str, datetime], int] = Counter()
    for claim in claims:
        by_brand[claim.brand].add(claim.member)
        rule = _rule_in_force(plan, claim)
        if rule is None:
            result.earnings_refused["NO_EARN_RULE"] += 1
            continue
        points = claim.quantity * rule.points // rule.per_quantity
        expires_at = month_end(claim.occurred_at, rule.valid_months)
        grants = [(points, expires_at)] if expires_at > midnight else []
        for campaign in _campaigns_in_force(plan, claim):
            if campaign.points_expire_at <= midnight:
                continue
            room = campaign.member_cap_points - given[campaign.key, claim.member]
            extra = min(points * campaign.extra_percent // 100, room)
            given[campaign.key, claim.member] += extra
            grants.append((extra, campaign.points_expire_at))
        total = sum(amount for amount, _ in grants)
        if points and total == 0:
            result.earnings_refused["POINTS_OVER_ALREADY"] += 1
        elif total == 0:
            result.earnings_refused["RULE_GIVES_ZERO"] += 1
        elif total > left[claim.brand]:
            result.earnings_refused["PREPAID_BLOCK_EXHAUSTED"] += 1
            short.add(claim.brand)
        else:
            left[claim.brand] -= total
            result.kinds[claim.kind].points += total
            result.brands[claim.brand].issued += total
            for amount, expires_at in grants:
                lots[claim.member, claim.brand, expires_at] += amount
    for (member, brand, expires_at), points in lots.items():
        if points:
            result.wallets[member].append(Lot(brand, points, expires_at, agreements[brand].unit_value_micros))
    for wallet in result.wallets.values():
        wallet.sort(key=lambda lot: (lot.expires_at, lot.issuer))
    result.uncertain = {member for brand in short for member in by_brand[brand]}


def _rule_in_force(plan: Plan, claim: _Claim) -> Rule | None:
    rules = [
        rule
        for rule in plan.rules
        if rule.brand == claim.brand and rule.kind == claim.kind and rule.valid_from <= claim.occurred_at
    ]
    return max(rules, key=lambda rule: rule.valid_from, default=None)


def _campaigns_in_force(plan: Plan, claim: _Claim) -> list[Campaign]:
    return [
        campaign
        for campaign in plan.campaigns
        if campaign.brand == claim.brand
        and campaign.kind == claim.kind
        and campaign.valid_from <= claim.occurred_at < campaign.valid_until
    ]


def month_end(at: datetime, months: int) -> datetime:
    """The end (exclusive) of the month that is so many months after the one of `at`, in UTC."""
    month = at.year * 12 + at.month - 1 + months + 1
    return datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)


def _spend(plan: Plan, result: Reckoning) -> None:
    for spend in plan.spends:
        if spend.refused or spend.captured is None:
            continue
        creditor = plan.reward(spend.reward).brand
        left = spend.captured
        wallet = result.wallets[spend.member]
        while left:
            lot = wallet.pop(0)
            used = min(left, lot.points)
            left -= used
            if used < lot.points:
                wallet.insert(0, replace(lot, points=lot.points - used))
            result.brands[lot.issuer].spent += used
            result.brands[creditor].accepted += used
            if lot.issuer != creditor:
                amount = used * lot.unit_value_micros
                result.brands[lot.issuer].payable_micros += amount
                result.brands[creditor].receivable_micros += amount
