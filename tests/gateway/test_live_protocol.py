"""graphql-transport-ws and GraphQL over SSE, to the letter: what a client sends, and what it gets or is closed with."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from deploy.local.keys import token_key
from gateway.config import Rates
from gateway.live import measures
from gateway.live.frames import AT_ONCE
from gateway.metrics import LIMITED
from gateway.tokens import TokenKeys, Tokens
from services.shared.ids import new_id
from tests.gateway.conftest import URL, World
from tests.gateway.fakes import FakeAlliance
from tests.gateway.live import IMPACT, WALLET, Served, served, until
from tests.gateway.test_metrics import counts
from tests.support.bounds import within_some
from tests.support.live import Socket, events, socket

INIT = {"type": "connection_init"}
SUBSCRIBE = {"id": "1", "type": "subscribe", "payload": {"query": IMPACT}}


@pytest.fixture(scope="module")
async def gateway(
    alliance: FakeAlliance, keys: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    limits = {
        "init_seconds": 100,
        "subscriptions_per_connection": 2,
        "connections_per_client": 3,
        "message_bytes": 4_096,
        "document_bytes_per_client": 400,
        "variable_bytes": 200,
    }
    brands = tmp_path_factory.mktemp("brands")
    (brands / f"{new_id('partner')}.json").write_text('{"origins": ["https://shop.example"]}')
    async with served(alliance, keys, settings={"brands_folder": brands}, **limits) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
async def quiet(gateway: Served, alliance: FakeAlliance) -> AsyncIterator[None]:
    alliance.reset()
    yield
    await until(lambda: gateway.live.seats.connections == gateway.live.seats.subscriptions == 0)


async def closed_after(gateway: Served, *messages: Any, token: str | None = None) -> tuple[int, str]:
    async with socket(gateway.url, init=False) as client:
        for message in messages:
            await client.say(message)
        while True:
            try:
                await client.hear()
            except Exception:
                return await client.closed()


async def refused(client: Socket, document: str, id: str = "9", /, **variables: Any) -> str:
    """The reason by which a subscription is refused."""
    await client.subscribe(document, id, **variables)
    message = await client.hear()
    assert (message["type"], message["id"]) == ("error", id)
    return str(message["payload"][0]["extensions"]["reason"])


@pytest.mark.parametrize("payload", [{}, {"payload": None}, {"payload": {}}])
async def test_connection_init_is_acknowledged_with_any_payload_or_none(gateway: Served, payload: Any):
    async with socket(gateway.url, init=False) as client:
        await client.say({**INIT, **payload})
        assert await client.hear() == {"type": "connection_ack"}


async def test_a_ping_is_answered_by_a_pong_with_its_payload(gateway: Served):
    async with socket(gateway.url, init=False) as client:
        await client.say({"type": "ping"})
        assert await client.hear() == {"type": "pong"}
        await client.say({"type": "ping", "payload": {"n": 1}})
        assert await client.hear() == {"type": "pong", "payload": {"n": 1}}


@pytest.mark.parametrize("protocol", [None, "graphql-ws", "other"])
async def test_another_subprotocol_is_not_acceptable(gateway: Served, protocol: str | None):
    async with socket(gateway.url, init=False, protocol=protocol) as client:
        assert (await client.closed())[0] == 4406


async def test_who_does_not_initialise_in_time_is_closed(alliance: FakeAlliance, keys: Path):
    async with served(alliance, keys, init_seconds=0.5) as gateway:
        assert await closed_after(gateway) == (4408, "Connection initialisation timeout")


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([SUBSCRIBE], 4401),
        ([INIT, INIT], 4429),
        ([INIT, SUBSCRIBE, SUBSCRIBE], 4409),
        (["not json"], 4400),
        ([b"\x00"], 4400),
        (["[]"], 4400),
        (["{}"], 4400),
        ([{"type": "start"}], 4400),
        ([{"type": "connection_init", "payload": []}], 4400),
        ([INIT, {"type": "subscribe", "payload": {"query": IMPACT}}], 4400),
        ([INIT, {"type": "subscribe", "id": 1, "payload": {"query": IMPACT}}], 4400),
        ([INIT, {"type": "subscribe", "id": "x" * 101, "payload": {"query": IMPACT}}], 4400),
        ([INIT, {"type": "subscribe", "id": "1"}], 4400),
        ([INIT, {"type": "subscribe", "id": "1", "payload": {"query": 1}}], 4400),
        ([{"type": "connection_init", "payload": {"authorization": "Bearer forged"}}], 4403),
        ([{"type": "connection_init", "payload": {"authorization": 7}}], 4403),
        ([{"type": "ping"}] * 11, 4400),
        ([{"type": "ping", "payload": {"long": "x" * 5_000}}], 1009),
    ],
)
async def test_what_breaks_the_protocol_closes_the_connection(gateway: Served, messages: list[Any], code: int):
    assert (await closed_after(gateway, *messages))[0] == code


async def test_an_id_can_be_used_again_once_it_is_complete(gateway: Served, alliance: FakeAlliance):
    async with socket(gateway.url) as client:
        for _ in range(3):
            await client.subscribe(IMPACT)
            await client.next()
            await client.say({"id": "1", "type": "complete"})
        assert await refused(client, "{ viewer { kind } }") == "NOT_A_SUBSCRIPTION"
        assert await refused(client, "subscription { nothing }") == "DOCUMENT_INVALID"
        await client.subscribe(IMPACT, "9")
        await client.next("9")


async def test_a_token_may_come_in_the_header_of_the_upgrade(gateway: Served, world: World):
    headers = {"authorization": f"Bearer {gateway.member(world.member)}"}
    async with socket(gateway.url, additional_headers=headers) as client:
        await client.subscribe(WALLET)
        assert (await client.next())["walletChanged"]["wallet"]["balance"] == 30


async def test_an_expired_token_ends_the_subscription_and_says_so(gateway: Served, keys: Path, world: World):
    async def outlive(seconds: float) -> str:
        life = int(seconds)
        short = Tokens(TokenKeys.from_file(token_key(keys)), URL, partner_seconds=life, member_seconds=life)
        token = short.for_member(world.member, world.brand, "client").text
        async with socket(gateway.url, token) as client, events(gateway.url, token, WALLET) as stream:
            await client.subscribe(WALLET)
            await client.next()
            await stream.next()
            message = await client.hear()
            assert message["payload"][0]["extensions"]["reason"] == "TOKEN_EXPIRED"
            assert (await stream.result())["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
            complete = await stream.event()
            assert complete is not None
            assert complete.kind == "complete"
            assert (await client.closed())[0] == 4403
        return token

    token = await within_some(2, outlive)
    assert (await closed_after(gateway, {**INIT, "payload": {"authorization": f"Bearer {token}"}}))[0] == 4403


async def test_seats_are_limited(gateway: Served):
    ended = counts(gateway.meter, measures.ENDED)
    async with socket(gateway.url) as one, socket(gateway.url), socket(gateway.url):
        for id in ("1", "2"):
            await one.subscribe(IMPACT, id)
            await one.next(id)
        assert await refused(one, IMPACT) == "TOO_MANY_SUBSCRIPTIONS"
        assert (await closed_after(gateway, INIT))[0] == 1013
        async with events(gateway.url, None, IMPACT) as stream:
            assert stream.response.status_code == 429
            assert "retry-after" in stream.response.headers
            await stream.response.aread()
            told = stream.response.json()["errors"][0]["extensions"]
            assert told["reason"] == "TOO_MANY_CONNECTIONS"
            assert (told["measure"], told["limit"]) == ("live connections of a client", 3)
        known = ended.get(("TOO_MANY_CONNECTIONS",), 0)
        assert counts(gateway.meter, measures.ENDED)[("TOO_MANY_CONNECTIONS",)] == known + 2
        async with socket(gateway.url, gateway.operator()):
            assert gateway.live.seats.connections == 4, "another client has seats of its own"


async def test_who_subscribes_to_too_much_at_once_gets_what_there_are_seats_for(gateway: Served):
    async with socket(gateway.url) as client:
        for id in "12345":
            await client.subscribe(IMPACT, id)
        told = [await client.hear() for _ in "12345"]
    assert {(message["id"], message["type"]) for message in told} == {
        *((id, "next") for id in "12"),
        *((id, "error") for id in "345"),
    }


async def test_what_callers_do_wrong_is_no_error_in_the_log(gateway: Served, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO", "uvicorn.error")
    async with socket(gateway.url) as client:
        await client.connection.send(b"\xff", text=True)
        assert (await client.closed())[0] == 1007
    with pytest.raises(InvalidStatus):
        async with socket(gateway.url, origin="https://evil.example"):
            pass
    told = [(record.name, record.levelname) for record in caplog.records]
    assert ("uvicorn.error", "ERROR") not in told
    assert ("uvicorn.error", "INFO") in told, "else nothing could be seen here at all"


async def test_pages_of_foreign_origins_are_refused(gateway: Served):
    for origin in ("https://shop.example", gateway.url, "http://gateway.test"):
        async with socket(gateway.url, origin=origin):
            pass
    for origin in ("https://evil.example", "null", gateway.url.replace("http", "https") + "0"):
        with pytest.raises(InvalidStatus) as refusal:
            async with socket(gateway.url, origin=origin):
                pass
        assert refusal.value.response.status_code == 403


async def test_a_token_opens_no_socket_on_another_brands_page(
    alliance: FakeAlliance, keys: Path, world: World, tmp_path: Path
):
    ours, theirs = "https://shop.example", "https://other.example"
    for brand, origin in ((world.brand, ours), (world.other_brand, theirs)):
        (tmp_path / f"{brand}.json").write_text(json.dumps({"origins": [origin]}))
    async with served(alliance, keys, settings={"brands_folder": tmp_path}) as gateway:
        token = gateway.member(world.member, world.brand)
        async with socket(gateway.url, token, origin=ours) as client:
            await client.subscribe(WALLET)
            assert (await client.next())["walletChanged"]
        for given in (token, gateway.partner(world.brand)):
            async with socket(gateway.url, init=False, origin=theirs) as client:
                await client.say({**INIT, "payload": {"authorization": f"Bearer {given}"}})
                code, told = await client.closed()
            assert code == 4403
            assert "another brand" in told
        for free in (None, gateway.operator()):
            async with socket(gateway.url, free, origin=theirs):
                pass


async def test_a_stream_of_events_begins_at_once_is_kept_alive_and_is_not_stored(alliance: FakeAlliance, keys: Path):
    async with (
        served(alliance, keys, keepalive_seconds=0.5) as gateway,
        events(gateway.url, None, IMPACT, get=True) as stream,
    ):
        assert stream.response.status_code == 200
        assert stream.response.headers["content-type"].startswith("text/event-stream")
        assert stream.response.headers["cache-control"] == "no-store"
        await stream.next()
        assert stream.last_id
        assert stream.retries
        async for line in stream.lines:
            if line == ":":
                break


async def test_an_invalid_document_is_told_by_an_event_and_a_forged_token_by_a_status(gateway: Served):
    async with events(gateway.url, None, "subscription { nothing }") as stream:
        assert stream.response.status_code == 200
        assert (await stream.result())["errors"][0]["extensions"]["code"] == "DOCUMENT_INVALID"
        complete = await stream.event()
        assert complete is not None
        assert complete.kind == "complete"
        assert await stream.event() is None
    async with events(gateway.url, None, "{ viewer { kind } }") as stream:
        assert (await stream.result())["errors"][0]["extensions"]["reason"] == "NOT_A_SUBSCRIPTION"
    async with events(gateway.url, "forged", IMPACT) as stream:
        assert stream.response.status_code == 401


async def test_a_subscription_is_answered_as_events_where_the_client_takes_them(gateway: Served):
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60, trust_env=False) as http:
        body = {"query": IMPACT}
        refusal = await http.post("/graphql", json=body, headers={"accept": "application/json"})
        assert refusal.status_code == 406
        assert "text/event-stream" in refusal.text
        both = {"accept": "application/graphql-response+json, application/json, text/event-stream"}
        async with http.stream("POST", "/graphql", json=body, headers=both) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
        answer = await http.post("/graphql", json={"query": "{ viewer { kind } }"}, headers=both)
        assert answer.json() == {"data": {"viewer": {"kind": "ANYONE"}}}


async def test_limits_of_documents_hold_for_subscriptions(gateway: Served):
    deep = "subscription { walletChanged { wallet { " + "member { wallet { " * 10 + "balance" + " } }" * 10 + " } } }"
    async with socket(gateway.url, gateway.member(new_id("member"))) as client:
        await client.subscribe(deep)
        error = (await client.hear())["payload"][0]["extensions"]
        assert error["code"] == "DOCUMENT_TOO_EXPENSIVE", json.dumps(error)


async def test_who_sends_messages_faster_than_they_may_ask_is_closed(alliance: FakeAlliance, keys: Path):
    rates = Rates(member=1, burst_seconds=5)
    async with served(alliance, keys, settings={"rates": rates}, clock=lambda: 0.0) as gateway:
        token = gateway.member(new_id("member"))
        async with socket(gateway.url, token) as client:
            with suppress(ConnectionClosed):
                for _ in range(20):
                    await client.say({"type": "ping"})
            with suppress(ConnectionClosed):
                while True:
                    assert (await client.hear())["type"] == "pong"
            code, reason = await client.closed()
    assert code == 1013
    assert "per second" in reason


TOO_MANY = "A WebSocket has 20 frames a second at most, and 1,000 at once"


async def pings(client: Socket) -> None:
    for _ in range(4 * AT_ONCE):
        await client.connection.ping()


async def a_message_in_pieces(client: Socket) -> None:
    async def pieces() -> AsyncIterator[str]:
        for _ in range(4 * AT_ONCE):
            yield ""

    await client.connection.send(pieces())


@pytest.mark.parametrize("flood", [pings, a_message_in_pieces])
async def test_who_sends_frames_that_nobody_pays_for_is_closed(gateway: Served, flood: Any):
    known = counts(gateway.meter, LIMITED).get(("frames of a websocket",), 0)
    async with socket(gateway.url) as client:
        with suppress(ConnectionClosed):
            await flood(client)
        # What is still unread when a connection ends may keep the close frame from its sender.
        assert await client.closed() in ((1008, TOO_MANY), (1006, ""))
    assert counts(gateway.meter, LIMITED)[("frames of a websocket",)] == known + 1


async def test_hundreds_of_frames_at_once_are_no_flood(gateway: Served):
    async with socket(gateway.url) as client:
        *_, last = [await client.connection.ping() for _ in range(AT_ONCE // 2)]
        await asyncio.wait_for(last, 60)
        await client.subscribe(IMPACT)
        await client.next()


async def test_what_subscriptions_keep_in_memory_is_limited(gateway: Served, world: World):
    async with socket(gateway.url, gateway.operator()) as client:
        assert await refused(client, WALLET, id=world.member, spare="x" * 300) == "VARIABLES_TOO_LARGE"
        await client.subscribe(WALLET, "1", id=world.member)
        await client.next("1")
        await client.subscribe(WALLET, "2", id=world.member)
        await client.next("2")
        await client.say({"id": "2", "type": "complete"})
        long = IMPACT + "#" * (400 - len(IMPACT))
        assert await refused(client, long) == "TOO_MANY_SUBSCRIPTIONS", "together they are too long"
        await client.say({"id": "1", "type": "complete"})
        await until(lambda: gateway.live.seats.subscriptions == 0)
        await client.subscribe(long)
        await client.next()


async def test_strangers_together_leave_seats_to_others(alliance: FakeAlliance, keys: Path):
    async with served(alliance, keys, strangers=1) as gateway, events(gateway.url, None, IMPACT) as stream:
        await stream.next()
        assert (await closed_after(gateway, INIT))[0] == 1013
        async with events(gateway.url, None, IMPACT) as refusal:
            assert refusal.response.status_code == 429
        async with events(gateway.url, gateway.operator(), IMPACT) as welcome:
            await welcome.next()
