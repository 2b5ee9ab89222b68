"""What machines send: proven by their signature, stored once, handed on to be credited."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from services.logistics.domain.capture import (
    Batch,
    BatchReused,
    DropOff,
    ItemResult,
    ItemStatus,
    capture,
    check_all,
    hashes,
)
from services.logistics.domain.points import Machine
from services.logistics.events import Events
from services.logistics.service.feed import Feed
from services.logistics.service.refusals import Refusals
from services.logistics.store.captures import CaptureStore, StoredBatch
from services.logistics.store.points import PointStore
from services.shared import checks
from services.shared.clock import Clock
from services.shared.errors import Unauthenticated
from services.shared.ids import is_id, new_id
from services.shared.mongo import Database, Transaction
from services.shared.pages import Between, Page, PageQuery, page_of_each

SIGNED_PREFIX = b"alliance.logistics.v1.ItemBatch\n"
_SIGNATURE_BYTES = 64
_MOST_OWNERS = 200


class SignatureInvalid(Unauthenticated):
    """Unknown machine, retired machine or a signature that does not fit: which, is not said."""


@dataclass(frozen=True)
class Answer:
    """What came of a batch, and whether all that it stored has been handed on."""

    results: Sequence[ItemResult]
    handed_on: bool


@dataclass(frozen=True)
class Summary:
    """What the machines sent, in numbers."""

    accepted: int
    duplicates: int
    invalid: int
    batches_refused: int


class Capture:
    """The use cases of drop-offs."""

    def __init__(
        self,
        store: CaptureStore,
        points: PointStore,
        refusals: Refusals,
        events: Events,
        feed: Feed,
        database: Database,
        clock: Clock,
    ) -> None:
        self._store = store
        self._points = points
        self._refusals = refusals
        self._events = events
        self._feed = feed
        self._database = database
        self._clock = clock

    async def sender(self, machine_id: str, batch: bytes, signature: bytes) -> Machine:
        """The machine that signed the batch; SignatureInvalid if it is unknown or retired, or did not sign just this.

        The cheapest checks come first, since anybody can call; what is refused is counted.
        """
        machine = None
        if len(signature) == _SIGNATURE_BYTES and is_id(machine_id, "machine"):
            machine = await self._points.machine(machine_id)
        if machine is None or machine.retired or not _signed(machine.public_key, batch, signature):
            await self._refusals.add(hashlib.sha256(machine_id.encode() + b"\n" + batch).digest())
            raise SignatureInvalid("The signature is not one of a machine that is in service.")
        return machine

    async def capture(self, batch: Batch) -> Answer:
        """Stores what a machine has signed, and hands it on; a batch that was answered before is answered again.

        BatchReused if that one had other items.
        """

        async def body(tx: Transaction) -> StoredBatch:
            # Reading needs no snapshot: should the batch or an event be stored meanwhile, a unique index says so, and
            # all of this runs again.
            if stored := await self._store.batch(batch.key):
                if stored.digest != batch.digest:
                    raise BatchReused(batch.batch_id)
                return stored
            now = self._clock()
            checked = check_all(batch, now)
            known = await self._store.known(hashes(checked))
            captured = capture(batch, checked, known, now, lambda: new_id("dropoff"))
            await self._store.record(tx, batch, captured)
            await self._events.dropped_off(tx, captured.drop_offs)
            return StoredBatch(batch.digest, captured.results, tuple(one.id for one in captured.drop_offs))

        stored, events = await self._database.transaction(body)
        if events:
            self._feed.stored(batch.key)
        return Answer(stored.results, await self._events.handed_on(events, stored.drop_off_ids))

    async def get(self, ids: Sequence[str]) -> list[DropOff]:
        """Those found."""
        return await self._store.drop_offs(ids)

    async def pages(self, member_ids: Sequence[str], query: PageQuery, between: Between) -> Mapping[str, Page[DropOff]]:
        """The same page for each of at most 200 members."""
        checks.batch(member_ids, _MOST_OWNERS)
        return await page_of_each(member_ids, lambda member_id: self._store.page(member_id, query, between))

    async def partner_pages(
        self, partner_ids: Sequence[str], machine_id: str, query: PageQuery, between: Between
    ) -> Mapping[str, Page[DropOff]]:
        """The same page for each of at most 200 partners; of one machine, if it is named. FieldInvalid."""
        checks.batch(partner_ids, _MOST_OWNERS)
        if machine_id:
            checks.id_of(machine_id, "machineId", "machine")

        async def one(partner_id: str) -> Page[DropOff]:
            return await self._store.partner_page(partner_id, machine_id, query, between)

        return await page_of_each(partner_ids, one)

    async def summary(self) -> Summary:
        """What the machines sent, in numbers. Reads everything; not for every minute."""
        counts, refused = await asyncio.gather(self._store.counts(), self._refusals.count())
        return Summary(
            accepted=counts[ItemStatus.ACCEPTED],
            duplicates=counts[ItemStatus.DUPLICATE],
            invalid=counts[ItemStatus.INVALID],
            batches_refused=refused,
        )


def _signed(public_key: bytes, batch: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, SIGNED_PREFIX + batch)
    except InvalidSignature:
        return False
    return True
