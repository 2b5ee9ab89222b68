"""What subscribers see: their own, joined like any query, without gaps or doubles whatever breaks off behind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Rates
from gateway.live import measures
from services.shared.errors import Unavailable
from services.shared.ids import new_id
from services.shared.metrics import catalogue
from tests.gateway.conftest import World, make_world
from tests.gateway.fakes import FakeAlliance
from tests.gateway.live import ACCEPTED, IMPACT, WALLET, Served, served, until
from tests.gateway.test_metrics import counts
from tests.support.live import Events, Socket, events, socket

WITH_MEMBER = """
subscription W($id: ID) {
  walletChanged(memberId: $id) { wallet { balance } member { displayName dropOffs { edges { node { weightGrams } } } } }
}
"""


@pytest.fixture(scope="module")
async def gateway(alliance: FakeAlliance, keys: Path) -> AsyncIterator[Served]:
    async with served(alliance, keys, buffered_events=5) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
async def quiet(gateway: Served, alliance: FakeAlliance) -> AsyncIterator[None]:
    alliance.reset()
    yield
    alliance.reset()
    await until(lambda: gateway.live.seats.connections == gateway.live.seats.subscriptions == 0)
    await until(lambda: not (alliance.rewards.changes.heard or alliance.logistics.acceptances.heard))


async def balance(client: Events | Socket, id: str = "1") -> int:
    data = await (client.next(id) if isinstance(client, Socket) else client.next())
    return int(data["walletChanged"]["wallet"]["balance"])


async def weights(client: Events | Socket, count: int) -> list[int]:
    return [(await client.next())["dropOffAccepted"]["dropOff"]["weightGrams"] for _ in range(count)]


async def reason(client: Socket | Events) -> str:
    """Why the subscription was refused, or has ended."""
    errors = (await client.hear())["payload"] if isinstance(client, Socket) else (await client.result())["errors"]
    return str(errors[0]["extensions"]["reason"])


async def test_strangers_and_foreigners_follow_nothing_and_nobody_is_asked(
    gateway: Served, alliance: FakeAlliance, world: World
):
    other = new_id("member")
    refusals: list[tuple[str | None, str, dict[str, Any], str]] = [
        (None, WALLET, {"id": world.member}, "UNAUTHENTICATED"),
        (None, ACCEPTED, {}, "UNAUTHENTICATED"),
        (gateway.member(other), WALLET, {"id": world.member}, "FORBIDDEN"),
        (gateway.member(other), ACCEPTED, {"member": world.member}, "FORBIDDEN"),
        (gateway.member(other), ACCEPTED, {"partner": world.brand}, "FORBIDDEN"),
        (gateway.partner(world.brand), WALLET, {"id": world.member}, "CONSENT_REQUIRED"),
        (gateway.partner(world.brand), WALLET, {}, "MEMBER_ID_MALFORMED"),
        (gateway.partner(world.brand), ACCEPTED, {"member": world.member}, "CONSENT_REQUIRED"),
        (gateway.partner(world.brand), ACCEPTED, {"partner": world.other_brand}, "FORBIDDEN"),
        (gateway.operator(), WALLET, {"id": "x"}, "MEMBER_ID_MALFORMED"),
        (gateway.operator(), ACCEPTED, {"member": "x"}, "ID_MALFORMED"),
        (gateway.operator(), ACCEPTED, {"member": world.member, "partner": world.brand}, "FILTERS_EXCLUSIVE"),
        (gateway.operator(), ACCEPTED, {"after": "x"}, "CURSOR_MALFORMED"),
        (gateway.operator(), ACCEPTED, {"after": "1" * 500}, "CURSOR_MALFORMED"),
    ]
    for token, document, variables, expected in refusals:
        async with events(gateway.url, token, document, **variables) as stream:
            assert await reason(stream) == expected, (document, variables)
    assert alliance.rewards.changes.opened == alliance.logistics.acceptances.opened == 0
    assert set(alliance.methods()) <= {"BatchCheckConsents"}


async def test_who_follows_is_no_request_in_flight_for_which_there_would_be_more_pods(gateway: Served):
    (in_flight,) = gateway.meter.gauge(catalogue.IN_FLIGHT).cells()
    async with AsyncExitStack() as stack:
        followers = [await stack.enter_async_context(events(gateway.url, gateway.operator(), IMPACT)) for _ in range(3)]
        for follower in followers:
            await follower.next()
        assert in_flight[1].value == 0
    await until(lambda: gateway.live.seats.connections == 0)
    assert in_flight[1].value == 0


async def test_consent_opens_a_wallet_and_its_end_ends_the_subscription_at_the_next_event(
    gateway: Served, alliance: FakeAlliance, world: World
):
    alliance.accounts.consents[world.brand, world.member] = True
    token = gateway.partner(world.brand)
    async with socket(gateway.url, token) as client, events(gateway.url, token, WALLET, id=world.member) as stream:
        await client.subscribe(WALLET, id=world.member)
        assert [await balance(client), await balance(stream)] == [30, 30]
        alliance.accounts.consents[world.brand, world.member] = False
        alliance.rewards.earn(world.member, 5)
        assert [await reason(client), await reason(stream)] == ["CONSENT_REQUIRED", "CONSENT_REQUIRED"]
        await until(lambda: gateway.live.seats.subscriptions == 0)


async def test_an_event_is_joined_like_a_query_and_all_who_follow_share_calls(gateway: Served, alliance: FakeAlliance):
    worlds = [make_world(alliance) for _ in range(20)]
    async with socket(gateway.url, gateway.operator()) as client:
        for number, world in enumerate(worlds):
            await client.subscribe(WITH_MEMBER, str(number), id=world.member)
        first = {message["id"]: message["payload"]["data"] for message in [await client.hear() for _ in worlds]}
        alliance.recorder.calls.clear()
        for world in worlds:
            alliance.rewards.earn(world.member, 1, silently=True)
        alliance.rewards.changes.cut()
        then = {message["id"]: message["payload"]["data"] for message in [await client.hear() for _ in worlds]}
    assert {data["walletChanged"]["wallet"]["balance"] for data in first.values()} == {30}
    for data in then.values():
        assert data["walletChanged"]["wallet"]["balance"] == 31
        assert data["walletChanged"]["member"]["dropOffs"]["edges"][0]["node"]["weightGrams"] == 9
    assert alliance.methods().count("BatchGetWallets") == 1
    assert alliance.methods().count("BatchGetMembers") < 20
    assert alliance.rewards.changes.opened == 2, "one for all, and again after the cut"


async def test_a_wallet_that_has_not_changed_does_not_come_again(gateway: Served, alliance: FakeAlliance, world: World):
    token = gateway.member(world.member)
    async with socket(gateway.url, token) as client:
        await client.subscribe(WALLET)
        cursor = (await client.next())["walletChanged"]["cursor"]
        alliance.rewards.changes.cut()
        await until(lambda: alliance.rewards.changes.opened == 2)
        alliance.rewards.earn(world.member, 1)
        assert await balance(client) == 31
    async with events(gateway.url, token, WALLET, after=cursor) as behind:
        assert await balance(behind) == 31
        async with events(gateway.url, token, WALLET, last_id=behind.last_id) as resumed:
            alliance.rewards.earn(world.member, 1)
            assert await balance(resumed) == 32


async def test_reads_take_in_what_the_stream_told(gateway: Served, alliance: FakeAlliance, world: World):
    async with events(gateway.url, gateway.member(world.member), WALLET) as stream:
        await balance(stream)
        alliance.rewards.earn(world.member, 12)
        await balance(stream)
    request = next(call.request for call in reversed(alliance.calls) if call.method == "BatchGetWallets")
    assert dict(request.at_least) == {0: 42}


async def test_a_wallet_that_cannot_be_read_or_shown_comes_as_soon_as_it_can(
    gateway: Served, alliance: FakeAlliance, world: World
):
    alliance.accounts.consents[world.brand, world.member] = True
    async with events(gateway.url, gateway.partner(world.brand), WALLET, id=world.member) as stream:
        await balance(stream)
        for method in ("BatchGetWallets", "BatchCheckConsents"):
            alliance.fail(method, Unavailable("away", reason="AWAY"))
            alliance.rewards.earn(world.member, 1)
            await until(lambda method=method: alliance.methods().count(method) > 2)
            alliance.recorder.failures.clear()
            alliance.recorder.calls.clear()
            await balance(stream)
        assert alliance.rewards.wallets[world.member].balance == 32


async def test_drop_offs_come_once_and_in_order_through_cuts(gateway: Served, alliance: FakeAlliance, world: World):
    logistics = alliance.logistics
    async with events(gateway.url, gateway.partner(world.brand), ACCEPTED) as stream:
        logistics.accept(world.member, world.brand, 1, 2)
        logistics.accept(world.member, world.other_brand, 99)
        assert await weights(stream, 2) == [1, 2]
        logistics.acceptances.cut()
        await until(lambda: not logistics.acceptances.heard)
        logistics.accept(world.member, world.brand, 3)
        await until(lambda: logistics.acceptances.heard)
        logistics.accept(world.member, world.brand, 4)
        assert await weights(stream, 2) == [3, 4]
    assert alliance.methods().count("ListMissedDropOffs") == 0, "the stream itself goes on where it was"


async def test_a_member_follows_their_own_wherever_they_are(gateway: Served, alliance: FakeAlliance, world: World):
    async with events(gateway.url, gateway.member(world.member), ACCEPTED) as stream:
        alliance.logistics.accept(new_id("member"), world.brand, 98)
        alliance.logistics.accept(world.member, world.other_brand, 7)
        assert await weights(stream, 1) == [7]


async def test_what_was_missed_comes_first_page_by_page_and_from_within_a_batch(
    gateway: Served, alliance: FakeAlliance, world: World
):
    token, logistics = gateway.partner(world.brand), alliance.logistics
    async with events(gateway.url, token, ACCEPTED) as stream:
        logistics.accept(world.member, world.brand, 1, 2, 3)
        assert await weights(stream, 1) == [1]
        seen = stream.last_id
    for grams in range(4, 30):
        logistics.accept(world.member, world.brand, grams)
        logistics.accept(new_id("member"), world.other_brand, 99)
    async with events(gateway.url, token, ACCEPTED, last_id=seen) as resumed:
        for grams in range(30, 33):
            logistics.accept(world.member, world.brand, grams)
        assert await weights(resumed, 31) == list(range(2, 33))
        logistics.accept(world.member, world.brand, 33)
        assert await weights(resumed, 1) == [33]


async def test_who_was_away_for_too_long_is_told_to_read_anew(gateway: Served, alliance: FakeAlliance, world: World):
    for _ in range(1_002):
        alliance.logistics.accept(world.member, world.brand, 1)
    async with events(gateway.url, gateway.partner(world.brand), ACCEPTED, after="0.0") as stream:
        assert await reason(stream) == "CURSOR_TOO_OLD"
    async with events(gateway.url, gateway.partner(world.brand), ACCEPTED, after="999999.0") as stream:
        assert await reason(stream) == "CURSOR_MALFORMED"


async def test_who_is_too_slow_is_ended_with_the_cursor_to_resume_from(
    gateway: Served, alliance: FakeAlliance, world: World
):
    alliance.accounts.consents[world.brand, world.member] = True
    token, logistics = gateway.partner(world.brand), alliance.logistics
    async with events(gateway.url, token, ACCEPTED, member=world.member) as stream:
        # Nothing is shown while consents cannot be asked for, so that events pile up as they do behind a slow client.
        alliance.fail("BatchCheckConsents", Unavailable("away", reason="AWAY"))
        for grams in range(1, 11):
            logistics.accept(world.member, world.other_brand, grams)
        # The stream has told of all of them by the time that later calls over the same connection are answered.
        await until(lambda: alliance.methods().count("BatchCheckConsents") > 3)
        alliance.recorder.failures.clear()
        got = []
        while "errors" not in (result := await stream.result()):
            got.append(result["data"]["dropOffAccepted"]["dropOff"]["weightGrams"])
        error = result["errors"][0]["extensions"]
        assert (error["code"], error["reason"]) == ("SUBSCRIPTION_ENDED", "TOO_SLOW")
        assert error["cursor"] == stream.last_id
    async with events(gateway.url, token, ACCEPTED, member=world.member, after=error["cursor"]) as resumed:
        assert got + await weights(resumed, 10 - len(got)) == list(range(1, 11))


async def test_everybody_follows_the_impact_and_one_answer_serves_all(gateway: Served, alliance: FakeAlliance):
    async with socket(gateway.url) as client, events(gateway.url, gateway.operator(), IMPACT) as stream:
        await client.subscribe(IMPACT)
        before = (await client.next())["allianceImpact"]["impact"]
        assert (await stream.next())["allianceImpact"]["impact"] == before
        alliance.accounts.avoid(500)
        seen = [(await each.next())["allianceImpact"]["impact"] for each in (client, stream)]
        assert seen == [{"claims": before["claims"] + 1, "co2eMg": before["co2eMg"] + 500}] * 2
        alliance.accounts.impacts.cut()
        alliance.accounts.avoid(1)
        assert (await client.next())["allianceImpact"]["impact"]["co2eMg"] == before["co2eMg"] + 501
    assert alliance.accounts.impacts.opened == 2


async def test_a_subscription_lasts_so_long(alliance: FakeAlliance, keys: Path):
    async with (
        served(alliance, keys, subscription_seconds=0.5) as gateway,
        events(gateway.url, None, IMPACT) as stream,
    ):
        while "errors" not in (result := await stream.result()):
            continue
        assert result["errors"][0]["extensions"]["reason"] == "SUBSCRIPTION_TIMEOUT"


async def test_a_gateway_that_stops_sends_everybody_elsewhere(
    alliance: FakeAlliance, keys: Path, world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gateway.server._FAREWELL_SECONDS", 60.0)
    async with asyncio.timeout(120):
        stopping = served(alliance, keys)
        gateway = await stopping.__aenter__()
        token = gateway.member(world.member)
        async with socket(gateway.url, token) as client, events(gateway.url, token, WALLET) as stream:
            await client.subscribe(WALLET)
            assert [await balance(client), await balance(stream)] == [30, 30]
            await stopping.__aexit__(None, None, None)
            assert (await client.closed())[0] == 1001
            assert await stream.event() is None, "it ends without being complete: it is to be opened again"
            assert len(stream.retries) == 2
    async with served(alliance, keys) as other, events(other.url, token, WALLET, last_id=stream.last_id) as resumed:
        alliance.rewards.earn(world.member, 1)
        assert await balance(resumed) == 31


async def test_what_is_live_is_counted(alliance: FakeAlliance, keys: Path, world: World):
    async with served(alliance, keys) as gateway:
        token = gateway.member(world.member)
        async with socket(gateway.url, token) as client, events(gateway.url, token, WALLET) as stream:
            await client.subscribe(WALLET)
            assert [await balance(client), await balance(stream)] == [30, 30]
            await client.subscribe(WALLET, "2", id=new_id("member"))
            assert await reason(client) == "FORBIDDEN"
            seen = counts(gateway.meter, measures.CONNECTIONS) | counts(gateway.meter, measures.SUBSCRIPTIONS)
            assert seen == {("websocket",): 1, ("events",): 1, ("wallets",): 2}
            assert counts(gateway.meter, measures.STREAMS) == {("wallets",): 1}
            alliance.rewards.changes.cut()
            await until(lambda: counts(gateway.meter, measures.LOST) == {("wallets",): 1})
        assert counts(gateway.meter, measures.RESULTS) == {("wallets",): 2}
        assert counts(gateway.meter, measures.ENDED) == {("FORBIDDEN",): 1}
        await until(lambda: not counts(gateway.meter, measures.SUBSCRIPTIONS))


async def test_g5_a_thousand_idle_subscriptions_hang_on_one_stream_and_ask_for_nothing(
    gateway: Served, alliance: FakeAlliance
):
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(socket(gateway.url, gateway.operator())) for _ in range(20)]
        members = [new_id("member") for _ in range(1_000)]
        for number, id in enumerate(members):
            await clients[number % 20].subscribe(WALLET, id, id=id)
        for number, id in enumerate(members):
            message = await clients[number % 20].hear()
            assert (message["type"], message["id"]) == ("next", id)
        assert gateway.live.seats.subscriptions == 1_000
        assert alliance.rewards.changes.opened == 1
        calls = len(alliance.calls)
        assert calls < 100, "wallets are read many at a time"
        await asyncio.sleep(0.5)
        assert len(alliance.calls) == calls
        alliance.rewards.earn(members[7], 5)
        assert await balance(clients[7], members[7]) == 5
        assert len(alliance.calls) == calls + 1


async def test_events_are_paid_from_what_the_subscriber_may_ask_for(alliance: FakeAlliance, keys: Path, world: World):
    """Whose events cost more than its rate gets them later, the newest state in the end; others are not held up."""
    now = 0.0
    rates = Rates(member=100, members_of_brand=10**9, burst_seconds=1, address=10**9, operator=10**9)
    async with served(alliance, keys, settings={"rates": rates}, clock=lambda: now) as gateway:
        async with (
            socket(gateway.url, gateway.member(world.member)) as poor,
            socket(gateway.url, gateway.operator()) as rich,
        ):
            await poor.subscribe(WITH_MEMBER)
            await rich.subscribe(WITH_MEMBER, id=world.member)
            seen, expected = [], 30
            for client in (poor, rich):
                assert (await client.next())["walletChanged"]["wallet"]["balance"] == expected
            while not counts(gateway.meter, measures.HELD_BACK) or expected < 60:
                alliance.rewards.earn(world.member, 1)
                expected += 1
                assert (await rich.next())["walletChanged"]["wallet"]["balance"] == expected
            now = 10.0
            while not seen or seen[-1] != expected:
                seen.append((await poor.next())["walletChanged"]["wallet"]["balance"])
        assert seen == sorted(seen)
        assert len(seen) < expected - 30
