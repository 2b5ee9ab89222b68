"""GraphQL over HTTP: media types, methods and the status of each way to fail."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.app import create_app
from gateway.config import Limits, Rates
from gateway.negotiation import media_type
from services.shared.telemetry import Telemetry
from tests.gateway.conftest import GRAPHQL, URL, Gateway, World, gateway_with, settings_of
from tests.gateway.fakes import FakeAlliance
from tests.support.bounds import within_some

JSON = "application/json"
VIEWER = "{ viewer { kind } }"
MUTATION = 'mutation { createLinkCode(input: {requestId: "r"}) { __typename } }'


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        (JSON, JSON),
        (GRAPHQL, GRAPHQL),
        (f"{GRAPHQL}, {JSON};q=0.9", GRAPHQL),
        (f"{JSON}, {GRAPHQL}", GRAPHQL),
        (f"{JSON}, {GRAPHQL};q=0.5", JSON),
        (f"{GRAPHQL}; charset=utf-8", GRAPHQL),
        (f"text/html, {JSON}", JSON),
        ("text/html, */*;q=0.1", JSON),
        (f"{GRAPHQL};q=0, */*", JSON),
        (f"{JSON};q=0, */*", None),
        ("text/html", None),
        ("application/xml", None),
        (f"{JSON};q=nonsense", None),
    ],
)
def test_the_media_type_is_the_best_that_the_caller_takes(accept: str, expected: str | None):
    assert media_type(accept) == expected


async def send(gateway: Gateway, accept: str, **options: Any) -> httpx.Response:
    return await gateway.http.request(
        url="/graphql", headers={"Accept": accept, **options.pop("headers", {})}, **options
    )


async def posted(gateway: Gateway, accept: str, query: str, **rest: Any) -> httpx.Response:
    return await send(gateway, accept, method="POST", json={"query": query, **rest})


# What is sent, with the status as application/graphql-response+json and as application/json.
STATUSES: dict[str, tuple[dict[str, Any], int, int]] = {
    "an answer": ({"query": VIEWER}, 200, 200),
    "a document that does not parse": ({"query": "{"}, 400, 200),
    "a document of another schema": ({"query": "{ nothing }"}, 400, 200),
    "a document without an operation": ({"query": "fragment a on Query { viewer { kind } }"}, 400, 200),
    "an operation that there is not": ({"query": f"query A {VIEWER}", "operationName": "B"}, 400, 200),
    "several operations and no name": ({"query": f"query A {VIEWER} query B {VIEWER}"}, 400, 200),
    "a variable that is missing": ({"query": "query ($id: ID!) { partner(id: $id) { id } }"}, 400, 200),
    "a variable that does not fit": (
        {"query": "query ($n: Int!) { partners(first: $n) { nodes { id } } }", "variables": {"n": "x"}},
        400,
        200,
    ),
    "a field that fails": ({"query": "{ report { acts { claims } } }"}, 200, 200),
    "no query": ({}, 400, 400),
    "a query that is no text": ({"query": {"a": 1}}, 400, 400),
    "an empty query": ({"query": "  "}, 400, 400),
    "variables that are none": ({"query": VIEWER, "variables": [1]}, 400, 400),
    "an operation name that is none": ({"query": VIEWER, "operationName": 1}, 400, 400),
    "extensions that are none": ({"query": VIEWER, "extensions": "x"}, 400, 400),
    "nulls where nothing is meant": (
        {"query": VIEWER, "variables": None, "operationName": None, "extensions": None},
        200,
        200,
    ),
}


@pytest.mark.parametrize("what", STATUSES)
async def test_each_failure_has_its_status_in_both_media_types(gateway: Gateway, what: str):
    body, of_graphql, of_json = STATUSES[what]
    for accept, status in ((GRAPHQL, of_graphql), (JSON, of_json)):
        response = await send(gateway, accept, method="POST", json=body)
        assert response.status_code == status
        assert response.headers["Content-Type"] == f"{accept}; charset=utf-8"
        answer = response.json()
        if status != 200 or "data" not in answer:
            assert answer["errors"]
            assert "data" not in answer


async def test_no_data_key_means_nothing_was_executed(gateway: Gateway):
    answer = (await posted(gateway, JSON, "{ nothing }")).json()
    assert "data" not in answer
    answer = (await posted(gateway, JSON, "{ report { acts { claims } } }")).json()
    assert answer["data"] == {"report": None}


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"", {}, 400),
        (b"[]", {}, 400),
        (b'[{"query": "{ viewer { kind } }"}]', {}, 400),
        (b"1", {}, 400),
        (b'"text"', {}, 400),
        (b'{"query": NaN}', {}, 400),
        (b'{"query": "\xff"}', {}, 400),
        (b"[" * 50_000, {}, 400),
        (b'{"query": "{ viewer { kind } }"}', {"Content-Type": "text/plain"}, 415),
        (b'{"query": "{ viewer { kind } }"}', {"Content-Type": ""}, 415),
        (b"query=x", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        (b"{ viewer { kind } }", {"Content-Type": "application/graphql"}, 415),
        (b'{"query": "{ viewer { kind } }"}', {"Content-Type": "application/json; charset=utf-16"}, 415),
        (b'{"query": "{ viewer { kind } }"}', {"Content-Type": "application/json; charset=UTF-8"}, 200),
        (b'{"query": "{ viewer { kind } }"}', {"Content-Encoding": "gzip"}, 415),
        (b'{"query": "{ viewer { kind } }"}', {"Accept": "text/csv"}, 406),
    ],
)
async def test_a_body_that_is_none_is_refused(gateway: Gateway, content: bytes, headers: dict[str, str], status: int):
    sent = {"Content-Type": JSON, "Accept": GRAPHQL, **headers}
    response = await gateway.http.post("/graphql", content=content, headers=sent)
    assert response.status_code == status
    if status != 200:
        assert response.json()["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_a_body_that_is_too_long_is_not_read_to_its_end(gateway: Gateway):
    most = Limits().body_bytes
    announced = await gateway.http.post("/graphql", content=b" " * (most + 1), headers={"Content-Type": JSON})
    assert announced.status_code == 413
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 100 * most:
            sent += 64 << 10
            yield b" " * (64 << 10)

    streamed = await gateway.http.post("/graphql", content=endless(), headers={"Content-Type": JSON})
    assert streamed.status_code == 413


async def test_queries_come_by_get_too(gateway: Gateway, world: World):
    query = "query P($id: ID!) { partner(id: $id) { name } } query Q { viewer { kind } }"
    response = await send(
        gateway,
        GRAPHQL,
        method="GET",
        params={"query": query, "operationName": "P", "variables": f'{{"id": "{world.brand}"}}'},
    )
    assert response.status_code == 200
    assert response.json() == {"data": {"partner": {"name": "Groenmarkt"}}}


async def test_head_is_get_without_the_answer(gateway: Gateway):
    response = await send(gateway, GRAPHQL, method="HEAD", params={"query": VIEWER})
    assert response.status_code == 200


async def test_there_is_no_head_of_a_stream(gateway: Gateway):
    """It would never end, and keep the connection from whatever is asked on it next."""
    params = {"query": "subscription { allianceImpact { cursor } }"}
    response = await send(gateway, "text/event-stream", method="HEAD", params=params)
    assert response.status_code == 406


@pytest.mark.parametrize("path", ["/graphql/", "/graphql%2f", "/oauth/token/", "/healthz/"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_no_request_is_sent_elsewhere_with_its_secrets(gateway: Gateway, method: str, path: str):
    response = await gateway.http.request(method, path, headers={"Host": "evil.example"})
    assert response.status_code == 404
    assert "location" not in response.headers


@pytest.mark.parametrize(
    "params", [{}, {"query": ""}, {"query": VIEWER, "variables": "{"}, {"query": VIEWER, "variables": "[]"}]
)
async def test_a_get_that_is_no_request_is_refused(gateway: Gateway, params: dict[str, str]):
    response = await send(gateway, GRAPHQL, method="GET", params=params)
    assert response.status_code == 400


async def test_nothing_is_changed_by_get(gateway: Gateway, alliance: FakeAlliance, world: World):
    for accept in (GRAPHQL, JSON):
        response = await send(
            gateway,
            accept,
            method="GET",
            params={"query": MUTATION},
            headers={"Authorization": f"Bearer {gateway.member(world.member)}"},
        )
        assert response.status_code == 405
        assert response.headers["Allow"] == "POST"
    assert alliance.calls == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_other_methods_are_not_for_graphql(gateway: Gateway, method: str):
    response = await gateway.http.request(method, "/graphql")
    assert response.status_code == 405
    assert set(response.headers["Allow"].split(", ")) >= {"GET", "POST"}


async def test_a_token_that_does_not_hold_is_401_in_both_media_types(gateway: Gateway):
    for accept in (GRAPHQL, JSON):
        response = await send(
            gateway, accept, method="POST", json={"query": VIEWER}, headers={"Authorization": "Bearer x"}
        )
        assert response.status_code == 401


async def test_every_response_has_an_id_and_says_what_a_browser_may_do(gateway: Gateway):
    for path in ("/graphql", "/healthz", "/nowhere", "/oauth/token", "/.well-known/jwks.json"):
        response = await gateway.http.get(path)
        assert len(response.headers["X-Request-Id"]) == 32
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert (await gateway.http.get("/nowhere")).status_code == 404


@pytest.mark.parametrize(("issuer", "stays"), [("https://api.alliance.example", True), ("http://127.0.0.1", False)])
async def test_who_came_over_tls_stays_with_it(alliance: FakeAlliance, keys: Path, issuer: str, stays: bool):
    async with gateway_with(alliance, keys, issuer=issuer) as gateway:
        response = await gateway.post(VIEWER)
        assert ("Strict-Transport-Security" in response.headers) is stays


@pytest.mark.parametrize(("given", "kept"), [("order-7.A_b", True), ("x" * 65, False), ("a b", False), ("a\tb", False)])
async def test_a_callers_own_request_id_is_kept_if_it_is_plain(gateway: Gateway, given: str, kept: bool):
    response = await gateway.http.get("/healthz", headers={"X-Request-Id": given})
    assert (response.headers["X-Request-Id"] == given) is kept


async def test_errors_name_the_request(gateway: Gateway):
    response = await gateway.http.post(
        "/graphql", json={"query": "{ report { acts { claims } } }"}, headers={"X-Request-Id": "order-7"}
    )
    assert response.json()["errors"][0]["extensions"]["traceId"] == "order-7"


async def test_answers_are_nobodys_to_keep(gateway: Gateway):
    response = await posted(gateway, GRAPHQL, VIEWER)
    assert response.headers["Cache-Control"] == "no-store"
    assert "Authorization" in response.headers["Vary"]


async def test_a_request_ends_at_its_deadline_with_what_is_there(alliance: FakeAlliance, keys: Path, world: World):
    alliance.reset()
    alliance.recorder.waits["BatchGetPartners"] = asyncio.Event()
    document = "query ($id: ID!) { partner(id: $id) { name } viewer { kind } }"

    async def ask(seconds: float) -> None:
        async with gateway_with(alliance, keys, request_timeout_seconds=seconds) as gateway:
            for extra in ("", "__schema { queryType { name } }"):
                # Once by a plan, once by graphql-core.
                query = document.replace("viewer {", f"{extra} viewer {{")
                response = await gateway.post(query, id=world.brand)
                answer = response.json()
                assert response.status_code == 200
                assert (answer["data"]["partner"], answer["data"]["viewer"]) == (None, {"kind": "ANYONE"})
                (error,) = answer["errors"]
                assert (error["path"], error["extensions"]["reason"]) == (["partner"], "REQUEST_TIMEOUT")

    await within_some(0.2, ask)
    alliance.reset()


async def test_what_nobody_expected_is_masked_too(gateway: Gateway, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gateway.asked.read_body", lambda *_: 1 / 0)
    response = await posted(gateway, GRAPHQL, VIEWER)
    assert response.status_code == 500
    assert response.json()["errors"][0]["extensions"]["code"] == "INTERNAL"
    assert "ZeroDivision" not in response.text
    assert response.headers["X-Request-Id"] == response.json()["errors"][0]["extensions"]["traceId"]


async def test_health_tells_the_process_from_what_it_needs(alliance: FakeAlliance, keys: Path):
    app = create_app(settings_of(alliance, keys), Telemetry(None))
    serving = dict.fromkeys(("accounts", "partners", "logistics", "rewards"), "serving")

    async def ready(services: dict[str, str]) -> tuple[int, str]:
        """What is told, once it is known of each service how it is."""
        async with asyncio.timeout(60):
            while (told := await http.get("/readyz")).json()["services"] != services:
                await asyncio.sleep(0.05)
        return told.status_code, told.json()["status"]

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL) as http:
        await alliance.servers["logistics"].stop()
        try:
            assert (await http.get("/healthz")).status_code == 200
            assert await ready(serving | {"logistics": "unreachable"}) == (503, "not_ready")
        finally:
            await alliance.servers["logistics"].start()
        assert await ready(serving) == (200, "ready")
        # Once it has been ready it stays so with a part missing: the rest of the answers still stand.
        await alliance.servers["logistics"].stop()
        try:
            assert await ready(serving | {"logistics": "unreachable"}) == (200, "degraded")
        finally:
            await alliance.servers["logistics"].start()


async def test_a_number_of_any_length_is_the_document_s_fault(gateway: Gateway):
    answer = (await posted(gateway, JSON, "{ partners(first: " + "9" * 5_000 + ") { nodes { id } } }")).json()
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["DOCUMENT_INVALID"]
    assert answer["errors"][0]["locations"] == [{"line": 1, "column": 19}]


@pytest.mark.parametrize(
    "body",
    [
        {"query": "query Q { viewer { kind } }", "operationName": "x" * 200_000},
        {"query": "{ partner(" + "id: 1 " * 900 + ") { id } }"},
        {"query": "mutation { setConsent(input: {" + " ".join(f"a{n}: 1" for n in range(900)) + "}) { __typename } }"},
    ],
)
async def test_errors_do_not_repeat_all_that_was_sent(gateway: Gateway, body: dict[str, str]):
    response = await send(
        gateway, GRAPHQL, method="POST", json=body, headers={"Authorization": f"Bearer {gateway.operator()}"}
    )
    assert response.status_code == 400
    for error in response.json()["errors"]:
        assert len(error["message"]) < 1_010
        assert len(error.get("locations", [])) <= 20


async def test_lists_of_requests_are_answered_where_that_is_switched_on(
    alliance: FakeAlliance, keys: Path, world: World
):
    named = "query ($id: ID!) { partner(id: $id) { name } }"
    asked = [{"query": VIEWER}, {"query": "{ nothing }"}, {"query": named, "variables": {"id": world.brand}}]
    async with gateway_with(alliance, keys, batch=3) as gateway:
        response = await gateway.http.post("/graphql", json=asked, headers={"Accept": GRAPHQL})
        first, second, third = response.json()
        assert response.status_code == 200
        assert (first, third) == (
            {"data": {"viewer": {"kind": "ANYONE"}}},
            {"data": {"partner": {"name": "Groenmarkt"}}},
        )
        assert second["errors"][0]["extensions"]["code"] == "DOCUMENT_INVALID"
        for many in ([], [{"query": VIEWER}] * 4, [[{"query": VIEWER}]], [{"query": VIEWER}, 1]):
            refused = await gateway.http.post("/graphql", json=many)
            assert refused.status_code == 400


async def test_each_request_of_a_list_is_paid_for(alliance: FakeAlliance, keys: Path):
    async with gateway_with(alliance, keys, batch=100, rates=Rates(address=1, burst_seconds=20)) as gateway:
        response = await gateway.http.post("/graphql", json=[{"query": VIEWER}] * 100)
        told = {answer["errors"][0]["extensions"]["code"] for answer in response.json() if "errors" in answer}
        assert told == {"TOO_MANY_REQUESTS"}


@pytest.mark.parametrize("accept", [GRAPHQL, JSON])
async def test_every_answer_is_well_formed(gateway: Gateway, accept: str):
    """Errors are a list that is not empty, each with a message; data and errors and extensions, and nothing else."""
    for body, *_ in STATUSES.values():
        answer = (await send(gateway, accept, method="POST", json=body)).json()
        assert answer.keys() <= {"data", "errors", "extensions"}
        assert answer.keys() & {"data", "errors"}
        for error in answer.get("errors", [{"message": "none"}]):
            assert isinstance(error["message"], str)
            assert error["message"]
        assert answer.get("errors") != []


async def test_what_is_unknown_in_a_request_is_left_alone(gateway: Gateway):
    body = {"query": VIEWER, "extensions": {"tracing": True}, "id": 7}
    assert (await send(gateway, GRAPHQL, method="POST", json=body)).json() == {"data": {"viewer": {"kind": "ANYONE"}}}


async def test_an_operation_name_that_is_empty_is_none(gateway: Gateway):
    for method, sent in (("POST", "json"), ("GET", "params")):
        response = await send(gateway, GRAPHQL, method=method, **{sent: {"query": VIEWER, "operationName": ""}})
        assert response.status_code == 200


async def test_variables_in_a_url_are_json_and_an_object(gateway: Gateway, world: World):
    query = "query ($id: ID!) { partner(id: $id) { name } }"
    for variables, status in (
        (f'{{"id": "{world.brand}"}}', 200),
        ("null", 400),
        ("{}", 400),
        ("1", 400),
        ('"a"', 400),
    ):
        params = {"query": query, "variables": variables}
        assert (await send(gateway, GRAPHQL, method="GET", params=params)).status_code == status


async def test_a_mutation_of_several_operations_is_not_reached_by_get(gateway: Gateway, world: World):
    query = f"query A {VIEWER} mutation B {MUTATION.removeprefix('mutation ')}"
    token = {"Authorization": f"Bearer {gateway.member(world.member)}"}
    for name, status in (("A", 200), ("B", 405)):
        params = {"query": query, "operationName": name}
        assert (await send(gateway, GRAPHQL, method="GET", params=params, headers=token)).status_code == status
