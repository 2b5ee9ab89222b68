"""Spans of the calls that a process makes, by OpenTelemetry's conventions for RPC.

They are made where the call is made. The interceptors of OpenTelemetry's package for gRPC make a task and a second call
object around each call, traced or not, and cost some 0.1 ms.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from services.shared.recorder import Recorder

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


class CallSpan:
    """One call, as its server is told of it by `headers`; `end` says with which status it has ended."""

    __slots__ = ("_span", "headers")

    def __init__(self, headers: Headers = (), span: Span | None = None) -> None:
        self.headers = headers
        self._span = span

    def end(self, status: str = "") -> None:
        """Without a status, nothing is known of its fate."""
        span = self._span
        if span is None:
            return
        if status:
            span.set_attribute("rpc.response.status_code", status)
            if status != "OK":
                span.set_status(Status(StatusCode.ERROR, status))
        span.end()


_UNTRACED = CallSpan()


class CallSpans:
    """Without a provider, none."""

    def __init__(self, provider: TracerProvider | None) -> None:
        self._recorder = Recorder(provider, "alliance.calls") if provider else None

    def begin(self, path: str) -> CallSpan:
        """The span of one call of a method (`/package.Service/Method`).

        A call within a trace that is not sampled has none, and tells the server of the trace all the same: so nobody
        decides anew for a part of it.
        """
        if self._recorder is None:
            return _UNTRACED
        shared = _shared.get()
        method = path[1:]
        attributes: dict[str, AttributeValue] = {"rpc.system.name": "grpc", "rpc.method": method}
        parent: Context | None = None
        links: Sequence[Link] = ()
        if shared is not None:
            attributes |= shared.attributes
            parent = trace.set_span_in_context(shared.spans[0])
            links = [Link(span.get_span_context()) for span in shared.spans]
        else:
            current = trace.get_current_span().get_span_context()
            if current.is_valid and not current.trace_flags.sampled:
                return CallSpan(_told())
        span = self._recorder.begin(method, SpanKind.CLIENT, parent, attributes, links)
        # Nothing else is done under this span, so that it need not become the current one.
        return CallSpan(_told(trace.set_span_in_context(span)), span)


def _told(context: Context | None = None) -> Headers:
    """The headers that tell a server of a context, or else of the current one."""
    headers: dict[str, str] = {}
    propagate.inject(headers, context)
    return tuple(headers.items())
