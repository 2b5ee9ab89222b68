"""One subscription: waits for rows, answers its document for each as the viewer, and ends for a reason that it says."""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from graphql import ExecutionResult

from gateway.answers import error_body, formatted, json_of
from gateway.backends import Backends
from gateway.context import Request
from gateway.engine.document import Documents, Followed, Operation
from gateway.errors import (
    BAD_USER_INPUT,
    CONSENT_REQUIRED,
    FORBIDDEN,
    SERVICE_UNAVAILABLE,
    UNAUTHENTICATED,
    FieldError,
    field_error,
)
from gateway.limits import Account, RateExceeded
from gateway.live.mailbox import Mailbox
from gateway.live.measures import LiveMeasures
from services.shared.identity import Caller

# What the viewer may no longer see ends the subscription; nothing more will be shown to them.
_FINAL = frozenset((FORBIDDEN, CONSENT_REQUIRED, UNAUTHENTICATED))
# A row that cannot be shown because a service is away, or its viewer has asked for too much, is shown later.
_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Next:
    """A result to send: the JSON of it, and where to resume behind it."""

    body: bytes
    cursor: str


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing more will come; errors say why, as JSON."""

    errors: bytes


@dataclass(frozen=True)
class Terms:
    """On which a subscription is served: until when, in the loop's time, and what is told then."""

    until: float
    ending: FieldError
    answer_seconds: float


@dataclass(frozen=True)
class Price:
    """What each event costs, as the same question would; one unit, where others have been answered alike."""

    account: Account
    cost: float


class Subscription:
    """Use `next` until it says Ended; a context manager that gives up what it holds."""

    def __init__(
        self,
        documents: Documents,
        backends: Backends,
        operation: Operation,
        followed: Followed,
        given: Mapping[str, Any],
        first: Request,
        box: Mailbox,
        terms: Terms,
        price: Price,
        measures: LiveMeasures,
        on_close: Callable[[], None],
    ) -> None:
        self._documents = documents
        self._backends = backends
        self._operation = operation
        self._key = followed.key
        # All that the answer depends on, where it does not depend on the viewer.
        self._question = operation, tuple(given.get(name) for name in operation.document.conditions)
        self._given = given
        self._viewer: Caller = first.viewer
        self._id = first.id
        self._box = box
        self._terms = terms
        self._price = price
        self._measures = measures
        self._topic = followed.stream.topic
        self._on_close = on_close
        # The subscriber has gone, or is to go: nothing more is waited for.
        self.interrupted = False

    async def next(self, patience: float | None = None) -> Next | Ended | None:
        """What is to be sent next; None if nothing came within so many seconds, or nothing more is waited for."""
        loop = asyncio.get_running_loop()
        until = self._terms.until
        waiting_until = until if patience is None else min(until, loop.time() + patience)
        while True:
            if self.interrupted:
                return None
            if loop.time() >= until:
                return self._end(self._terms.ending)
            row = self._box.take()
            if row is not None:
                answer = await self._answer(row)
                if isinstance(answer, Next):
                    self._measures.answered(self._topic)
                if answer is not None or loop.time() >= waiting_until:
                    return answer
            elif self._box.ended is not None:
                return self._end(self._box.ended)
            elif loop.time() >= waiting_until:
                return None
            else:
                try:
                    async with asyncio.timeout_at(waiting_until):
                        await self._box.arrived.wait()
                except TimeoutError:
                    continue

    def interrupt(self) -> None:
        """Ends the wait for what comes next."""
        self.interrupted = True
        self._box.arrived.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._on_close()

    async def _answer(self, row: Any) -> Next | Ended | None:
        """None if the row cannot be shown now; it waits again then."""
        known = row.answers.get(self._question) if row.answers is not None else None
        try:
            self._price.account.pay(1 if known else self._price.cost)
        except RateExceeded:
            # Who owes waits, and meanwhile its events do, which is bounded, or newer ones take their place.
            self._measures.held_back(self._topic)
            await self._put_back(row)
            return None
        if known:
            return Next(known, row.cursor)
        # A request of its own for each: what was loaded, and consented, before may no longer be so.
        request = Request(self._viewer, self._backends, self._id, row)
        try:
            async with asyncio.timeout(self._terms.answer_seconds):
                result = await self._documents.answer(self._operation, self._given, request)
        except TimeoutError:
            await self._put_back(row)
            return None
        if isinstance(result, bytes):
            body = b'{"data":' + result + b"}"
            if row.answers is not None:
                row.answers[self._question] = body
            return Next(body, row.cursor)
        refused = self._refused(result)
        if refused is not None and refused.extensions["code"] in _FINAL:
            return self._end(refused)
        if refused is not None and refused.extensions["code"] == SERVICE_UNAVAILABLE:
            await self._put_back(row)
            return None
        errors = [formatted(error, BAD_USER_INPUT, self._id) for error in result.errors or ()]
        content = {"errors": errors, "data": result.data} if errors else {"data": result.data}
        return Next(json_of(content), row.cursor)

    def _refused(self, result: ExecutionResult) -> FieldError | None:
        """Why the whole row was not shown, if it was not."""
        for error in result.errors or ():
            if error.path == [self._key] and error.original_error is not None:
                return field_error(error.original_error)
        return None

    async def _put_back(self, row: Any) -> None:
        await asyncio.sleep(_PAUSE_SECONDS * random.uniform(0.5, 1.0))
        self._box.put_back(row)

    def _end(self, why: FieldError) -> Ended:
        self._measures.ended(why)
        return Ended(json_of([error_body(why, self._id)]))
