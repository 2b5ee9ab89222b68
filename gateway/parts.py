"""An answer in parts, for @defer and @stream: what is ready first, then the rest as it comes.

By "Incremental Delivery over HTTP" of the GraphQL over HTTP working group: a body of multipart/mixed whose parts are
JSON. What is in them is graphql-core's format, which clients know as incrementalSpec=v0.2: the first part names what is
`pending`, later ones bring `incremental` data for it by its id and say what is `completed`; `hasNext` is false in the
last. The boundary behind a part is sent together with it, so that a client need not wait for the next to know its end.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Any

from graphql import GraphQLError
from starlette.types import Message, Receive, Scope, Send

from gateway.answers import NO_STORE, error_body, formatted, json_of
from gateway.engine.incremental import Parts
from gateway.errors import BAD_USER_INPUT, SERVICE_UNAVAILABLE, FieldError
from gateway.metrics import OK, outcome_of
from gateway.negotiation import PARTS, PARTS_FORMAT

_HEAD = [
    (name.lower().encode(), value.encode())
    for name, value in {
        "Content-Type": f'{PARTS}; boundary="-"; incrementalSpec={PARTS_FORMAT}',
        # Proxies that collect an answer before they send it on would undo what it is for.
        "X-Accel-Buffering": "no",
        **NO_STORE,
    }.items()
]
_OPENING = b"\r\n---"
_PART = b"\r\nContent-Type: application/json; charset=utf-8\r\n\r\n"
_BETWEEN = b"\r\n---"
_END = b"\r\n-----\r\n"


class Delivery:
    """The response, as an ASGI application; ends its work when it is through, out of time, or nobody listens."""

    def __init__(
        self, parts: Parts, request_id: str, until: float, finish: Callable[[str], None], send_seconds: float
    ) -> None:
        """`until`: in the loop's time, when parts that are still to come are given up; so many seconds later the client
        must have taken them. `finish` is told the outcome once, in any case.
        """
        self._parts = parts
        self._request_id = request_id
        self._until = until
        self._finish = finish
        self._send_seconds = send_seconds
        self._errors: list[dict[str, Any]] = []
        # What has been announced and not completed. The rest is waited for while the first part is being sent.
        self._pending = {pending.id for pending in parts.initial_result.pending}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # It is in flight, and counted among what the process has to do, until the last part.
        scope.pop("answering", None)
        delivering = asyncio.create_task(self._deliver(send))
        watching = asyncio.create_task(_gone(receive))
        left = self._until + self._send_seconds - asyncio.get_running_loop().time()
        try:
            await asyncio.wait({delivering, watching}, timeout=max(left, 0), return_when=asyncio.FIRST_COMPLETED)
            if delivering.done():
                await delivering
        finally:
            delivering.cancel()
            watching.cancel()
            await asyncio.gather(delivering, watching, return_exceptions=True)
            await self._parts.subsequent_results.aclose()
            self._finish(outcome_of(self._errors, answered=True) if self._errors else OK)

    async def _deliver(self, send: Send) -> None:
        coming = asyncio.ensure_future(self._next(self._parts.subsequent_results))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": list(_HEAD)})
            first = self._parts.initial_result
            told: dict[str, Any] = {"data": first.data, "pending": [pending.formatted for pending in first.pending]}
            if first.errors:
                told["errors"] = self._told(first.errors)
            await send(_part({**told, "hasNext": True}, opening=True))
            more = True
            while more:
                told = await coming
                more = told["hasNext"]
                if more:
                    coming = asyncio.ensure_future(self._next(self._parts.subsequent_results))
                await send(_part(told))
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)

    async def _next(self, subsequent: AsyncGenerator[Any, None]) -> dict[str, Any]:
        """The next part's content."""
        try:
            async with asyncio.timeout_at(self._until):
                result = await anext(subsequent)
        except TimeoutError:
            return self._given_up()
        told: dict[str, Any] = {"hasNext": result.has_next}
        if result.pending:
            self._pending.update(pending.id for pending in result.pending)
            told["pending"] = [pending.formatted for pending in result.pending]
        for name in ("incremental", "completed"):
            if content := getattr(result, name):
                told[name] = [self._content(one) for one in content]
        self._pending.difference_update(done.id for done in result.completed or ())
        return told

    def _content(self, one: Any) -> dict[str, Any]:
        told: dict[str, Any] = one.formatted
        if one.errors:
            told["errors"] = self._told(one.errors)
        return told

    def _told(self, errors: Iterable[GraphQLError]) -> list[dict[str, Any]]:
        told = [formatted(error, BAD_USER_INPUT, self._request_id) for error in errors]
        self._errors += told
        return told

    def _given_up(self) -> dict[str, Any]:
        late = FieldError(SERVICE_UNAVAILABLE, "The time for the request ran out.", reason="REQUEST_TIMEOUT")
        error = error_body(late, self._request_id)
        self._errors.append(error)
        completed = [{"id": id, "errors": [error]} for id in sorted(self._pending)]
        return {"hasNext": False, "completed": completed}


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


def _part(content: dict[str, Any], *, opening: bool = False) -> Message:
    more: bool = content["hasNext"]
    body = (_OPENING if opening else b"") + _PART + json_of(content) + (_BETWEEN if more else _END)
    return {"type": "http.response.body", "body": body, "more_body": more}
