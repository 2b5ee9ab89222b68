"""The log on MongoDB: a block is one document, and its place in the chain is its `_id`."""

from pymongo import IndexModel
from pymongo.errors import DuplicateKeyError

from services.rewards.ledger.block import Block
from services.shared.mongo import Collection, Database, Document, Indexes

BLOCKS = "ledger_blocks"
INDEXES: Indexes = {BLOCKS: list[IndexModel](), "ledger_meta": list[IndexModel]()}
_AT_ONCE = 20


class PartitionCountChanged(RuntimeError):
    """The ledger was made with another number of partitions; accounts would be looked for in the wrong ones."""


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

    async def append(self, block: Block) -> bool:
        """Stores the block, durably; False if its place is taken by another. Doing it again changes nothing."""
        try:
            await self._blocks.insert_one(
                {
                    "_id": _place(block.partition, block.seq),
                    "at": block.at,
                    "previous": block.previous,
                    "payload": block.payload,
                    "hash": block.hash,
                }
            )
        except DuplicateKeyError:
            # Perhaps our own, from an attempt whose answer was lost.
            taken = await self.block(block.partition, block.seq)
            return taken is not None and taken.hash == block.hash
        return True

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

    async def blocks(self, partition: int, seqs: list[int]) -> list[Block]:
        """The blocks at those places."""
        return [
            block
            for start in range(0, len(seqs), _AT_ONCE)
            for block in await self._find(partition, seqs[start : start + _AT_ONCE])
        ]

    async def _find(self, partition: int, seqs: "range | list[int]") -> list[Block]:
        rows = self._blocks.find({"_id": {"$in": [_place(partition, seq) for seq in seqs]}})
        return [_block(row) async for row in rows]


def _place(partition: int, seq: int) -> str:
    # Text that sorts as the chain goes, not a document: the embedded server finds those by reading all.
    return f"{partition:04d}/{seq:012d}"


def partition_and_seq(place: str) -> tuple[int, int]:
    """The partition and number of the block with that `_id`."""
    partition, _, seq = place.partition("/")
    return int(partition), int(seq)


def _block(row: Document) -> Block:
    return Block(*partition_and_seq(row["_id"]), row["at"], row["previous"], row["payload"], row["hash"])
