"""Connections as an attacker makes them: many, slow, silent, endless; each is bounded, and others are served."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from structlog.testing import capture_logs
from uvicorn.server import ServerState

from gateway.config import ConnectionLimits
from gateway.metrics import CONNECTIONS, LIMITED
from gateway.whole import _line
from gateway.wire import Connection, Doors
from services.shared.metrics import catalogue
from tests.gateway.fakes import FakeAlliance
from tests.gateway.live import IMPACT, Served, served, until
from tests.gateway.test_metrics import counts
from tests.support.bounds import within_some
from tests.support.live import socket

PATIENCE_SECONDS = 60.0
BODY = b'{"query": "{ viewer { kind } }"}'


@pytest.fixture(scope="module")
async def gateway(alliance: FakeAlliance, keys: Path) -> AsyncIterator[Served]:
    """Few of everything, and time enough."""
    limits: dict[str, Any] = {"connections": 40, "connections_per_address": 30, "head_bytes": 2_048, "pipelined": 3}
    async with hasty(alliance, keys, **limits, head_seconds=100, body_seconds=100, idle_seconds=100) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
async def vacant(gateway: Served) -> AsyncIterator[None]:
    """Whoever a test leaves behind has gone when the next begins."""
    yield
    await until(lambda: not counts(gateway.meter, CONNECTIONS))


def hasty(alliance: FakeAlliance, keys: Path, **limits: Any) -> AbstractAsyncContextManager[Served]:
    """A gateway of its own, with these bounds on connections, and the others as usual."""
    return served(alliance, keys, settings={"connections": ConnectionLimits(**limits)})


class Line:
    """A connection whose every byte is the caller's own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, gateway: Served, **options: Any) -> "Line":
        host, _, port = gateway.url.removeprefix("http://").partition(":")
        return cls(*await asyncio.open_connection(host, int(port), **options))

    def say(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the next answer."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            status, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return int(status.split()[1]), headers, body

    async def ended(self) -> bytes:
        """What was still said, once the other side has closed."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    async def trickle(self, *pieces: bytes, seconds: float = 0.1) -> bytes:
        """Sends the pieces one at a time until the other side has closed; what it said."""
        ended = asyncio.create_task(self.ended())
        for piece in pieces:
            if ended.done():
                break
            self.say(piece)
            await asyncio.wait([ended], timeout=seconds)
        return await ended


@asynccontextmanager
async def lines(gateway: Served, count: int = 1, *, addresses: int = 1) -> AsyncIterator[list[Line]]:
    """So many, from so many addresses."""
    opened = [await Line.to(gateway, local_addr=(f"127.0.0.{1 + n % addresses}", 0)) for n in range(count)]
    try:
        yield opened
    finally:
        for line in opened:
            line.writer.close()


def head(length: int = len(BODY), *more: bytes) -> bytes:
    lines = [b"POST /graphql HTTP/1.1", b"host: x", b"content-type: application/json", b"content-length: %d" % length]
    return b"\r\n".join([*lines, *more, b"", b""])


def cut(gateway: Served, limit: str) -> float:
    """How often that limit has refused or ended something."""
    return sum(
        float(value)  # type: ignore[arg-type]
        for reading in gateway.meter.collect()
        if reading.definition is LIMITED
        for (name,), value in reading.points
        if name == limit
    )


def told(answer: bytes) -> tuple[int, dict[str, Any]]:
    """The status and the error's extensions of a refusal that closed the connection."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    (error,) = json.loads(body)["errors"]
    return int(head.split()[1]), error["extensions"]


async def test_a_head_that_comes_drop_by_drop_is_cut_off(alliance: FakeAlliance, keys: Path):
    async with hasty(alliance, keys, head_seconds=0.3) as gateway, lines(gateway) as (line,):
        drops = [b"POST /graphql HTTP/1.1\r\n", *(b"x-%d: y\r\n" % n for n in range(100))]
        status, why = told(await line.trickle(*drops))
        assert cut(gateway, "head seconds") == 1
    assert (status, why["reason"], why["measure"], why["limit"]) == (408, "REQUEST_TOO_SLOW", "head seconds", 0.3)


@pytest.mark.parametrize("drops", [(), (b"\r\n",) * 100, (b"P",)])
async def test_a_connection_on_which_nothing_is_asked_ends(
    alliance: FakeAlliance, keys: Path, drops: tuple[bytes, ...]
):
    async with hasty(alliance, keys, head_seconds=0.3) as gateway, lines(gateway) as (line,):
        answer = await line.trickle(*drops)
    assert answer == b"" or told(answer)[0] == 408


async def test_a_body_that_comes_drop_by_drop_is_cut_off_and_is_no_fault_of_ours(
    alliance: FakeAlliance, keys: Path, caplog: pytest.LogCaptureFixture
):
    async with hasty(alliance, keys, body_seconds=0.5) as gateway:
        with capture_logs() as logged:
            async with lines(gateway) as (line,):
                line.say(head(1_000))
                status, why = told(await line.trickle(*[b" "] * 100))
        assert cut(gateway, "body seconds") == 1
        assert not logged
        assert not caplog.records
    assert (status, why["reason"], why["measure"], why["limit"]) == (408, "REQUEST_TOO_SLOW", "body seconds", 0.5)


async def test_who_goes_on_with_a_body_that_was_refused_is_cut_off(alliance: FakeAlliance, keys: Path):
    async with hasty(alliance, keys, body_seconds=0.5) as gateway, lines(gateway) as (line,):
        line.say(head(10**9))
        status, _, _ = await line.answer()
        assert status == 413
        assert await line.trickle(*[b" " * 100] * 100) == b""


async def test_an_idle_connection_ends_even_if_it_says_nothings(alliance: FakeAlliance, keys: Path):
    async with hasty(alliance, keys, idle_seconds=0.7) as gateway, lines(gateway, 2) as (silent, mumbling):
        for line in (silent, mumbling):
            line.say(head(), BODY)
            assert (await line.answer())[0] == 200
        assert await asyncio.gather(silent.ended(), mumbling.trickle(*[b"\r\n"] * 100)) == [b"", b""]


async def test_who_asks_now_and_then_keeps_the_connection(alliance: FakeAlliance, keys: Path):
    async def ask(seconds: float) -> None:
        async with hasty(alliance, keys, idle_seconds=seconds) as gateway, lines(gateway) as (line,):
            for _ in range(4):
                line.say(head(), BODY)
                assert (await line.answer())[0] == 200
                await asyncio.sleep(seconds / 2)

    await within_some(0.7, ask)


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_head_without_end_is_refused(gateway: Served, at_once: bool):
    long = head(len(BODY), b"x-long: " + b"y" * 4_000)
    pieces = [long] if at_once else [long[place : place + 500] for place in range(0, len(long), 500)]
    async with lines(gateway) as (line,):
        status, why = told(await line.trickle(*pieces, seconds=0.005))
    assert (status, why["reason"], why["limit"]) == (431, "HEAD_TOO_LARGE", 2_048)


async def test_what_was_asked_before_a_head_without_end_is_answered_to_nobody(gateway: Served, alliance: FakeAlliance):
    body = b'{"query": "{ partner(id: \\"partner_x\\") { name } }"}'
    alliance.reset()
    alliance.recorder.waits["BatchGetPartners"] = answering = asyncio.Event()
    with capture_logs() as logs:
        async with lines(gateway) as (line,):
            line.say(*[head(len(body)), body] * 2, head(0, b"x-long: " + b"y" * 4_000).rstrip())
            assert told(await line.ended())[0] == 431
            answering.set()
            await until(lambda: counts(gateway.meter, catalogue.IN_FLIGHT) == {})
    alliance.reset()
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == []


async def test_a_body_may_be_longer_than_a_head(gateway: Served):
    body = BODY[:-1] + b" " * 50_000 + b"}"
    async with lines(gateway) as (line,):
        for _ in range(2):
            line.say(head(len(body)), body)
            assert (await line.answer())[0] == 200


async def test_requests_ahead_of_their_answers_are_bounded(gateway: Served):
    async with lines(gateway) as (line,):
        line.say(*[head(), BODY] * 3)
        assert [(await line.answer())[0] for _ in range(3)] == [200] * 3
    async with lines(gateway) as (line,):
        line.say(*[head(), BODY] * 1_000)
        assert (await line.ended()).count(b"HTTP/1.1 200") <= 4
    assert cut(gateway, "pipelined requests") == 1


async def _nobody(scope: object, receive: object, send: object) -> None:
    """An application that is never asked."""


class Taker(asyncio.Transport):
    """The end of a caller who takes answers at its leisure: `waiting` bytes are still to be sent to it."""

    waiting = 0
    aborted = False

    def __init__(self) -> None:
        super().__init__()
        self.said = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.said += data

    def write_eof(self) -> None:
        """All has been said."""

    def close(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return self.aborted or self.closed

    def abort(self) -> None:
        self.aborted = True


def met(doors: Doors, state: ServerState, taker: Taker) -> None:
    """One more connection comes."""
    config = uvicorn.Config(_nobody, http="httptools", log_config=None)
    Connection(doors, config=config, server_state=state, app_state={}, _loop=None).connection_made(taker)


async def test_who_finds_no_place_is_told_so_and_who_has_been_silent_for_longest_makes_room():
    now, limited = 0.0, []
    limits = ConnectionLimits(connections=20)
    doors, state = Doors(limits, limited.append, lambda: now, behind_proxies=False), ServerState()
    doors.open = state.connections
    silent = [Taker() for _ in range(20)]
    for taker in silent:
        now += 0.01
        met(doors, state, taker)
    for refused in range(1, 11):
        now += 0.2
        met(doors, state, newcomer := Taker())
        assert told(newcomer.said)[0] == 503
        assert [taker.closed for taker in silent] == [True] * refused + [False] * (20 - refused)
    assert limited == ["connections"] * 10


@pytest.mark.parametrize(
    ("waiting", "left"),
    [
        # Nothing is taken.
        ([900] * 12, True),
        # What is taken is less than what is added: for the senders of events, who have limits of their own.
        ([900, 800, 1_500, 1_400, 2_000, 1_900] * 2, False),
        # Slowly, but surely.
        (list(range(900, 0, -75)), False),
        # All was taken, and then came more.
        ([900, 900, 900, 0] * 3, False),
    ],
)
async def test_who_does_not_take_the_answer_is_left(waiting: list[int], left: bool):
    now, limited = 0.0, []
    doors = Doors(ConnectionLimits(send_seconds=5, head_seconds=100), limited.append, lambda: now, behind_proxies=False)
    state, taker = ServerState(), Taker()
    doors.open = state.connections
    met(doors, state, taker)
    for bytes_waiting in waiting:
        taker.waiting, now = bytes_waiting, now + 1
        if not taker.aborted:
            doors.walk()
    assert taker.aborted is left
    assert limited == (["send seconds"] if left else [])


async def test_one_address_has_so_many_connections_and_no_more(gateway: Served):
    before = cut(gateway, "connections of an address")
    async with lines(gateway, 30) as opened:
        refused = await Line.to(gateway)
        status, why = told(await refused.ended())
        assert (status, why["reason"], why["limit"]) == (429, "TOO_MANY_CONNECTIONS", 30)
        assert cut(gateway, "connections of an address") == before + 1
        opened[0].say(head(), BODY)
        assert (await opened[0].answer())[0] == 200


async def test_who_says_nothing_makes_room_for_who_does(gateway: Served):
    """Beyond all connections that there may be, from many addresses."""
    async with lines(gateway, 40, addresses=9), asyncio.timeout(PATIENCE_SECONDS):
        answers = []
        while not answers or answers[-1] != 200:
            async with lines(gateway) as (line,):
                line.say(head(), BODY)
                status, headers, _ = await line.answer()
            assert status in (200, 503)
            assert status == 200 or headers["retry-after"]
            answers.append(status)
            await asyncio.sleep(0.05)
    assert 503 in answers
    assert cut(gateway, "connections") >= 1


async def test_probes_are_answered_when_callers_have_taken_all_connections(alliance: FakeAlliance, keys: Path):
    limits = ConnectionLimits(connections=8, body_seconds=300)
    async with (
        served(alliance, keys, settings={"connections": limits}) as gateway,
        lines(gateway, 8) as crowd,
        lines(gateway) as (another,),
    ):
        for line in crowd:
            line.say(head())  # With a request begun none of them makes room.
        assert told(await another.ended())[1]["reason"] == "TOO_MANY_CONNECTIONS"
        async with asyncio.timeout(PATIENCE_SECONDS), httpx.AsyncClient(base_url=gateway.probes, timeout=60) as probe:
            while set((await probe.get("/readyz")).json()["services"].values()) != {"serving"}:
                await asyncio.sleep(0.05)
        answers = []
        for path in ("/healthz", "/readyz", "/graphql", "/oauth/token"):
            # On a connection of its own each, as a kubelet asks.
            async with httpx.AsyncClient(base_url=gateway.probes, timeout=60, trust_env=False) as probe:
                answers.append(await probe.get(path))
    assert [answer.status_code for answer in answers] == [200, 200, 404, 404]
    assert answers[0].json() == {"status": "alive"}


async def test_websockets_are_counted_but_not_cut_off(alliance: FakeAlliance, keys: Path):
    async def stay(seconds: float) -> None:
        async with (
            hasty(alliance, keys, head_seconds=seconds, idle_seconds=seconds) as gateway,
            socket(gateway.url, gateway.operator()) as client,
        ):
            await client.subscribe(IMPACT)
            await asyncio.sleep(2.5 * seconds)  # Longer than any connection may be idle, or its head may take.
            await client.say({"type": "ping"})
            while (await client.hear())["type"] != "pong":
                continue
            assert counts(gateway.meter, CONNECTIONS) == {(): 1}

    await within_some(0.4, stay)


async def test_a_whole_answer_comes_in_one_piece(gateway: Served):
    async with lines(gateway) as (line,):
        for _ in range(2):
            line.say(head(), BODY)
            async with asyncio.timeout(PATIENCE_SECONDS):
                said = await line.reader.read(1 << 16)
            told, _, body = said.partition(b"\r\n\r\n")
            assert told.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"\r\ncontent-length: %d\r\n" % len(body) in told
            assert b"\r\ndate: " in told
            assert json.loads(body) == {"data": {"viewer": {"kind": "ANYONE"}}}


@pytest.mark.parametrize("closing", [b"HTTP/1.1 close", b"HTTP/1.0"])
async def test_a_connection_that_is_not_to_be_kept_ends_with_its_answer(gateway: Served, closing: bytes):
    version, _, connection = closing.partition(b" ")
    more = [b"connection: " + connection] if connection else []
    async with lines(gateway) as (line,):
        line.say(head(len(BODY), *more).replace(b"HTTP/1.1", version), BODY)
        said = await line.ended()
    assert b"\r\nconnection: close\r\n" in said
    assert said.endswith(b"}}}")


def test_no_header_is_two():
    for name, value in ((b"x-a\r\nx-b", b"1"), (b"x-a", b"1\r\nx-b: 2"), (b"transfer-encoding", b"chunked")):
        with pytest.raises(RuntimeError):
            _line(name, value)
    assert _line(b"x-a", b"1") == b"x-a: 1\r\n"
