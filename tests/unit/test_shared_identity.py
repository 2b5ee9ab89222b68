"""Who calls: process tokens, delegation, and what an attacker might try."""

import json
import time
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, OKPKey

from deploy.local.keys import identity_key, trust_file
from services.shared import identity
from services.shared.errors import PermissionDenied, Unauthenticated
from services.shared.identity import Caller, CallerKind, Signer, Verifier


@pytest.fixture
def verifier(keys: Path) -> Verifier:
    return Verifier.from_file(trust_file(keys))


def signer(keys: Path, process: str) -> Signer:
    return Signer.from_file(process, identity_key(keys, process))


def signed(keys: Path, process: str, header: dict[str, object] | None = None, **claims: object) -> str:
    key = OKPKey.import_key(json.loads(identity_key(keys, process).read_text()))
    now = int(time.time())
    content = {"iss": process, "aud": identity.AUDIENCE, "iat": now, "exp": now + 60, **claims}
    return jwt.encode({"alg": "Ed25519", "kid": process, **(header or {})}, content, key, algorithms=["Ed25519"])


def test_a_token_says_which_process_signed_it(keys: Path, verifier: Verifier):
    assert verifier.process(signer(keys, "rewards").token()) == "rewards"


def test_a_token_is_signed_once_and_used_until_it_runs_out(keys: Path):
    one = signer(keys, "rewards")
    assert one.token() == one.token()


@pytest.mark.parametrize(
    "claims",
    [{"exp": 1}, {"aud": "other"}, {"iss": "accounts"}, {"exp": None}],
    ids=["expired", "meant for others", "another's name", "without end"],
)
def test_a_token_that_is_not_right_is_refused(keys: Path, verifier: Verifier, claims: dict[str, object]):
    with pytest.raises(Unauthenticated) as caught:
        verifier.process(signed(keys, "rewards", **claims))
    assert caught.value.reason == "PROCESS_TOKEN_INVALID"


def test_an_unknown_key_is_refused_whatever_name_it_claims(verifier: Verifier):
    stranger = OKPKey.generate_key("Ed25519", {"kid": "gateway"}, private=True)
    token = Signer("gateway", stranger).token()
    with pytest.raises(Unauthenticated):
        verifier.process(token)


def test_a_service_cannot_take_the_gateways_name(keys: Path, verifier: Verifier):
    with pytest.raises(Unauthenticated):
        verifier.process(signed(keys, "logistics", iss="gateway"))
    with pytest.raises(Unauthenticated):
        verifier.process(signed(keys, "logistics", {"kid": "gateway"}, iss="gateway"))


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "eyJhbGciOiJub25lIn0.eyJpc3MiOiJnYXRld2F5In0."])
def test_what_is_no_token_is_refused(verifier: Verifier, token: str):
    with pytest.raises(Unauthenticated):
        verifier.process(token)


def test_one_changed_byte_is_refused(keys: Path, verifier: Verifier):
    token = signer(keys, "gateway").token()
    for place in (5, len(token) // 2, len(token) - 10):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        with pytest.raises(Unauthenticated):
            verifier.process(changed)


def test_a_flood_of_tokens_does_not_grow_the_cache(keys: Path, verifier: Verifier, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(identity, "_CACHED_TOKENS", 4)
    for number in range(20):
        verifier.process(signed(keys, "gateway", jti=str(number)))
    assert len(verifier._seen) <= 4


def call(keys: Path, verifier: Verifier, process: str | None, on_behalf_of: str | None = None) -> Caller:
    metadata: dict[str, str | bytes] = {}
    if process:
        metadata["authorization"] = f"Bearer {signer(keys, process).token()}"
    if on_behalf_of is not None:
        metadata["alliance-caller"] = on_behalf_of
    return identity.caller_of(metadata, verifier)


def test_the_gateway_says_for_whom_it_calls(keys: Path, verifier: Verifier):
    brand = Caller(CallerKind.PARTNER, "partner_1", "partner_1")
    assert call(keys, verifier, "gateway", brand.to_header()) == brand
    assert call(keys, verifier, "gateway") == Caller(CallerKind.GATEWAY, "gateway")


def test_nobody_else_may_call_for_others(keys: Path, verifier: Verifier):
    with pytest.raises(PermissionDenied) as caught:
        call(keys, verifier, "accounts", "operator;operator;")
    assert caught.value.reason == "DELEGATION_NOT_ALLOWED"


@pytest.mark.parametrize(
    "header", ["", "gateway;gateway;", "service;rewards;", "operator", "member;a;b;c", "member;a b;c"]
)
def test_a_malformed_or_internal_caller_cannot_be_claimed(keys: Path, verifier: Verifier, header: str):
    with pytest.raises(Unauthenticated):
        call(keys, verifier, "gateway", header)


def test_without_a_token_only_a_machine_may_knock(keys: Path, verifier: Verifier):
    nobody = call(keys, verifier, None, "operator;operator;")
    identity.check_access(nobody, {CallerKind.MACHINE}, ())
    with pytest.raises(Unauthenticated) as caught:
        identity.check_access(nobody, {CallerKind.OPERATOR}, ())
    assert caught.value.reason == "TOKEN_MISSING"


def test_a_service_needs_to_be_named(keys: Path):
    rewards = Caller(CallerKind.SERVICE, "rewards")
    identity.check_access(rewards, {CallerKind.SERVICE}, {"rewards"})
    with pytest.raises(PermissionDenied):
        identity.check_access(rewards, {CallerKind.SERVICE}, {"logistics"})
    with pytest.raises(PermissionDenied):
        identity.check_access(rewards, {CallerKind.SERVICE}, ())


def test_the_trust_file_holds_no_private_key(keys: Path):
    published = json.loads(trust_file(keys).read_text())
    assert all("d" not in key for key in published["keys"])
    assert len(KeySet.import_key_set(published).keys) == 5


def test_while_a_key_is_replaced_the_old_one_and_the_new_one_are_good(keys: Path, tmp_path: Path):
    new = OKPKey.generate_key("Ed25519", {"kid": "accounts/2"}, private=True)
    trusted = json.loads(trust_file(keys).read_text())["keys"]
    (tmp_path / "trust.jwks").write_text(json.dumps({"keys": [*trusted, new.as_dict(private=False)]}))
    (tmp_path / "accounts.jwk").write_text(json.dumps(new.as_dict(private=True)))
    both = Verifier.from_file(tmp_path / "trust.jwks")
    assert both.process(signer(keys, "accounts").token()) == "accounts"
    assert both.process(Signer.from_file("accounts", tmp_path / "accounts.jwk").token()) == "accounts"
    # The new key stands for its own process and for no other.
    with pytest.raises(Unauthenticated):
        both.process(Signer.from_file("gateway", tmp_path / "accounts.jwk").token())
