"""GraphQL over HTTP: GET and POST, both media types, and for each failure the status that it has there."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import orjson
from graphql import GraphQLError, OperationType
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.backends import Backends
from gateway.bodies import BodyTooLarge, read_body
from gateway.config import Settings
from gateway.context import Request
from gateway.engine.document import DocumentInvalid, Documents, Operation
from gateway.engine.shape import TooExpensive
from gateway.errors import (
    BAD_USER_INPUT,
    DOCUMENT_INVALID,
    DOCUMENT_TOO_EXPENSIVE,
    SERVICE_UNAVAILABLE,
    UNAUTHENTICATED,
    FieldError,
    field_error,
    masked,
)
from gateway.ide import Page
from gateway.metrics import FAILED, OK, REFUSED, Measures, outcome_of
from gateway.negotiation import EVENTS, GRAPHQL, JSON, accepts_events, media_type, wants_page
from gateway.tokens import TokenInvalid, Tokens
from services.shared.identity import Caller, CallerKind
from services.shared.telemetry import log, trace_id

ANYONE = Caller(CallerKind.ANYONE)
_NO_STORE = {"Cache-Control": "no-store", "Vary": "Accept, Authorization"}
_HEADERS = {
    type: tuple(
        (name.lower().encode(), value.encode())
        for name, value in {"Content-Type": f"{type}; charset=utf-8", **_NO_STORE}.items()
    )
    for type in (GRAPHQL, JSON)
}


@dataclass(frozen=True)
class Asked:
    """The parameters of a GraphQL request."""

    query: str
    operation_name: str | None
    variables: Mapping[str, Any]


@dataclass(frozen=True)
class Session:
    """Who asks. `valid_until`: when the token runs out, in seconds since 1970. `id` is the request's, for errors."""

    viewer: Caller
    valid_until: float | None
    id: str


class Refusal(Exception):
    """The request is answered without being executed, with errors and this status."""

    def __init__(
        self, status: int, code: str, message: str, *, reason: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = FieldError(code, message, reason=reason)
        self.headers = headers or {}


@dataclass(frozen=True)
class GraphQLEndpoint:
    """What answers at /graphql."""

    documents: Documents
    backends: Backends
    tokens: Tokens
    settings: Settings
    page: Page
    measures: Measures
    # Answers subscriptions, from what is asked, by whom, and behind which event.
    events: Callable[[Asked, Session, str], ASGIApp]
    # A request without a token asks as anyone.
    anyone: Caller = field(default=ANYONE)

    async def answer(self, http: HttpRequest) -> ASGIApp:
        """GET and POST of /graphql."""
        request_id: str = http.scope["request_id"]
        accept = ",".join(http.headers.getlist("accept"))
        get = http.method != "POST"
        if get and "query" not in http.query_params and wants_page(accept):
            return HTMLResponse(
                self.page.html, headers={"Content-Security-Policy": self.page.content_security_policy, **_NO_STORE}
            )
        type = media_type(accept)
        events = accepts_events(accept)
        try:
            if type is None and not events:
                raise Refusal(406, BAD_USER_INPUT, f"Answers are {GRAPHQL} or {JSON}.", reason="NOT_ACCEPTABLE")
            session = self._session(http)
            asked = _from_url(http) if get else await self._from_body(http)
            if type is None or (events and self._subscribes(asked)):
                return self.events(asked, session, http.headers.get("last-event-id", ""))
            async with asyncio.timeout(self.settings.request_timeout_seconds):
                return await self._execute(asked, Request(session.viewer, self.backends, request_id), type, get=get)
        except Refusal as refusal:
            self.measures.refused(refusal.error.extensions["code"])
            errors = [error_body(refusal.error, request_id)]
            return _response({"errors": errors}, refusal.status, type or JSON, refusal.headers)
        except TimeoutError:
            error = FieldError(SERVICE_UNAVAILABLE, "The answer took too long; ask for less.", reason="REQUEST_TIMEOUT")
            return _response({"errors": [error_body(error, request_id)]}, 504, type or JSON)

    async def _execute(self, asked: Asked, request: Request, type: str, *, get: bool) -> ASGIApp:
        # Of a request that is well-formed as such, application/json says by its errors alone what is wrong with it.
        wrong = 400 if type == GRAPHQL else 200
        try:
            document = self.documents.prepare(asked.query)
            operation = self.documents.operation(document, asked.operation_name)
            if get and operation.node.operation is not OperationType.QUERY:
                raise Refusal(
                    405,
                    BAD_USER_INPUT,
                    "Only queries can be sent by GET.",
                    reason="METHOD_NOT_ALLOWED",
                    headers={"Allow": "POST"},
                )
            if operation.node.operation is OperationType.SUBSCRIPTION:
                raise Refusal(
                    406,
                    BAD_USER_INPUT,
                    f"Subscriptions are answered as {EVENTS}, or over WebSocket as graphql-transport-ws.",
                    reason="NOT_ACCEPTABLE",
                )
            return await self._answer(operation, asked, request, type)
        except DocumentInvalid as invalid:
            self.measures.refused(DOCUMENT_INVALID)
            errors = [formatted(_of_its_author(error), DOCUMENT_INVALID, request.id) for error in invalid.errors]
            return _response({"errors": errors}, wrong, type)
        except TooExpensive as expensive:
            self.measures.refused(DOCUMENT_TOO_EXPENSIVE)
            refused = FieldError(DOCUMENT_TOO_EXPENSIVE, str(expensive), reason="", **expensive.details)
            return _response({"errors": [error_body(refused, request.id)]}, wrong, type)

    async def _answer(self, operation: Operation, asked: Asked, request: Request, type: str) -> ASGIApp:
        began, outcome = perf_counter(), FAILED
        try:
            result = await self.documents.answer(operation, asked.variables, request)
            outcome = OK
            if isinstance(result, bytes):
                return Answer(b'{"data":' + result + b"}", 200, type)
            if not result.errors:
                return _response({"data": result.data}, 200, type)
            errors = [formatted(error, BAD_USER_INPUT, request.id) for error in result.errors]
            outcome = outcome_of(errors, answered=result.data is not None)
            if result.data is None and not any(error.path for error in result.errors):
                # Variables that do not fit: nothing was executed.
                return _response({"errors": errors}, 400 if type == GRAPHQL else 200, type)
            return _response({"errors": errors, "data": result.data}, 200, type)
        except TooExpensive:
            outcome = REFUSED
            raise
        finally:
            self.measures.executed(operation, outcome, began)

    def _subscribes(self, asked: Asked) -> bool:
        """Whether a subscription is asked for; what is not a document at all is refused as any other."""
        try:
            operation = self.documents.operation(self.documents.prepare(asked.query), asked.operation_name)
        except (DocumentInvalid, TooExpensive):
            return False
        return operation.node.operation is OperationType.SUBSCRIPTION

    def _session(self, http: HttpRequest) -> Session:
        """Who asks; without a token, anyone. A token that does not hold is refused, never taken for none."""
        given = http.headers.getlist("authorization")
        if not given:
            return Session(self.anyone, None, http.scope["request_id"])
        try:
            if len(given) > 1:
                raise TokenInvalid("Send one token, as `Authorization: Bearer ...`.")
            viewer, valid_until = self.tokens.bearer(given[0])
            return Session(viewer, valid_until, http.scope["request_id"])
        except TokenInvalid as error:
            challenge = f'Bearer realm="alliance", error="invalid_token", error_description="{error}"'
            raise Refusal(
                401, UNAUTHENTICATED, str(error), reason="TOKEN_INVALID", headers={"WWW-Authenticate": challenge}
            ) from error

    async def _from_body(self, http: HttpRequest) -> Asked:
        type, _, parameters = http.headers.get("content-type", "").partition(";")
        charset = parameters.replace(" ", "").lower()
        if type.strip().lower() != JSON or (charset.startswith("charset=") and charset not in _UTF8):
            raise Refusal(415, BAD_USER_INPUT, f"Send the request as {JSON} in UTF-8.", reason="MEDIA_TYPE_UNSUPPORTED")
        if http.headers.get("content-encoding", "identity").lower() != "identity":
            raise Refusal(415, BAD_USER_INPUT, "Send the request uncompressed.", reason="ENCODING_UNSUPPORTED")
        most = self.settings.limits.body_bytes
        try:
            body = orjson.loads(await read_body(http, most))
        except BodyTooLarge as error:
            message = f"A request has {most:,} bytes at most; send less at once."
            raise Refusal(413, BAD_USER_INPUT, message, reason="BODY_TOO_LARGE") from error
        except orjson.JSONDecodeError as error:
            raise Refusal(400, BAD_USER_INPUT, f"The body is not JSON: {error}.", reason="JSON_MALFORMED") from error
        if isinstance(body, list):
            raise Refusal(400, BAD_USER_INPUT, "Send one request at a time.", reason="BATCHING_NOT_SUPPORTED")
        if not isinstance(body, dict):
            raise _malformed("The body has to be an object with `query`.")
        return asked_of(body)


_UTF8 = ("charset=utf-8", 'charset="utf-8"', "charset=utf8")


def _from_url(http: HttpRequest) -> Asked:
    given: dict[str, Any] = dict(http.query_params)
    for name in ("variables", "extensions"):
        if name in given:
            try:
                given[name] = orjson.loads(given[name])
            except orjson.JSONDecodeError as error:
                raise _malformed(f"`{name}` is not JSON: {error}.") from error
    return asked_of(given)


def asked_of(given: Mapping[str, Any]) -> Asked:
    """The parameters as they were sent; Refusal if they are none."""
    query, name = given.get("query"), given.get("operationName")
    variables, extensions = given.get("variables"), given.get("extensions")
    if not isinstance(query, str) or not query.strip():
        raise _malformed("`query` has to be a document, as text.")
    if name is not None and not isinstance(name, str):
        raise _malformed("`operationName` has to be text.")
    if variables is not None and not isinstance(variables, dict):
        raise _malformed("`variables` has to be an object.")
    if extensions is not None and not isinstance(extensions, dict):
        raise _malformed("`extensions` has to be an object.")
    return Asked(query, name or None, variables or {})


def _malformed(message: str) -> Refusal:
    return Refusal(400, BAD_USER_INPUT, message, reason="REQUEST_MALFORMED")


def _of_its_author(error: GraphQLError) -> GraphQLError:
    """A number of thousands of digits, which Python does not even read, is no defect of ours either."""
    if isinstance(error.original_error, ValueError):
        return GraphQLError("This is not a value of the type that is needed here.", error.nodes)
    return error


def formatted(error: GraphQLError, code: str, request_id: str) -> dict[str, Any]:
    """An error as it is answered; what nobody expected is logged whole and told as a trace id."""
    cause = error.original_error
    if cause is None or isinstance(cause, GraphQLError):
        told = FieldError(code, error.message)
    else:
        expected = field_error(cause)
        if expected is None:
            log.error("unexpected error", path=error.path, request_id=request_id, exc_info=cause)
        told = expected or masked()
    formatted = error_body(told, request_id)
    if error.locations:
        formatted["locations"] = [location.formatted for location in error.locations]
    if error.path:
        formatted["path"] = error.path
    return formatted


def error_body(error: FieldError, request_id: str) -> dict[str, Any]:
    """An error as it is answered, where it belongs to no place of the document."""
    # Without tracing the request's id is what logs can be searched for.
    return {"message": error.message, "extensions": {**error.extensions, "traceId": trace_id() or request_id}}


def _response(content: Mapping[str, Any], status: int, type: str, headers: Mapping[str, str] | None = None) -> "Answer":
    return Answer(json_of(content), status, type, headers)


def json_of(content: Any) -> bytes:
    """As it is sent."""
    return orjson.dumps(content)


class Answer:
    """A response of JSON, as an ASGI application; says the same as Starlette's in a fraction of the time."""

    def __init__(self, body: bytes, status: int, type: str, headers: Mapping[str, str] | None = None) -> None:
        self._body = body
        self._status = status
        self._headers = [
            *_HEADERS[type],
            (b"content-length", str(len(body)).encode()),
            *((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self._status, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body})
