"""The token endpoint, as RFC 6749 and RFC 8693 have it."""

import base64
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.limits import Buckets
from gateway.oauth import ACCESS_TOKEN, CUSTOMER_NUMBER, TOKEN_EXCHANGE
from services.shared.errors import Unavailable
from services.shared.identity import Caller, CallerKind
from tests.gateway.conftest import URL, Gateway, World, gateway_with
from tests.gateway.fakes import FakeAlliance

GRANT = {"grant_type": "client_credentials"}


def secret(alliance: FakeAlliance, partner_id: str) -> tuple[str, str]:
    client = f"client_{partner_id}"
    return client, alliance.partners.clients[client][0]


def exchange(number: str, **changes: str) -> dict[str, str]:
    return {
        "grant_type": TOKEN_EXCHANGE,
        "subject_token": number,
        "subject_token_type": CUSTOMER_NUMBER,
        **changes,
    }


async def token(gateway: Gateway, form: dict[str, str], auth: Any = None, **options: Any) -> httpx.Response:
    return await gateway.http.post("/oauth/token", data=form, auth=auth, **options)


def refused(response: httpx.Response, status: int, error: str) -> None:
    assert response.status_code == status
    assert response.json()["error"] == error
    assert response.json()["error_description"]
    assert response.headers["Cache-Control"] == "no-store"


async def test_a_brand_gets_a_token_by_basic_or_in_the_form(gateway: Gateway, alliance: FakeAlliance, world: World):
    client, password = secret(alliance, world.brand)
    for response in (
        await token(gateway, GRANT, auth=(client, password)),
        await token(gateway, {**GRANT, "client_id": client, "client_secret": password}),
    ):
        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "no-store"
        answer = response.json()
        assert answer.keys() == {"access_token", "token_type", "expires_in", "scope"}
        assert (answer["token_type"], answer["expires_in"], answer["scope"]) == ("Bearer", 900, "partner")
        assert gateway.tokens.viewer(answer["access_token"]) == Caller(CallerKind.PARTNER, world.brand, world.brand)


async def test_an_operator_gets_an_operators_token(gateway: Gateway):
    answer = (await token(gateway, GRANT, auth=("operator", "operator-secret"))).json()
    assert gateway.tokens.viewer(answer["access_token"]) == Caller(CallerKind.OPERATOR, "operator")


async def test_a_brand_gets_its_members_token_for_its_own_customer_number(
    gateway: Gateway, alliance: FakeAlliance, world: World
):
    response = await token(gateway, exchange("C-1"), auth=secret(alliance, world.brand))
    answer = response.json()
    assert response.status_code == 200
    assert answer["issued_token_type"] == ACCESS_TOKEN
    assert (answer["token_type"], answer["expires_in"], answer["scope"]) == ("Bearer", 600, "member")
    viewer = gateway.tokens.viewer(answer["access_token"])
    assert viewer == Caller(CallerKind.MEMBER, world.member, world.brand)


@pytest.mark.parametrize("number", ["N-1", "C-2", '{"$gt": ""}', "C-1\x00"])
async def test_another_brands_or_nobodys_number_gets_no_token(
    gateway: Gateway, alliance: FakeAlliance, world: World, number: str
):
    refused(await token(gateway, exchange(number), auth=secret(alliance, world.brand)), 400, "invalid_request")


async def test_an_operator_gets_no_members_token(gateway: Gateway, world: World):
    refused(await token(gateway, exchange("C-1"), auth=("operator", "operator-secret")), 400, "unauthorized_client")


@pytest.mark.parametrize(
    "changes",
    [
        {"subject_token": ""},
        {"subject_token_type": ""},
        {"subject_token_type": "urn:ietf:params:oauth:token-type:jwt"},
        {"requested_token_type": "urn:ietf:params:oauth:token-type:saml2"},
        {"actor_token": "x"},
        {"subject_token": "x" * 600},
    ],
)
async def test_an_exchange_that_is_not_ours_is_refused(
    gateway: Gateway, alliance: FakeAlliance, world: World, changes: dict[str, str]
):
    refused(
        await token(gateway, exchange("C-1", **changes), auth=secret(alliance, world.brand)), 400, "invalid_request"
    )


@pytest.mark.parametrize(
    "auth", [("operator", "wrong"), ("nobody", "operator-secret"), ("operator", ""), ("", ""), ("x" * 600, "y")]
)
async def test_a_wrong_client_is_told_no_more_than_that(gateway: Gateway, auth: tuple[str, str]):
    response = await token(gateway, GRANT, auth=auth)
    refused(response, 401, "invalid_client")
    assert response.headers["WWW-Authenticate"].startswith("Basic")


@pytest.mark.parametrize("authorization", ["Basic !!!", "Basic " + base64.b64encode(b"nocolon").decode(), "Bearer x"])
async def test_credentials_that_cannot_be_read_are_refused(gateway: Gateway, authorization: str):
    refused(await token(gateway, GRANT, headers={"Authorization": authorization}), 401, "invalid_client")


async def test_credentials_are_form_encoded_within_basic(gateway: Gateway, alliance: FakeAlliance, world: World):
    client, _ = secret(alliance, world.brand)
    alliance.partners.clients[client] = ("with: colon & 100 %", world.brand)
    basic = base64.b64encode(f"{client}:with%3A+colon+%26+100+%25".encode()).decode()
    response = await token(gateway, GRANT, headers={"Authorization": f"Basic {basic}"})
    assert response.status_code == 200


async def test_grants_and_scopes_that_there_are_not(gateway: Gateway):
    operator = ("operator", "operator-secret")
    refused(await token(gateway, {}, auth=operator), 400, "invalid_request")
    refused(await token(gateway, {"grant_type": "password"}, auth=operator), 400, "unsupported_grant_type")
    refused(await token(gateway, {**GRANT, "scope": "partner"}, auth=operator), 400, "invalid_scope")
    assert (await token(gateway, {**GRANT, "scope": "operator"}, auth=operator)).status_code == 200


async def test_two_ways_of_authentication_are_one_too_many(gateway: Gateway):
    form = {**GRANT, "client_id": "operator", "client_secret": "operator-secret"}
    refused(await token(gateway, form, auth=("operator", "operator-secret")), 400, "invalid_request")


@pytest.mark.parametrize(
    ("content", "type", "status"),
    [
        (b'{"grant_type": "client_credentials"}', "application/json", 400),
        (b"grant_type=client_credentials", "", 400),
        (b"grant_type=client_credentials&grant_type=password", "application/x-www-form-urlencoded", 400),
        (b"grant_type=%ff", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a%d=1" % n for n in range(40)), "application/x-www-form-urlencoded", 400),
        (b"a=" + b"x" * 20_000, "application/x-www-form-urlencoded", 413),
    ],
)
async def test_a_form_that_is_none_is_refused(gateway: Gateway, content: bytes, type: str, status: int):
    response = await gateway.http.post("/oauth/token", content=content, headers={"Content-Type": type})
    refused(response, status, "invalid_request")


async def test_tokens_are_not_to_be_had_by_get(gateway: Gateway):
    assert (await gateway.http.get("/oauth/token")).status_code == 405


async def test_without_partners_no_token_is_issued(gateway: Gateway, alliance: FakeAlliance):
    alliance.fail("AuthenticateClient", Unavailable("down", reason="UNAVAILABLE"))
    response = await token(gateway, GRANT, auth=("operator", "operator-secret"))
    refused(response, 503, "temporarily_unavailable")
    assert response.headers["Retry-After"] == "1"


async def test_metadata_leads_to_keys_that_tokens_are_signed_with(gateway: Gateway):
    metadata = (await gateway.http.get("/.well-known/oauth-authorization-server")).json()
    assert metadata["issuer"] == URL
    assert metadata["token_endpoint"] == f"{URL}/oauth/token"
    assert TOKEN_EXCHANGE in metadata["grant_types_supported"]
    from joserfc import jwt
    from joserfc.jwk import KeySet

    keys = KeySet.import_key_set((await gateway.http.get(metadata["jwks_uri"])).json())
    decoded = jwt.decode(gateway.operator(), keys, algorithms=["EdDSA"])
    assert decoded.claims["sub"] == "operator"
    assert not any(key.is_private for key in keys.keys)


def test_a_client_that_asks_too_often_waits():
    now = 0.0
    buckets = Buckets(per_second=2, burst=3, clock=lambda: now)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.take("b") == 0
    now = 0.5
    assert buckets.take("a") == 0
    assert buckets.take("a") == 0.5


def test_a_flood_of_clients_does_not_grow_the_buckets(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gateway.limits._CLIENTS", 5)
    buckets = Buckets(per_second=1, burst=1)
    for number in range(20):
        buckets.take(str(number))
    assert len(buckets._buckets) == 5


async def test_the_endpoint_says_when_to_come_again(alliance: FakeAlliance, keys: Path, world: World):
    client, _ = secret(alliance, world.brand)
    slow = {"token_requests_per_second": 0.01, "token_requests_per_address_second": 1_000}
    async with gateway_with(alliance, keys, token_requests_burst=5, **slow) as gateway:
        for _ in range(5):
            refused(await token(gateway, GRANT, auth=(client, "wrong")), 401, "invalid_client")
        response = await token(gateway, GRANT, auth=(client, "wrong"))
        refused(response, 429, "temporarily_unavailable")
        assert int(response.headers["Retry-After"]) >= 1
        assert (await token(gateway, GRANT, auth=secret(alliance, world.other_brand))).status_code == 200
