"""Access tokens of people and brands: JWTs (RFC 9068), signed with EdDSA, checked on every request."""

import json
import secrets
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import KeySet, OKPKey

from services.shared.identity import Caller, CallerKind

AUDIENCE = "alliance"
# The name that every verifier knows; RFC 9864 prefers "Ed25519" for the same signature.
ALGORITHM = "EdDSA"
warnings.filterwarnings("ignore", message="EdDSA is deprecated", category=SecurityWarning)
_TYPE = "at+jwt"
_PEOPLE = (CallerKind.OPERATOR, CallerKind.PARTNER, CallerKind.MEMBER)
_LONGEST = 4_096
_CACHED = 10_000
_CLOCK_SKEW_SECONDS = 5


class TokenInvalid(Exception):
    """The token is forged, expired, or meant for others. The message says which, and nothing more."""


@dataclass(frozen=True)
class Token:
    """A signed token, with what the token endpoint says of it."""

    text: str
    seconds: int
    scope: str


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who sent a token, the API client for which it was issued, and until when it holds, in seconds since 1970."""

    viewer: Caller
    client: str
    valid_until: float


class TokenKeys:
    """The keys that sign access tokens: the first one signs, all of them are good, and published."""

    def __init__(self, keys: list[OKPKey]) -> None:
        if not keys:
            raise ValueError("the token key file has no key")
        self.signing = keys[0]
        self._by_id = {key.kid or key.thumbprint(): key for key in keys}

    @classmethod
    def from_file(cls, path: Path) -> "TokenKeys":
        """Reads a private JWK, or a JWKS with the signing key first."""
        content = json.loads(path.read_text())
        if "keys" in content:
            return cls([key for key in KeySet.import_key_set(content).keys if isinstance(key, OKPKey)])
        return cls([OKPKey.import_key(content)])

    @property
    def signing_id(self) -> str:
        return self.signing.kid or self.signing.thumbprint()

    def by_id(self, id: object) -> OKPKey:
        """The key; KeyError if it is not one of ours."""
        return self._by_id[str(id)]

    def jwks(self) -> dict[str, Any]:
        """The public halves, as RFC 7517 publishes keys."""
        return {
            "keys": [
                {**key.as_dict(private=False), "kid": id, "use": "sig", "alg": ALGORITHM}
                for id, key in self._by_id.items()
            ]
        }


class Tokens:
    """Signs tokens and says who the bearer of one is."""

    def __init__(
        self,
        keys: TokenKeys,
        issuer: str,
        *,
        partner_seconds: int,
        member_seconds: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._partner_seconds = partner_seconds
        self._member_seconds = member_seconds
        self._clock = clock
        self._known: OrderedDict[str, Bearer] = OrderedDict()

    def for_operator(self, client_id: str) -> Token:
        """For the operator's client."""
        return self._sign(CallerKind.OPERATOR, client_id, client_id, self._partner_seconds)

    def for_partner(self, partner_id: str, client_id: str) -> Token:
        """For a brand's backend."""
        return self._sign(CallerKind.PARTNER, partner_id, client_id, self._partner_seconds, partner_id=partner_id)

    def for_member(self, member_id: str, partner_id: str, client_id: str) -> Token:
        """For a member, through the frontend of the brand that asked: it acts for the member (RFC 8693)."""
        return self._sign(
            CallerKind.MEMBER,
            member_id,
            client_id,
            self._member_seconds,
            partner_id=partner_id,
            act={"sub": client_id},
        )

    def viewer(self, text: str) -> Caller:
        """Whose token it is; TokenInvalid if it does not hold."""
        return (self.known(text) or self.verified(text)).viewer

    def known(self, text: str) -> Bearer | None:
        """Who the bearer of a token is that has been verified before, for the price of a look-up."""
        known = self._known.get(text)
        if known is None:
            return None
        if self._clock() < known.valid_until:
            self._known.move_to_end(text)
            return known
        del self._known[text]
        return None

    def verified(self, text: str) -> Bearer:
        """Who the bearer of a token is, by its signature; TokenInvalid if it does not hold."""
        bearer = self._known[text] = self._verify(text)
        if len(self._known) > _CACHED:
            self._known.popitem(last=False)
        return bearer

    def _sign(self, kind: CallerKind, subject: str, client_id: str, seconds: int, **claims: object) -> Token:
        now = int(self._clock())
        header = {"alg": ALGORITHM, "typ": _TYPE, "kid": self._keys.signing_id}
        body = {
            "iss": self._issuer,
            "aud": AUDIENCE,
            "sub": subject,
            "client_id": client_id,
            "iat": now,
            "exp": now + seconds,
            "jti": secrets.token_urlsafe(16),
            "scope": str(kind),
            **claims,
        }
        return Token(jwt.encode(header, body, self._keys.signing, algorithms=[ALGORITHM]), seconds, str(kind))

    def _verify(self, text: str) -> Bearer:
        if len(text) > _LONGEST:
            raise TokenInvalid("The token is not one of ours.")
        try:
            decoded = jwt.decode(text, self._key_of, algorithms=[ALGORITHM])
            claims = decoded.claims
            if decoded.header.get("typ") != _TYPE:
                raise TokenInvalid("The token is not an access token.")
            if claims["iss"] != self._issuer or claims["aud"] != AUDIENCE:
                raise TokenInvalid("The token is meant for others.")
            now, issued, until = self._clock(), claims["iat"], claims["exp"]
            if not isinstance(issued, int) or not isinstance(until, int):
                raise TokenInvalid("The token's times are not whole seconds.")
            if now >= until:
                raise TokenInvalid("The token has expired; get a new one.")
            if issued > now + _CLOCK_SKEW_SECONDS:
                raise TokenInvalid("The token is not valid yet.")
            kind = CallerKind(claims["scope"])
            viewer = Caller(kind, str(claims["sub"]), str(claims.get("partner_id", "")))
            # Rows may have no member or no partner; nobody's token may stand for that nobody.
            if kind not in _PEOPLE or not viewer.id or not (viewer.partner_id or kind is CallerKind.OPERATOR):
                raise TokenInvalid("The token is for nobody that we know.")
            return Bearer(viewer, str(claims["client_id"]), until)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise TokenInvalid("The token is not one of ours.") from error

    def _key_of(self, token: Any) -> OKPKey:
        # Only by its id among our own; what a token says of keys (jwk, jku) is never followed.
        return self._keys.by_id(token.headers()["kid"])
