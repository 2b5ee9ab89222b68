"""Who calls: every call between processes carries a short-lived token signed by the calling process's own key.

A key's kid is its process's name, or the name, a slash and whatever tells two keys of one process apart: while a key is
replaced, the trust file holds the old one and the new one.

The gateway, and only the gateway, may add for whom it calls; it has authenticated them. A machine has no token: it
signs its message, which the method itself checks.
"""

import json
import re
import time
from collections.abc import Collection, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OKPKey

from services.shared.errors import PermissionDenied, Unauthenticated

AUDIENCE = "alliance-internal"
GATEWAY = "gateway"
LIFETIME_SECONDS = 300
_RENEW_BEFORE_SECONDS = 60
_CLOCK_SKEW_SECONDS = 30
_CACHED_TOKENS = 1024
_CALLER = re.compile(r"(operator|partner|member|anyone);([a-z0-9_]{0,64});([a-z0-9_]{0,64})")


class CallerKind(StrEnum):
    """As in common/v1/access.proto."""

    OPERATOR = "operator"
    PARTNER = "partner"
    MEMBER = "member"
    MACHINE = "machine"
    SERVICE = "service"
    GATEWAY = "gateway"
    ANYONE = "anyone"


@dataclass(frozen=True)
class Caller:
    """The proven caller of the call that is being answered.

    `id` is the partner's, member's or operator client's id, or the name of the calling process. `partner_id` is set
    for partners, and for members (the brand whose frontend they use).
    """

    kind: CallerKind
    id: str = ""
    partner_id: str = ""

    @property
    def scope(self) -> str:
        """Within this, request ids are unique; no caller can meet another's."""
        return f"{self.kind}:{self.id}"

    @property
    def member_id(self) -> str:
        """The calling member's id; empty for any other kind of caller."""
        return self.id if self.kind is CallerKind.MEMBER else ""

    def to_header(self) -> str:
        """The form in which the gateway passes on for whom it calls."""
        return f"{self.kind};{self.id};{self.partner_id}"

    @classmethod
    def from_header(cls, text: str) -> "Caller":
        """The reverse of `to_header`; Unauthenticated if it is not of that form."""
        match = _CALLER.fullmatch(text)
        if match is None:
            raise Unauthenticated("The caller header is malformed.", reason="CALLER_MALFORMED")
        return cls(CallerKind(match[1]), match[2], match[3])


# Why a process is not believed to be itself: reasons of UNAUTHENTICATED.
TOKEN_INVALID, PEER_IS_ANOTHER = "PROCESS_TOKEN_INVALID", "PEER_IS_ANOTHER"
NOT_THIS_PROCESS = frozenset((TOKEN_INVALID, PEER_IS_ANOTHER))


class NotYourPartner(PermissionDenied):
    """A partner named another partner where it can only act on itself."""


MACHINE = Caller(CallerKind.MACHINE)
_current: ContextVar[Caller] = ContextVar("caller")


def current_caller() -> Caller:
    """The caller of the RPC in whose handling this runs."""
    return _current.get()


def set_current_caller(caller: Caller) -> None:
    """For the server's interceptor, once per call."""
    _current.set(caller)


def acting_partner(partner_id: str) -> str:
    """The partner on which the current caller acts: a partner on itself, whether it says so or not; others on the one
    that they name. NotYourPartner if a partner names another.
    """
    caller = current_caller()
    if caller.kind is not CallerKind.PARTNER:
        return partner_id
    if partner_id not in ("", caller.partner_id):
        raise NotYourPartner("A partner acts on itself alone; leave partner_id empty.", partner_id=partner_id)
    return caller.partner_id


class Signer:
    """Signs this process's tokens, and makes a new one a minute before the old one runs out."""

    def __init__(self, name: str, key: OKPKey) -> None:
        self._name = name
        self._key = key
        self._token = ""
        self._renew_at = 0.0

    @classmethod
    def from_file(cls, name: str, path: Path) -> "Signer":
        """Reads a private JWK."""
        return cls(name, OKPKey.import_key(json.loads(path.read_text())))

    def token(self) -> str:
        """A token that is good for another minute at least."""
        now = time.time()
        if now >= self._renew_at:
            claims = {"iss": self._name, "aud": AUDIENCE, "iat": int(now), "exp": int(now) + LIFETIME_SECONDS}
            header = {"alg": "Ed25519", "kid": self._key.kid or self._name}
            self._token = jwt.encode(header, claims, self._key, algorithms=["Ed25519"])
            self._renew_at = now + LIFETIME_SECONDS - _RENEW_BEFORE_SECONDS
        return self._token


class Verifier:
    """Says which process signed a token. A token seen before costs one look-up."""

    def __init__(self, keys: KeySet) -> None:
        self._keys = {str(key.kid): key for key in keys.keys}
        self._seen: dict[str, tuple[str, float]] = {}
        self._claims = jwt.JWTClaimsRegistry(
            leeway=_CLOCK_SKEW_SECONDS,
            iss={"essential": True},
            aud={"essential": True, "value": AUDIENCE},
            exp={"essential": True},
        )

    @classmethod
    def from_file(cls, path: Path) -> "Verifier":
        """Reads a JWKS of public keys whose kids are process names."""
        return cls(KeySet.import_key_set(json.loads(path.read_text())))

    def process(self, token: str) -> str:
        """The name of the process; Unauthenticated for a token that is forged, expired or meant for others."""
        name, expires_at = self._seen.get(token, ("", 0.0))
        if time.time() < expires_at:
            return name
        name, expires_at = self._verify(token)
        if len(self._seen) >= _CACHED_TOKENS:
            self._seen.clear()
        self._seen[token] = (name, expires_at)
        return name

    def _verify(self, token: str) -> tuple[str, float]:
        try:
            # The key is chosen by issuer, never by what the token says of keys.
            decoded = jwt.decode(token, self._key_of, algorithms=["Ed25519"])
            self._claims.validate(decoded.claims)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise Unauthenticated(
                "The process token is not valid; sign a new one with a key that the trust file knows.",
                reason=TOKEN_INVALID,
            ) from error
        name = str(decoded.claims["iss"])
        if name != str(decoded.header["kid"]).partition("/")[0]:
            raise Unauthenticated("The process token's issuer is not its key's owner.", reason=TOKEN_INVALID)
        return name, float(decoded.claims["exp"])

    def _key_of(self, token: object) -> OKPKey:
        kid = token.headers()["kid"]  # type: ignore[attr-defined]
        key = self._keys[kid]
        if not isinstance(key, OKPKey):
            raise KeyError(kid)
        return key


def caller_of(metadata: Mapping[str, str | bytes], verifier: Verifier, peers: Collection[str] | None = None) -> Caller:
    """The proven caller behind a call's metadata; without a token, a machine that has yet to prove itself.

    `peers` are the processes that the connection's certificate names: a token is good on its own process's connections
    alone. None where connections have no certificates.
    """
    authorization = metadata.get("authorization")
    if not isinstance(authorization, str):
        return MACHINE
    name = verifier.process(authorization.removeprefix("Bearer "))
    if peers is not None and name not in peers:
        raise Unauthenticated(
            "The process token is not that of the connection's certificate; call with a certificate of the process.",
            reason=PEER_IS_ANOTHER,
        )
    on_behalf_of = metadata.get("alliance-caller")
    if on_behalf_of is None:
        return Caller(CallerKind.GATEWAY if name == GATEWAY else CallerKind.SERVICE, name)
    if name != GATEWAY or not isinstance(on_behalf_of, str):
        raise PermissionDenied("Only the gateway may call for others.", reason="DELEGATION_NOT_ALLOWED")
    return Caller.from_header(on_behalf_of)


def check_access(caller: Caller, kinds: Collection[CallerKind], services: Collection[str]) -> None:
    """PermissionDenied / CALLER_NOT_ALLOWED unless the rule of a method lets the caller in."""
    if caller.kind not in kinds or (caller.kind is CallerKind.SERVICE and caller.id not in services):
        if caller.kind is CallerKind.MACHINE:
            raise Unauthenticated(
                "This method needs a token; send one as `authorization: Bearer ...`.", reason="TOKEN_MISSING"
            )
        raise PermissionDenied(f"A {caller.kind} may not call this method.", reason="CALLER_NOT_ALLOWED")
