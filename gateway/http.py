"""GraphQL over HTTP: GET and POST, both media types, and for each failure the status that it has there."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter
from typing import TypeVar

from graphql import ExecutionResult, GraphQLError, OperationType
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp

from gateway.answers import NO_STORE, Answer, Refusal, error_body, formatted, json_of, response
from gateway.asked import Asked, from_body, from_url
from gateway.backends import Backends
from gateway.brands import FOREIGN_PAGE, Brands
from gateway.callers import Callers, Session, whose
from gateway.config import Settings
from gateway.context import Request
from gateway.deadlines import Deadline, Deadlines
from gateway.engine.document import DocumentInvalid, Documents, Operation
from gateway.engine.shape import TooExpensive
from gateway.errors import (
    BAD_USER_INPUT,
    DOCUMENT_INVALID,
    DOCUMENT_TOO_EXPENSIVE,
    FORBIDDEN,
    SERVICE_UNAVAILABLE,
    UNAUTHENTICATED,
    FieldError,
)
from gateway.fields import field_of, fields_of
from gateway.ide import Page
from gateway.limits import RateExceeded
from gateway.metrics import FAILED, OK, Measures, outcome_of
from gateway.negotiation import (
    EVENTS,
    GRAPHQL,
    JSON,
    PARTS,
    PARTS_FORMAT,
    accepts_events,
    accepts_parts,
    media_type,
    wants_page,
)
from gateway.parts import Delivery
from gateway.persisted import DocumentRefused, Persisted
from gateway.tokens import TokenInvalid
from gateway.tracing import describe
from gateway.turns import Mutations

# What is left out of an answer is still told in it.
GRACE_SECONDS = 0.5

Given = TypeVar("Given")


@dataclass(frozen=True)
class GraphQLEndpoint:
    """What answers at /graphql."""

    documents: Documents
    persisted: Persisted
    brands: Brands
    backends: Backends
    callers: Callers
    mutations: Mutations
    settings: Settings
    page: Page
    measures: Measures
    deadlines: Deadlines
    # Answers subscriptions, from what is asked, by whom, and behind which event.
    events: Callable[[Asked, Session, str], ASGIApp]

    async def answer(self, http: HttpRequest) -> ASGIApp:
        """GET and POST of /graphql."""
        request_id: str = http.scope["request_id"]
        accept = field_of(http.scope, b"accept")
        get = http.method != "POST"
        if get and "query" not in http.query_params and wants_page(accept):
            return HTMLResponse(
                self.page.html, headers={"Content-Security-Policy": self.page.content_security_policy, **NO_STORE}
            )
        type = media_type(accept)
        # A stream is all body: there is none for who asks for the head alone.
        events = accepts_events(accept) and http.method != "HEAD"
        parts = accepts_parts(accept)
        if type is None and parts:
            # What is not divided is no multipart either.
            type = JSON
        # What is not there by then is left out of the answer; only what cannot be waited for otherwise is cut off.
        deadline = self.deadlines.begin()
        try:
            if type is None and not events:
                raise Refusal(
                    406,
                    BAD_USER_INPUT,
                    f"Answers are {GRAPHQL} or {JSON}; {PARTS} has to be of incrementalSpec={PARTS_FORMAT}.",
                    reason="NOT_ACCEPTABLE",
                )
            session = self._session(http)
            # Whoever owes is refused before anything is read.
            session.account.pay(1)
            self._check_origin(http, session)
            limits = self.settings.stranger_limits if session.stranger else self.settings.limits
            asked = from_url(http) if get else await from_body(http, limits.body_bytes, self.settings.batch)
            if isinstance(asked, list):
                return await self._execute_all(asked, session, type or JSON, deadline)
            if type is None or (events and self._subscribes(asked, session)):
                return self.events(asked, session, field_of(http.scope, b"last-event-id"))
            answer = self._answer_in_parts if parts else self._answer
            return await self._execute(asked, session, type, deadline, answer, get=get)
        except Refusal as refusal:
            self.measures.refused(refusal.error)
            errors = [error_body(refusal.error, request_id)]
            return response({"errors": errors}, refusal.status, type or JSON, refusal.headers)
        except RateExceeded as exceeded:
            return self._too_many(exceeded, type or JSON, request_id)
        except asyncio.CancelledError:
            if not deadline.passed():
                raise
            seconds = self.settings.request_timeout_seconds
            error = FieldError(
                SERVICE_UNAVAILABLE,
                f"The answer took longer than {seconds:g} s; ask for less.",
                reason="REQUEST_TIMEOUT",
                measure="seconds",
                limit=seconds,
            )
            self.measures.refused(error)
            return response({"errors": [error_body(error, request_id)]}, 504, type or JSON)
        finally:
            self.deadlines.end(deadline)

    async def _execute_all(self, asked: list[Asked], session: Session, type: str, deadline: Deadline) -> Answer:
        """A list of answers, in the order of the requests; what is wrong with one is its own."""

        async def one(asked: Asked) -> bytes:
            try:
                return (await self._execute(asked, session, type, deadline, self._answer, get=False)).body
            except (Refusal, RateExceeded) as refused:
                self.measures.refused(refused.error)
                return json_of({"errors": [error_body(refused.error, session.id)]})

        return Answer(b"[" + b",".join(await asyncio.gather(*map(one, asked))) + b"]", 200, type)

    async def _execute(
        self,
        asked: Asked,
        session: Session,
        type: str,
        deadline: Deadline,
        answer: Callable[[Operation, Asked, Session, str, Deadline], Awaitable[Given]],
        *,
        get: bool,
    ) -> Answer | Given:
        # Of a request that is well-formed as such, application/json says by its errors alone what is wrong with it.
        wrong = 400 if type == GRAPHQL else 200
        try:
            operation = self.persisted.operation(asked, session)
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
            if operation.node.operation is OperationType.MUTATION:
                # Before it has cost anything; and whoever has a turn pays before anything is done.
                async with self.mutations.turn(operation.field, whose(session.viewer)):
                    session.account.pay(self.documents.cost(operation, asked.variables, stranger=session.stranger))
                    return await answer(operation, asked, session, type, deadline)
            session.account.pay(self.documents.cost(operation, asked.variables, stranger=session.stranger))
            return await answer(operation, asked, session, type, deadline)
        except DocumentRefused as refused:
            self.measures.refused(refused.error)
            errors = [error_body(refused.error, session.id)]
            return response({"errors": errors}, refused.status if type == GRAPHQL else 200, type)
        except DocumentInvalid as invalid:
            self.measures.invalid()
            errors = [formatted(_of_its_author(error), DOCUMENT_INVALID, session.id) for error in invalid.errors]
            return response({"errors": errors}, wrong, type)
        except TooExpensive as expensive:
            told = FieldError(DOCUMENT_TOO_EXPENSIVE, str(expensive), reason="", **expensive.details)
            self.measures.refused(told)
            return response({"errors": [error_body(told, session.id)]}, wrong, type)

    async def _answer(
        self, operation: Operation, asked: Asked, session: Session, type: str, deadline: Deadline
    ) -> Answer:
        began, outcome = perf_counter(), FAILED
        request = Request(session.viewer, self.backends, session.id)
        deadline.watch(request)
        try:
            result = await self.documents.answer(operation, asked.variables, request, stranger=session.stranger)
            outcome = OK
            if isinstance(result, bytes):
                return Answer(b'{"data":' + result + b"}", 200, type, max_age=operation.max_age)
            answer, outcome = _told(result, session, type)
            return answer
        finally:
            self.measures.executed(operation, outcome, began)
            describe(operation, outcome)

    async def _answer_in_parts(
        self, operation: Operation, asked: Asked, session: Session, type: str, deadline: Deadline
    ) -> Answer | Delivery:
        """As `_answer`, in parts if the operation asks for that."""
        if not self.documents.divides(operation, asked.variables, stranger=session.stranger):
            return await self._answer(operation, asked, session, type, deadline)
        began = perf_counter()
        request = Request(session.viewer, self.backends, session.id)
        expiry = request.expires_at(deadline.until)

        def finish(outcome: str) -> None:
            expiry.cancel()
            self.measures.executed(operation, outcome, began)
            describe(operation, outcome)

        try:
            result = await self.documents.answer_in_parts(
                operation, asked.variables, request, stranger=session.stranger
            )
        except BaseException:
            finish(FAILED)
            raise
        if isinstance(result, ExecutionResult):
            answer, outcome = _told(result, session, type)
            finish(outcome)
            return answer
        return Delivery(result, session.id, deadline.until + GRACE_SECONDS, finish, self.settings.live.send_seconds)

    def _subscribes(self, asked: Asked, session: Session) -> bool:
        """Whether a subscription is asked for; what is not a document at all is refused as any other."""
        try:
            return self.persisted.operation(asked, session).node.operation is OperationType.SUBSCRIPTION
        except (DocumentInvalid, DocumentRefused, TooExpensive):
            return False

    def _check_origin(self, http: HttpRequest, session: Session) -> None:
        """A token belongs on the pages of its own brand; on those of another it has been taken along."""
        if self.brands.foreign(field_of(http.scope, b"origin"), session.viewer.partner_id):
            raise Refusal(403, FORBIDDEN, FOREIGN_PAGE, reason="ORIGIN_NOT_ALLOWED")

    def _too_many(self, exceeded: RateExceeded, type: str, request_id: str) -> Answer:
        self.measures.refused(exceeded.error)
        headers = {"Retry-After": str(exceeded.retry_after_seconds)}
        return response({"errors": [error_body(exceeded.error, request_id)]}, 429, type, headers)

    def _session(self, http: HttpRequest) -> Session:
        try:
            given = fields_of(http.scope).get(b"authorization")
            # No token has a comma: it stands between two of them.
            authorization = given.decode("latin-1").split(",") if given is not None else ()
            return self.callers.session(http.scope, authorization, http.scope["request_id"])
        except TokenInvalid as error:
            challenge = f'Bearer realm="alliance", error="invalid_token", error_description="{error}"'
            raise Refusal(
                401, UNAUTHENTICATED, str(error), reason="TOKEN_INVALID", headers={"WWW-Authenticate": challenge}
            ) from error


def _told(result: ExecutionResult, session: Session, type: str) -> tuple[Answer, str]:
    """An answer that is yet to be written as JSON, and its outcome."""
    if not result.errors:
        return response({"data": result.data}, 200, type), OK
    errors = [formatted(error, BAD_USER_INPUT, session.id) for error in result.errors]
    outcome = outcome_of(errors, answered=result.data is not None)
    if result.data is None and not any(error.path for error in result.errors):
        # Variables that do not fit: nothing was executed.
        return response({"errors": errors}, 400 if type == GRAPHQL else 200, type), outcome
    return response({"errors": errors, "data": result.data}, 200, type), outcome


def _of_its_author(error: GraphQLError) -> GraphQLError:
    """A number of thousands of digits, which Python does not even read, is no defect of ours either."""
    if isinstance(error.original_error, ValueError):
        return GraphQLError("This is not a value of the type that is needed here.", error.nodes)
    return error
