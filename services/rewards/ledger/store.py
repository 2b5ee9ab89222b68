"""The ledger's read models on MongoDB: accounts as they are, and when time will do something to them. All of it follows
from the log, and may be thrown away and made again.

A partition's members lie in buckets, by the hash of their ids; a bucket is one document with a line of JSON for each
member, sorted: [id, the block that touched it last, when time will change it, and the account's fields]. So one
write serves many members, one read finds one of them, and the server never looks inside. What is not per member
(partners' sub-accounts, in-transit) is in the partition's checkpoint, whose `seq` says up to which block everything is
written.

A due list names members on whose accounts time has something to do in a certain minute. Lists are added when an
account's next moment changes, and removed when their minute is over and nothing in them is due any more; an account
that has moved on meanwhile does no harm in a list.
"""

import zlib
from bisect import bisect_right
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from sys import intern
from typing import Any, NamedTuple

import orjson
from pymongo import IndexModel, UpdateOne
from pymongo.errors import BulkWriteError

from services.rewards.ledger.model import (
    NO_MEMBER,
    Debt,
    Gift,
    Hold,
    Lot,
    Member,
    Partner,
    Passage,
    Pending,
    Tally,
    Transit,
)
from services.shared.mongo import Collection, Database, Document, Indexes

INDEXES: Indexes = {
    "ledger_accounts": list[IndexModel](),
    "ledger_checkpoints": [IndexModel([("partition", 1)])],
    "ledger_due": [IndexModel([("minute", 1)])],
}
MINUTE = 60_000  # milliseconds
_LARGEST_LIST = 1_000  # members
_ONLY_LOTS = NO_MEMBER[1:]
_DUPLICATE = 11000
_MARKED_EVERY = 2_048  # bytes of a bucket: some twenty accounts are looked through for one
_FOUND_AT_ONCE = 25  # documents by their ids: what a long list costs the embedded server grows with its square


class Shape(NamedTuple):
    """How many partitions a ledger has, and into how many buckets the accounts of each are put: powers of two."""

    partitions: int
    buckets: int

    def bucket_of(self, member: str) -> int:
        """The bucket of a member's account, within its partition."""
        return zlib.crc32(member.encode()) // self.partitions % self.buckets


class ViewMalformed(ValueError):
    """A stored read model cannot be read."""


class Stored(NamedTuple):
    """A member's account as stored: with the block that touched it last, and when time will do something to it."""

    account: Member
    last: int
    due: int | None


@dataclass(slots=True)
class Bucket:
    """Accounts as they are after the block `seq`; in `body` each is on a line of its own, behind one with `seq`."""

    seq: int
    body: bytes
    _marks: tuple[list[bytes], list[int]] | None = field(default=None, init=False, compare=False, repr=False)

    def find(self, member: str) -> Stored | None:
        """A member's account; None for who has none."""
        start, end = self._locate(_key(member), 0)
        return stored(self.body[start + 1 : end])[1] if end > start else None

    def rows(self) -> list[bytes]:
        """All accounts as they are written."""
        return self.body.split(b"\n")[1:]

    def after(self, seq: int, members: Iterable[str], write: Callable[[str, bytes], bytes]) -> "Bucket":
        """With these members' accounts written anew: `write` is given how one was written, empty if it was not."""
        body, (_, (begin, *_)) = self.body, self._marked()
        pieces, done = [b"%d" % seq], begin
        for key, member in sorted([(_key(member), member) for member in members]):
            start, end = self._locate(key, done)
            pieces += (body[done:start], b"\n", write(member, body[start + 1 : end]))
            done = end
        return Bucket(seq, b"".join([*pieces, body[done:]]))

    def _marked(self) -> tuple[list[bytes], list[int]]:
        """A line every few kilobytes, and the line's end before each; first of all an empty one where lines begin."""
        if self._marks is None:
            body = self.body
            begin = body.find(b"\n")
            lines, ends = [b""], [begin if begin >= 0 else len(body)]
            for place in range(ends[0] + _MARKED_EVERY, len(body), _MARKED_EVERY):
                start = body.find(b"\n", place)
                if start < 0:
                    break
                if start > ends[-1]:
                    end = body.find(b"\n", start + 1)
                    lines.append(body[start + 1 : end if end >= 0 else len(body)])
                    ends.append(start)
            self._marks = lines, ends
        return self._marks

    def _locate(self, key: bytes, low: int) -> tuple[int, int]:
        """From where to where the line is that begins so, with the line's end before it; or where it would go. It is
        not before `low`.
        """
        body, (lines, ends) = self.body, self._marked()
        part = bisect_right(lines, key)  # the line is in the part behind this mark, or is the next one itself
        low, high = max(low, ends[part - 1]), ends[part] if part < len(ends) else len(body)
        start = body.find(b"\n" + key, low, high + 1 + len(key))
        if start >= 0:
            end = body.find(b"\n", start + 1)
            return start, end if end >= 0 else len(body)
        while low < high:
            start = body.rfind(b"\n", low, (low + high) // 2 + 1)
            if body[start + 1 : start + 1 + len(key)] > key:
                high = start
                continue
            end = body.find(b"\n", start + 1)
            low = end if end >= 0 else len(body)
        return low, low


class Checkpoint(NamedTuple):
    """What a partition has beside its members' accounts, as of the block `seq`."""

    seq: int
    transit: Transit
    partners: dict[str, Partner]


class DueList(NamedTuple):
    """Members on whose accounts something is due in a minute since 1970, as of the block `seq`."""

    id: str
    partition: int
    minute: int
    seq: int
    members: list[str]


def line(member: str, account: Member, last: int, due: int | None) -> bytes:
    """An account as it is written: fields at its end that are as an empty account's are left out."""
    fields: tuple[object, ...] = account
    if account[1:] == _ONLY_LOTS:  # as most are
        fields = account[:1] if account.lots else ()
    else:
        while fields[-1] == NO_MEMBER[len(fields) - 1]:
            fields = fields[:-1]
    return orjson.dumps((member, last, due, *fields), default=tuple)


def due_of(line: bytes) -> int | None:
    """When time will change an account, from how it is written."""
    moment: int | None = orjson.loads(line)[2]
    return moment


def stored(line: bytes) -> tuple[str, Stored]:
    """The reverse of `line`, with whose it is. ViewMalformed."""
    try:
        member, last, due, *fields = orjson.loads(line)
        if len(fields) == 1:  # as nearly all are
            account = Member(_lots(fields[0]))
        else:
            account = Member(*[read(field) for read, field in zip(_FIELDS, fields, strict=False)])
    except (TypeError, ValueError) as error:
        raise ViewMalformed(f"field body: cannot be read: {error}") from error
    return member, Stored(account, last, due)


def _key(member: str) -> bytes:
    """How the line of a member's account begins."""
    return b"[" + orjson.dumps(member) + b","


def body_of(seq: int, lines: Iterable[bytes]) -> bytes:
    """A bucket's body."""
    return b"\n".join([b"%d" % seq, *sorted(lines)])


def _lots(rows: Sequence[Sequence[Any]]) -> tuple[Lot, ...]:
    # Of the few issuers' ids each is held once, not with each lot.
    return tuple([Lot(expires, intern(issuer), value, points) for expires, issuer, value, points in rows])


_FIELDS: tuple[Callable[[Any], Any], ...] = (
    _lots,
    lambda holds: tuple([Hold(*hold) for hold in holds]),
    lambda debts: tuple([Debt(*debt) for debt in debts]),
    lambda pending: tuple([Pending(due, issue, _lots(lots)) for due, issue, lots in pending]),
    lambda tally: Tally(*tally),
)


class Views:
    """Every write has the number of the block that it stems from, and never replaces what stems from a later one.

    Each number of buckets has documents of its own, so that replicas may differ in it while it is being changed.
    """

    def __init__(self, database: Database, shape: Shape) -> None:
        self.shape = shape
        self._database = database
        self._accounts: Collection = database["ledger_accounts"]
        self._checkpoints: Collection = database["ledger_checkpoints"]
        self._due: Collection = database["ledger_due"]

    async def checkpoint(self, partition: int) -> Checkpoint:
        """A partition's latest; an empty one, of block 0, if there is none. ViewMalformed."""
        row = await self._checkpoints.find_one({"_id": self._home(partition)})
        if row is None:
            return Checkpoint(0, Transit(), {})
        try:
            state = row["state"]
            content = orjson.loads(state["body"])
            balance, passages, gifts = content["transit"]
            transit = Transit(
                balance,
                tuple([Passage(*passage) for passage in passages]),
                tuple([Gift(id, giver, to, _lots(lots)) for id, giver, to, lots in gifts]),
            )
            partners = {id: Partner(*account) for id, account in content["partners"].items()}
            if state["seq"] != content["seq"]:
                raise ViewMalformed(f"partition {partition}, checkpoint, field seq: the body says otherwise")
            return Checkpoint(state["seq"], transit, partners)
        except ViewMalformed:
            raise
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise ViewMalformed(f"partition {partition}, checkpoint, field body: cannot be read: {error}") from error

    async def buckets(self, partition: int, numbers: Sequence[int]) -> dict[int, Bucket]:
        """Those found of a partition's buckets. ViewMalformed."""
        found = {}
        for start in range(0, len(numbers), _FOUND_AT_ONCE):
            wanted = [self._place(partition, number) for number in numbers[start : start + _FOUND_AT_ONCE]]
            async for row in self._accounts.find({"_id": {"$in": wanted}}):
                found[int(row["_id"].rpartition("/")[2])] = _bucket(row)
        return found

    async def due_lists(self, minute: int, limit: int) -> list[DueList]:
        """Due lists up to that minute, earliest first."""
        rows = self._due.find({"minute": {"$lte": minute}}, sort=[("minute", 1)], limit=limit)
        return [_due_list(row) async for row in rows]

    async def all_due_lists(self, partition: int) -> AsyncIterator[DueList]:
        """A partition's due lists, for a check of everything."""
        async for row in self._due.find({}, comment="scan: verification reads everything"):
            if (due_list := _due_list(row)).partition == partition:
                yield due_list

    async def listed(self, partition: int, minute: int) -> set[str]:
        """The members in a partition's due lists of a minute."""
        rows = [_due_list(row) async for row in self._due.find({"minute": minute})]
        return {member for row in rows if row.partition == partition for member in row.members}

    async def write_buckets(self, partition: int, buckets: Mapping[int, Bucket]) -> None:
        """Doing it again, or after later ones, changes nothing."""
        changes = [
            _newer(self._place(partition, number), bucket.seq, bucket.body) for number, bucket in buckets.items()
        ]
        if changes:
            await self._accounts.bulk_write(changes, ordered=False)

    async def write_checkpoint(self, partition: int, checkpoint: Checkpoint) -> None:
        """As `write_buckets`; to be done when all buckets are written up to there."""
        body = orjson.dumps(checkpoint._asdict(), default=tuple, option=orjson.OPT_SORT_KEYS)
        belongs = {"partition": partition, "buckets": self.shape.buckets}
        await self._checkpoints.bulk_write([_newer(self._home(partition), checkpoint.seq, body, **belongs)])

    async def note_due(self, partition: int, seq: int, part: int, members: Mapping[int, Sequence[str]]) -> None:
        """Adds lists of members by minute; `part` tells one block's apart."""
        rows = [
            {
                "_id": f"{partition:04d}/{minute:012d}/{seq:012d}/{part:04d}/{start}",
                "minute": minute,
                "members": orjson.dumps(ids[start : start + _LARGEST_LIST]),
            }
            for minute, ids in members.items()
            for start in range(0, len(ids), _LARGEST_LIST)
        ]
        if not rows:
            return
        try:
            await self._due.insert_many(rows, ordered=False)
        except BulkWriteError as error:
            details: Mapping[str, Any] = error.details
            if details.get("writeConcernErrors") or any(e["code"] != _DUPLICATE for e in details["writeErrors"]):
                raise

    async def drop_due(self, id: str) -> None:
        """Removes a list whose time is over."""
        await self._due.delete_one({"_id": id})

    async def widen(self, partition: int) -> None:
        """With several times as many buckets as before: takes the accounts over. It may be interrupted, and repeated.

        With another number of them, it leaves everything to the log.
        """
        rows = [row async for row in self._checkpoints.find({"partition": partition})]
        fewer = [row for row in rows if self.shape.buckets % row["buckets"] == 0]
        if not fewer or any(row["buckets"] == self.shape.buckets for row in rows):
            return
        latest = max(fewer, key=lambda row: row["state"]["seq"])
        source = Views(self._database, self.shape._replace(buckets=latest["buckets"]))
        checkpoint = await source.checkpoint(partition)
        for number in range(source.shape.buckets):
            for bucket in (await source.buckets(partition, [number])).values():
                parts: defaultdict[int, list[bytes]] = defaultdict(list)
                for row in bucket.rows():
                    parts[self.shape.bucket_of(stored(row)[0])].append(row)
                fresh = {part: Bucket(bucket.seq, body_of(bucket.seq, rows)) for part, rows in parts.items()}
                await self.write_buckets(partition, fresh)
        await self.write_checkpoint(partition, checkpoint)

    def _home(self, partition: int) -> str:
        return f"{partition:04d}/{self.shape.buckets:05d}"

    def _place(self, partition: int, number: int) -> str:
        return f"{self._home(partition)}/{number:05d}"


def _newer(id: str, seq: int, body: bytes, **belongs: int) -> UpdateOne:
    """Puts what stems from a block in place of what stems from an earlier one.

    Documents compare field by field, in order: so `$max` goes by `seq`. (A guard in the filter would do the same, but
    the embedded server would look through the whole collection for it.)
    """
    change: Document = {"$max": {"state": {"seq": seq, "body": body}}}
    if belongs:
        change["$set"] = belongs
    return UpdateOne({"_id": id}, change, upsert=True)


def _bucket(row: Document) -> Bucket:
    state = row.get("state")
    if not isinstance(state, dict) or not isinstance(state.get("seq"), int):
        raise ViewMalformed(f"accounts {row['_id']}, field seq: cannot be read")
    if not isinstance(state.get("body"), bytes):
        raise ViewMalformed(f"accounts {row['_id']}, field body: cannot be read")
    return Bucket(state["seq"], state["body"])


def _due_list(row: Document) -> DueList:
    try:
        partition, minute, seq, *_ = row["_id"].split("/")
        members = orjson.loads(row["members"])
        if int(minute) != row["minute"] or not all(isinstance(member, str) for member in members):
            raise ValueError("field minute or members")
        return DueList(row["_id"], int(partition), int(minute), int(seq), members)
    except (TypeError, KeyError, ValueError) as error:
        raise ViewMalformed(f"due list {row['_id']}: cannot be read: {error}") from error
