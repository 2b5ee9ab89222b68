"""Begins subscriptions: the document, the viewer's right to what it follows, a seat, a mailbox."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from graphql import OperationType

from gateway.answers import Refusal, error_body, formatted, json_of
from gateway.asked import Asked
from gateway.backends import Backends
from gateway.callers import Session
from gateway.config import Settings
from gateway.context import Request
from gateway.engine.admit import settled
from gateway.engine.document import DocumentInvalid, Documents
from gateway.engine.shape import TooExpensive
from gateway.engine.variables import VariablesInvalid
from gateway.errors import (
    BAD_USER_INPUT,
    DOCUMENT_INVALID,
    DOCUMENT_TOO_EXPENSIVE,
    UNAUTHENTICATED,
    FieldError,
    field_error,
    masked,
    subscription_ended,
)
from gateway.limits import RateExceeded
from gateway.live.mailbox import Mailbox
from gateway.live.measures import LiveMeasures
from gateway.live.seats import Full, Seats
from gateway.live.subscription import Ended, Price, Subscription, Terms
from gateway.persisted import Persisted
from services.shared.errors import DomainError

_LONGEST_CURSOR = 400


class Topic(Protocol):
    """What can be followed."""

    async def open(self, key: Any, after: str) -> Any:
        """A mailbox of what comes behind the cursor `after`, or from now on; FieldError if the cursor is none."""

    def shut(self, box: Any) -> None:
        """The mailbox's subscriber has gone."""

    async def close(self) -> None:
        """The process ends."""


class Live:
    """One per process."""

    def __init__(
        self,
        documents: Documents,
        persisted: Persisted,
        backends: Backends,
        settings: Settings,
        topics: Mapping[str, Topic],
        measures: LiveMeasures,
    ) -> None:
        self._documents = documents
        self._persisted = persisted
        self._backends = backends
        self._settings = settings
        self._topics = topics
        self._measures = measures
        self.seats = Seats(settings.live, measures)
        # The process is about to end: everybody is told to go elsewhere.
        self.stopping = False
        self._told_of_stop: set[Callable[[], None]] = set()

    async def begin(self, asked: Asked, session: Session, last_event_id: str = "") -> Subscription | Ended:
        """The subscription, or why there is none. `last_event_id` takes precedence over the argument `after`."""
        try:
            return await self._subscribe(asked, session, last_event_id)
        except DocumentInvalid as invalid:
            self._measures.ended(FieldError(DOCUMENT_INVALID, str(invalid)))
            return Ended(json_of([formatted(error, DOCUMENT_INVALID, session.id) for error in invalid.errors]))
        except VariablesInvalid as invalid:
            self._measures.ended(FieldError(BAD_USER_INPUT, str(invalid)))
            return Ended(json_of([formatted(error, BAD_USER_INPUT, session.id) for error in invalid.errors]))
        except TooExpensive as expensive:
            told = FieldError(DOCUMENT_TOO_EXPENSIVE, str(expensive), reason="", **expensive.details)
            return self.refused(told, session)
        except (Full, RateExceeded, Refusal) as exceeded:
            return self.refused(exceeded.error, session)
        except (FieldError, DomainError) as error:
            return self.refused(field_error(error) or masked(), session)

    def refused(self, why: FieldError, session: Session) -> Ended:
        """What is told to who cannot have a subscription."""
        self._measures.ended(why)
        return Ended(json_of([error_body(why, session.id)]))

    @contextmanager
    def told_of_stop(self, callback: Callable[[], None]) -> Iterator[None]:
        """Calls it when the process is about to end; at once if it is."""
        self._told_of_stop.add(callback)
        if self.stopping:
            callback()
        try:
            yield
        finally:
            self._told_of_stop.discard(callback)

    async def _subscribe(self, asked: Asked, session: Session, last_event_id: str) -> Subscription:
        operation = self._persisted.operation(asked, session)
        if operation.node.operation is not OperationType.SUBSCRIPTION:
            message = "Only subscriptions are answered here; send queries and mutations by POST, as application/json."
            raise FieldError(BAD_USER_INPUT, message, reason="NOT_A_SUBSCRIPTION")
        cost = self._documents.cost(operation, asked.variables, stranger=session.stranger)
        session.account.pay(cost)
        followed = self._documents.followed(operation, asked.variables, stranger=session.stranger)
        request = Request(session.viewer, self._backends, session.id)
        key = followed.stream.key(request, followed.arguments)
        followed.rule.enter(request)
        await settled(followed.rule.check(request, key))
        after = last_event_id or followed.arguments.get("after") or ""
        if len(after) > _LONGEST_CURSOR:
            message = "`after` is not a cursor of this subscription; use one that came with an event."
            raise FieldError(BAD_USER_INPUT, message, reason="CURSOR_MALFORMED")
        most = self._settings.live.variable_bytes
        if len(json_of(asked.variables)) > most:
            message = f"The variables of a subscription have {most:,} bytes at most."
            told = {"measure": "variable bytes of a subscription", "limit": most}
            raise FieldError(BAD_USER_INPUT, message, reason="VARIABLES_TOO_LARGE", **told)
        name = followed.stream.topic
        topic = self._topics[name]
        with ExitStack() as held:
            held.enter_context(self.seats.subscription(name, session.client, operation.document))
            box: Mailbox = await topic.open(key, after)
            held.callback(topic.shut, box)
            release = held.pop_all().close
        return Subscription(
            self._documents,
            self._backends,
            operation,
            followed,
            asked.variables,
            request,
            box,
            self._terms(session.valid_until),
            Price(session.account, cost),
            self._measures,
            release,
        )

    async def stop(self) -> None:
        """Tells everybody to go elsewhere, and waits until they have been told."""
        self.stopping = True
        for callback in list(self._told_of_stop):
            callback()
        await self.seats.vacant.wait()

    async def close(self) -> None:
        """Gives up all streams."""
        for topic in self._topics.values():
            await topic.close()

    def _terms(self, valid_until: float | None) -> Terms:
        seconds = self._settings.live.subscription_seconds
        ending = subscription_ended(
            "SUBSCRIPTION_TIMEOUT", f"A subscription lasts {seconds:,.0f} s; subscribe again with `after`."
        )
        if valid_until is not None and valid_until - time.time() <= seconds:
            seconds = valid_until - time.time()
            ending = FieldError(
                UNAUTHENTICATED, "The token has expired; subscribe again with a new one.", reason="TOKEN_EXPIRED"
            )
        return Terms(asyncio.get_running_loop().time() + seconds, ending, self._settings.request_timeout_seconds)
