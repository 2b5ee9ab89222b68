"""Whether the day came out as it had to: what was seen against what was reckoned, and the JSON line that sums it up."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from deploy.local.day.play import Outcome
from deploy.local.day.reckoning import Reckoning


@dataclass(frozen=True)
class Check:
    """One expectation of the day."""

    what: str
    expected: Any
    actual: Any

    @property
    def met(self) -> bool:
        """Whether it came out so."""
        return bool(self.expected == self.actual)


def checks(outcome: Outcome, reckoning: Reckoning) -> list[Check]:
    """All expectations, met or not."""
    return [
        *_acts(outcome, reckoning),
        *_machines(outcome, reckoning),
        *_points(outcome, reckoning),
        *_evening(outcome),
        *_settlement(outcome, reckoning),
    ]


def summary(outcome: Outcome) -> dict[str, Any]:
    """The figures of the day, as they are printed in the last line."""
    report = outcome.report
    points = report["partners"]
    return {
        "claims": report["acts"]["claims"],
        "claimed_mg": report["acts"]["co2eMg"],
        "points_issued": _sum(points, "issued"),
        "points_spent": _sum(points, "spent"),
        "points_expired": _sum(points, "expired"),
        "points_outstanding": _sum(points, "outstanding"),
        "net_sum": sum(position["net"]["micros"] for position in outcome.settlement["positions"]),
        "duplicates_refused": outcome.answers.acts["DUPLICATE_ACT"] + outcome.answers.items["DUPLICATE"],
        "capped_refused": outcome.answers.acts["DAILY_CAP_REACHED"],
        "forged_refused": outcome.answers.forged_refused,
        "overspends_refused": outcome.spent.refused,
        "ledger_entries": report["ledger"]["entries"],
        "ledger_clean": report["ledger"]["clean"],
        "startup_seconds": round(outcome.startup_seconds, 2),
        "seconds": round(outcome.seconds, 2),
        "operations": outcome.traffic.answered,
        "operations_per_second": round(outcome.operations_per_second, 1),
    }


def _acts(outcome: Outcome, reckoning: Reckoning) -> Iterator[Check]:
    acts = outcome.report["acts"]
    yield Check("claims", reckoning.claims, acts["claims"])
    yield Check("milligrams avoided", reckoning.co2e_mg, acts["co2eMg"])
    yield Check("the total is the sum over kinds", acts["co2eMg"], _sum(acts["kinds"], "co2eMg"))
    yield Check("the total is the sum over brands' reports", acts["co2eMg"], _sum(acts["partners"], "co2eMg"))
    yield Check(
        "acts, claims and milligrams by kind",
        {kind: (total.acts, total.claims, total.co2e_mg) for kind, total in sorted(reckoning.kinds.items())},
        {row["kind"]: (row["acts"], row["claims"], row["co2eMg"]) for row in _by(acts["kinds"], "kind") if row["acts"]},
    )
    yield Check(
        "claims and milligrams by brand",
        dict(sorted(reckoning.claims_of.items())),
        {row["partner"]: (row["claims"], row["co2eMg"]) for row in _by(acts["partners"], "partner") if row["claims"]},
    )
    refused = dict(sorted(reckoning.acts_refused.items()))
    yield Check("acts refused, by reason", refused, {row["reason"]: row["acts"] for row in _by(acts["refusals"])})
    told = {reason: count for reason, count in sorted(outcome.answers.acts.items()) if reason != "CREDITED"}
    yield Check("refusals that brands were told", refused, told)


def _machines(outcome: Outcome, reckoning: Reckoning) -> Iterator[Check]:
    stored, told, batches = outcome.report["dropOffs"], outcome.answers.items, outcome.plan.batches
    yield Check("drop-offs stored", reckoning.items_accepted, stored["accepted"])
    found = (stored["duplicates"], stored["invalid"])
    yield Check("known and invalid items counted", (reckoning.items_duplicate, reckoning.items_invalid), found)
    yield Check("drop-offs accepted, machines were told", reckoning.items_accepted, told["ACCEPTED"])
    yield Check("known drop-offs, machines were told", reckoning.items_duplicate, told["DUPLICATE"])
    yield Check("invalid items, machines were told", reckoning.items_invalid, told["INVALID"])
    rolled_back = sum(len(batch.items) - 1 for batch in batches if batch.fate == "NOT")
    yield Check("items rolled back, machines were told", rolled_back, told["ROLLED_BACK"])
    again = sum(len(batch.items) for batch in batches if batch.fate == "TWICE")
    yield Check("items of replayed batches, answered as before", again, told["ANSWERED_AGAIN"])
    yield Check("forged batches refused", reckoning.batches_forged, outcome.answers.forged_refused)


def _points(outcome: Outcome, reckoning: Reckoning) -> Iterator[Check]:
    earnings, partners = outcome.report["earnings"], outcome.report["partners"]
    yield Check(
        "points by kind",
        {kind: total.points for kind, total in sorted(reckoning.kinds.items()) if total.points},
        {row["kind"]: row["points"] for row in _by(earnings["kinds"], "kind") if row["points"]},
    )
    yield Check(
        "claims without points, by reason",
        dict(sorted(reckoning.earnings_refused.items())),
        {row["reason"]: row["earnings"] for row in _by(earnings["refusals"])},
    )
    for what in ("issued", "spent", "expired", "outstanding", "accepted"):
        yield Check(
            f"points {what} by brand",
            {key: getattr(total, what) for key, total in sorted(reckoning.brands.items())},
            {row["partner"]: row[what] for row in _by(partners, "partner")},
        )
    for row in _by(partners, "partner"):
        parts = row["cancelled"] + row["spent"] + row["expired"] + row["outstanding"]
        yield Check(f"{row['partner']}: issued = cancelled + spent + expired + outstanding", row["issued"], parts)
    over = sum(row["earnings"] for row in earnings["refusals"] if row["reason"] == "POINTS_OVER_ALREADY")
    yield Check("some acts came so late that their points would have expired already", True, over > 0)
    ledger = outcome.report["ledger"]
    yield Check("the ledger's own check", (True, ""), (ledger["clean"], ledger["finding"] or ""))


def _evening(outcome: Outcome) -> Iterator[Check]:
    spends, spent = outcome.plan.spends, outcome.spent
    yield Check("vouchers captured", sum(spend.captured is not None for spend in spends), spent.captured)
    yield Check("redemptions given up", sum(not s.refused and s.captured is None for s in spends), spent.voided)
    yield Check("attempts beyond the balance refused", sum(spend.refused for spend in spends), spent.refused)
    yield Check("consent lets brands in and keeps brands out", True, spent.brands_let_in * spent.brands_kept_out > 0)


def _settlement(outcome: Outcome, reckoning: Reckoning) -> Iterator[Check]:
    positions = _by(outcome.settlement["positions"], "partner")
    yield Check("net positions sum to zero", 0, sum(position["net"]["micros"] for position in positions))
    yield Check("amounts due sum to zero", 0, sum(position["due"]["micros"] for position in positions))
    yield Check(
        "net position by brand, in millionths of a euro",
        {key: total.net_micros for key, total in sorted(reckoning.brands.items()) if total.net_micros},
        {p["partner"]: p["net"]["micros"] for p in positions if p["net"]["micros"]},
    )


def _sum(rows: list[dict[str, Any]], what: str) -> int:
    return sum(row[what] for row in rows)


def _by(rows: list[dict[str, Any]], name: str = "reason") -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: str(row[name]))
