"""More than can be done is refused before anything of it is read; what is let in is answered fast."""

import asyncio
import json
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.config import ConnectionLimits
from gateway.overload import Overload
from tests.gateway.conftest import gateway_with
from tests.gateway.fakes import FakeAlliance
from tests.gateway.live import Served, served
from tests.gateway.test_wire import BODY, Line, head, told

MOST = 8
# Who has one may take long over its body.
PLACES: dict[str, Any] = {"requests_in_flight": MOST, "connections": ConnectionLimits(body_seconds=100)}
WINDOW = 0.2


def window(overload: Overload, *, answered: int, busy: float = 1.0, in_flight: int = 0) -> None:
    """A window in which so many were in flight besides those that were answered."""
    entered = [overload.enter("brand") for _ in range(answered + in_flight)]
    for _ in range(min(answered, sum(entered))):
        overload.leave("brand")
    overload.observe(WINDOW, busy * WINDOW)


def test_a_busy_process_lets_in_what_it_answers_in_time():
    overload = Overload(most=2_000, answer_seconds=0.5)
    window(overload, answered=200)
    assert overload.limit == 200 / WINDOW * 0.5
    for _ in range(2):
        window(overload, answered=100)
    assert overload.limit == 100 / WINDOW * 0.5


def test_one_window_in_which_few_are_answered_is_a_large_document():
    overload = Overload(most=2_000, answer_seconds=0.5)
    window(overload, answered=200)
    window(overload, answered=0)
    assert overload.limit == 200 / WINDOW * 0.5
    window(overload, answered=0)
    assert overload.limit == 128


def test_a_process_that_is_not_busy_lets_in_as_many_again_as_wait_for_others():
    overload = Overload(most=2_000, answer_seconds=0.1)
    limits = []
    for _ in range(5):
        window(overload, answered=0, busy=0.5, in_flight=10_000)
        limits.append(overload.limit)
    assert limits == [512, 1_024, 2_000, 2_000, 2_000]
    while overload.in_flight:
        overload.leave("brand")
    for _ in range(2):
        window(overload, answered=0, busy=0.0)
    assert overload.limit == 256
    assert overload.at_rest


@pytest.mark.parametrize(("most", "fewest"), [(2_000, 128), (8, 8)])
def test_however_busy_some_are_let_in(most: int, fewest: int):
    overload = Overload(most, answer_seconds=0.1)
    for _ in range(10):
        window(overload, answered=1)
    assert overload.limit == fewest


def test_who_has_less_than_its_share_is_let_in_beyond_the_limit():
    overload = Overload(most=12, answer_seconds=0.1)
    assert [overload.enter("flood") for _ in range(13)] == [True] * 12 + [False]
    assert [overload.enter("other") for _ in range(7)] == [True] * 6 + [False]
    assert [overload.enter("third") for _ in range(5)] == [True] * 4 + [False]
    # What the flood has beyond its share comes to the others when it is answered.
    for _ in range(12):
        overload.leave("flood")
    assert [overload.enter("other") for _ in range(3)] == [True] * 2 + [False]


def test_however_many_have_less_than_their_share_there_is_an_end():
    overload = Overload(most=8, answer_seconds=0.1)
    entered = [overload.enter(f"brand_{number}") for number in range(10) for _ in range(8)]
    assert sum(entered) == overload.in_flight == 16


@pytest.mark.parametrize("flood", [3, 10])
def test_under_a_flood_as_much_is_answered_as_ever_and_another_brand_is_not_turned_away(flood: int):
    """By a process that answers 2,000 a second, in the order in which they come, and does nothing else."""
    capacity, windows = 400, 50
    overload = Overload(most=2_000, answer_seconds=0.1)
    line: deque[str] = deque()
    answered: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    longest = 0
    for _ in range(windows):
        for moment in range(capacity):
            # Of the other brand comes one where 20 could be answered.
            comers = ["flood"] * flood + ["other"] * (moment % 20 == 0)
            for comer in comers:
                if overload.enter(comer):
                    line.append(comer)
                else:
                    refused[comer] += 1
            longest = max(longest, len(line))
            overload.leave(client := line.popleft())
            answered[client] += 1
        overload.observe(WINDOW, WINDOW)
    assert answered.total() == windows * capacity
    assert refused["other"] == 0
    assert answered["other"] >= windows * capacity / 20 - len(line)
    # Nobody waits for longer than is wanted, but in the first moments; the other brand is let in besides.
    assert longest <= 256 + 20
    assert len(line) <= 2_000 * 0.1 + 20


@asynccontextmanager
async def full(alliance: FakeAlliance, keys: Path, **settings: Any) -> AsyncIterator[tuple[Served, list[Line]]]:
    """A gateway that strangers have taken all places of, with requests whose bodies are still to come."""
    async with served(alliance, keys, settings={**PLACES, **settings}) as gateway:
        holding = [await Line.to(gateway) for _ in range(MOST)]
        try:
            for line in holding:
                line.say(head(len(BODY), b"expect: 100-continue"))
                # Said when the body is asked for: it has its place.
                assert (await line.answer())[0] == 100
            yield gateway, holding
        finally:
            for line in holding:
                line.writer.close()


async def ask(gateway: Served, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60, trust_env=False) as http:
        return await http.post("/graphql", content=BODY, headers={"content-type": "application/json", **headers})


async def test_beyond_the_most_in_flight_a_request_is_refused_unread(alliance: FakeAlliance, keys: Path):
    async with full(alliance, keys) as (gateway, holding):
        line = await Line.to(gateway)
        line.say(head(200_000))
        status, headers, body = await line.answer()
        (error,) = json.loads(body)["errors"]
        assert (status, error["extensions"]["reason"]) == (503, "OVERLOADED")
        assert int(headers["retry-after"]) >= 1
        # It is the connection's next request that counts, and each of those that were sent ahead is answered in turn.
        line.say(b" " * 200_000, *[head(), BODY] * 3)
        assert [(await line.answer())[0] for _ in range(3)] == [503] * 3
        line.say(b"HEAD /graphql HTTP/1.1\r\nhost: x\r\n\r\n")
        async with asyncio.timeout(60):
            assert (await line.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 503 ")
        # Whoever watches over the process is answered all the same.
        line.say(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await line.answer())[0] == 200
        for other in holding:
            other.say(BODY)
        assert [(await other.answer())[0] for other in holding] == [200] * MOST
        line.say(head(), BODY)
        assert (await line.answer())[0] == 200
        line.writer.close()


async def test_who_wants_the_connection_closed_is_told_before_it_is(alliance: FakeAlliance, keys: Path):
    async with full(alliance, keys) as (gateway, _):
        line = await Line.to(gateway)
        line.say(head(200_000, b"connection: close"))
        assert told(await line.ended())[0] == 503
        line.writer.close()


async def test_a_brand_gets_in_when_strangers_have_taken_all_places(alliance: FakeAlliance, keys: Path):
    async with served(alliance, keys, settings=PLACES) as gateway:
        brand = {"authorization": f"Bearer {gateway.member('member_x', 'brand_x')}"}
        # A token is known from when it was first verified; until then it could be anybody's.
        assert (await ask(gateway, **brand)).status_code == 200
        holding = [await Line.to(gateway) for _ in range(MOST)]
        for line in holding:
            line.say(head(len(BODY), b"expect: 100-continue"))
            assert (await line.answer())[0] == 100
        assert (await ask(gateway)).status_code == 503
        assert (await ask(gateway, authorization="Bearer made.up")).status_code == 503
        answer = await ask(gateway, **brand)
        assert (answer.status_code, answer.json()["data"]["viewer"]["kind"]) == (200, "MEMBER")
        for line in holding:
            line.writer.close()


async def test_a_page_can_read_that_it_was_refused_and_ask_beforehand(
    alliance: FakeAlliance, keys: Path, tmp_path: Path
):
    (tmp_path / "brand_x.json").write_text('{"origins": ["https://shop.example"]}')
    async with full(alliance, keys, brands_folder=tmp_path) as (gateway, _):
        page = {"Origin": "https://shop.example", "X-Request-Id": "mine"}
        refused = await ask(gateway, **page)
        assert refused.status_code == 503
        assert refused.headers["Access-Control-Allow-Origin"] == "https://shop.example"
        assert "retry-after" in refused.headers["Access-Control-Expose-Headers"]
        assert refused.headers["X-Request-Id"] == "mine"
        assert refused.headers["X-Content-Type-Options"] == "nosniff"
        assert "Origin" in refused.headers["Vary"]
        other = await ask(gateway, Origin="https://evil.example")
        assert other.status_code == 503
        assert "Access-Control-Allow-Origin" not in other.headers
        assert other.headers["X-Request-Id"]
        async with httpx.AsyncClient(base_url=gateway.url, timeout=60, trust_env=False) as http:
            first = {**page, "Access-Control-Request-Method": "POST"}
            assert (await http.options("/graphql", headers=first)).status_code == 204


async def test_a_request_that_was_given_up_does_not_count_for_ever(alliance: FakeAlliance, keys: Path):
    async with full(alliance, keys) as (gateway, holding):
        assert (await ask(gateway)).status_code == 503
        for line in holding:
            line.writer.close()

        async with asyncio.timeout(60):
            while (await ask(gateway)).status_code != 200:
                await asyncio.sleep(0.01)


async def test_a_body_that_never_comes_ends_at_the_deadline(alliance: FakeAlliance, keys: Path):
    async def slow() -> None:
        yield b"{"
        await asyncio.Event().wait()

    async with gateway_with(alliance, keys, request_timeout_seconds=0.1) as gateway:
        response: httpx.Response = await asyncio.wait_for(
            gateway.http.post("/graphql", content=slow(), headers={"Content-Type": "application/json"}), 60
        )
    assert response.status_code == 504
