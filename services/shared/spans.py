"""Spans of the calls that a process makes, by OpenTelemetry's conventions for RPC.

They are made where the call is made. The interceptors of OpenTelemetry's package for gRPC make a task and a second call
object around each call, traced or not, and cost some 0.1 ms.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from grpc import aio
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class _Shared:
    spans: Sequence[Span]
    attributes: Mapping[str, int]


_shared: ContextVar[_Shared | None] = ContextVar("shared", default=None)


@contextmanager
def shared_by(spans: Sequence[Span], **attributes: int) -> Iterator[None]:
    """Calls in here are made for all of these sampled spans, of which there is one or more: a call's span is below the
    first, since it can be in one trace only, and has links to all. Its attributes begin with `alliance.`.
    """
    token = _shared.set(_Shared(spans, {f"alliance.{name}": value for name, value in attributes.items()}))
    try:
        yield
    finally:
        _shared.reset(token)


class CallSpans:
    """Without a provider, none."""

    def __init__(self, provider: TracerProvider | None) -> None:
        self._tracer = provider.get_tracer("alliance.calls") if provider else None

    @contextmanager
    def around(self, path: str) -> Iterator[Headers]:
        """The span of one call of a method (`/package.Service/Method`), with the headers that tell the server of it.

        A call within a trace that is not sampled has none, and tells the server of the trace all the same: so nobody
        decides anew for a part of it.
        """
        if self._tracer is None:
            yield ()
            return
        shared = _shared.get()
        current = trace.get_current_span().get_span_context()
        if shared is None and current.is_valid and not current.trace_flags.sampled:
            yield _told()
            return
        method = path.removeprefix("/")
        attributes: dict[str, str | int] = {"rpc.system.name": "grpc", "rpc.method": method}
        parent, links = None, []
        if shared is not None:
            attributes.update(shared.attributes)
            parent = trace.set_span_in_context(shared.spans[0])
            links = [Link(span.get_span_context()) for span in shared.spans]
        span = self._tracer.start_span(method, parent, SpanKind.CLIENT, attributes, links)
        try:
            # Nothing else is done under this span, so that it need not become the current one, which costs as much as
            # the span itself.
            yield _told(trace.set_span_in_context(span))
            span.set_attribute("rpc.response.status_code", "OK")
        except aio.AioRpcError as error:
            code = error.code().name
            span.set_attribute("rpc.response.status_code", code)
            span.set_status(Status(StatusCode.ERROR, code))
            raise
        finally:
            span.end()


def _told(context: Context | None = None) -> Headers:
    """The headers that tell a server of a context, or else of the current one."""
    headers: dict[str, str] = {}
    propagate.inject(headers, context)
    return tuple(headers.items())
