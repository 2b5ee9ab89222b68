"""The log on MongoDB: a block is one document, and its place in the chain is its `_id`."""

from collections.abc import Iterable, Sequence

from pymongo import IndexModel
from pymongo.errors import DuplicateKeyError

from services.rewards.ledger.block import Block
from services.shared.mongo import Collection, Database, Document, Indexes

BLOCKS = "ledger_blocks"
INDEXES: Indexes = {BLOCKS: [IndexModel([("ids", 1)])], "ledger_meta": list[IndexModel]()}
_AT_ONCE = 20
# Ids that one query asks for: what a long list costs the embedded server grows with its square.
_ASKED_AT_ONCE = 25


class PartitionCountChanged(RuntimeError):
    """The ledger was made with another number of partitions; accounts would be looked for in the wrong ones."""


class BlockMalformed(ValueError):
    """A stored block lacks a field, or has something else in it."""

    def __init__(self, partition: int, seq: int, field: str) -> None:
        super().__init__(f"partition {partition}, block {seq}, field {field}: cannot be read")


class Log:
    """The blocks of all partitions. Each partition's are numbered from 1 without gaps."""

    def __init__(self, database: Database) -> None:
        self._blocks: Collection = database[BLOCKS]
        self._meta: Collection = database["ledger_meta"]

    async def ensure_partitions(self, count: int) -> None:
        """Notes the number of partitions for ever at the first start; PartitionCountChanged if it is another."""
        try:
            await self._meta.insert_one({"_id": "partitions", "count": count})
        except DuplicateKeyError:
            row = await self._meta.find_one({"_id": "partitions"}) or {}
            if row.get("count") != count:
                raise PartitionCountChanged(
                    f"This ledger has {row.get('count')} partitions, the setting says {count}; "
                    f"set ALLIANCE_LEDGER_PARTITIONS={row.get('count')}."
                ) from None

    async def counts(self) -> dict[str, int]:
        """The numbers of "partitions" and of "buckets" of each, as far as they have been noted."""
        rows = self._meta.find({"_id": {"$in": ["partitions", "buckets"]}})
        return {str(row["_id"]): int(row["count"]) async for row in rows}

    async def note_buckets(self, count: int) -> None:
        """Notes into how many buckets accounts are put now."""
        await self._meta.update_one({"_id": "buckets"}, {"$set": {"count": count}}, upsert=True)

    async def append(self, block: Block, ids: Sequence[str]) -> bool:
        """Stores the block with its commands' ids, durably; False if its place is taken by another. Doing it again
        changes nothing.
        """
        try:
            await self._blocks.insert_one(
                {
                    "_id": _place(block.partition, block.seq),
                    "at": block.at,
                    "previous": block.previous,
                    "payload": block.payload,
                    "hash": block.hash,
                    "ids": ids,
                    "links": block.links,
                }
            )
        except DuplicateKeyError:
            # Perhaps our own, from an attempt whose answer was lost.
            taken = await self.block(block.partition, block.seq)
            return taken is not None and taken.hash == block.hash
        return True

    async def complete(self, block: Block, ids: Sequence[str]) -> None:
        """Adds ids and links to a block that was stored without. They follow from the log: whoever adds them, and
        however often, they are the same.
        """
        place = {"_id": _place(block.partition, block.seq)}
        await self._blocks.update_one(place, {"$set": {"ids": ids, "links": block.links}})

    async def block(self, partition: int, seq: int) -> Block | None:
        """The block at that place."""
        return next(iter(await self._find(partition, [seq])), None)

    async def read(self, partition: int, seq: int) -> list[Block]:
        """The blocks from that place on, up to a batch's worth; empty if there is none there yet."""
        found = {block.seq: block for block in await self._find(partition, range(seq, seq + _AT_ONCE))}
        blocks = []
        while seq in found:
            blocks.append(found[seq])
            seq += 1
        return blocks

    async def holding(self, partition: int, ids: Sequence[str]) -> list[Block]:
        """The partition's blocks that have these commands."""
        found: dict[int, Block] = {}
        for start in range(0, len(ids), _ASKED_AT_ONCE):
            wanted = {"ids": {"$in": ids[start : start + _ASKED_AT_ONCE]}}
            async for row in self._blocks.find(wanted, {"ids": 0}):
                block = _block(row)
                if block.partition == partition:
                    found[block.seq] = block
        return list(found.values())

    async def ids(self, partition: int, seqs: Iterable[int]) -> dict[int, list[str]]:
        """The commands' ids that are stored with blocks, by block; those found."""
        rows = self._blocks.find({"_id": {"$in": [_place(partition, seq) for seq in seqs]}}, {"ids": 1})
        return {partition_and_seq(row["_id"])[1]: row.get("ids") async for row in rows}

    async def _find(self, partition: int, seqs: Iterable[int]) -> list[Block]:
        rows = self._blocks.find({"_id": {"$in": [_place(partition, seq) for seq in seqs]}}, {"ids": 0})
        return [_block(row) async for row in rows]


def _place(partition: int, seq: int) -> str:
    # Text that sorts as the chain goes, not a document: the embedded server finds those by reading all.
    return f"{partition:04d}/{seq:012d}"


def partition_and_seq(place: str) -> tuple[int, int]:
    """The partition and number of the block with that `_id`."""
    partition, _, seq = place.partition("/")
    return int(partition), int(seq)


def _block(row: Document) -> Block:
    partition, seq = partition_and_seq(row["_id"])
    for field in ("previous", "payload", "hash"):
        if not isinstance(row.get(field), bytes):
            raise BlockMalformed(partition, seq, field)
    if not isinstance(row.get("at"), int):
        raise BlockMalformed(partition, seq, "at")
    if not isinstance(row.get("links", b""), bytes):
        raise BlockMalformed(partition, seq, "links")
    return Block(partition, seq, row["at"], row["previous"], row["payload"], row["hash"], row.get("links"))
