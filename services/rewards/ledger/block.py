"""A block: commands and what they did, chained to the block before by its hash.

The payload has a line for each command, in JSON without spaces: [command, outcome, chain]; commands, events and all
that they hold are arrays that begin with a number for their type, then have the fields in order. There is exactly one
way to write a payload, so that the hash over it is the hash over its meaning. Lines end in what JSON never contains, so
that those of one account are found, and read, without the others. (Blocks of the first layout are one JSON array of the
same rows; they stay as they were hashed, and as they were decided.)

What else is stored with a block follows from the log and is not hashed: the ids of its commands, and its links. A link
leads from an account that the block touched to the block that touched it before, so that an account's history is read
backwards from its end, however long the log is.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from services.rewards.ledger import commands, events, model
from services.rewards.ledger.commands import Command
from services.rewards.ledger.events import Decision, Event, Refusal
from services.rewards.ledger.model import Hold, Lot, Passage

GENESIS = bytes(32)
LARGEST_BLOCK = 1_000  # commands
_FIRST_LAYOUT = b"[[["

_COMMANDS: tuple[type, ...] = (
    commands.Allot,
    commands.Send,
    commands.Receive,
    commands.Settle,
    commands.Issue,
    commands.Place,
    commands.Capture,
    commands.Void,
    commands.Cancel,
    commands.Sweep,
    commands.Reverse,
    commands.Give,
    commands.Take,
)
_EVENTS: tuple[type, ...] = (
    events.Allotted,
    events.Sent,
    events.Received,
    events.Settled,
    events.Issued,
    events.Repaid,
    events.Placed,
    events.Captured,
    events.Released,
    events.Cancelled,
    events.Expired,
    events.Pended,
    events.Matured,
    events.Withdrawn,
    events.Reversed,
    events.Given,
    events.Taken,
)
# A number, once given, is never given to another type.
_COMMAND_CODE = {kind: code for code, kind in enumerate(_COMMANDS, 1)}
_EVENT_CODE = {kind: code for code, kind in enumerate(_EVENTS, 1)}
# Where commands and events have lots.
_LOTS_AT: dict[type, tuple[int, ...]] = {
    commands.Issue: (2,),
    commands.Cancel: (3,),
    commands.Reverse: (4,),
    commands.Take: (4,),
    events.Issued: (2,),
    events.Repaid: (3,),
    events.Captured: (3,),
    events.Cancelled: (3, 4),
    events.Expired: (1,),
    events.Pended: (3,),
    events.Matured: (2,),
    events.Withdrawn: (3,),
    events.Reversed: (3,),
    events.Taken: (3,),
}


class Posting(NamedTuple):
    """A command and its outcome."""

    command: Command
    decision: Decision
    chain: int = 0  # where linked commands begin: how many they are


class Block(NamedTuple):
    """One link of a partition's chain; `at` is its time, never before that of the block before it.

    `links` is None in a block that was stored without.
    """

    partition: int
    seq: int
    at: int
    previous: bytes
    payload: bytes
    hash: bytes
    links: bytes | None = None

    @classmethod
    def build(
        cls, partition: int, seq: int, at: int, previous: bytes, postings: "list[Posting]", links: bytes = b"{}"
    ) -> "Block":
        payload = encode(postings)
        return cls(partition, seq, at, previous, payload, digest(partition, seq, at, previous, payload), links)

    @property
    def intact(self) -> bool:
        """Whether the hash is that of the content."""
        return self.hash == digest(self.partition, self.seq, self.at, self.previous, self.payload)

    @property
    def is_of_first_layout(self) -> bool:
        """Whether it was decided and written by the ledger's first version."""
        return self.payload.startswith(_FIRST_LAYOUT)

    def before(self, account: str) -> int | None:
        """The block that touched the account before this one, 0 for none; None if this one does not touch it."""
        seq: int | None = orjson.loads(self.links or b"{}").get(account)
        return seq

    def mentions(self, id: str) -> "list[tuple[int, Posting]]":
        """The postings that may have to do with that account or command, with their places: all that name it do."""
        if self.is_of_first_layout:
            return list(enumerate(decode(self.payload)))
        found = []
        payload, wanted = self.payload, orjson.dumps(id)
        place = end = 0
        while (position := payload.find(wanted, end)) >= 0:
            start = payload.rfind(b"\n", 0, position) + 1
            place += payload.count(b"\n", end, start)
            end = payload.find(b"\n", position)
            if end < 0:
                end = len(payload)
            found.append((place, decode(payload[start:end])[0]))
        return found


def digest(partition: int, seq: int, at: int, previous: bytes, payload: bytes) -> bytes:
    """SHA-256 over everything that the block says."""
    return hashlib.sha256(b"%d/%d/%d/" % (partition, seq, at) + previous + payload).digest()


def encode(postings: list[Posting]) -> bytes:
    """The payload."""
    return b"\n".join(
        [
            orjson.dumps(((_COMMAND_CODE[type(command)], *command), _outcome(decision), chain), default=tuple)
            for command, decision, chain in postings
        ]
    )


def decode(payload: bytes) -> list[Posting]:
    """The reverse of `encode`; ValueError for a payload that this code does not understand."""
    if payload.startswith(_FIRST_LAYOUT):
        return _postings(payload, first=True)
    return _postings(b"[" + payload.replace(b"\n", b",") + b"]")


def links(before: Mapping[str, int]) -> bytes:
    """The links of a block, from the accounts that it touches and the blocks that touched them before; one way, too."""
    return orjson.dumps(before, option=orjson.OPT_SORT_KEYS)


def _postings(rows_as_json: bytes, *, first: bool = False) -> list[Posting]:
    try:
        rows = orjson.loads(rows_as_json)
        if first:
            for _, outcome, _ in rows:
                _bring_up(outcome)
        return [Posting(_command(command), _decision(decision), chain) for command, decision, chain in rows]
    except (TypeError, KeyError, IndexError, ValueError, AttributeError) as error:
        raise ValueError(f"cannot be read: {error}") from error


def _bring_up(outcome: list[Any]) -> None:
    """Events of the first layout did not say what the points of a debt were worth: whatever those are that repay it."""
    for row in outcome:
        if isinstance(row, list) and row[0] == _EVENT_CODE[events.Cancelled]:
            row[5] = [[0, row[3], model.LARGEST, row[5]]] if row[5] else []
        elif isinstance(row, list) and row[0] == _EVENT_CODE[events.Repaid]:
            row.append(model.LARGEST)


def _outcome(decision: Decision) -> object:
    if isinstance(decision, Refusal):
        return decision
    return [(_EVENT_CODE[type(event)], *event) for event in decision]


def _command(row: list[Any]) -> Command:
    kind = _COMMANDS[row[0] - 1]
    fields = row[1:]
    for place in _LOTS_AT.get(kind, ()):
        fields[place] = _lots(fields[place])
    command: Command = kind(*fields)
    return command


def _decision(row: list[Any]) -> Decision:
    if row and isinstance(row[0], str):
        return Refusal(*row)
    return tuple([_event(fields) for fields in row])


def _event(row: list[Any]) -> Event:
    kind = _EVENTS[row[0] - 1]
    fields = row[1:]
    if kind is events.Sent:
        fields[0] = Passage(*fields[0])
    elif kind is events.Placed:
        fields[1] = Hold(*fields[1])
    elif kind is events.Given:
        id, giver, to, lots = fields[1]
        fields[1:] = [model.Gift(id, giver, to, _lots(lots)), model.Tally(*fields[2])]
    for place in _LOTS_AT.get(kind, ()):
        fields[place] = _lots(fields[place])
    event: Event = kind(*fields)
    return event


def _lots(rows: list[list[Any]]) -> tuple[Lot, ...]:
    return tuple([Lot(*row) for row in rows])
