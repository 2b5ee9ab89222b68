"""Who asks: from an Authorization header, or none, to the caller, and to what the caller pays from."""

from collections.abc import Sequence
from typing import NamedTuple

from starlette.types import Scope

from gateway.addresses import client_address
from gateway.fields import fields_of
from gateway.limits import Account, Accounts
from gateway.tokens import TokenInvalid, Tokens
from services.shared.identity import Caller, CallerKind

_ANYONE = Caller(CallerKind.ANYONE)
_BEARER = len("Bearer ")


def whose(viewer: Caller) -> str:
    """Among whom places and turns are shared out: brands with their members, operators, and all strangers as one."""
    return "" if viewer is _ANYONE else viewer.partner_id or viewer.scope


class Session(NamedTuple):
    """Who asks. `valid_until`: when the token runs out, in seconds since 1970. `id` is the request's, for errors."""

    viewer: Caller
    valid_until: float | None
    id: str
    account: Account
    # Whose connections are counted together.
    client: str

    @property
    def stranger(self) -> bool:
        """Whether there is no token."""
        return self.viewer is _ANYONE


class Callers:
    """One per process."""

    def __init__(self, tokens: Tokens, accounts: Accounts, trusted_proxies: int) -> None:
        self._tokens = tokens
        self._accounts = accounts
        self._trusted_proxies = trusted_proxies

    def client(self, scope: Scope) -> str:
        """`whose` request it is, as far as that is known without any work: tokens never seen before are strangers'."""
        given = fields_of(scope).get(b"authorization")
        bearer = self._tokens.known(given[_BEARER:].decode("latin-1")) if given is not None else None
        return whose(bearer.viewer) if bearer is not None else ""

    def session(self, scope: Scope, authorization: Sequence[str], id: str) -> Session:
        """Who asks; without a token, anyone. TokenInvalid for one that does not hold: it is never taken for none.

        RateExceeded if too many tokens that did not hold came from there.
        """
        if not authorization:
            address = client_address(scope, self._trusted_proxies)
            return Session(_ANYONE, None, id, self._accounts.of_stranger(address), f"address:{address}")
        if len(authorization) > 1:
            raise TokenInvalid("Send one token, as `Authorization: Bearer ...`.")
        scheme, _, token = authorization[0].partition(" ")
        token = token.strip()
        bearer = self._tokens.known(token)
        if bearer is None or scheme.lower() != "bearer":
            address = client_address(scope, self._trusted_proxies)
            self._accounts.before_verifying(address)
            try:
                if scheme.lower() != "bearer":
                    raise TokenInvalid("Send one token, as `Authorization: Bearer ...`.")
                bearer = self._tokens.verified(token)
            except TokenInvalid:
                self._accounts.forged(address)
                raise
        return Session(bearer.viewer, bearer.valid_until, id, self._accounts.of(bearer), bearer.viewer.scope)
