"""@defer and @stream for who takes an answer in parts: what is ready comes first, and all parts make the whole."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from graphql.execution import (
    CompletedResult,
    InitialIncrementalExecutionResult,
    PendingResult,
    SubsequentIncrementalExecutionResult,
)

from gateway.accounts.sources import standing_consents
from gateway.config import Limits
from gateway.context import Request
from gateway.engine.admit import settled
from gateway.engine.incremental import Parts
from gateway.metrics import OK, OPERATIONS
from gateway.parts import Delivery
from services.shared.errors import Unavailable
from services.shared.identity import Caller, CallerKind
from services.shared.metrics import catalogue
from tests.gateway.conftest import GRAPHQL, Gateway, World, codes, gateway_with
from tests.gateway.fakes import FakeAlliance
from tests.gateway.fakes.recording import Call
from tests.gateway.live import Served, served, until
from tests.gateway.multipart import ACCEPT, joined, parts_of
from tests.gateway.test_metrics import counts
from tests.support.bounds import within_some

SLOW = """query ($id: ID!) { member(id: $id) {
  displayName ... @defer(label: "points") { wallet { balance } } } }"""


async def asked(
    gateway: Gateway, query: str, token: str | None = None, /, accept: str = ACCEPT, **variables: Any
) -> httpx.Response:
    headers = {"Accept": accept} | ({"Authorization": f"Bearer {token}"} if token else {})
    return await gateway.http.post("/graphql", json={"query": query, "variables": variables}, headers=headers)


async def parts(response: httpx.Response) -> list[dict[str, Any]]:
    return [part async for part in parts_of(response)]


@pytest.fixture(scope="module")
async def process(alliance: FakeAlliance, keys: Path) -> AsyncIterator[Served]:
    async with served(alliance, keys) as process:
        yield process


@asynccontextmanager
async def begun(process: Served, token: str, query: str, **variables: Any) -> AsyncIterator[httpx.Response]:
    """An answer that is read while it comes."""
    headers = {"Accept": ACCEPT, "Authorization": f"Bearer {token}"}
    async with (
        httpx.AsyncClient(base_url=process.url, timeout=60) as http,
        http.stream("POST", "/graphql", json={"query": query, "variables": variables}, headers=headers) as response,
    ):
        yield response


async def test_what_a_slow_service_knows_comes_after_the_rest(process: Served, alliance: FakeAlliance, world: World):
    alliance.reset()
    answering = asyncio.Event()
    alliance.recorder.waits["BatchGetWallets"] = answering
    async with begun(process, process.member(world.member), SLOW, id=world.member) as response:
        coming = parts_of(response)
        assert await anext(coming) == {
            "data": {"member": {"displayName": "Ada"}},
            "pending": [{"id": "0", "path": ["member"], "label": "points"}],
            "hasNext": True,
        }
        # It was asked for together with the rest, and still does not answer.
        await until(lambda: "BatchGetWallets" in alliance.methods())
        answering.set()
        assert [part async for part in coming] == [
            {
                "hasNext": False,
                "incremental": [{"id": "0", "data": {"wallet": {"balance": 30}}}],
                "completed": [{"id": "0"}],
            }
        ]
    alliance.reset()


async def test_who_goes_away_ends_the_work(process: Served, alliance: FakeAlliance, world: World):
    alliance.reset()
    answering = asyncio.Event()
    alliance.recorder.waits["BatchListActs"] = answering
    query = """query ($id: ID!) { member(id: $id) {
      displayName ... @defer { acts { nodes { claim { id } } } } } }"""
    async with begun(process, process.member(world.member), query, id=world.member) as response:
        await anext(parts_of(response))
        await until(lambda: counts(process.meter, catalogue.IN_FLIGHT) == {(): 1})
    await until(lambda: counts(process.meter, catalogue.IN_FLIGHT) == {})
    # It was not its time that ended it.
    assert {outcome for _, _, outcome in counts(process.meter, OPERATIONS)} == {OK}
    answering.set()
    # What comes of another request shows that the loop has gone on since.
    async with begun(process, process.member(world.member), SLOW, id=world.member) as response:
        assert joined([part async for part in parts_of(response)])["data"]["member"]["wallet"]
    assert "BatchGetClaims" not in alliance.methods()
    alliance.reset()


async def test_an_error_in_a_part_comes_with_it_and_its_path(gateway: Gateway, alliance: FakeAlliance, world: World):
    alliance.recorder.failures["BatchGetWallets"] = Unavailable("away", reason="AWAY")
    first, last = await parts(await asked(gateway, SLOW, gateway.member(world.member), id=world.member))
    assert "errors" not in first
    assert "errors" not in last
    (increment,) = last["incremental"]
    assert increment["data"] == {"wallet": None}
    assert codes(increment) == [("SERVICE_UNAVAILABLE", ["member", "wallet"])]
    assert increment["errors"][0]["extensions"]["traceId"]


async def test_a_part_that_fails_as_a_whole_is_completed_with_its_error(
    gateway: Gateway, alliance: FakeAlliance, world: World
):
    alliance.recorder.failures["BatchListEntries"] = Unavailable("away", reason="AWAY")
    query = "query ($id: ID!) { member(id: $id) { id ... @defer { displayName entries { nodes { id } } } } }"
    answer = joined(await parts(await asked(gateway, query, gateway.member(world.member), id=world.member)))
    assert codes(answer)[0][0] == "SERVICE_UNAVAILABLE"


async def test_rules_hold_in_parts_as_anywhere(gateway: Gateway, world: World):
    stranger = gateway.partner(world.other_brand)
    query = "query ($id: ID!) { partner(id: $id) { name ... @defer { agreements { id } } } }"
    answer = joined(await parts(await asked(gateway, query, stranger, id=world.brand)))
    whole = await gateway.ask(query, stranger, id=world.brand)
    assert codes(answer) == codes(whole) != []
    assert answer["data"] == whole["data"]


async def test_what_is_not_there_when_the_time_is_up_is_told_so(
    gateway: Gateway, alliance: FakeAlliance, world: World, keys: Path
):
    alliance.recorder.waits["BatchGetWallets"] = asyncio.Event()

    async def ask(seconds: float) -> None:
        async with gateway_with(alliance, keys, request_timeout_seconds=seconds) as fresh:
            answer = joined(await parts(await asked(fresh, SLOW, fresh.member(world.member), id=world.member)))
        assert answer["data"]["member"] == {"displayName": "Ada", "wallet": None}
        assert codes(answer) == [("SERVICE_UNAVAILABLE", ["member", "wallet"])]
        assert answer["errors"][0]["extensions"]["reason"] == "REQUEST_TIMEOUT"

    await within_some(0.3, ask)


@pytest.mark.parametrize(
    "accept",
    [
        "application/json",
        GRAPHQL,
        "*/*",
        # A format of parts that they do not have here.
        "multipart/mixed;deferSpec=20220824, application/json",
        "multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/json",
        "multipart/mixed;q=0, application/json",
    ],
)
async def test_who_takes_json_alone_gets_the_whole_at_once(gateway: Gateway, world: World, accept: str):
    response = await asked(gateway, SLOW, gateway.member(world.member), accept, id=world.member)
    assert response.headers["content-type"].partition(";")[0] in ("application/json", GRAPHQL)
    assert response.json() == {"data": {"member": {"displayName": "Ada", "wallet": {"balance": 30}}}}


@pytest.mark.parametrize("accept", ["multipart/mixed", 'multipart/mixed; incrementalSpec="v0.2"', ACCEPT])
async def test_who_takes_parts_gets_them_and_json_where_nothing_is_deferred(
    gateway: Gateway, world: World, accept: str
):
    token = gateway.member(world.member)
    assert joined(await parts(await asked(gateway, SLOW, token, accept, id=world.member)))["data"]["member"]["wallet"]
    never = SLOW.replace("label", "if: false, label")
    for query in ("query ($id: ID!) { member(id: $id) { displayName } }", never):
        response = await asked(gateway, query, token, accept, id=world.member)
        assert "json" in response.headers["content-type"]
        assert response.json()["data"]["member"]["displayName"] == "Ada"


async def test_another_format_of_parts_alone_is_not_acceptable(gateway: Gateway):
    response = await asked(gateway, "{ viewer { kind } }", None, "multipart/mixed;deferSpec=20220824")
    assert response.status_code == 406
    assert "incrementalSpec=v0.2" in response.json()["errors"][0]["message"]


async def test_what_is_refused_is_refused_in_one_piece(gateway: Gateway, world: World):
    for query, code in (
        ("{ member(id: 1.5) { ... @defer { id } } }", "DOCUMENT_INVALID"),
        ("query ($id: Int!) { member(id: $id) { ... @defer { id } } }", "DOCUMENT_INVALID"),
        ("query ($id: ID!) { member(id: $id) { ... @defer { id } } }", "BAD_USER_INPUT"),
    ):
        response = await asked(gateway, query, gateway.member(world.member))
        assert response.status_code == 400
        assert response.json()["errors"][0]["extensions"]["code"] == code


@pytest.mark.parametrize(("begin", "given"), [("-1", {}), ("$n", {"n": -1})])
async def test_a_stream_cannot_begin_with_fewer_rows_than_none(gateway: Gateway, begin: str, given: dict[str, int]):
    declared = "($n: Int!)" if given else ""
    query = f"query {declared} {{ partners {{ nodes @stream(initialCount: {begin}) {{ id }} }} }}"
    response = await asked(gateway, query, gateway.operator(), **given)
    (error,) = response.json()["errors"]
    assert (response.status_code, error["extensions"]["code"]) == (400, "DOCUMENT_INVALID")
    assert "0 or more" in error["message"]


async def test_a_mutation_is_answered_whole(gateway: Gateway, world: World):
    mutation = """mutation { setConsent(input: {requestId: "parts", partnerId: "p", granted: true}) {
      ... on SetConsentPayload { consent { ... @defer { granted } } } } }"""
    response = await asked(gateway, mutation, gateway.member(world.member))
    assert response.json() == {"data": {"setConsent": {"consent": {"granted": True}}}}


async def test_an_answer_that_could_have_too_many_parts_comes_whole(
    gateway: Gateway, alliance: FakeAlliance, world: World, keys: Path
):
    """A deferred fragment counts for each row that it may stand on, and each row of a stream."""
    deferred = "query ($n: Int) { partners(first: $n) { nodes { id ... @defer { name } } } }"
    streamed = "query ($n: Int) { partners(first: $n) { nodes @stream { id } } }"
    token = gateway.partner(world.brand)
    async with gateway_with(alliance, keys, limits=Limits(parts=10)) as fresh:
        for query in (deferred, streamed):
            few, many = [await asked(fresh, query, token, n=n) for n in (10, 11)]
            assert joined(await parts(few))["data"]["partners"]["nodes"]
            assert "json" in many.headers["content-type"]
            assert "errors" not in many.json()


async def test_it_costs_what_the_whole_costs_and_is_refused_by_the_same_limit(
    gateway: Gateway, alliance: FakeAlliance, world: World, keys: Path
):
    query = "query { partners(first: 100) { nodes { id } ... @defer { edges { node { id } } } } }"
    token = gateway.partner(world.brand)
    async with gateway_with(alliance, keys, limits=Limits(cost=100)) as fresh:
        told = [await asked(fresh, query, token, accept) for accept in (ACCEPT, GRAPHQL)]
    (one, other) = [response.json()["errors"][0] for response in told]
    assert one["extensions"]["code"] == "DOCUMENT_TOO_EXPENSIVE"
    assert one["message"] == other["message"]


DOCUMENTS = (
    SLOW,
    "query ($id: ID!) { member(id: $id) { acts { nodes @stream(initialCount: 0) { id partner { name } } } } }",
    "query ($id: ID!) { member(id: $id) { acts { edges @stream { node { ... @defer { claim { id } } } cursor } } } }",
    """query ($id: ID!) { member(id: $id) { id ...Purse @defer(label: "a") ... @defer(label: "b") { wallet { held }
      acts { nodes { earning { points ... @defer { status } } } } } } }
      fragment Purse on Member { wallet { balance lots { points issuer { name } } } }""",
    "{ partners { nodes { id ... @defer { name status trade } } pageInfo { hasNextPage } } }",
    """query ($id: ID!) { member(id: $id) { consents { granted } ... @defer { identities { customerNumber partner { name
      ... @defer { status } } } entries { nodes @stream { why { sentence } lots { points } } } } } }""",
    "query ($id: ID!) { member(id: $id) { ... @defer { ... @defer { displayName } } ... @defer { displayName id } } }",
    "query ($id: ID!) { a: member(id: $id) { ... @defer { wallet { held } } } b: member(id: $id) { wallet { held } } }",
)


@pytest.mark.parametrize("failing", [None, "BatchGetWallets", "BatchGetPartners", "BatchListActs"])
@pytest.mark.parametrize("query", DOCUMENTS)
async def test_all_parts_make_the_whole_with_the_same_calls(
    gateway: Gateway, alliance: FakeAlliance, world: World, query: str, failing: str | None
):
    if failing:
        alliance.recorder.failures[failing] = Unavailable("away", reason="AWAY")
    for token in (gateway.member(world.member), gateway.partner(world.other_brand), gateway.operator()):
        given = {"id": world.member} if "$id" in query else {}
        whole = await gateway.ask(query, token, **given)
        response = await asked(gateway, query, token, **given)
        came = await parts(response) if "multipart" in response.headers["content-type"] else None
        answer = joined(came) if came else response.json()
        assert answer["data"] == whole["data"]
        assert sorted(codes(answer), key=str) == sorted(codes(whole), key=str)


def keys_asked_for(calls: list[Call]) -> Counter[tuple[str, str]]:
    return Counter(
        (call.method, key)
        for call in calls
        for field, keys in call.request.ListFields()
        if field.is_repeated
        for key in keys
    )


async def test_what_is_deferred_costs_the_services_no_row_of_its_own(
    gateway: Gateway, alliance: FakeAlliance, world: World
):
    """Keys are compared, not calls: brands named on two levels share a call only if both levels are reached at once."""
    query = """query ($id: ID!) { member(id: $id) {
      wallet { lots { issuer { name } } }
      ... @defer { acts { nodes { partner { name } } } }
      ... @defer { redemptions { nodes { partner { name } } } }
    } }"""
    wanted = []
    for accept in (GRAPHQL, ACCEPT):
        alliance.recorder.calls.clear()
        await (await asked(gateway, query, gateway.member(world.member), accept, id=world.member)).aread()
        wanted.append(keys_asked_for(alliance.calls))
    assert len(wanted[0]) > 5
    assert wanted[0] == wanted[1]


async def test_a_field_that_is_cancelled_does_not_take_a_row_from_those_that_wait_for_it_too():
    coming = asyncio.get_running_loop().create_future()
    backends: Any = SimpleNamespace(batcher=SimpleNamespace(load=lambda *_: coming))
    request = Request(Caller(CallerKind.ANYONE), backends, "r")
    one, other = (
        asyncio.create_task(settled(request.load(standing_consents, ("partner", "member")))) for _ in range(2)
    )
    await asyncio.sleep(0)
    one.cancel()
    await asyncio.wait([one])
    coming.set_result("row")
    assert await other == "row"


class Endless:
    """Parts of which the last never comes; and a client of them."""

    def __init__(self, pending: Sequence[str] = ("0",), done: Sequence[str] = ()) -> None:
        """`pending` are announced; those of them that are `done` are there at once."""
        self.ended = False
        self.answered = asyncio.Event()
        self.outcomes: list[str] = []
        self.sent: list[bytes] = []
        announced = [PendingResult(id, []) for id in pending]
        first = InitialIncrementalExecutionResult({"a": 1}, pending=announced, has_next=True)
        self.parts = Parts(first, self._rest([CompletedResult(id) for id in done]))

    def last(self) -> Any:
        """The last part."""
        return json.loads(self.sent[-1].partition(b"\r\n\r\n")[2].removesuffix(b"\r\n-----\r\n"))

    async def _rest(self, done: list[CompletedResult]) -> AsyncGenerator[SubsequentIncrementalExecutionResult, None]:
        try:
            self.answered.set()
            if done:
                yield SubsequentIncrementalExecutionResult(has_next=True, completed=done)
            await asyncio.Event().wait()
            yield SubsequentIncrementalExecutionResult()
        finally:
            self.ended = True

    async def deliver(self, seconds: float, send: Callable[[Any], Awaitable[None]]) -> None:
        now = asyncio.get_running_loop().time()
        delivery = Delivery(self.parts, "r", now + seconds, self.outcomes.append, send_seconds=seconds)
        await delivery({"type": "http"}, asyncio.Event().wait, send)

    async def take(self, message: Any) -> None:
        self.sent.append(message.get("body", b""))


async def test_what_nothing_else_ends_is_given_up_when_the_time_is_up():
    async def wait(seconds: float) -> None:
        endless = Endless()
        await endless.deliver(seconds, endless.take)
        assert endless.ended
        assert endless.outcomes == ["partial"]
        given_up = endless.last()
        assert given_up["hasNext"] is False
        (completed,) = given_up["completed"]
        assert completed["id"] == "0"
        assert completed["errors"][0]["extensions"]["reason"] == "REQUEST_TIMEOUT"

    await within_some(0.05, wait)


async def test_what_is_there_before_the_first_part_has_been_sent_is_not_given_up_later():
    async def wait(seconds: float) -> None:
        endless = Endless(pending=("0", "1"), done=("0",))
        answered = endless.answered

        async def take_slowly(message: Any) -> None:
            await answered.wait()
            await endless.take(message)

        await endless.deliver(seconds, take_slowly)
        assert [completed["id"] for completed in endless.last()["completed"]] == ["1"]

    await within_some(0.05, wait)


async def test_who_does_not_take_what_is_sent_is_left():
    endless = Endless()

    async def never(_: Any) -> None:
        await asyncio.Event().wait()

    await endless.deliver(0.05, never)
    assert endless.ended
    assert endless.outcomes
