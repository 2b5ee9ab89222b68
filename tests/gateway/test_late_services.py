"""A service that hangs or is away costs what it knows, not the answer."""

import asyncio
from pathlib import Path

from gateway.breaker import Breaker, State
from services.shared.errors import Unavailable
from tests.gateway.conftest import Gateway, World, codes, gateway_with
from tests.gateway.fakes import FakeAlliance
from tests.support.bounds import within_some

_QUERY = """query($id: ID!) { member(id: $id) {
  displayName
  wallet { balance }
  acts(first: 1) { nodes { earning { points } claim { member { redemptions(first: 1) { nodes { id } } } } } }
} }"""


async def test_g2_a_service_that_hangs_at_every_level_leaves_the_rest_of_the_answer(
    gateway: Gateway, alliance: FakeAlliance, world: World, keys: Path
):
    for method in ("BatchGetWallets", "BatchGetEarnings", "BatchListRedemptions"):
        alliance.recorder.waits[method] = asyncio.Event()

    async def ask(seconds: float) -> None:
        times = {"call_timeout_seconds": seconds, "request_timeout_seconds": 3 * seconds}
        async with gateway_with(alliance, keys, breaker_failures=5, **times) as fresh:
            answer = await fresh.post(_QUERY, gateway.member(world.member), id=world.member)
        body = answer.json()
        assert answer.status_code == 200, body
        assert body["data"]["member"]["displayName"]
        assert body["data"]["member"]["wallet"] is None
        assert {error["extensions"]["code"] for error in body["errors"]} == {"SERVICE_UNAVAILABLE"}
        # Its first call had the whole time for one; none was made after that.
        assert {error["extensions"]["reason"] for error in body["errors"]} == {"DEADLINE_EXCEEDED", "CIRCUIT_OPEN"}

    await within_some(0.5, ask)


async def test_g2_half_of_the_services_hang_and_the_other_half_is_answered(
    gateway: Gateway, alliance: FakeAlliance, world: World, keys: Path
):
    for method in ("BatchGetWallets", "BatchListDropOffs"):
        alliance.recorder.waits[method] = asyncio.Event()
    query = """query ($id: ID!) { member(id: $id) {
      displayName wallet { balance } carbon { co2eMg } dropOffs(first: 1) { nodes { id } } } }"""

    async def ask(seconds: float) -> None:
        async with gateway_with(alliance, keys, request_timeout_seconds=seconds) as fresh:
            answer = await fresh.ask(query, fresh.member(world.member), id=world.member)
        assert answer["data"]["member"] == {
            "displayName": "Ada",
            "wallet": None,
            "carbon": {"co2eMg": 14_850},
            "dropOffs": None,
        }
        assert sorted(codes(answer)) == [
            ("SERVICE_UNAVAILABLE", ["member", "dropOffs"]),
            ("SERVICE_UNAVAILABLE", ["member", "wallet"]),
        ]

    await within_some(0.5, ask)


async def test_a_service_that_is_away_is_not_called_again_and_again_and_is_back_once_it_answers(
    gateway: Gateway, alliance: FakeAlliance, world: World, keys: Path
):
    query = "query ($id: ID!) { member(id: $id) { wallet { balance } } }"
    clock = Clock()
    async with gateway_with(alliance, keys, clock, breaker_failures=2, breaker_open_seconds=1) as fresh:
        token = fresh.member(world.member)
        await alliance.servers["rewards"].stop()
        reasons = []
        try:
            for _ in range(3):
                answer = await fresh.ask(query, token, id=world.member)
                reasons.append(answer["errors"][0]["extensions"]["reason"])
        finally:
            await alliance.servers["rewards"].start()
        assert reasons == ["UNAVAILABLE", "UNAVAILABLE", "CIRCUIT_OPEN"]
        async with asyncio.timeout(60):
            while codes(answer := await fresh.ask(query, token, id=world.member)):
                clock.now += 1
                await asyncio.sleep(0.05)
    assert answer["data"]["member"]["wallet"] == {"balance": 30}


class Clock:
    """Time stands still until it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def refused(breaker: Breaker) -> bool:
    try:
        breaker.enter()
    except Unavailable:
        return True
    return False


def opened(clock: Clock) -> Breaker:
    breaker = Breaker("rewards", failures=3, open_seconds=1, clock=clock)
    for _ in range(3):
        breaker.failed(breaker.enter(), late=False)
    assert breaker.state is State.OPEN
    return breaker


def test_it_opens_after_failures_in_a_row_and_not_for_some_among_answers():
    breaker = Breaker("rewards", failures=3, open_seconds=1, clock=Clock())
    for _ in range(10):
        breaker.failed(breaker.enter(), late=False)
        breaker.failed(breaker.enter(), late=False)
        breaker.enter()
        breaker.answered()
    assert breaker.state is State.CLOSED


def test_one_call_that_hangs_opens_it_if_nothing_else_was_answered_meanwhile():
    clock = Clock()
    for answered_meanwhile in (True, False):
        breaker = Breaker("rewards", failures=3, open_seconds=1, clock=clock)
        began = breaker.enter()
        clock.now += 2
        if answered_meanwhile:
            breaker.answered()
        clock.now += 3
        breaker.failed(began, late=True)
        assert refused(breaker) is not answered_meanwhile


def test_after_a_while_one_call_tries_and_all_others_still_wait():
    clock = Clock()
    breaker = opened(clock)
    assert refused(breaker)
    clock.now += 1
    breaker.enter()
    assert breaker.state is State.HALF_OPEN
    assert all(refused(breaker) for _ in range(5))
    breaker.answered()
    assert not refused(breaker)


def test_each_try_that_fails_makes_the_next_wait_longer_up_to_a_limit():
    clock = Clock()
    breaker = opened(clock)
    for wait in (1, 2, 4, 8, 8, 8):
        clock.now += wait - 0.1
        assert refused(breaker)
        clock.now += 0.1
        breaker.failed(breaker.enter(), late=True)


def test_a_try_that_was_given_up_leaves_the_next_call_to_try():
    clock = Clock()
    breaker = opened(clock)
    clock.now += 1
    breaker.given_up(breaker.enter())
    assert not refused(breaker)


def test_calls_from_before_it_opened_do_not_count_as_tries():
    clock = Clock()
    breaker = Breaker("rewards", failures=3, open_seconds=1, clock=clock)
    old = breaker.enter()
    clock.now += 1
    for _ in range(3):
        breaker.failed(breaker.enter(), late=False)
    clock.now += 1
    breaker.enter()
    breaker.failed(old, late=True)
    breaker.given_up(old)
    assert breaker.state is State.HALF_OPEN
