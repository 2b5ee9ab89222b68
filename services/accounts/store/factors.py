"""The factor catalogue, on MongoDB. Rows are added, never changed."""

from collections.abc import Collection as Some
from collections.abc import Sequence
from dataclasses import asdict

from pymongo import IndexModel
from pymongo.errors import DuplicateKeyError

from services.accounts.domain.acts import ActKind, Factor
from services.shared.mongo import Database, Document, Indexes, Transaction

INDEXES: Indexes = {"factors": [IndexModel([("kind", 1), ("version", 1)], unique=True)]}


class FactorStore:
    """The catalogue."""

    def __init__(self, database: Database) -> None:
        self._factors = database["factors"]

    async def seed(self, factors: Sequence[Factor]) -> None:
        """Adds those that are not there yet; safe in several replicas at once.

        ValueError if a row that is there says something else: claims rest on it, so that a new figure needs a new
        version.
        """
        known = {factor.id: factor for factor in await self.factors([factor.id for factor in factors])}
        for factor in factors:
            if factor.id not in known:
                known[factor.id] = await self._add(factor)
            if known[factor.id] != factor:
                raise ValueError(f"the factor {factor.id} is not what it was; add a new version instead")

    async def _add(self, factor: Factor) -> Factor:
        row = asdict(factor)
        try:
            await self._factors.insert_one({"_id": row.pop("id"), **row})
        except DuplicateKeyError as error:
            # Another replica was first; or the version's number is taken, and then nothing is found.
            found = await self.factors([factor.id])
            if not found:
                message = f"{factor.kind} has a version {factor.version} already; {factor.id} needs its own"
                raise ValueError(message) from error
            return found[0]
        return factor

    async def factors(self, ids: Some[str]) -> list[Factor]:
        """Those found."""
        return [_factor(row) async for row in self._factors.find({"_id": {"$in": list(ids)}})]

    async def factors_of(self, kinds: Some[ActKind], tx: Transaction | None = None) -> list[Factor]:
        """All versions of these kinds, by kind and start of validity."""
        session = tx.session if tx else None
        rows = self._factors.find({"kind": {"$in": [kind.value for kind in kinds]}}, session=session)
        found = [_factor(row) async for row in rows]
        order = list(ActKind)
        return sorted(found, key=lambda factor: (order.index(factor.kind), factor.valid_from, factor.version))


def _factor(row: Document) -> Factor:
    return Factor(
        id=row["_id"],
        kind=ActKind(row["kind"]),
        version=row["version"],
        avoided_ug_per_unit=row["avoided_ug_per_unit"],
        unit=row["unit"],
        baseline=row["baseline"],
        source=row["source"],
        region=row["region"],
        grade=row["grade"],
        valid_from=row["valid_from"],
    )
