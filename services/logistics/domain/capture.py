"""What comes of a batch of items (L3)."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.logistics.domain.items import Event, Fault, Item, check
from services.logistics.domain.points import Machine, Material
from services.shared.errors import AlreadyExists


class Mode(StrEnum):
    """What to do with a batch in which an item is not valid: store nothing, or store the good ones."""

    ROLLBACK = "rollback"
    PROCEED = "proceed"


class ItemStatus(StrEnum):
    """What came of an item."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    INVALID = "invalid"
    ROLLED_BACK = "rolled_back"


class BatchReused(AlreadyExists):
    """The machine used the same batch id for other items."""

    def __init__(self, batch_id: str) -> None:
        super().__init__(
            "This batch id was used for other items; use a new one for a new batch.",
            reason="REQUEST_ID_REUSED",
            batch_id=batch_id,
        )


@dataclass(frozen=True)
class Batch:
    """What a machine sent and signed. `digest` is over the items, by which the same batch is known again."""

    machine: Machine
    batch_id: str
    mode: Mode
    items: tuple[Item, ...]
    digest: bytes

    @property
    def key(self) -> str:
        """Unique among all machines: an id has no slash."""
        return f"{self.machine.id}/{self.batch_id}"


@dataclass(frozen=True)
class DropOff:
    """One thing that a member handed in. Immutable."""

    id: str
    member_id: str
    machine_id: str
    recycling_point_id: str
    partner_id: str
    material: Material
    weight_grams: int
    code: str
    occurred_at: datetime
    recorded_at: datetime
    event_hash: str


@dataclass(frozen=True)
class ItemResult:
    """What came of an item: the accepted or the earlier drop-off, or why it is not valid."""

    status: ItemStatus
    drop_off_id: str = ""
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class Captured:
    """What came of a batch: a result for each item in order, and what is to be stored."""

    results: tuple[ItemResult, ...]
    drop_offs: tuple[DropOff, ...]

    def count(self, status: ItemStatus) -> int:
        """How many items ended so."""
        return Counter(result.status for result in self.results)[status]


Checked = Sequence[Event | Fault]


def check_all(batch: Batch, now: datetime) -> Checked:
    """Each item as an event, or with what is wrong with it."""
    return [check(item, batch.machine.id, now) for item in batch.items]


def hashes(checked: Checked) -> list[str]:
    """By which the events are known again, each once."""
    return list(dict.fromkeys(one.hash for one in checked if isinstance(one, Event)))


def capture(
    batch: Batch, checked: Checked, known: Mapping[str, str], now: datetime, new_id: Callable[[], str]
) -> Captured:
    """Decides on a batch, given which events are stored already, as the drop-off's id by the event's hash.

    A duplicate, of a stored event or within the batch, does not spoil a batch; only what is not valid does.
    """
    spoilt = batch.mode is Mode.ROLLBACK and any(isinstance(one, Fault) for one in checked)
    seen = dict(known)
    results: list[ItemResult] = []
    drop_offs: list[DropOff] = []
    for one in checked:
        if isinstance(one, Fault):
            results.append(ItemResult(ItemStatus.INVALID, reason=one.reason, message=one.message))
        elif drop_off_id := seen.get(one.hash):
            results.append(ItemResult(ItemStatus.DUPLICATE, drop_off_id))
        elif spoilt:
            results.append(ItemResult(ItemStatus.ROLLED_BACK))
        else:
            drop_off = _drop_off(one, batch.machine, now, new_id())
            seen[one.hash] = drop_off.id
            drop_offs.append(drop_off)
            results.append(ItemResult(ItemStatus.ACCEPTED, drop_off.id))
    return Captured(tuple(results), tuple(drop_offs))


def _drop_off(event: Event, machine: Machine, now: datetime, id: str) -> DropOff:
    return DropOff(
        id=id,
        member_id=event.member_id,
        machine_id=machine.id,
        recycling_point_id=machine.recycling_point_id,
        partner_id=machine.partner_id,
        material=event.material,
        weight_grams=event.weight_grams,
        code=event.code,
        occurred_at=event.occurred_at,
        recorded_at=now,
        event_hash=event.hash,
    )
