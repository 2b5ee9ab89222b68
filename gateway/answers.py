"""What is sent back: answers and refusals as JSON, errors in their one form."""

import asyncio
import gzip
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson
from graphql import GraphQLError
from starlette.types import Receive, Scope, Send

from gateway.errors import FieldError, field_error, masked
from gateway.fields import field_of
from services.shared.telemetry import log, trace_id

_VARY = "Accept, Accept-Encoding, Authorization, Origin"
NO_STORE = {"Cache-Control": "no-store", "Vary": _VARY}
# Smaller answers fit into one packet as they are.
_WORTH_COMPRESSING = 1_400
# Compressing more than this would keep everybody else waiting.
_COMPRESSED_AT_ONCE = 128 << 10
_LEVEL = 3
# Of an error: graphql-core's repeat what was sent, and name each place of it, however much that is.
_LONGEST_MESSAGE = 1_000
_MOST_LOCATIONS = 20


@lru_cache(maxsize=256)
def _headers(type: str, max_age: int) -> tuple[tuple[bytes, bytes], ...]:
    """What all answers of a media type have, that may be kept for so many seconds."""
    # What everybody sees alike is the same with each token, and without one.
    cached = {"Cache-Control": f"public, max-age={max_age}", "Vary": "Accept, Accept-Encoding, Origin"}
    headers = {"Content-Type": f"{type}; charset=utf-8", **(cached if max_age else NO_STORE)}
    return tuple((name.lower().encode(), value.encode()) for name, value in headers.items())


class Refusal(Exception):
    """The request is answered without being executed, with an error and this status."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        reason: str = "",
        headers: Mapping[str, str] | None = None,
        **details: object,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = FieldError(code, message, reason=reason, **details)
        self.headers = headers or {}


class Answer:
    """A response of JSON, as an ASGI application; says the same as Starlette's in a fraction of the time."""

    def __init__(
        self, body: bytes, status: int, type: str, headers: Mapping[str, str] | None = None, max_age: int = 0
    ) -> None:
        """`max_age`: seconds for which any cache may keep it; 0: none may."""
        self.body = body
        self._status = status
        self._headers = [
            *_headers(type, max_age),
            *((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, headers = self.body, self._headers
        if len(body) >= _WORTH_COMPRESSING and _takes_gzip(scope):
            at_once = len(body) <= _COMPRESSED_AT_ONCE
            body = _compressed(body) if at_once else await asyncio.to_thread(_compressed, body)
            headers.append((b"content-encoding", b"gzip"))
        headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": self._status, "headers": headers, "whole": True})
        await send({"type": "http.response.body", "body": body})


def _takes_gzip(scope: Scope) -> bool:
    for coding in field_of(scope, b"accept-encoding").lower().split(","):
        named, _, quality = coding.replace(" ", "").partition(";q=")
        if named in ("gzip", "*"):
            return quality.strip("0.") != "" if quality else True
    return False


def _compressed(body: bytes) -> bytes:
    return gzip.compress(body, _LEVEL, mtime=0)


def response(content: Mapping[str, Any], status: int, type: str, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer of content that is yet to be written as JSON."""
    return Answer(json_of(content), status, type, headers)


def formatted(error: GraphQLError, code: str, request_id: str) -> dict[str, Any]:
    """An error as it is answered; what nobody expected is logged whole and told as a trace id."""
    cause = error.original_error
    if cause is None or isinstance(cause, GraphQLError):
        told = FieldError(code, _bounded(error.message))
    else:
        expected = field_error(cause)
        if expected is None:
            log.error("unexpected error", path=error.path, request_id=request_id, exc_info=cause)
        told = expected or masked()
    formatted = error_body(told, request_id)
    if error.locations:
        formatted["locations"] = [location.formatted for location in error.locations[:_MOST_LOCATIONS]]
    if error.path:
        formatted["path"] = error.path
    return formatted


def _bounded(message: str) -> str:
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]} ..."


def error_body(error: FieldError, request_id: str) -> dict[str, Any]:
    """An error as it is answered, where it belongs to no place of the document."""
    # Without tracing the request's id is what logs can be searched for.
    return {"message": error.message, "extensions": {**error.extensions, "traceId": trace_id() or request_id}}


def json_of(content: Any) -> bytes:
    """As it is sent."""
    return orjson.dumps(content)
