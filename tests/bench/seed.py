"""An alliance with a past: brands, members, drop-offs with their acts and claims, and wallets.

Written through the services' own stores, in a fraction of the time that brands and machines would take for it.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from services.accounts.domain.acts import Act, ActKind, ActStatus, Claim
from services.accounts.domain.decisions import Decision
from services.accounts.domain.members import Member
from services.accounts.store import acts, impact, members
from services.logistics.domain.capture import Batch, Captured, DropOff, Mode
from services.logistics.domain.points import Machine, Material
from services.logistics.store import captures
from services.partners.domain.partner import Partner, PartnerStatus
from services.partners.store import partners
from services.rewards.ledger.commands import Allot, Command, Issue
from services.rewards.ledger.ledger import INDEXES, Ledger
from services.rewards.ledger.model import Lot
from services.shared.ids import new_id
from services.shared.mongo import Database, Indexes, Transaction

T = TypeVar("T")

# Of each member; every tenth is a claim too.
DROP_OFFS = 20
_CREDITED = 10
_BRANDS = 5
_PARTITIONS = 4
_ROWS_AT_ONCE = 1_000
_THEN = datetime(2026, 3, 1, 8, 30, tzinfo=UTC)
_EXPIRES = 4_102_444_800_000
_FACTOR = "pet-recycling-2025"
_MG_PER_GRAM = 1_650
_MACHINE = "machine_01jzzzzzzzzzzzzzzzzzzzzzzz"
_POINT = "point_01jzzzzzzzzzzzzzzzzzzzzzzz"


async def seed(uri: str, prefix: str, count: int) -> list[str]:
    """The ids of so many members, whose data are in the databases that begin with `prefix`."""
    brands = [new_id("partner") for _ in range(_BRANDS)]
    people = [new_id("member") for _ in range(count)]
    dropped = [_drop_off(member, brands, number) for member in people for number in range(DROP_OFFS)]
    async with _database(uri, f"{prefix}_partners", partners.INDEXES) as database:
        await _partners(database, brands)
    async with _database(uri, f"{prefix}_accounts", {**members.INDEXES, **acts.INDEXES}) as database:
        await _accounts(database, people, brands[0], dropped)
    async with _database(uri, f"{prefix}_logistics", captures.INDEXES) as database:
        await _logistics(database, dropped)
    async with _database(uri, f"{prefix}_rewards", INDEXES) as database:
        await _rewards(database, people, brands)
    return people


@asynccontextmanager
async def _database(uri: str, name: str, indexes: Indexes) -> AsyncIterator[Database]:
    database = Database(uri, name)
    try:
        await database.create_indexes(indexes)
        yield database
    finally:
        database.close()


async def _partners(database: Database, brands: Sequence[str]) -> None:
    store = partners.PartnerStore(database)

    async def add(tx: Transaction) -> None:
        for number, id in enumerate(brands):
            logo = f"https://brand-{number}.example/logo.svg"
            await store.add(
                tx, Partner(id, f"Brand {number}", "grocer", "NL", logo, PartnerStatus.APPROVED, _THEN, _THEN)
            )

    await database.transaction(add)


async def _accounts(database: Database, people: Sequence[str], brand: str, dropped: Sequence[DropOff]) -> None:
    enrolled, done = members.MemberStore(database), acts.ActStore(database, impact.ImpactStore(database))
    for part in _parts(people):

        async def enrol(tx: Transaction, part: Sequence[str] = part) -> None:
            for id in part:
                await enrolled.add_member(tx, Member(id, f"Noor {id[-8:]}", _THEN, brand))

        await database.transaction(enrol)
    for rows in _parts(dropped[::_CREDITED]):
        decided = _decision(rows)

        async def record(tx: Transaction, decided: Decision = decided) -> None:
            await done.record(tx, decided, {})

        await database.transaction(record)


async def _logistics(database: Database, dropped: Sequence[DropOff]) -> None:
    store = captures.CaptureStore(database)
    for number, rows in enumerate(_parts(dropped)):
        machine = Machine(rows[0].machine_id, rows[0].recycling_point_id, rows[0].partner_id, b"", False, _THEN)
        batch = Batch(machine, f"batch-{number}", Mode.ROLLBACK, (), b"")
        captured = Captured((), tuple(rows))

        async def record(tx: Transaction, batch: Batch = batch, captured: Captured = captured) -> None:
            await store.record(tx, batch, captured)

        await database.transaction(record)


async def _rewards(database: Database, people: Sequence[str], brands: Sequence[str]) -> None:
    ledger = Ledger(database, _PARTITIONS, lambda: time.time_ns() // 1_000_000)
    await ledger.open()
    running = asyncio.create_task(ledger.run())
    await ledger.post([Allot(new_id("block"), brand, 10**9) for brand in brands])
    issues: list[Command] = [
        Issue(new_id("claim"), member, (Lot(_EXPIRES, brand, 10_000, 60),)) for member in people for brand in brands[:2]
    ]
    for part in _parts(issues):
        if any(outcome.refusal for outcome in await ledger.post(part)):
            raise RuntimeError("an issue of points was refused")
    await asyncio.gather(*(engine.projector.reached(engine.head) for engine in ledger.engines))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def _drop_off(member: str, brands: Sequence[str], number: int) -> DropOff:
    at = _THEN + timedelta(minutes=number)
    id = new_id("dropoff")
    return DropOff(
        id=id,
        member_id=member,
        machine_id=_MACHINE,
        recycling_point_id=_POINT,
        partner_id=brands[number % len(brands)],
        material=Material.PET,
        weight_grams=100 + number,
        code="",
        occurred_at=at,
        recorded_at=at,
        event_hash=hashlib.sha256(id.encode()).hexdigest(),
    )


def _decision(dropped: Sequence[DropOff]) -> Decision:
    """What accounts makes of drop-offs that are all new and within their members' caps."""
    done, claims = [], []
    for row in dropped:
        act_id, claim_id, mg = new_id("act"), new_id("claim"), row.weight_grams * _MG_PER_GRAM
        who = {"member_id": row.member_id, "partner_id": row.partner_id}
        when = {"occurred_at": row.occurred_at, "recorded_at": row.recorded_at}
        what = {"kind": ActKind.PET_RECYCLING, "quantity": row.weight_grams}
        claims.append(
            Claim(id=claim_id, key=row.event_hash, act_id=act_id, co2e_mg=mg, factor_id=_FACTOR, **who, **when, **what)
        )
        done.append(
            Act(
                id=act_id,
                reference="",
                status=ActStatus.CREDITED,
                claim_id=claim_id,
                new_co2e_mg=mg,
                drop_off_id=row.id,
                **who,
                **when,
                **what,
            )
        )
    return Decision(done, claims, {})


def _parts(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    return (rows[start : start + _ROWS_AT_ONCE] for start in range(0, len(rows), _ROWS_AT_ONCE))
