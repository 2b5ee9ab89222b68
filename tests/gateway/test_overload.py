"""More than can be done is refused before anything of it is read; what is let in is answered fast."""

import asyncio
from pathlib import Path

import httpx

from gateway.overload import Overload
from services.shared.metrics import catalogue
from tests.gateway.conftest import World, gateway_with
from tests.gateway.fakes import FakeAlliance
from tests.gateway.live import until
from tests.gateway.test_metrics import counts

VIEWER = {"query": "{ viewer { kind } }"}


def busy(overload: Overload, ticks: int, lag: float, in_flight: int) -> None:
    for _ in range(ticks):
        overload.in_flight = min(in_flight, int(overload.limit))
        overload.observe(lag)


def test_while_the_event_loop_is_late_fewer_are_let_in_and_then_more_again():
    overload = Overload(most=1_000, lag_seconds=0.1)
    busy(overload, 20, lag=0.3, in_flight=500)
    assert overload.limit < 100
    busy(overload, 10_000, lag=0.0, in_flight=500)
    assert overload.limit == 1_000


def test_what_is_far_too_late_is_cut_down_to_what_can_be_done_at_once():
    overload = Overload(most=1_000, lag_seconds=0.1)
    busy(overload, 2, lag=0.25, in_flight=1_000)
    assert overload.limit == 400
    # However late: a tick that stood still is no measure of what can be done.
    busy(overload, 1, lag=10.0, in_flight=1_000)
    assert overload.limit == 160


def test_one_late_tick_is_no_overload():
    overload = Overload(most=1_000, lag_seconds=0.1)
    for _ in range(100):
        overload.observe(0.5)
        overload.observe(0.01)
    assert overload.limit == 1_000


def test_however_late_some_are_let_in():
    overload = Overload(most=1_000, lag_seconds=0.1)
    busy(overload, 1_000, lag=9.0, in_flight=1_000)
    assert overload.limit == 64
    few = Overload(most=8, lag_seconds=0.1)
    busy(few, 10, lag=9.0, in_flight=8)
    assert few.limit == 8


async def test_beyond_the_most_in_flight_a_request_is_refused_unread(alliance: FakeAlliance, keys: Path, world: World):
    alliance.reset()
    answering = alliance.recorder.waits["BatchGetPartners"] = asyncio.Event()
    query = {"query": "query ($id: ID!) { partner(id: $id) { name } }", "variables": {"id": world.brand}}
    async with gateway_with(alliance, keys, requests_in_flight=8) as gateway:

        async def endless() -> None:
            raise AssertionError("the body was read")
            yield b""

        waiting = [asyncio.create_task(gateway.http.post("/graphql", json=query)) for _ in range(8)]
        await until(lambda: counts(gateway.meter, catalogue.IN_FLIGHT) == {(): 8})
        refused = await gateway.http.post("/graphql", content=endless())
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) >= 1
        assert refused.json()["errors"][0]["extensions"]["reason"] == "OVERLOADED"
        # Whoever watches over the process is answered all the same.
        assert (await gateway.http.get("/healthz")).status_code == 200
        answering.set()
        assert {response.status_code for response in await asyncio.gather(*waiting)} == {200}
        assert (await gateway.http.post("/graphql", json=VIEWER)).status_code == 200
    alliance.reset()


async def test_a_page_can_read_that_it_was_refused_and_ask_beforehand(
    alliance: FakeAlliance, keys: Path, world: World, tmp_path: Path
):
    alliance.reset()
    answering = alliance.recorder.waits["BatchGetPartners"] = asyncio.Event()
    query = {"query": "query ($id: ID!) { partner(id: $id) { name } }", "variables": {"id": world.brand}}
    (tmp_path / f"{world.brand}.json").write_text('{"origins": ["https://shop.example"]}')
    async with gateway_with(alliance, keys, requests_in_flight=8, brands_folder=tmp_path) as gateway:
        waiting = [asyncio.create_task(gateway.http.post("/graphql", json=query)) for _ in range(8)]
        headers = {"Origin": "https://shop.example", "X-Request-Id": "mine"}
        await until(lambda: counts(gateway.meter, catalogue.IN_FLIGHT) == {(): 8})
        refused = await gateway.http.post("/graphql", json=VIEWER, headers=headers)
        assert refused.status_code == 503
        assert refused.headers["Access-Control-Allow-Origin"] == "https://shop.example"
        assert "retry-after" in refused.headers["Access-Control-Expose-Headers"]
        assert refused.headers["X-Request-Id"] == "mine"
        assert refused.headers["X-Content-Type-Options"] == "nosniff"
        assert "Origin" in refused.headers["Vary"]
        other = await gateway.http.post("/graphql", json=VIEWER, headers={"Origin": "https://evil.example"})
        assert other.status_code == 503
        assert "Access-Control-Allow-Origin" not in other.headers
        assert other.headers["X-Request-Id"]
        first = {**headers, "Access-Control-Request-Method": "POST"}
        assert (await gateway.http.options("/graphql", headers=first)).status_code == 204
        answering.set()
        await asyncio.gather(*waiting)
    alliance.reset()


async def test_a_request_that_was_given_up_does_not_count_for_ever(alliance: FakeAlliance, keys: Path, world: World):
    alliance.reset()
    alliance.recorder.waits["BatchGetPartners"] = asyncio.Event()
    query = {"query": "query ($id: ID!) { partner(id: $id) { name } }", "variables": {"id": world.brand}}
    async with gateway_with(alliance, keys, requests_in_flight=8, request_timeout_seconds=0.1) as gateway:
        for _ in range(3):
            await asyncio.gather(*(gateway.http.post("/graphql", json=query) for _ in range(8)))
        assert (await gateway.http.post("/graphql", json=VIEWER)).status_code == 200
    alliance.reset()


async def test_a_body_that_never_comes_ends_at_the_deadline(alliance: FakeAlliance, keys: Path):
    async def slow() -> None:
        yield b"{"
        await asyncio.Event().wait()

    async with gateway_with(alliance, keys, request_timeout_seconds=0.1) as gateway:
        response: httpx.Response = await asyncio.wait_for(
            gateway.http.post("/graphql", content=slow(), headers={"Content-Type": "application/json"}), 60
        )
    assert response.status_code == 504
