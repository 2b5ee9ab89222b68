"""What browsers and caches are told: whose pages may read, what may be kept, and answers that are compressed."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from services.shared.errors import Unavailable
from tests.gateway.conftest import GRAPHQL, Gateway, World, gateway_with
from tests.gateway.fakes import FakeAlliance

SHOP, OTHER, EVIL = "https://shop.example", "https://other.example:8443", "https://evil.example"
VIEWER = "{ viewer { kind } }"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}


@pytest.fixture
async def declared(
    gateway: Gateway, alliance: FakeAlliance, keys: Path, world: World, tmp_path: Path
) -> AsyncIterator[Gateway]:
    """A gateway that knows the origins of two brands."""
    for brand, origin in ((world.brand, SHOP), (world.other_brand, OTHER)):
        (tmp_path / f"{brand}.json").write_text(json.dumps({"origins": [origin]}))
    async with gateway_with(alliance, keys, brands_folder=tmp_path) as gateway:
        yield gateway


async def ask(gateway: Gateway, origin: str, token: str | None = None) -> httpx.Response:
    headers = {"Accept": GRAPHQL, "Origin": origin} | ({"Authorization": f"Bearer {token}"} if token else {})
    return await gateway.http.post("/graphql", json={"query": VIEWER}, headers=headers)


async def test_pages_of_a_brand_may_ask_and_read(declared: Gateway, world: World):
    for origin in (SHOP, OTHER):
        first = await declared.http.options("/graphql", headers={"Origin": origin, **PREFLIGHT})
        assert first.status_code == 204
        assert first.headers["Access-Control-Allow-Origin"] == origin
        assert first.headers["Access-Control-Allow-Methods"] == "GET, POST"
        assert {"authorization", "content-type"} <= set(first.headers["Access-Control-Allow-Headers"].split(", "))
        assert "Origin" in first.headers["Vary"]
    answer = await ask(declared, SHOP, declared.member("member_1", world.brand))
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == SHOP
    assert "x-request-id" in answer.headers["Access-Control-Expose-Headers"]
    assert "Origin" in answer.headers["Vary"]
    # Without a token there is no brand yet; an error can be read, too.
    assert (await ask(declared, SHOP)).headers["Access-Control-Allow-Origin"] == SHOP
    refused = await ask(declared, SHOP, "nonsense")
    assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, SHOP)


async def test_pages_may_send_what_their_clients_send_of_their_own_accord(declared: Gateway):
    answer = await declared.http.options("/graphql", headers={"Origin": SHOP, **PREFLIGHT})
    of_apollo = {"apollographql-client-name", "apollographql-client-version", "apollo-require-preflight"}
    of_opentelemetry = {"traceparent", "tracestate", "baggage"}
    assert of_apollo | of_opentelemetry <= set(answer.headers["Access-Control-Allow-Headers"].split(", "))


@pytest.mark.parametrize("origin", [EVIL, "null", "https://shop.example.evil.example", "http://shop.example", "*"])
async def test_other_pages_may_not(declared: Gateway, world: World, origin: str):
    first = await declared.http.options("/graphql", headers={"Origin": origin, **PREFLIGHT})
    assert first.status_code == 403
    answer = await ask(declared, origin, declared.member("member_1", world.brand))
    for response in (first, answer):
        assert not any(name.lower().startswith("access-control-allow") for name in response.headers)


async def test_a_token_does_not_work_on_another_brands_page(declared: Gateway, alliance: FakeAlliance, world: World):
    answer = await ask(declared, OTHER, declared.member("member_1", world.brand))
    assert answer.status_code == 403
    assert answer.json()["errors"][0]["extensions"]["reason"] == "ORIGIN_NOT_ALLOWED"
    assert alliance.calls == []


async def test_cookies_are_never_asked_for_and_no_wildcard_is_answered(declared: Gateway):
    responses = [
        await declared.http.options("/graphql", headers={"Origin": SHOP, **PREFLIGHT}),
        await ask(declared, SHOP),
        await declared.http.options("/oauth/token", headers={"Origin": SHOP, **PREFLIGHT}),
    ]
    for response in responses:
        assert "Access-Control-Allow-Credentials" not in response.headers
        assert response.headers.get("Access-Control-Allow-Origin", SHOP) == SHOP
    assert "Access-Control-Allow-Origin" not in responses[2].headers


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("{ factors { id validFrom } }", "public, max-age=3600"),
        ("{ partners { nodes { id name } pageInfo { hasNextPage } } }", "public, max-age=60"),
        ("{ factors { id } partners { edges { cursor node { id } } } }", "public, max-age=60"),
        ("{ recyclingPoints { nodes { ...p } } } fragment p on RecyclingPoint { name location { latitude } }",
         "public, max-age=60"),
        ("{ rewards { nodes { title partner { name } } } }", "public, max-age=5"),
        # Who asks is in it, or decides on it.
        ("{ factors { id } viewer { kind } }", "no-store"),
        ("{ partners { nodes { id agreements { id } } } }", "no-store"),
        ("{ partners { nodes { ... on Partner { ...f } } } } fragment f on Partner { points { issued } }", "no-store"),
        ("{ __typename }", "no-store"),
        ("{ __schema { queryType { name } } factors { id } }", "no-store"),
    ],
)  # fmt: skip
async def test_what_everybody_sees_alike_may_be_kept_as_long_as_its_types_say(
    gateway: Gateway, world: World, query: str, expected: str
):
    for token in (None, gateway.operator()):
        response = await gateway.post(query, token)
        kept = "errors" not in response.json()
        assert response.headers["Cache-Control"] == (expected if kept else "no-store")
        assert ("Authorization" in response.headers["Vary"]) is (response.headers["Cache-Control"] == "no-store")


async def test_an_answer_with_errors_is_not_kept(gateway: Gateway, alliance: FakeAlliance, world: World):
    alliance.fail("BatchGetPartners", Unavailable("down", reason="UNAVAILABLE"))
    response = await gateway.post("query ($id: ID!) { partner(id: $id) { name } }", id=world.brand)
    assert response.json()["errors"]
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [("gzip", True), ("br, gzip;q=0.5", True), ("*", True), ("", False), ("br", False), ("gzip;q=0", False),
     ("identity", False), ("gzip; q=0.0", False)],
)  # fmt: skip
async def test_large_answers_are_compressed_for_who_takes_that(gateway: Gateway, accepted: str, compressed: bool):
    schema = {"query": "{ __schema { types { name description } } }"}
    response = await gateway.http.post("/graphql", json=schema, headers={"Accept-Encoding": accepted})
    assert ("Content-Encoding" in response.headers) is compressed
    assert "Accept-Encoding" in response.headers["Vary"]
    assert len(response.json()["data"]["__schema"]["types"]) > 50
    assert (int(response.headers["Content-Length"]) < len(response.content)) is compressed
    small = await gateway.http.post("/graphql", json={"query": VIEWER}, headers={"Accept-Encoding": accepted})
    assert "Content-Encoding" not in small.headers
