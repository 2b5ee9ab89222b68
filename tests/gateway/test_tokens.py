"""Access tokens: who is let in by them, and who is not."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey

from gateway.tokens import TokenInvalid, TokenKeys, Tokens
from services.shared.identity import Caller, CallerKind
from tests.gateway.conftest import URL, Gateway, World
from tests.gateway.fakes import FakeAlliance

VIEWER = "{ viewer { kind partner { id } member { id } } }"


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def key(kid: str) -> OKPKey:
    return OKPKey.generate_key("Ed25519", {"kid": kid}, private=True)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def signing() -> OKPKey:
    return key("first")


@pytest.fixture
def tokens(signing: OKPKey, clock: Clock) -> Tokens:
    return Tokens(TokenKeys([signing]), URL, partner_seconds=900, member_seconds=600, clock=clock)


def claims_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))


def test_a_token_says_who_for_whom_and_until_when(tokens: Tokens, clock: Clock):
    token = tokens.for_member("member_1", "partner_1", "client_1")
    claims = claims_of(token.text)
    assert claims.pop("jti")
    assert claims == {
        "iss": URL,
        "aud": "alliance",
        "sub": "member_1",
        "client_id": "client_1",
        "iat": clock.now,
        "exp": clock.now + 600,
        "scope": "member",
        "partner_id": "partner_1",
        "act": {"sub": "client_1"},
    }
    assert tokens.viewer(token.text) == Caller(CallerKind.MEMBER, "member_1", "partner_1")


def test_no_two_tokens_are_the_same(tokens: Tokens):
    assert tokens.for_operator("operator").text != tokens.for_operator("operator").text


def test_a_token_ends_when_it_says_also_one_seen_before(tokens: Tokens, clock: Clock):
    token = tokens.for_partner("partner_1", "client_1")
    clock.now += 899
    assert tokens.viewer(token.text).id == "partner_1"
    clock.now += 1
    with pytest.raises(TokenInvalid, match="expired"):
        tokens.viewer(token.text)


def test_keys_rotate_without_anybody_noticing(signing: OKPKey, tokens: Tokens, clock: Clock):
    old = tokens.for_operator("operator").text
    rotated = TokenKeys([key("second"), signing])
    now = Tokens(rotated, URL, partner_seconds=900, member_seconds=600, clock=clock)
    assert now.viewer(old).id == "operator"
    assert now.viewer(now.for_operator("operator").text).id == "operator"
    assert [published["kid"] for published in rotated.jwks()["keys"]] == ["second", "first"]
    with pytest.raises(TokenInvalid):
        tokens.viewer(now.for_operator("operator").text)


def test_private_halves_are_not_published(signing: OKPKey):
    (published,) = TokenKeys([signing]).jwks()["keys"]
    assert published == {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": signing.as_dict()["x"],
        "kid": "first",
        "use": "sig",
        "alg": "EdDSA",
    }


def signed(signing: Any, clock: Clock, header: dict[str, Any], **changes: Any) -> str:
    header = {"alg": "EdDSA", "typ": "at+jwt", "kid": "first", **header}
    claims = {
        "iss": URL,
        "aud": "alliance",
        "sub": "operator",
        "client_id": "operator",
        "iat": int(clock.now),
        "exp": int(clock.now) + 60,
        "scope": "operator",
        **changes,
    }
    return jwt.encode(header, claims, signing, algorithms=[header["alg"]])


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://elsewhere.test"},
        {"aud": "another"},
        {"aud": ["alliance", "another"]},
        {"exp": 1},
        {"exp": "tomorrow"},
        {"iat": 4_000_000_000, "exp": 4_000_000_060},
        {"scope": "gateway"},
        {"scope": "service"},
        {"scope": "anyone"},
        {"scope": ["operator"]},
        {"exp": None},
        {"exp": float("inf")},
        {"sub": ""},
        {"scope": "member", "sub": "", "partner_id": "partner_1"},
        {"scope": "partner", "partner_id": ""},
        {"scope": "partner"},
    ],
)
def test_a_token_of_ours_for_something_else_is_refused(
    signing: OKPKey, tokens: Tokens, clock: Clock, changes: dict[str, Any]
):
    assert tokens.viewer(signed(signing, clock, {})).id == "operator"
    with pytest.raises(TokenInvalid):
        tokens.viewer(signed(signing, clock, {}, **changes))


def unsigned(header: dict[str, Any], signature: str = "") -> Callable[[str], str]:
    def forge(good: str) -> str:
        encoded = base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
        return f"{encoded}.{good.split('.')[1]}.{signature}"

    return forge


def tampered(good: str) -> str:
    header, _, signature = good.split(".")
    claims = claims_of(good) | {"sub": "somebody_else"}
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"{header}.{payload}.{signature}"


@pytest.mark.parametrize(
    "forge",
    [
        tampered,
        unsigned({"alg": "none", "typ": "at+jwt", "kid": "first"}),
        unsigned({"alg": "None", "typ": "at+jwt", "kid": "first"}),
        unsigned({"alg": "EdDSA", "typ": "at+jwt"}, "AAAA"),
        unsigned({"alg": "EdDSA", "typ": "at+jwt", "kid": ["first"]}, "AAAA"),
        lambda good: good.rpartition(".")[0] + ".",
        lambda good: good + "A",
        lambda good: good.split(".")[1],
        lambda good: "",
        lambda good: "....",
        lambda good: "\x00\xff",
        lambda good: "a" * 100_000,
        lambda good: '{"$gt": ""}',
    ],
)
def test_a_forged_token_is_refused(signing: OKPKey, tokens: Tokens, forge: Callable[[str], str]):
    good = tokens.for_operator("operator").text
    with pytest.raises(TokenInvalid):
        tokens.viewer(forge(good))


def test_a_key_that_the_token_brings_along_is_not_believed(signing: OKPKey, tokens: Tokens, clock: Clock):
    own = key("first")
    with pytest.raises(TokenInvalid):
        tokens.viewer(signed(own, clock, {"jwk": own.as_dict(private=False)}))


def test_our_public_key_is_no_secret_to_sign_with(signing: OKPKey, tokens: Tokens, clock: Clock):
    public = json.dumps(signing.as_dict(private=False))
    with pytest.raises(TokenInvalid):
        tokens.viewer(signed(OctKey.import_key(public), clock, {"alg": "HS256"}))


def test_a_token_of_another_type_is_refused(signing: OKPKey, tokens: Tokens, clock: Clock):
    with pytest.raises(TokenInvalid):
        tokens.viewer(signed(signing, clock, {"typ": "JWT"}))


def test_tokens_remembered_are_bounded(tokens: Tokens, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gateway.tokens._CACHED", 3)
    for _ in range(5):
        tokens.viewer(tokens.for_operator("operator").text)
    assert len(tokens._known) == 3


async def test_everybody_is_who_their_token_says(gateway: Gateway, world: World):
    assert (await gateway.data(VIEWER))["viewer"] == {"kind": "ANYONE", "partner": None, "member": None}
    assert (await gateway.data(VIEWER, gateway.operator()))["viewer"]["kind"] == "OPERATOR"
    assert (await gateway.data(VIEWER, gateway.partner(world.brand)))["viewer"] == {
        "kind": "PARTNER",
        "partner": {"id": world.brand},
        "member": None,
    }
    assert (await gateway.data(VIEWER, gateway.member(world.member, world.brand)))["viewer"] == {
        "kind": "MEMBER",
        "partner": {"id": world.brand},
        "member": {"id": world.member},
    }


@pytest.mark.parametrize(
    "authorization", ["Bearer forged", "Bearer ", "Basic b3BlcmF0b3I6c2VjcmV0", "bearer", "Bearer a b"]
)
async def test_a_token_that_does_not_hold_is_never_taken_for_none(
    gateway: Gateway, alliance: FakeAlliance, authorization: str
):
    response = await gateway.http.post("/graphql", json={"query": VIEWER}, headers={"Authorization": authorization})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith('Bearer realm="alliance", error="invalid_token"')
    assert response.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert alliance.calls == []


async def test_two_tokens_are_one_too_many(gateway: Gateway):
    headers = [("Authorization", f"Bearer {gateway.operator()}"), ("Authorization", "Bearer x")]
    response = await gateway.http.post("/graphql", json={"query": VIEWER}, headers=headers)
    assert response.status_code == 401
