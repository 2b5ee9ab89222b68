"""The day in words and figures for people, made once for the terminal and for the page."""

from dataclasses import dataclass
from typing import Any

from deploy.local.day.checks import Check, summary
from deploy.local.day.play import Outcome

KIND_NAMES = {
    "METRO_TRIP": "Metro trips",
    "BUS_TRIP": "Bus trips",
    "LIGHT_RAIL_TRIP": "Light rail trips",
    "PET_RECYCLING": "PET recycled",
    "CARDBOARD_RECYCLING": "Cardboard recycled",
    "BOX_REUSE": "Boxes used again",
    "ELECTRONIC_BILL": "Electronic bills",
    "OWN_CUP": "Own cups",
}
_WHY = {
    "DAILY_CAP_REACHED": "more of a kind than counts on one day",
    "DUPLICATE_ACT": "the same act again, by the same brand or another",
    "CUSTOMER_NOT_LINKED": "a customer number that no member has linked",
    "OCCURRED_TOO_LONG_AGO": "more than 400 days back",
    "NO_EARN_RULE": "grams but no points: the brand had no rule then",
    "POINTS_OVER_ALREADY": "grams but no points: they would have expired already",
    "RULE_GIVES_ZERO": "grams but no points: too little for one point",
    "PREPAID_BLOCK_EXHAUSTED": "grams but no points: the brand's prepaid block was used up",
    "DUPLICATE_ITEM": "a drop-off that was known already",
    "INVALID_ITEM": "a record that no scale could have made",
    "SIGNATURE_INVALID": "a batch signed by somebody else's key",
    "INSUFFICIENT_POINTS": "a reward beyond the member's balance",
    "CONSENT_REQUIRED": "a brand that the member did not let in",
}


@dataclass(frozen=True)
class BrandRow:
    """A brand's points, and in euros what it owes for outstanding points and what it gets (positive) or pays."""

    name: str
    trade: str
    issued: int
    spent: int
    expired: int
    outstanding: int
    accepted: int
    liability: float
    net: float


@dataclass(frozen=True)
class KindRow:
    """A kind of act."""

    name: str
    acts: int
    claims: int
    grams: float
    points: int


@dataclass(frozen=True)
class RefusalRow:
    """What was refused, how often and why."""

    reason: str
    count: int
    why: str


@dataclass(frozen=True)
class Account:
    """Everything that the report shows."""

    date: str
    members: int
    places: tuple[str, ...]
    brands: tuple[BrandRow, ...]
    kinds: tuple[KindRow, ...]
    refusals: tuple[RefusalRow, ...]
    checks: tuple[Check, ...]
    summary: dict[str, Any]
    acts: int
    kilograms: float
    settlement_number: int
    settlement_lines: int
    lines_hash: str
    ledger_entries: int
    ledger_finding: str
    retried: int

    @property
    def unmet(self) -> tuple[Check, ...]:
        """The expectations that did not come true."""
        return tuple(check for check in self.checks if not check.met)

    @property
    def ledger(self) -> str:
        """The ledger's check in a few words."""
        return f"clean, {self.ledger_entries:,} entries" if not self.ledger_finding else self.ledger_finding


def account(outcome: Outcome, checked: list[Check]) -> Account:
    """The account of a day."""
    report, settlement = outcome.report, outcome.settlement
    kinds = tuple(sorted(_kinds(report), key=lambda row: -row.grams))
    return Account(
        date=f"{outcome.plan.scale.day:%A %-d %B %Y}",
        members=len(outcome.plan.members),
        places=tuple(place.name for place in outcome.plan.places),
        brands=tuple(_brands(outcome)),
        kinds=kinds,
        refusals=tuple(sorted(_refusals(outcome), key=lambda row: (-row.count, row.reason))),
        checks=tuple(checked),
        summary=summary(outcome),
        acts=sum(row.acts for row in kinds),
        kilograms=report["acts"]["co2eMg"] / 1e6,
        settlement_number=settlement["number"],
        settlement_lines=settlement["lineCount"],
        lines_hash=settlement["linesHash"],
        ledger_entries=report["ledger"]["entries"],
        ledger_finding="" if report["ledger"]["clean"] else report["ledger"]["finding"] or "not clean",
        retried=outcome.traffic.retried,
    )


def _brands(outcome: Outcome) -> list[BrandRow]:
    points = {row["partner"]: row for row in outcome.report["partners"]}
    nets = {row["partner"]: row["net"]["micros"] for row in outcome.settlement["positions"]}
    rows = []
    for brand in outcome.plan.brands:
        row = points[brand.key]
        rows.append(
            BrandRow(
                name=brand.name,
                trade=brand.trade,
                issued=row["issued"],
                spent=row["spent"],
                expired=row["expired"],
                outstanding=row["outstanding"],
                accepted=row["accepted"],
                liability=(row["liability"] or {"micros": 0})["micros"] / 1e6,
                net=nets.get(brand.key, 0) / 1e6,
            )
        )
    return rows


def _kinds(report: dict[str, Any]) -> list[KindRow]:
    points = {row["kind"]: row["points"] for row in report["earnings"]["kinds"]}
    return [
        KindRow(KIND_NAMES[row["kind"]], row["acts"], row["claims"], row["co2eMg"] / 1_000, points.get(row["kind"], 0))
        for row in report["acts"]["kinds"]
        if row["acts"]
    ]


def _refusals(outcome: Outcome) -> list[RefusalRow]:
    counts = {row["reason"]: row["acts"] for row in outcome.report["acts"]["refusals"]}
    counts |= {row["reason"]: row["earnings"] for row in outcome.report["earnings"]["refusals"]}
    counts |= {
        "DUPLICATE_ITEM": outcome.answers.items["DUPLICATE"],
        "INVALID_ITEM": outcome.answers.items["INVALID"],
        "SIGNATURE_INVALID": outcome.answers.forged_refused,
        "INSUFFICIENT_POINTS": outcome.spent.refused,
        "CONSENT_REQUIRED": outcome.spent.brands_kept_out,
    }
    return [RefusalRow(reason, count, _WHY.get(reason, "")) for reason, count in counts.items() if count]
