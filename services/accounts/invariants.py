"""`python -m services.accounts.invariants`: is every gram credited once, by its factor, and is the sum kept right?

Settings are those of the service, from the same environment; keys are not needed.
"""

from collections.abc import AsyncIterator, Mapping, Sequence

from services.accounts.config import Settings
from services.accounts.domain.acts import ActKind, CarbonTotal, Claim, Factor
from services.accounts.store.audit import AuditStore
from services.accounts.store.factors import FactorStore
from services.shared import invariants
from services.shared.config import database_only
from services.shared.invariants import OUTBOX, Check, Results, outbox_flows
from services.shared.mongo import Database
from services.shared.outbox import Outbox

UNIQUE, GRAMS, TOTALS = "claims_unique", "claim_grams", "carbon_totals"
NAMES = (UNIQUE, GRAMS, TOTALS, OUTBOX)


def checks(database: Database) -> Sequence[Check]:
    """All of this service's."""
    audit, factors = AuditStore(database), FactorStore(database)

    async def unique() -> str:
        if not await audit.keys_are_unique():
            return "claims have no unique index on key or on box_key: nothing keeps a gram from being credited twice"
        before = ("", "")
        async for key, id in audit.claim_keys():
            if key == before[0]:
                return f"claims {before[1]} and {id} have the same key"
            before = (key, id)
        return ""

    async def sums() -> Mapping[str, str]:
        known = {factor.id: factor for factor in await factors.factors_of(list(ActKind))}
        wrong_grams = ""
        claims = aiter(audit.claims())

        async def summed() -> AsyncIterator[CarbonTotal]:
            nonlocal wrong_grams
            total = CarbonTotal("")
            async for claim in claims:
                wrong_grams = wrong_grams or grams_of(claim, known.get(claim.factor_id))
                if claim.member_id != total.member_id:
                    if total.claims:
                        yield total
                    total = CarbonTotal(claim.member_id)
                total = CarbonTotal(claim.member_id, total.claims + 1, total.co2e_mg + claim.co2e_mg)
            if total.claims:
                yield total

        wrong_total = ""
        async for member_id in _differences(summed(), audit.totals()):
            # The two were read at different moments: a claim may have come between.
            of_claims, kept = await audit.sum_and_total(member_id)
            if of_claims != kept and not wrong_total:
                wrong_total = (
                    f"member {member_id}: {of_claims.claims} claims sum to {of_claims.co2e_mg} mg, "
                    f"kept are {kept.claims} and {kept.co2e_mg} mg"
                )
        return {GRAMS: wrong_grams, TOTALS: wrong_total}

    return (invariants.one(UNIQUE, unique), Check((GRAMS, TOTALS), sums), outbox_flows(Outbox(database)))


def grams_of(claim: Claim, factor: Factor | None) -> str:
    """What is wrong with a claim's grams, by the factor that it names."""
    if factor is None:
        return f"claim {claim.id}: there is no factor {claim.factor_id}"
    if factor.kind != claim.kind:
        return f"claim {claim.id}: factor {factor.id} is for {factor.kind}, not {claim.kind}"
    expected = factor.avoided_mg(claim.quantity)
    return "" if claim.co2e_mg == expected else f"claim {claim.id}: {claim.co2e_mg} mg, by its factor {expected} mg"


async def _differences(ours: AsyncIterator[CarbonTotal], kept: AsyncIterator[CarbonTotal]) -> AsyncIterator[str]:
    """The members of whom two lists, each by member, say different things."""
    left, right = await anext(ours, None), await anext(kept, None)
    while left is not None or right is not None:
        if left is not None and right is not None and left.member_id == right.member_id:
            if left != right:
                yield left.member_id
            left, right = await anext(ours, None), await anext(kept, None)
        elif right is None or (left is not None and left.member_id < right.member_id):
            assert left is not None  # noqa: S101
            yield left.member_id
            left = await anext(ours, None)
        else:
            yield right.member_id
            right = await anext(kept, None)


async def _run() -> int:
    database = invariants.database_of(database_only(Settings))
    try:
        return await invariants.check("accounts", checks(database), Results(database))
    finally:
        database.close()


if __name__ == "__main__":
    invariants.main(_run)
