"""Which pages may read answers: those from the origins that brands declare, by the Fetch standard's CORS protocol.

Before there is a token, any brand's origin will do; with one, only the origins of that token's own brand. Credentials
in the sense of the standard (cookies) are never taken, and no wildcard is ever answered.
"""

from collections.abc import Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.brands import Brands
from gateway.fields import field_of

_MAX_AGE_SECONDS = 600
_ALLOWED = (
    (b"access-control-allow-methods", b"GET, POST"),
    (
        b"access-control-allow-headers",
        # Apollo's clients say of their own accord who they are; observers in browsers send what they trace by.
        b"accept, apollo-require-preflight, apollographql-client-name, apollographql-client-version, authorization, "
        b"baggage, content-type, last-event-id, traceparent, tracestate, x-request-id",
    ),
    (b"access-control-max-age", str(_MAX_AGE_SECONDS).encode()),
)
_EXPOSED = (b"access-control-expose-headers", b"retry-after, x-request-id, x-trace-id")


class Cors:
    """Answers preflights of one path, and adds to its answers who may read them."""

    def __init__(self, app: ASGIApp, brands: Brands, path: str) -> None:
        self._app = app
        self._brands = brands
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origin = origin_of(scope) if scope["type"] == "http" and scope["path"] == self._path else ""
        if not origin:
            await self._app(scope, receive, send)
            return
        declared = origin in self._brands.origins
        allowed = _allowed(origin)
        if asks_first(scope):
            headers = [(b"vary", b"Origin"), *([allowed, *_ALLOWED] if declared else [])]
            await send({"type": "http.response.start", "status": 204 if declared else 403, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start" and declared:
                message["headers"] = [*message.get("headers", ()), allowed, _EXPOSED]
            await send(message)

        await self._app(scope, receive, told)


def readable(scope: Scope, brands: Brands, path: str) -> Sequence[tuple[bytes, bytes]]:
    """The headers by which the page that asks may read an answer that is given without any of its questions being
    looked at; none if it may not.
    """
    origin = origin_of(scope) if scope["path"] == path else ""
    return (_allowed(origin), _EXPOSED) if origin and origin in brands.origins else ()


def asks_first(scope: Scope) -> bool:
    """Whether this is a preflight: a browser that asks what it may ask."""
    return bool(scope["method"] == "OPTIONS") and any(
        name == b"access-control-request-method" for name, _ in scope["headers"]
    )


def _allowed(origin: str) -> tuple[bytes, bytes]:
    return b"access-control-allow-origin", origin.encode("latin-1")


def origin_of(scope: Scope) -> str:
    """The origin of the page that asks; empty if none does, or none that it tells."""
    return field_of(scope, b"origin")
