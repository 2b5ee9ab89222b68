"""Mutations take turns: as many as are answered soon, the brands alike, and the rest is refused before it costs."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from gateway.returns import LONGEST_SECONDS, Returns
from gateway.turns import Turns
from services.shared.overload import Limit
from tests.gateway.conftest import GRAPHQL, Gateway, gateway_with
from tests.gateway.fakes import FakeAlliance
from tests.gateway.live import until

REDEEM = "mutation ($input: RedeemInput!) { redeem(input: $input) { ... on RedeemPayload { redemption { id } } } }"
VIEWER = "{ viewer { kind } }"


class Clock:
    """Time stands still until it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def turns_of(most: int, wait_seconds: float = 60.0, clock: Clock | None = None) -> Turns:
    clock = clock or Clock()
    return Turns(Limit(most, target_seconds=60, clock=clock), wait_seconds, clock)


async def took(turns: Turns, client: str) -> float:
    began = await turns.take(client)
    assert began is not None
    return began


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_finds_no_place_has_the_next_that_is_free():
    turns = turns_of(2)
    first, _ = await took(turns, "a"), await took(turns, "a")
    third = asyncio.create_task(turns.take("a"))
    await settled()
    assert turns.in_line == 1
    turns.end("a", first)
    assert await third is not None
    assert (turns.in_line, turns.limit.in_flight) == (0, 2)


async def test_who_has_fewest_is_next_however_many_others_wait():
    turns = turns_of(4)
    begun = [await took(turns, "flood") for _ in range(4)]
    order: list[str] = []

    async def wait(client: str) -> None:
        assert await turns.take(client) is not None
        order.append(client)

    tasks = [asyncio.create_task(wait("flood")) for _ in range(3)]
    await settled()
    tasks += [asyncio.create_task(wait(client)) for client in ("small", "tiny", "small")]
    await settled()
    for began in begun:
        turns.end("flood", began)
        await settled()
    # The last two had as many: who was served last comes last.
    assert order == ["small", "tiny", "flood", "small"]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert turns.in_line == 0


async def refused(turns: Turns, client: str) -> bool:
    """Whether there is no turn to be had, nor one to be waited for."""
    asking = asyncio.create_task(turns.take(client))
    await settled()
    waits = not asking.done()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    return not waits and asking.result() is None


async def test_in_a_line_that_does_not_empty_only_those_wait_who_have_less_than_their_share():
    clock = Clock()
    turns = turns_of(4, wait_seconds=60, clock=clock)
    begun = [await took(turns, "flood") for _ in range(4)]
    # First everybody may wait; once the line has stood for so long, the flood may not.
    first = asyncio.create_task(turns.take("flood"))
    await settled()
    clock.now = 59.0
    assert not await refused(turns, "flood")
    clock.now = 61.0
    waiting = asyncio.create_task(turns.take("small"))
    await settled()
    assert turns.in_line == 2
    assert [await refused(turns, "flood") for _ in range(50)] == [True] * 50
    turns.end("flood", begun[0])
    assert await waiting is not None
    first.cancel()


async def test_after_somebody_waited_in_vain_nobody_waits_for_a_while():
    clock = Clock()
    turns = turns_of(4, wait_seconds=0.05, clock=clock)
    for _ in range(4):
        await took(turns, "flood")
    assert await turns.take("flood") is None
    assert await refused(turns, "flood")
    clock.now = 1.0
    assert not await refused(turns, "flood")


async def test_a_line_is_no_longer_than_what_can_be_answered_at_once():
    turns = turns_of(8, wait_seconds=0.05)
    outcomes = await asyncio.gather(*(turns.take("a") for _ in range(100)))
    assert sum(outcome is not None for outcome in outcomes) == 8
    assert turns.in_line == 0


async def test_who_gives_up_leaves_no_gap():
    turns = turns_of(2)
    began, _ = await took(turns, "a"), await took(turns, "a")
    gone, next_one = (asyncio.create_task(turns.take("b")) for _ in range(2))
    await settled()
    gone.cancel()
    turns.end("a", began)
    assert await next_one is not None
    # The turn was given at the very moment at which it was given up.
    late = asyncio.create_task(turns.take("c"))
    await settled()
    turns.end("b", next_one.result() or 0)
    late.cancel()
    await asyncio.gather(gone, late, return_exceptions=True)
    assert (turns.limit.in_flight, turns.in_line) == (1, 0)


@settings(max_examples=50, deadline=None)
@drawn(
    most=st.integers(1, 12),
    steps=st.lists(st.tuples(st.sampled_from(["take", "end", "cancel"]), st.integers(0, 3)), max_size=80),
)
def test_whoever_comes_and_goes_turns_are_neither_lost_nor_given_twice(most: int, steps: list[tuple[str, int]]):
    async def play() -> None:
        turns = turns_of(most, wait_seconds=30)
        asked: list[tuple[str, asyncio.Task[float | None]]] = []
        having: list[tuple[str, float]] = []
        for step, number in steps:
            if step == "take":
                client = f"client {number}"
                asked.append((client, asyncio.create_task(turns.take(client))))
            elif step == "end" and having:
                turns.end(*having.pop(number % len(having)))
            elif step == "cancel" and asked:
                asked[number % len(asked)][1].cancel()
            await settled()
            done = [(client, task) for client, task in asked if task.done()]
            asked = [(client, task) for client, task in asked if not task.done()]
            having += [
                (client, began)
                for client, task in done
                if not task.cancelled() and (began := task.result()) is not None
            ]
            assert turns.limit.in_flight == len(having) <= most
            assert turns.in_line == len(asked)
            # Nobody waits while there is a place.
            assert not asked or len(having) == most
        for _, task in asked:
            task.cancel()
        await asyncio.gather(*(task for _, task in asked), return_exceptions=True)

    asyncio.run(play())


@settings(max_examples=50, deadline=None)
@drawn(refused=st.integers(1, 2_000), answered=st.integers(0, 500), least=st.integers(1, 5))
def test_returns_are_spread_over_the_time_that_it_takes_to_answer_them(refused: int, answered: int, least: int):
    now = 0.0
    returns = Returns(least, lambda: now)
    for _ in range(refused):
        assert returns.refused() == least
    returns.answered = answered
    now = 1.0
    told = Counter(returns.refused() for _ in range(2_000))
    longest = min(LONGEST_SECONDS, least + round(refused / max(1, answered)))
    assert min(told) >= least
    assert max(told) <= longest
    # After a quiet moment nobody else wants to come.
    now = 100.0
    assert returns.refused() == least


@pytest.fixture
async def small(alliance: FakeAlliance, keys: Path) -> AsyncIterator[Gateway]:
    """A gateway that answers eight mutations of a kind at once, over a service that answers once it is let to."""
    alliance.reset()
    alliance.recorder.waits["Redeem"] = asyncio.Event()
    async with gateway_with(alliance, keys, mutations_in_flight=8, mutation_wait_seconds=0.05) as gateway:
        yield gateway
    alliance.reset()


async def redeem(gateway: Gateway, request_id: str, token: str | None = None, **headers: str) -> httpx.Response:
    given = {"requestId": request_id, "rewardId": "reward_x"}
    return await gateway.http.post(
        "/graphql",
        json={"query": REDEEM, "variables": {"input": given}},
        headers={"Accept": GRAPHQL, "Authorization": f"Bearer {token or gateway.member('member_1')}", **headers},
    )


async def test_beyond_its_turns_a_mutation_is_refused_before_its_service_is_called(
    small: Gateway, alliance: FakeAlliance
):
    asked = [asyncio.create_task(redeem(small, f"r{n}")) for n in range(30)]
    await until(lambda: sum(asking.done() for asking in asked) == 22)
    alliance.recorder.waits["Redeem"].set()
    answers = await asyncio.gather(*asked)
    done = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 503]
    assert (len(done), len(refused)) == (8, 22)
    # Who was let in was answered to the end.
    assert not [answer.json() for answer in done if "errors" in answer.json()]
    assert sum(call.method == "Redeem" for call in alliance.calls) == 8
    for answer in refused:
        (error,) = answer.json()["errors"]
        assert error["extensions"]["code"] == "SERVICE_UNAVAILABLE"
        assert error["extensions"]["reason"] == "OVERLOADED"
        assert error["extensions"]["limit"] == 8
        assert int(answer.headers["Retry-After"]) == error["extensions"]["retryAfterSeconds"] >= 1
        assert "data" not in answer.json()
    # It was nothing but the crowd.
    assert (await redeem(small, "again")).status_code == 200


async def test_a_brands_flood_takes_no_turns_from_others_nor_from_queries(small: Gateway, alliance: FakeAlliance):
    alliance.recorder.waits.clear()
    alliance.recorder.delays["Redeem"] = 0.4
    flood = [asyncio.create_task(redeem(small, f"f{n}")) for n in range(40)]
    # The line has stood for longer than anybody waits.
    await until(lambda: any(asking.done() for asking in flood))
    brand = small.member("member_2", "partner_small")
    query = await small.post(VIEWER, brand)
    assert query.status_code == 200
    async with asyncio.timeout(60):
        while (await redeem(small, "small", brand)).status_code != 200:
            flood += [asyncio.create_task(redeem(small, f"more{len(flood)}")) for _ in range(10)]
    await asyncio.gather(*flood)


async def test_a_page_can_read_why_its_mutation_was_refused(alliance: FakeAlliance, keys: Path, tmp_path: Path):
    alliance.reset()
    alliance.recorder.waits["Redeem"] = asyncio.Event()
    (tmp_path / "partner_any.json").write_text(json.dumps({"origins": ["https://shop.example"]}))
    options = {"mutations_in_flight": 8, "mutation_wait_seconds": 0.0, "brands_folder": tmp_path}
    async with gateway_with(alliance, keys, **options) as gateway:
        asked = [asyncio.create_task(redeem(gateway, f"r{n}", Origin="https://shop.example")) for n in range(10)]
        await until(lambda: sum(asking.done() for asking in asked) == 2)
        alliance.recorder.waits["Redeem"].set()
        answers = await asyncio.gather(*asked)
    for refused in (answer for answer in answers if answer.status_code == 503):
        assert refused.headers["Access-Control-Allow-Origin"] == "https://shop.example"
        assert "retry-after" in refused.headers["Access-Control-Expose-Headers"]
    assert {answer.status_code for answer in answers} == {200, 503}
    alliance.reset()


async def test_several_mutations_of_one_document_take_one_turn(small: Gateway, alliance: FakeAlliance):
    one = "redeem(input: $input) { __typename }"
    both = f"mutation ($input: RedeemInput!) {{ a: {one} b: {one} }}"
    given = {"requestId": "r1", "rewardId": "reward_x"}
    asked = [asyncio.create_task(small.post(both, small.member("member_1"), input=given)) for _ in range(8)]
    # The first of each, all at once.
    await until(lambda: alliance.methods().count("Redeem") == 8)
    alliance.recorder.waits["Redeem"].set()
    assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}
