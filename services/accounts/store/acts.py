"""Acts, claims, caps in use and carbon totals, on MongoDB."""

from collections import Counter
from collections.abc import Collection as Some
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, time
from typing import Any

from pymongo import IndexModel, UpdateOne

from services.accounts.domain.acts import Act, ActCount, ActKind, ActStatus, CarbonTotal, Claim, ClaimSum
from services.accounts.domain.caps import CapKey
from services.accounts.domain.decisions import OLDEST_ACT, Decision, Report
from services.accounts.store.impact import ImpactStore
from services.shared.mongo import Database, Document, Indexes, LostRace, Transaction, racing
from services.shared.pages import Between, Page, PageQuery, find_page

_KEEP_CAPS_SECONDS = int(OLDEST_ACT.total_seconds()) + 2 * 86_400
_KINDS = [kind.value for kind in ActKind]

INDEXES: Indexes = {
    "acts": [
        IndexModel([("event_id", 1)], unique=True, sparse=True),
        IndexModel([("drop_off_id", 1)], sparse=True),
        IndexModel([("member_id", 1), ("_id", 1)]),
        IndexModel([("partner_id", 1), ("_id", 1)]),
        IndexModel([("partner_id", 1), ("status", 1), ("_id", 1)]),
        IndexModel([("kind", 1), ("reason", 1)]),
    ],
    "claims": [
        IndexModel([("key", 1)], unique=True),
        IndexModel([("box_key", 1)], unique=True, sparse=True),
        IndexModel([("member_id", 1), ("_id", 1)]),
        IndexModel([("partner_id", 1), ("_id", 1)]),
        IndexModel([("kind", 1), ("partner_id", 1), ("co2e_mg", 1)]),
    ],
    # An act of a day can come in for OLDEST_ACT; after that nobody asks for the counter.
    "daily_caps": [IndexModel([("day", 1)], expireAfterSeconds=_KEEP_CAPS_SECONDS)],
}


class ActStore:
    """Acts and the claims that they made. Both are only ever added to."""

    def __init__(self, database: Database, impact: ImpactStore) -> None:
        self._impact = impact
        self._acts = database["acts"]
        self._claims = database["claims"]
        self._caps = database["daily_caps"]
        self._totals = database["carbon_totals"]

    async def claim_ids(self, tx: Transaction, reports: Some[Report]) -> dict[str, str]:
        """The ids of the claims with keys of these reports, by key."""
        found: dict[str, str] = {}
        wanted = {"key": {report.key for report in reports}, "box_key": {report.box_key for report in reports} - {""}}
        for field, keys in wanted.items():
            if keys:
                rows = self._claims.find({field: {"$in": list(keys)}}, {field: 1}, session=tx.session)
                found |= {row[field]: row["_id"] async for row in rows}
        return found

    async def caps_used(self, tx: Transaction, caps: Some[CapKey]) -> dict[CapKey, int]:
        """How much of these caps is used, where anything is."""
        by_id = {_cap_id(cap): cap for cap in caps}
        rows = self._caps.find({"_id": {"$in": list(by_id)}}, session=tx.session)
        return {by_id[row["_id"]]: row["used"] async for row in rows}

    async def acts_of_events(self, tx: Transaction, event_ids: Some[str]) -> dict[str, Act]:
        """The acts that these events have made already, by event."""
        rows = self._acts.find({"event_id": {"$in": list(event_ids)}}, session=tx.session)
        return {row["event_id"]: _act(row) async for row in rows}

    async def record(self, tx: Transaction, decision: Decision, used_before: Mapping[CapKey, int]) -> None:
        """Stores a decision whole; LostRace if what it rests on has changed meanwhile."""
        await self._use_caps(tx, decision.used, used_before)
        with racing():
            if decision.claims:
                await self._claims.insert_many([_claim_row(claim) for claim in decision.claims], session=tx.session)
                await self._add_to_totals(tx, decision.claims)
                await self._impact.add(tx, decision.claims)
            if decision.acts:
                await self._acts.insert_many([_act_row(act) for act in decision.acts], session=tx.session)

    async def _use_caps(self, tx: Transaction, used: Mapping[CapKey, int], before: Mapping[CapKey, int]) -> None:
        # A counter that is not there is one of 0: then the update inserts it, unless somebody else just has. One that
        # is there must still be what was read.
        updates = [
            UpdateOne(
                {"_id": _cap_id(cap), "used": before.get(cap, 0)},
                {"$set": {"used": now_used, "day": datetime.combine(cap.day, time(), UTC)}},
                upsert=cap not in before,
            )
            for cap, now_used in sorted(used.items())
        ]
        if not updates:
            return
        with racing():
            done = await self._caps.bulk_write(updates, session=tx.session)
        if done.matched_count + done.upserted_count != len(updates):
            raise LostRace

    async def _add_to_totals(self, tx: Transaction, claims: Sequence[Claim]) -> None:
        counts: Counter[str] = Counter()
        grams: Counter[str] = Counter()
        for claim in claims:
            counts[claim.member_id] += 1
            grams[claim.member_id] += claim.co2e_mg
        # In one order everywhere: two batches that meet wait for each other, they do not deadlock.
        await self._totals.bulk_write(
            [
                UpdateOne(
                    {"_id": member_id},
                    {"$inc": {"claims": counts[member_id], "co2e_mg": grams[member_id]}},
                    upsert=True,
                )
                for member_id in sorted(counts)
            ],
            session=tx.session,
        )

    async def acts(self, ids: Some[str]) -> list[Act]:
        """Those found."""
        return [_act(row) async for row in self._acts.find({"_id": {"$in": list(ids)}})]

    async def acts_of_drop_offs(self, drop_off_ids: Some[str]) -> list[Act]:
        """Those found."""
        return [_act(row) async for row in self._acts.find({"drop_off_id": {"$in": list(drop_off_ids)}})]

    async def act_page(self, member_id: str, query: PageQuery, between: Between) -> Page[Act]:
        """A member's, latest recorded first: ids sort by time."""
        return await self._act_page({"member_id": member_id}, query, between)

    async def partner_act_page(
        self, partner_id: str, status: ActStatus | None, query: PageQuery, between: Between
    ) -> Page[Act]:
        """Those of a partner, or those of them of which this came; latest recorded first."""
        in_state = {"status": status} if status else {}
        return await self._act_page({"partner_id": partner_id, **in_state}, query, between)

    async def _act_page(self, owner: Document, query: PageQuery, between: Between) -> Page[Act]:
        page = await find_page(self._acts, owner, query, order="_id", between=between)
        return Page([_act(row) for row in page.rows], page.orders, page.has_next)

    async def claims(self, ids: Some[str]) -> list[Claim]:
        """Those found."""
        return [claim_of(row) async for row in self._claims.find({"_id": {"$in": list(ids)}})]

    async def claim_page(self, member_id: str, query: PageQuery, between: Between) -> Page[Claim]:
        """A member's, latest recorded first."""
        return await self._claim_page({"member_id": member_id}, query, between)

    async def partner_claim_page(self, partner_id: str, query: PageQuery, between: Between) -> Page[Claim]:
        """Those that a partner's reports made, latest recorded first."""
        return await self._claim_page({"partner_id": partner_id}, query, between)

    async def _claim_page(self, owner: Document, query: PageQuery, between: Between) -> Page[Claim]:
        page = await find_page(self._claims, owner, query, order="_id", between=between)
        return Page([claim_of(row) for row in page.rows], page.orders, page.has_next)

    async def totals(self, member_ids: Some[str]) -> list[CarbonTotal]:
        """Of those members who have any claim."""
        rows = self._totals.find({"_id": {"$in": list(member_ids)}})
        return [CarbonTotal(row["_id"], row["claims"], row["co2e_mg"]) async for row in rows]

    # The two summaries read every row once, through an index that holds all that they need: reports for an operator,
    # 25 ms per thousand rows on the embedded server. Counters kept at each write would be faster to read, and one
    # document that every write of the alliance waits for.

    async def act_counts(self) -> list[ActCount]:
        """All acts, by kind and what came of them."""
        pipeline: list[dict[str, Any]] = [
            {"$match": {"kind": {"$in": _KINDS}}},
            {"$group": {"_id": {"kind": "$kind", "reason": "$reason"}, "acts": {"$sum": 1}}},
        ]
        rows = self._acts.aggregate(pipeline)
        return [ActCount(ActKind(row["_id"]["kind"]), row["_id"]["reason"], row["acts"]) async for row in rows]

    async def claim_sums(self) -> list[ClaimSum]:
        """All claims, by kind and partner."""
        pipeline: list[dict[str, Any]] = [
            {"$match": {"kind": {"$in": _KINDS}}},
            {
                "$group": {
                    "_id": {"kind": "$kind", "partner_id": "$partner_id"},
                    "claims": {"$sum": 1},
                    "co2e_mg": {"$sum": "$co2e_mg"},
                }
            },
        ]
        rows = self._claims.aggregate(pipeline)
        return [
            ClaimSum(ActKind(row["_id"]["kind"]), row["_id"]["partner_id"], row["claims"], row["co2e_mg"])
            async for row in rows
        ]


def _cap_id(cap: CapKey) -> str:
    return f"{cap.member_id}/{cap.kind}/{cap.day}"


def _act_row(act: Act) -> Document:
    row = asdict(act)
    # Left out where empty, so that the sparse indexes leave the row out too.
    for field in ("event_id", "drop_off_id"):
        if not row[field]:
            del row[field]
    return {"_id": row.pop("id"), **row}


def _act(row: Document) -> Act:
    return Act(
        id=row["_id"],
        member_id=row["member_id"],
        partner_id=row["partner_id"],
        kind=ActKind(row["kind"]),
        quantity=row["quantity"],
        occurred_at=row["occurred_at"],
        recorded_at=row["recorded_at"],
        reference=row["reference"],
        status=ActStatus(row["status"]),
        reason=row["reason"],
        message=row["message"],
        claim_id=row["claim_id"],
        new_co2e_mg=row["new_co2e_mg"],
        drop_off_id=row.get("drop_off_id", ""),
        event_id=row.get("event_id", ""),
    )


def _claim_row(claim: Claim) -> Document:
    row = asdict(claim)
    if not claim.box_key:
        del row["box_key"]  # so that the sparse index leaves the row out
    return {"_id": row.pop("id"), **row}


def claim_of(row: Document) -> Claim:
    """The claim that a document holds."""
    return Claim(
        id=row["_id"],
        key=row["key"],
        member_id=row["member_id"],
        act_id=row["act_id"],
        partner_id=row["partner_id"],
        kind=ActKind(row["kind"]),
        quantity=row["quantity"],
        co2e_mg=row["co2e_mg"],
        factor_id=row["factor_id"],
        occurred_at=row["occurred_at"],
        recorded_at=row["recorded_at"],
        box_key=row.get("box_key", ""),
    )
