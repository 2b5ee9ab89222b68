"""Documents that are asked for by id: sent before, or declared by the brand."""

import asyncio
import json
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from gateway import declared
from gateway.brands import BrandFileInvalid, Brands
from gateway.config import Limits
from tests.gateway.conftest import GRAPHQL, Gateway, World, codes, gateway_with
from tests.gateway.fakes import FakeAlliance

VIEWER = "{ viewer { kind } }"
NAME = "query Name($id: ID!) { partner(id: $id) { name } }"


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def automatic(text: str, **changes: Any) -> dict[str, Any]:
    return {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": digest(text), **changes}}}


async def send(
    gateway: Gateway, body: dict[str, Any], token: str | None = None, accept: str = GRAPHQL
) -> httpx.Response:
    headers = {"Accept": accept} | ({"Authorization": f"Bearer {token}"} if token else {})
    return await gateway.http.post("/graphql", json=body, headers=headers)


def reason(response: httpx.Response) -> str:
    (error,) = response.json()["errors"]
    assert "data" not in response.json()
    return str(error["extensions"]["reason"])


@pytest.mark.parametrize("stranger", [True, False])
async def test_a_document_that_was_sent_once_is_asked_for_by_its_hash(gateway: Gateway, world: World, stranger: bool):
    token = None if stranger else gateway.member(world.member)
    text = f"query Once{stranger}($id: ID!) {{ partner(id: $id) {{ name }} }}"
    variables = {"variables": {"id": world.brand}}
    first = await send(gateway, {**automatic(text), **variables}, token)
    assert (first.status_code, reason(first)) == (400, "PERSISTED_QUERY_NOT_FOUND")
    # The very words, by which clients know what to do.
    assert first.json()["errors"][0]["message"] == "PersistedQueryNotFound"
    for body in ({"query": text, **automatic(text)}, automatic(text), {"documentId": f"sha256:{digest(text)}"}):
        response = await send(gateway, {**body, **variables}, token)
        assert response.json() == {"data": {"partner": {"name": "Groenmarkt"}}}


async def test_by_get_too_and_still_nothing_is_changed_by_it(gateway: Gateway, world: World):
    await send(gateway, {"query": NAME, **automatic(NAME), "variables": {"id": world.brand}})
    parameters = {"extensions": json.dumps(automatic(NAME)["extensions"]), "variables": json.dumps({"id": world.brand})}
    response = await gateway.http.get("/graphql", params=parameters, headers={"Accept": GRAPHQL})
    assert response.json() == {"data": {"partner": {"name": "Groenmarkt"}}}
    response = await gateway.http.get(
        "/graphql",
        params={"documentId": f"sha256:{digest(NAME)}", "variables": parameters["variables"]},
        headers={"Accept": GRAPHQL},
    )
    assert response.json() == {"data": {"partner": {"name": "Groenmarkt"}}}
    mutation = 'mutation { createLinkCode(input: {requestId: "r"}) { __typename } }'
    token = gateway.member(world.member)
    await send(gateway, {"query": mutation, **automatic(mutation)}, token)
    response = await gateway.http.get(
        "/graphql", params={"documentId": f"sha256:{digest(mutation)}"}, headers={"Authorization": f"Bearer {token}"}
    )
    assert response.status_code == 405


async def test_a_hash_that_is_not_the_documents_is_refused_and_nothing_kept_under_it(gateway: Gateway):
    other = "{ viewer { kind } } # other"
    response = await send(gateway, {"query": other, **automatic(VIEWER + "#mine")})
    assert (response.status_code, reason(response)) == (400, "PERSISTED_QUERY_HASH_MISMATCH")
    assert reason(await send(gateway, automatic(VIEWER + "#mine"))) == "PERSISTED_QUERY_NOT_FOUND"
    # As application/json, errors alone say what is wrong with a request that is well-formed.
    assert (await send(gateway, automatic(VIEWER + "#mine"), accept="application/json")).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        automatic(VIEWER, version=2),
        automatic(VIEWER, sha256Hash="abc"),
        automatic(VIEWER, sha256Hash=digest(VIEWER).upper()),
        automatic(VIEWER, sha256Hash=None),
        {"extensions": {"persistedQuery": "x"}},
        {"documentId": ""},
        {"documentId": 1},
        {"documentId": "a b"},
        {"documentId": "sha256:"},
        {"documentId": ":x"},
        {"documentId": "x" * 201},
        {"documentId": "a", "query": VIEWER},
        {"extensions": {}},
    ],
)
async def test_what_is_no_id_is_malformed(gateway: Gateway, body: dict[str, Any]):
    response = await send(gateway, body)
    assert (response.status_code, reason(response)) == (400, "REQUEST_MALFORMED")


async def test_what_is_invalid_or_too_much_is_not_kept(gateway: Gateway):
    for text in ("{ nothing }", "{", "{ " + "viewer { kind } " * 60 + "}"):
        await send(gateway, {"query": text, **automatic(text)})
        assert reason(await send(gateway, automatic(text))) == "PERSISTED_QUERY_NOT_FOUND"


async def test_strangers_do_not_drive_out_what_others_use(alliance: FakeAlliance, keys: Path):
    async with gateway_with(alliance, keys, limits=Limits(cached_documents=20)) as gateway:
        token = gateway.member("member_1")
        for _ in range(2):
            await send(gateway, {"query": VIEWER, **automatic(VIEWER)}, token)
        for number in range(40):
            text = f"{{ viewer {{ kind }} }} #{number}"
            await send(gateway, {"query": text, **automatic(text)})
            if number % 4 == 0:
                # Nor does it help to ask again and again.
                await send(gateway, automatic(text))
        assert (await send(gateway, automatic(VIEWER), token)).json() == {"data": {"viewer": {"kind": "MEMBER"}}}
        assert reason(await send(gateway, automatic("{ viewer { kind } } #0"))) == "PERSISTED_QUERY_NOT_FOUND"


async def test_what_only_others_may_send_is_not_had_by_its_hash(alliance: FakeAlliance, keys: Path):
    schema = "{ __schema { queryType { name } } }"
    async with gateway_with(alliance, keys, introspection_for_strangers=False) as gateway:
        await send(gateway, {"query": schema, **automatic(schema)}, gateway.member("member_1"))
        assert reason(await send(gateway, automatic(schema))) == "DOCUMENT_INVALID"


def declare(folder: Path, name: str, **content: Any) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(content))


async def test_a_brand_declares_documents_and_its_frontends_ask_for_them_by_id(
    alliance: FakeAlliance, keys: Path, world: World, tmp_path: Path
):
    declare(tmp_path, world.brand, documents={"name-1": NAME, digest(VIEWER): VIEWER})
    async with gateway_with(alliance, keys, brands_folder=tmp_path) as gateway:
        member, other = gateway.member("member_1", world.brand), gateway.member("member_1", world.other_brand)
        asked = {"variables": {"id": world.brand}}
        for id in ("name-1", f"sha256:{digest(NAME)}"):
            response = await send(gateway, {"documentId": id, **asked}, member)
            assert response.json() == {"data": {"partner": {"name": "Groenmarkt"}}}
        assert (await send(gateway, automatic(VIEWER), member)).status_code == 200
        # The other brand's ids mean nothing here.
        assert reason(await send(gateway, {"documentId": "name-1", **asked}, other)) == "PERSISTED_DOCUMENT_NOT_FOUND"
        assert reason(await send(gateway, {"documentId": "name-1", **asked})) == "PERSISTED_DOCUMENT_NOT_FOUND"


async def test_where_only_trusted_documents_are_answered_others_are_refused_for_that_brand_alone(
    alliance: FakeAlliance, keys: Path, world: World, tmp_path: Path
):
    declare(tmp_path, world.brand, trustedOnly=True, documents={"viewer": VIEWER})
    async with gateway_with(alliance, keys, brands_folder=tmp_path) as gateway:
        token, other = gateway.partner(world.brand), gateway.partner(world.other_brand)
        asked = {"query": NAME, "variables": {"id": world.brand}}
        assert (await send(gateway, {**asked, **automatic(NAME)}, other)).status_code == 200
        # Neither as text, nor by the hash of what somebody else has sent, nor by a text that only looks the same.
        for body in (asked, automatic(NAME), {"documentId": f"sha256:{digest(NAME)}"}, {"query": VIEWER + " "}):
            response = await send(gateway, body, token)
            assert (response.status_code, reason(response)) == (403, "DOCUMENT_NOT_TRUSTED")
        for body in ({"query": VIEWER}, {"documentId": "viewer"}, automatic(VIEWER)):
            assert (await send(gateway, body, token)).json() == {"data": {"viewer": {"kind": "PARTNER"}}}
        assert (await send(gateway, {"query": VIEWER})).status_code == 200


@pytest.mark.parametrize("switch", ["trusted_documents_only", "strangers_trusted_documents_only"])
async def test_it_can_be_switched_on_for_all_or_for_strangers(
    alliance: FakeAlliance, keys: Path, world: World, tmp_path: Path, switch: str
):
    declare(tmp_path, "strangers", documents={"viewer": VIEWER})
    async with gateway_with(alliance, keys, brands_folder=tmp_path, **{switch: True}) as gateway:
        assert (await send(gateway, {"documentId": "viewer"})).json() == {"data": {"viewer": {"kind": "ANYONE"}}}
        assert reason(await send(gateway, {"query": VIEWER + " "})) == "DOCUMENT_NOT_TRUSTED"
        brands = await send(gateway, {"query": VIEWER + " "}, gateway.partner(world.brand))
        assert brands.status_code == (403 if switch == "trusted_documents_only" else 200)
        assert (await send(gateway, {"query": VIEWER + " "}, gateway.operator())).status_code == 200


async def test_a_declared_document_is_not_bound_to_strangers_length_but_to_their_cost(
    alliance: FakeAlliance, keys: Path, tmp_path: Path
):
    long = "{ viewer { kind } } #" + "x" * 20_000
    dear = "{ partners(first: 100) { nodes { id } } }"
    declare(tmp_path, "strangers", documents={"long": long, "dear": dear})
    limits = {"stranger_limits": {"cost": 50}}
    async with gateway_with(alliance, keys, brands_folder=tmp_path, **limits) as gateway:
        assert codes(await gateway.ask(long))[0][0] == "DOCUMENT_TOO_EXPENSIVE"
        assert (await send(gateway, {"documentId": "long"})).status_code == 200
        assert reason(await send(gateway, {"documentId": "dear"})) == "DOCUMENT_TOO_EXPENSIVE"


async def test_changes_are_taken_over_and_broken_ones_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    told = asyncio.Event()
    log = SimpleNamespace(info=lambda *_, **__: None, error=lambda *_, **__: told.set())
    monkeypatch.setattr("gateway.brands.log", log)
    declare(tmp_path, "partner_a", documents={"viewer": VIEWER})
    brands = Brands(tmp_path)
    watch = asyncio.create_task(brands.watch(0.01))
    declare(tmp_path, "partner_b", trustedOnly=True)
    async with asyncio.timeout(60):
        while not brands.trusted_only("partner_b"):
            await asyncio.sleep(0.01)
    told.clear()
    (tmp_path / "partner_a.json").write_text("{")
    await asyncio.wait_for(told.wait(), 60)
    assert brands.of("partner_a").documents["viewer"] == VIEWER
    declare(tmp_path, "partner_a", documents={})
    async with asyncio.timeout(60):
        while brands.of("partner_a").documents:
            await asyncio.sleep(0.01)
    watch.cancel()


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{",
        '{"origin": []}',
        '{"origins": ["*"]}',
        '{"origins": ["https://*.example"]}',
        '{"origins": ["https://shop.example/path"]}',
        '{"origins": ["null"]}',
        '{"origins": "https://shop.example"}',
        '{"trustedOnly": "false"}',
        '{"documents": []}',
        '{"documents": {"a": 1}}',
        '{"documents": {"sha256:%s": "{ viewer { kind } }"}}' % ("0" * 64),
        *(
            f'{{"documents": {{"format": "apollo-persisted-query-manifest", "operations": {operations}}}}}'
            for operations in ("null", "{}", '["x"]', '[{"id": "a"}]', '[{"id": "a", "body": 1}]')
        ),
        "[" * 100_000,
    ],
)
def test_a_file_that_does_not_say_what_it_should_is_named(tmp_path: Path, content: str):
    (tmp_path / "partner_a.json").write_text(content)
    with pytest.raises(BrandFileInvalid, match=r"partner_a\.json"):
        Brands(tmp_path)


def test_what_cannot_be_served_is_told_before_it_is_rolled_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    declare(tmp_path, "partner_a", documents={"viewer": VIEWER, "named": f"query A {VIEWER} query B {VIEWER}"})
    assert declared.main(str(tmp_path)) == 0
    monkeypatch.setenv("ALLIANCE_STRANGER_LIMIT_COST", "50")
    dear = "{ partners(first: 100) { nodes { id } } }"
    declare(tmp_path, "partner_b", documents={"old": "{ nothing }", "dear": dear, "broken": "{"})
    declare(tmp_path, "strangers", documents={"dear": dear})
    (tmp_path / "partner_c.json").write_text("[]")
    capsys.readouterr()
    assert declared.main(str(tmp_path)) == 1
    told = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in told] == [*["partner_b.json"] * 2, "partner_c.json", "strangers.json"]
    assert "'old': Cannot query field 'nothing'" in told[0]
    assert "'dear': The document has 101 cost, 50 are allowed" in told[3]


def test_a_manifest_of_apollo_is_taken_as_it_is(tmp_path: Path):
    operations = [{"id": digest(VIEWER), "body": VIEWER, "name": "V", "type": "query"}]
    declare(tmp_path, "partner_a", documents={"format": "apollo-persisted-query-manifest", "operations": operations})
    assert Brands(tmp_path).of("partner_a").documents[f"sha256:{digest(VIEWER)}"] == VIEWER
