"""A day as if it had been played: what the alliance would answer if it did everything right."""

from collections import Counter
from datetime import date

from deploy.local.day.acting import Answers
from deploy.local.day.doors import Traffic
from deploy.local.day.plan import Plan, Scale
from deploy.local.day.planner import make_plan
from deploy.local.day.play import Outcome
from deploy.local.day.reckoning import Reckoning, reckon
from deploy.local.day.spending import Spent

DAY = Scale(seed=2026, day=date(2026, 3, 4))
SMALL = Scale(seed=2026, day=date(2026, 3, 4), members=40, acts=200)


def as_reckoned(scale: Scale = SMALL) -> Outcome:
    """The outcome that meets every expectation of the plan."""
    plan = make_plan(scale)
    result = reckon(plan)
    spent = Spent(
        captured=sum(spend.captured is not None for spend in plan.spends),
        voided=sum(not spend.refused and spend.captured is None for spend in plan.spends),
        refused=sum(spend.refused for spend in plan.spends),
        members_looked=20,
        brands_let_in=17,
        brands_kept_out=12,
    )
    return Outcome(
        plan=plan,
        answers=_answers(plan, result),
        spent=spent,
        settlement=_settlement(plan, result),
        report=_report(plan, result),
        traffic=Traffic(answered=1_234, retried=0),
        seconds=20.0,
        startup_seconds=5.0,
    )


def _answers(plan: Plan, result: Reckoning) -> Answers:
    return Answers(
        acts=Counter({"CREDITED": result.claims - result.items_accepted, **result.acts_refused}),
        items=Counter(
            ACCEPTED=result.items_accepted,
            DUPLICATE=result.items_duplicate,
            INVALID=result.items_invalid,
            ROLLED_BACK=sum(len(batch.items) - 1 for batch in plan.batches if batch.fate == "NOT"),
            ANSWERED_AGAIN=sum(len(batch.items) for batch in plan.batches if batch.fate == "TWICE"),
        ),
        forged_refused=result.batches_forged,
    )


def _settlement(plan: Plan, result: Reckoning) -> dict[str, object]:
    return {
        "id": "settlement_01",
        "number": 1,
        "lineCount": 33,
        "linesHash": "ab" * 32,
        "positions": [
            {"partner": key, "net": {"micros": total.net_micros}, "due": {"micros": total.net_micros}}
            for key, total in result.brands.items()
        ],
    }


def _report(plan: Plan, result: Reckoning) -> dict[str, object]:
    return {
        "acts": {
            "claims": result.claims,
            "co2eMg": result.co2e_mg,
            "kinds": [
                {"kind": kind, "acts": total.acts, "claims": total.claims, "co2eMg": total.co2e_mg}
                for kind, total in result.kinds.items()
            ],
            "refusals": [{"reason": reason, "acts": count} for reason, count in result.acts_refused.items()],
            "partners": [
                {"partner": key, "claims": claims, "co2eMg": co2e_mg}
                for key, (claims, co2e_mg) in result.claims_of.items()
            ],
        },
        "dropOffs": {
            "accepted": result.items_accepted,
            "duplicates": result.items_duplicate,
            "invalid": result.items_invalid,
            "batchesRefused": 1,
        },
        "earnings": {
            "kinds": [
                {"kind": kind, "earnings": total.claims, "points": total.points} for kind, total in result.kinds.items()
            ],
            "refusals": [{"reason": reason, "earnings": count} for reason, count in result.earnings_refused.items()],
        },
        "partners": [
            {
                "partner": brand.key,
                "allotted": 1_000_000,
                "allotmentLeft": 1_000_000 - result.brands[brand.key].issued,
                "issued": result.brands[brand.key].issued,
                "cancelled": 0,
                "spent": result.brands[brand.key].spent,
                "expired": result.brands[brand.key].expired,
                "outstanding": result.brands[brand.key].outstanding,
                "accepted": result.brands[brand.key].accepted,
                "liability": {
                    "currency": "EUR",
                    "micros": result.brands[brand.key].outstanding * brand.unit_value_micros,
                },
            }
            for brand in plan.brands
        ],
        "ledger": {"clean": True, "finding": None, "entries": 4_321, "members": 40},
    }
