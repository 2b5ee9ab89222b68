"""Mutations happen once, and what they cause elsewhere happens, whatever fails in between."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from pymongo.errors import AutoReconnect

from alliance.partners.v1 import partners_pb2 as pb
from services.shared import identity, outbox, parked
from services.shared.errors import (
    Aborted,
    AlreadyExists,
    DomainError,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    Unavailable,
)
from services.shared.idempotency import Done, Idempotency
from services.shared.identity import Caller, CallerKind
from services.shared.mongo import Database, LostRace, Transaction
from services.shared.outbox import Outbox, Relay
from tests.support.errors import refused
from tests.support.moments import soon
from tests.support.service import PATIENCE_SECONDS

TOPIC = "blocks"


class Receiver:
    """The other service: fails as told, and remembers what reached it."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.fail: Callable[[Sequence[str]], DomainError | None] = lambda _: None

    async def __call__(self, payloads: Sequence[bytes]) -> None:
        points = [pb.OrderPrepaidBlockRequest.FromString(payload).request_id for payload in payloads]
        if error := self.fail(points):
            raise error
        self.got += points


@pytest.fixture(autouse=True)
def time_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, a delivery is waited for, and nobody else takes it up meanwhile."""
    monkeypatch.setattr("services.shared.idempotency._SETTLE_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(outbox, "_FIRST_ATTEMPT", timedelta(minutes=10))


@pytest.fixture
async def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
async def ready(database: Database) -> Database:
    await database.create_indexes(outbox.INDEXES)
    identity.set_current_caller(Caller(CallerKind.PARTNER, "partner_1", "partner_1"))
    return database


@asynccontextmanager
async def relaying(database: Database, receiver: Receiver) -> AsyncIterator[Relay]:
    relay = Relay(Outbox(database), {TOPIC: receiver})
    running = asyncio.create_task(relay.run())
    yield relay
    running.cancel()
    await asyncio.wait([running])


async def order(database: Database, relay: Relay | None, request_id: str, points: int = 5) -> Done[pb.PrepaidBlock]:
    """A mutation that stores a row and tells another service."""
    request = pb.OrderPrepaidBlockRequest(request_id=request_id, points=points)

    async def effect(tx: Transaction) -> pb.PrepaidBlock:
        await database["blocks"].insert_one({"points": points}, session=tx.session)
        if points < 0:
            raise FailedPrecondition("No agreement is in force.", reason="NO_AGREEMENT_IN_FORCE")
        await Outbox(database).emit(tx, TOPIC, [(f"event-{identity.current_caller().id}-{request_id}", request)])
        return pb.PrepaidBlock(id=f"block_{request_id}", points=points)

    return await Idempotency(database, relay).once(request, pb.PrepaidBlock, effect)


async def until(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def test_the_same_request_is_answered_with_the_stored_answer(ready: Database, receiver: Receiver):
    async with relaying(ready, receiver) as relay:
        first = await order(ready, relay, "r1")
        again = await order(ready, relay, "r1")
    assert first == again == Done(pb.PrepaidBlock(id="block_r1", points=5), settled=True)
    assert await ready["blocks"].count_documents({}) == 1
    assert receiver.got == ["r1"]


async def test_twenty_at_once_have_one_effect(ready: Database, receiver: Receiver):
    async with relaying(ready, receiver) as relay:
        answers = await asyncio.gather(*(order(ready, relay, "same") for _ in range(20)))
    assert len({answer.response.id for answer in answers}) == 1
    assert await ready["blocks"].count_documents({}) == 1


async def test_another_input_under_the_same_id_is_refused(ready: Database):
    await order(ready, None, "r1", points=5)
    error = await refused(AlreadyExists, order(ready, None, "r1", points=6))
    assert error.reason == "REQUEST_ID_REUSED"
    assert error.metadata == {"request_id": "r1"}


async def test_an_effect_that_lost_a_race_leaves_nothing_and_is_run_again(ready: Database):
    attempts: list[int] = []

    async def effect(tx: Transaction) -> str:
        attempts.append(len(attempts))
        await ready["blocks"].insert_one({"_id": len(attempts)}, session=tx.session)
        if len(attempts) < 3:
            raise LostRace
        return "done"

    assert await Idempotency(ready).commit(effect) == ("done", True)
    assert [row["_id"] async for row in ready["blocks"].find({})] == [3]


async def test_an_effect_that_always_loses_is_given_up(ready: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("services.shared.mongo._CONFLICTS_FOR_SECONDS", 0.2)

    async def effect(tx: Transaction) -> None:
        raise LostRace

    error = await refused(Aborted, Idempotency(ready).commit(effect))
    assert error.reason == "TOO_MANY_CONFLICTS"


async def test_callers_do_not_meet_in_each_others_request_ids(ready: Database):
    await order(ready, None, "r1")
    identity.set_current_caller(Caller(CallerKind.PARTNER, "partner_2", "partner_2"))
    assert (await order(ready, None, "r1", points=6)).response.points == 6


async def test_a_refused_request_leaves_nothing_and_may_be_tried_again(ready: Database):
    error = await refused(FailedPrecondition, order(ready, None, "r1", points=-1))
    assert error.reason == "NO_AGREEMENT_IN_FORCE"
    assert await ready["blocks"].count_documents({}) == 0
    assert (await order(ready, None, "r1", points=3)).response.points == 3


@pytest.mark.parametrize("request_id", ["", " ", "a b", "x" * 65, "ünï", "a\n"])
async def test_a_request_id_has_a_form(ready: Database, request_id: str):
    error = await refused(InvalidArgument, order(ready, None, request_id))
    assert error.reason == "REQUEST_ID_MALFORMED"


async def test_while_the_other_service_is_down_the_caller_is_told_that_it_is_pending(
    ready: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("services.shared.idempotency._SETTLE_SECONDS", 0.1)
    receiver.fail = lambda _: Unavailable("down")
    async with relaying(ready, receiver) as relay:
        for number in range(5):
            assert not (await order(ready, relay, f"r{number}")).settled
        assert not (await order(ready, relay, "r0")).settled
        receiver.fail = lambda _: None
        await until(lambda: len(receiver.got) == 5)
        assert receiver.got == [f"r{number}" for number in range(5)]
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (await order(ready, relay, "r0")).settled:
                await asyncio.sleep(0.01)


async def test_with_database_and_receiver_both_away_each_event_keeps_its_one_place(
    ready: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("services.shared.idempotency._SETTLE_SECONDS", 0.1)
    receiver.fail = lambda _: Unavailable("down")
    store = Outbox(ready)
    relay = Relay(store, {TOPIC: receiver})
    away = 0

    async def postpone(*_: object, **__: object) -> None:
        nonlocal away
        away += 1
        if away == 3:
            receiver.fail = lambda _: None
        raise AutoReconnect("away")

    monkeypatch.setattr(store, "postpone", postpone)
    lane = relay._lanes[TOPIC]
    for number in range(3):
        await order(ready, relay, f"r{number}")
    for _ in range(3):
        with pytest.raises(AutoReconnect):
            await lane.run()
    running = asyncio.create_task(lane.run())
    await until(lambda: len(receiver.got) >= 3 and not lane._futures)
    running.cancel()
    await asyncio.wait([running])
    assert receiver.got == ["r0", "r1", "r2"]
    assert not lane._waiting


async def test_an_outage_does_not_count_against_an_event(
    ready: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("services.shared.idempotency._SETTLE_SECONDS", 0.5)
    receiver.fail = lambda _: Unavailable("down")
    async with relaying(ready, receiver) as relay:
        assert not (await order(ready, relay, "r1")).settled
        row = await ready["outbox"].find_one({"_id": "event-partner_1-r1"})
    assert row is not None
    assert row["attempts"] == 0


async def test_events_of_a_process_that_died_are_delivered_by_the_next(ready: Database, receiver: Receiver):
    await order(ready, None, "left-behind")
    await ready["outbox"].update_many({}, {"$set": {"due_at": datetime.now(UTC) - timedelta(seconds=1)}})
    async with relaying(ready, receiver):
        await until(lambda: receiver.got == ["left-behind"])


async def test_one_poisoned_event_does_not_hold_the_others(ready: Database, receiver: Receiver):
    receiver.fail = lambda ids: InvalidArgument("bad", reason="BAD") if "bad" in ids else None
    async with relaying(ready, receiver) as relay:
        await asyncio.gather(*(order(ready, relay, name) for name in ("a", "bad", "b")))
    assert sorted(receiver.got) == ["a", "b"]
    row = await ready["outbox"].find_one({"_id": "event-partner_1-bad"})
    assert row is not None
    assert row["error"] == "BAD: bad"
    assert "due_at" not in row
    assert await Outbox(ready).pending(["event-partner_1-bad"])


async def test_an_event_that_cannot_even_be_sent_holds_no_other(ready: Database, receiver: Receiver):
    """As the two above, where the trouble is on our side: its bytes are no message."""
    past = datetime.now(UTC) - timedelta(seconds=1)
    waiting = {"trace": {}, "due_at": past, "waiting_since": past}
    await ready["outbox"].insert_many(
        [
            {"_id": "a-damaged", "topic": TOPIC, "payload": b"\xff" * 4, "attempts": 3, **waiting},
            {"_id": "b-hopeless", "topic": TOPIC, "payload": b"\xff" * 4, "attempts": 20, **waiting},
        ]
    )
    async with relaying(ready, receiver) as relay:
        await order(ready, relay, "well")
        await until(lambda: receiver.got == ["well"])
        async with asyncio.timeout(10):
            while not (parked_ones := await Outbox(ready).parked(10)):
                await asyncio.sleep(0.01)
    assert [each.id for each in parked_ones] == ["b-hopeless"]
    assert parked_ones[0].error.startswith("CANNOT_BE_SENT: DecodeError: ")
    row = await ready["outbox"].find_one({"_id": "a-damaged"})
    assert row is not None
    assert row["attempts"] == 4
    assert row["due_at"] > past


async def test_an_operator_has_what_was_refused_delivered_after_all_or_settles_it(
    ready: Database, receiver: Receiver, capsys: pytest.CaptureFixture[str]
):
    events = Outbox(ready)

    async def said(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        status = await parked.run(events, arguments)
        return status, capsys.readouterr().out

    receiver.fail = lambda ids: InvalidArgument("bad", reason="BAD")
    async with relaying(ready, receiver) as relay:
        for name in ("first", "second"):
            await order(ready, relay, name)
        status, listed = await said("list")
        assert (status, listed.splitlines()[-1]) == (0, "2 parked")
        assert [line.split("  ")[::3] for line in listed.splitlines()[:-1]] == [
            ["event-partner_1-first", "BAD: bad"],
            ["event-partner_1-second", "BAD: bad"],
        ]
        receiver.fail = lambda _: None
        assert await said("again", "event-partner_1-first") == (0, "event-partner_1-first: done\n")
        await until(lambda: receiver.got == ["first"])
    assert (await said("settle", "event-partner_1-second", "--why", "Ada: paid by hand"))[0] == 0
    assert await said("list") == (0, "0 parked\n")
    row = await ready["outbox"].find_one({"_id": "event-partner_1-second"})
    assert row is not None
    assert row["settled"] == "Ada: paid by hand"
    assert not await events.pending(["event-partner_1-second"])
    assert (await events.sample()).parked == 0
    # What is not parked is not touched.
    for action in (("again",), ("settle", "--why", "Ada: again")):
        status, told = await said(*action, "event-partner_1-first")
        assert (status, told) == (1, "event-partner_1-first: there is no parked event of that id\n")


async def test_a_defect_on_the_other_side_is_tried_again_later(
    ready: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(outbox, "_BACKOFF_SECONDS", (0.1, PATIENCE_SECONDS))
    receiver.fail = lambda ids: Internal("defect") if "odd" in ids else None
    began = soon(0)
    async with relaying(ready, receiver) as relay:
        done = await order(ready, relay, "odd")
        assert not done.settled
    row = await ready["outbox"].find_one({"_id": "event-partner_1-odd"})
    assert row is not None
    assert row["attempts"] == 1
    assert began <= row["due_at"] - timedelta(seconds=PATIENCE_SECONDS) <= datetime.now(UTC)


async def test_while_deliveries_are_slow_callers_are_told_at_once_that_theirs_is_pending(ready: Database):
    released = asyncio.Event()

    class Slow(Receiver):
        async def __call__(self, payloads: Sequence[bytes]) -> None:
            if self.got:
                await released.wait()
            else:
                await asyncio.sleep(outbox._SOON_SECONDS)
            await super().__call__(payloads)

    slow = Slow()
    async with relaying(ready, slow) as relay:
        assert (await order(ready, relay, "r1")).settled
        second = asyncio.create_task(order(ready, relay, "r2"))
        await until(lambda: bool(relay._lanes[TOPIC]._waiting))
        third = await order(ready, relay, "r3")
        # The second still waits for its own delivery, which had nothing before it; so nothing has been released.
        assert not third.settled
        assert not second.done()
        released.set()
        assert (await second).settled
        await until(lambda: slow.got == ["r1", "r2", "r3"])
