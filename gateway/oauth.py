"""The token endpoint: client credentials (RFC 6749) and token exchange (RFC 8693), and their metadata (RFC 8414)."""

import base64
import binascii
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from alliance.accounts.v1 import accounts_pb2
from alliance.partners.v1 import partners_pb2
from gateway.accounts.sources import found_identities
from gateway.addresses import client_address
from gateway.backends import Backends
from gateway.bodies import BodyTooLarge, read_body
from gateway.limits import Buckets
from gateway.partners.sources import PARTNERS
from gateway.tokens import Token, TokenKeys, Tokens
from services.shared.errors import DomainError, InvalidArgument, Unauthenticated
from services.shared.telemetry import log

TOKEN_PATH = "/oauth/token"  # noqa: S105
JWKS_PATH = "/.well-known/jwks.json"
METADATA_PATH = "/.well-known/oauth-authorization-server"

CLIENT_CREDENTIALS = "client_credentials"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105
CUSTOMER_NUMBER = "urn:alliance:params:oauth:token-type:customer-number"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105

_LONGEST_BODY = 16 << 10
_LONGEST_VALUE = 512
_FORM = "application/x-www-form-urlencoded"
# Tokens and refusals alike are nobody's to keep (RFC 6749, section 5.1).
_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class OAuthError(Exception):
    """A refusal in the form of RFC 6749, section 5.2."""

    def __init__(
        self, error: str, description: str, status: int = 400, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status
        self.headers = headers or {}

    def response(self) -> Response:
        content = {"error": self.error, "error_description": self.description}
        return JSONResponse(content, self.status, headers={**_NO_STORE, **self.headers})


@dataclass(frozen=True)
class TokenLimits:
    """How often a token may be asked for: from an address, whatever client it names; and by a client from there.

    What only the client's name counted, anyone could use up for it; what only the two together counted, would never
    be used up by who makes names up.
    """

    addresses: Buckets
    clients: Buckets
    trusted_proxies: int = 0

    def wait(self, address: str, client_id: str) -> float:
        """0 for one more request, else the seconds until there may be one."""
        return self.addresses.take(address) or self.clients.take(f"{address} {client_id}")


class OAuth:
    """The endpoints, over tokens and the services that know clients and customers."""

    def __init__(self, tokens: Tokens, keys: TokenKeys, issuer: str, backends: Backends, limits: TokenLimits) -> None:
        self._tokens = tokens
        self._keys = keys
        self._issuer = issuer
        self._backends = backends
        self._limits = limits

    def routes(self) -> list[Route]:
        return [
            Route(TOKEN_PATH, self.token, methods=["POST"]),
            Route(JWKS_PATH, self.jwks),
            Route(METADATA_PATH, self.metadata),
        ]

    async def token(self, request: HttpRequest) -> Response:
        """POST /oauth/token."""
        try:
            form = await _form(request)
            client_id, secret = _credentials(request, form)
            self._limit(request, client_id)
            token, issued = await self._grant(form, client_id, secret)
        except OAuthError as error:
            return error.response()
        except (Unauthenticated, InvalidArgument):
            return _invalid_client().response()
        except DomainError as error:
            log.warning("no token could be issued", reason=error.reason, error=error.message)
            return OAuthError(
                "temporarily_unavailable", "Clients cannot be checked just now; try again.", 503, {"Retry-After": "1"}
            ).response()
        content = {
            "access_token": token.text,
            "token_type": "Bearer",
            "expires_in": token.seconds,
            "scope": token.scope,
            **issued,
        }
        return JSONResponse(content, headers=_NO_STORE)

    async def jwks(self, _: HttpRequest) -> Response:
        """GET /.well-known/jwks.json."""
        return JSONResponse(
            self._keys.jwks(), media_type="application/jwk-set+json", headers={"Cache-Control": "public, max-age=300"}
        )

    async def metadata(self, _: HttpRequest) -> Response:
        """GET /.well-known/oauth-authorization-server."""
        content = {
            "issuer": self._issuer,
            "token_endpoint": self._issuer + TOKEN_PATH,
            "jwks_uri": self._issuer + JWKS_PATH,
            "grant_types_supported": [CLIENT_CREDENTIALS, TOKEN_EXCHANGE],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            # There is no authorization endpoint: people come with the token that their brand got for them.
            "response_types_supported": [],
            "scopes_supported": ["operator", "partner", "member"],
        }
        return JSONResponse(content, headers={"Cache-Control": "public, max-age=300"})

    def _limit(self, request: HttpRequest, client_id: str) -> None:
        if wait := self._limits.wait(client_address(request.scope, self._limits.trusted_proxies), client_id):
            seconds = str(math.ceil(wait))
            raise OAuthError(
                "temporarily_unavailable", "Too many requests from this client; wait.", 429, {"Retry-After": seconds}
            )

    async def _grant(self, form: Mapping[str, str], client_id: str, secret: str) -> tuple[Token, dict[str, Any]]:
        grant = form.get("grant_type", "")
        if not grant:
            raise OAuthError("invalid_request", "grant_type is missing.")
        if grant not in (CLIENT_CREDENTIALS, TOKEN_EXCHANGE):
            raise OAuthError("unsupported_grant_type", f"Use {CLIENT_CREDENTIALS} or {TOKEN_EXCHANGE}.")
        check = partners_pb2.AuthenticateClientRequest(client_id=client_id, secret=secret)
        answer = await self._backends.call(PARTNERS, "AuthenticateClient", check)
        if grant == TOKEN_EXCHANGE:
            token = await self._exchange(form, answer)
            return _in_scope(token, form), {"issued_token_type": ACCESS_TOKEN}
        if answer.operator:
            return _in_scope(self._tokens.for_operator(answer.client.id), form), {}
        return _in_scope(self._tokens.for_partner(answer.client.partner_id, answer.client.id), form), {}

    async def _exchange(self, form: Mapping[str, str], answer: partners_pb2.AuthenticateClientResponse) -> Token:
        """A brand's own customer number for a member's token."""
        if answer.operator or not answer.client.partner_id:
            raise OAuthError("unauthorized_client", "Only a brand can get tokens for its members.")
        if form.get("subject_token_type") != CUSTOMER_NUMBER:
            raise OAuthError("invalid_request", f"subject_token_type must be {CUSTOMER_NUMBER}.")
        if form.get("requested_token_type", ACCESS_TOKEN) != ACCESS_TOKEN:
            raise OAuthError("invalid_request", f"requested_token_type can only be {ACCESS_TOKEN}.")
        if "actor_token" in form:
            raise OAuthError("invalid_request", "actor_token is not supported: the client itself is the actor.")
        partner_id, number = answer.client.partner_id, form.get("subject_token", "")
        if not number:
            raise OAuthError("invalid_request", "subject_token is missing: the brand's customer number.")
        identity: accounts_pb2.Identity | None = await self._backends.batcher.load(
            found_identities, (partner_id, number)
        )
        if identity is None:
            raise OAuthError("invalid_request", "No member has this customer number at this brand.")
        return self._tokens.for_member(identity.member_id, partner_id, answer.client.id)


def _in_scope(token: Token, form: Mapping[str, str]) -> Token:
    asked = set(form.get("scope", "").split())
    if asked - {token.scope}:
        raise OAuthError("invalid_scope", f"This client can have the scope {token.scope} only.")
    return token


async def _form(request: HttpRequest) -> dict[str, str]:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise OAuthError("invalid_request", f"Send the parameters as {_FORM}.")
    try:
        body = (await read_body(request, _LONGEST_BODY)).decode()
        pairs = parse_qsl(body, keep_blank_values=True, strict_parsing=bool(body), max_num_fields=30, errors="strict")
    except BodyTooLarge as error:
        raise OAuthError("invalid_request", "The request is too long.", 413) from error
    except ValueError as error:
        raise OAuthError("invalid_request", "The parameters cannot be read.") from error
    form: dict[str, str] = {}
    for name, value in pairs:
        if name in form:
            raise OAuthError("invalid_request", f"{name} is given twice.")
        if len(value) > _LONGEST_VALUE:
            raise OAuthError("invalid_request", f"{name} is too long.")
        if value:
            form[name] = value
    return form


def _credentials(request: HttpRequest, form: Mapping[str, str]) -> tuple[str, str]:
    """The client's id and secret: by Basic or in the form, never both."""
    authorization = request.headers.get("authorization")
    if authorization is None:
        client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
    elif "client_secret" in form:
        raise OAuthError("invalid_request", "Authenticate by Basic or in the form, not both.")
    else:
        client_id, secret = _basic(authorization)
        if form.get("client_id", client_id) != client_id:
            raise OAuthError("invalid_request", "client_id is not the client that authenticates.")
    if not client_id or not secret or max(len(client_id), len(secret)) > _LONGEST_VALUE:
        raise _invalid_client()
    return client_id, secret


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise _invalid_client()
    try:
        client_id, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError) as error:
        raise _invalid_client() from error
    if not colon:
        raise _invalid_client()
    # Both parts are form-encoded first (RFC 6749, section 2.3.1).
    return unquote_plus(client_id), unquote_plus(secret)


def _invalid_client() -> OAuthError:
    return OAuthError(
        "invalid_client",
        "The client is unknown, its secret is wrong, or it is not in use.",
        401,
        {"WWW-Authenticate": 'Basic realm="alliance", charset="UTF-8"'},
    )
