"""The ledger's read models on MongoDB: accounts as they are, and what each command did. All of it follows from the log.

Accounts and entries are kept as JSON in one binary field each: the server never looks inside, and stores them faster.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from pymongo import IndexModel, UpdateOne
from pymongo.errors import BulkWriteError

from services.rewards.ledger.model import Debt, Gift, Hold, Lot, Member, Partner, Passage, Pending, Tally, Transit
from services.rewards.ledger.postings import SPENDS, Entry, EntryKind, Record, Spend, order
from services.shared.mongo import Collection, Database, Document, Indexes

INDEXES: Indexes = {
    "ledger_members": [IndexModel([("state.due", 1)], sparse=True)],
    "ledger_partners": [IndexModel([("partner", 1)])],
    "ledger_records": [
        IndexModel([("order", 1)], sparse=True),
        IndexModel([("spend", 1)], sparse=True),
    ],
}
_DUPLICATE = 11000
# Documents that one query asks for by their ids: what a long list costs the embedded server grows with its square.
_FOUND_AT_ONCE = 25
_WRITTEN_AT_ONCE = 500  # documents: far from what a connection waits for, however much a round has to write


class Changes(NamedTuple):
    """What blocks up to `seq` did to the read models: accounts as they are after the last block that touched them."""

    seq: int
    members: Mapping[str, tuple[Member, int, int | None]]  # the account, the block, when time will change it next
    partners: Mapping[str, tuple[Partner, int]]
    transit: tuple[Transit, int] | None
    records: Sequence[Record]


class Views:
    """Every write has the number of the block that it stems from, and never replaces what stems from a later one."""

    def __init__(self, database: Database) -> None:
        self._members: Collection = database["ledger_members"]
        self._partners: Collection = database["ledger_partners"]
        self._transits: Collection = database["ledger_transits"]
        self._records: Collection = database["ledger_records"]
        self._watermarks: Collection = database["ledger_watermarks"]

    async def members(self, ids: Sequence[str]) -> dict[str, tuple[Member, int]]:
        """Members' accounts, each with the block that touched it last; those found."""
        return {row["_id"]: _member(row["state"]) for row in await _find(self._members, ids)}

    async def partners(self, partition: int, ids: Sequence[str]) -> dict[str, tuple[Partner, int]]:
        """Partners' sub-accounts in a partition; those found."""
        rows = await _find(self._partners, [f"{partition}/{id}" for id in ids])
        return {row["partner"]: _partner(row["state"]) for row in rows}

    async def partner_ids(self) -> set[str]:
        """The partners that have an account."""
        return {row["partner"] async for row in self._partners.find({"partner": {"$gt": ""}}, {"partner": 1})}

    async def transit(self, partition: int) -> tuple[Transit, int]:
        """A partition's in-transit account."""
        row = await self._transits.find_one({"_id": partition})
        return _transit(row["state"]) if row else (Transit(), 0)

    async def places(self, partition: int, commands: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Where in the log commands stand, by their ids: block and index; those found."""
        if not commands:
            return {}
        wanted = [f"{partition}/{command}" for command in commands]
        rows = self._records.find({"_id": {"$in": wanted}}, {"seq": 1, "i": 1})
        return {row["_id"].partition("/")[2]: (row["seq"], row["i"]) async for row in rows}

    async def records(self, partition: int, commands: Sequence[str]) -> dict[str, Record]:
        """Records by command id; those found."""
        rows = await _find(self._records, [f"{partition}/{command}" for command in commands])
        return {record.command: record for record in map(_record, rows)}

    async def entries(self, member: str, before: str, limit: int) -> list[Record]:
        """A member's records that moved points, newest first; those that sort below `before`, if that is set."""
        wanted = {"order": {"$gt": f"{member}:", "$lt": f"{member}:{before or '~'}"}}
        rows = self._records.find(wanted, sort=[("order", -1)], limit=limit)
        return [_record(row) async for row in rows]

    async def balance_at(self, member: str, at: int) -> int:
        """The sum of what moved a member's points up to that moment."""
        rows = self._records.find({"order": {"$gt": f"{member}:", "$lt": f"{member}:{order(at + 1, 0, 0)}"}})
        return sum([entry.points async for row in rows for entry in _record(row).entries])

    async def spends(self, partition: int, after: int, until: int) -> list[Spend]:
        """The spends in a partition's blocks behind `after` up to and with `until`, in order."""
        wanted = {"spend": {"$gt": _spend(partition, after, 9999), "$lte": _spend(partition, until, 9999)}}
        rows = self._records.find(wanted, sort=[("spend", 1)])
        spends = []
        async for row in rows:
            for number, entry in enumerate(_record(row).entries):
                if entry.kind in SPENDS:
                    spends.append(Spend(f"{row['at']:013d}-{row['spend']}{number:02d}", row["at"], entry))
        return spends

    async def all_members(self) -> AsyncIterator[tuple[str, Member, int, int | None]]:
        """Every member's account, block and next due moment, for a check of everything."""
        async for row in self._members.find({}, comment="scan: verification reads everything"):
            yield row["_id"], *_member(row["state"]), row["state"].get("due")

    async def all_records(self) -> AsyncIterator[tuple[int, Record]]:
        """Every record with its partition, for a check of everything."""
        async for row in self._records.find({}, comment="scan: verification reads everything"):
            yield int(row["_id"].partition("/")[0]), _record(row)

    async def due(self, at: int, limit: int) -> list[str]:
        """Members on whose accounts time has something to do, longest overdue first."""
        rows = self._members.find({"state.due": {"$lte": at}}, {"_id": 1}, sort=[("state.due", 1)], limit=limit)
        return [row["_id"] async for row in rows]

    async def watermark(self, partition: int) -> int:
        """The block up to which, with it, everything is in the read models."""
        row = await self._watermarks.find_one({"_id": partition})
        seq: int = row["state"]["seq"] if row else 0
        return seq

    async def write(self, partition: int, changes: Changes) -> None:
        """Brings the read models up to `changes.seq`. Doing it again, or after a later one, changes nothing."""
        members = [_state(id, seq, account, due=due) for id, (account, seq, due) in changes.members.items()]
        partners = [
            _state(f"{partition}/{id}", seq, account, partner=id) for id, (account, seq) in changes.partners.items()
        ]
        transits = [_state(partition, changes.transit[1], changes.transit[0])] if changes.transit else []
        await asyncio.gather(
            _write(self._members, members),
            _write(self._partners, partners),
            _write(self._transits, transits),
            self._insert(partition, changes.records),
        )
        await _write(self._watermarks, [_state(partition, changes.seq, ())])

    async def _insert(self, partition: int, records: Sequence[Record]) -> None:
        """A record that is there already is the same: it follows from the log."""
        for start in range(0, len(records), _WRITTEN_AT_ONCE):
            rows = [_row(partition, record) for record in records[start : start + _WRITTEN_AT_ONCE]]
            try:
                await self._records.insert_many(rows, ordered=False)
            except BulkWriteError as error:
                details: Mapping[str, Any] = error.details
                if details.get("writeConcernErrors") or any(e["code"] != _DUPLICATE for e in details["writeErrors"]):
                    raise


async def _find(collection: Collection, ids: Sequence[str]) -> list[Document]:
    """The documents with these ids, in any order."""
    parts = [ids[start : start + _FOUND_AT_ONCE] for start in range(0, len(ids), _FOUND_AT_ONCE)]
    found = await asyncio.gather(*(collection.find({"_id": {"$in": list(part)}}).to_list(None) for part in parts))
    return [row for rows in found for row in rows]


async def _write(collection: Collection, states: Sequence[UpdateOne]) -> None:
    for start in range(0, len(states), _WRITTEN_AT_ONCE):
        await collection.bulk_write(states[start : start + _WRITTEN_AT_ONCE], ordered=False)


def _state(id: str | int, seq: int, account: Any, *, due: int | None = None, partner: str = "") -> UpdateOne:
    """Puts an account as it is after that block in place of any that stems from an earlier one.

    Documents compare field by field, in order: so `$max` goes by `seq`. (A guard in the filter would do the same, but
    the embedded server would look through the whole collection for it.)
    """
    state: Document = {"seq": seq}
    if due is not None:
        state["due"] = due
    state["body"] = orjson.dumps(account, default=tuple)
    change: Document = {"$max": {"state": state}}
    if partner:
        change["$set"] = {"partner": partner}
    return UpdateOne({"_id": id}, change, upsert=True)


def _spend(partition: int, seq: int, index: int) -> str:
    return f"{partition:04d}{seq:010d}{index:04d}"


def _row(partition: int, record: Record) -> Document:
    row: Document = {"_id": f"{partition}/{record.command}", "seq": record.seq, "i": record.place}
    if record.entries:
        row |= {"order": record.order, "at": record.at, "body": orjson.dumps(record.entries, default=tuple)}
        if any(entry.kind in SPENDS for entry in record.entries):
            row["spend"] = _spend(partition, record.seq, record.place)
    return row


def _record(row: Document) -> Record:
    entries = tuple(
        Entry(EntryKind(kind), points, reference, partner, _lots(lots), value)
        for kind, points, reference, partner, lots, value in orjson.loads(row.get("body", b"[]"))
    )
    command = row["_id"].partition("/")[2]
    return Record(command, row.get("order", "").partition(":")[0], row["seq"], row["i"], row.get("at", 0), entries)


def _member(state: Document) -> tuple[Member, int]:
    lots, holds, debts, pending, tally = orjson.loads(state["body"])
    account = Member(
        _lots(lots),
        tuple([Hold(*hold) for hold in holds]),
        tuple([Debt(*debt) for debt in debts]),
        tuple([Pending(due, issue, _lots(of)) for due, issue, of in pending]),
        Tally(*tally),
    )
    return account, state["seq"]


def _partner(state: Document) -> tuple[Partner, int]:
    return Partner(*orjson.loads(state["body"])), state["seq"]


def _transit(state: Document) -> tuple[Transit, int]:
    balance, passages, gifts = orjson.loads(state["body"])
    transit = Transit(
        balance,
        tuple(Passage(*passage) for passage in passages),
        tuple(Gift(id, giver, to, _lots(lots)) for id, giver, to, lots in gifts),
    )
    return transit, state["seq"]


def _lots(rows: list[list[Any]]) -> tuple[Lot, ...]:
    return tuple([Lot(*row) for row in rows])
