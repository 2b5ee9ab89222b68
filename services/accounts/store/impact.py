"""What the alliance has avoided in all, kept as claims are stored.

Each transaction adds to one of several counters, whichever comes: one counter for all would be a document that every
write of the alliance waits for. The sum of all counters is right whenever it is read, and costs the same for ever.
"""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from services.accounts.domain.acts import ActKind, Claim, KindImpact
from services.shared.mongo import Collection, Database, Document, Indexes, Transaction, racing

COUNTERS = "impact"
INDEXES: Indexes = {COUNTERS: []}
_COUNTERS = 64
# What had been claimed before there were counters; there for ever once it has been worked out.
_BEFORE = "before"


class ImpactStore:
    """The counters."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counters: Collection = database[COUNTERS]
        self._claims: Collection = database["claims"]

    async def prepare(self) -> None:
        """Once, at the first start on a database: counts the claims that are not in the counters. Reads them all."""

        async def body(tx: Transaction) -> None:
            if await self._counters.find_one({"_id": _BEFORE}, {"_id": 1}, session=tx.session):
                return
            rows = self._claims.find(
                {}, {"kind": 1, "co2e_mg": 1}, session=tx.session, comment="scan: once, when the counters are made"
            )
            claims, co2e_mg = Counter[str](), Counter[str]()
            async for row in rows:
                claims[row["kind"]] += 1
                co2e_mg[row["kind"]] += row["co2e_mg"]
            async for row in self._counters.find({}, session=tx.session, comment="scan: few rows"):
                claims.subtract(row["claims"])
                co2e_mg.subtract(row["co2e_mg"])
            with racing():
                await self._counters.insert_one(
                    {"_id": _BEFORE, "claims": dict(claims), "co2e_mg": dict(co2e_mg)}, session=tx.session
                )

        await self._database.transaction(body)

    async def add(self, tx: Transaction, claims: Sequence[Claim]) -> None:
        """Counts new claims, in the transaction that stores them."""
        sums: Counter[str] = Counter()
        for claim in claims:
            sums[f"claims.{claim.kind}"] += 1
            sums[f"co2e_mg.{claim.kind}"] += claim.co2e_mg
        await self._counters.update_one(
            {"_id": random.randrange(_COUNTERS)}, {"$inc": dict(sums)}, upsert=True, session=tx.session
        )

    async def total(self) -> list[KindImpact]:
        """By kind, those of which there are any."""
        rows = [row async for row in self._counters.find({}, comment="scan: as many rows as counters")]
        claims, co2e_mg = _sum(row["claims"] for row in rows), _sum(row["co2e_mg"] for row in rows)
        return [KindImpact(kind, claims[kind], co2e_mg[kind]) for kind in ActKind if claims[kind]]


def _sum(parts: Iterable[Document]) -> Counter[Any]:
    total: Counter[Any] = Counter()
    for part in parts:
        total.update(part)
    return total
