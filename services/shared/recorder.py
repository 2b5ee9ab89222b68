"""Spans that cost next to nothing: plain values while they last, one of the SDK's finished spans at their end.

The provider has its say as ever: its sampler decides, its ids name them, its resource describes them, its processors
get them. What is left out is what only others' spans need (locks, limits on what is attached), which takes the SDK some
35 us a span, and 5 us for one that is not even sampled.
"""

import time
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import Attributes, AttributeValue

_UNSET = Status(StatusCode.UNSET)
_FLAGS = tuple(map(TraceFlags, range(4)))


class Recorder:
    """Begins spans of one scope: what a tracer is in the SDK."""

    def __init__(self, provider: TracerProvider, scope: str) -> None:
        self._provider = provider
        self._scope = InstrumentationScope(scope, "")
        self._sampler = provider.sampler
        self._ids = provider.id_generator
        self._random = TraceFlags.RANDOM_TRACE_ID if self._ids.is_trace_id_random() else TraceFlags.DEFAULT

    def begin(
        self,
        name: str,
        kind: SpanKind,
        parent: Context | None,
        attributes: dict[str, AttributeValue],
        links: Sequence[Link] = (),
    ) -> trace.Span:
        """A span below the one of the context (None: the current one), or the first of a trace; recorded if the
        sampler wants it. Keeps the attributes that it is given.
        """
        above: SpanContext | None = trace.get_current_span(parent).get_span_context()
        if above is None or not above.is_valid:
            above = None
        if above is None:
            trace_id, random = self._ids.generate_trace_id(), self._random
        else:
            trace_id, random = above.trace_id, above.trace_flags & TraceFlags.RANDOM_TRACE_ID
        chosen = self._sampler.should_sample(parent, trace_id, name, kind, attributes, links)
        sampled = TraceFlags.SAMPLED if chosen.decision is Decision.RECORD_AND_SAMPLE else TraceFlags.DEFAULT
        context = SpanContext(
            trace_id, self._ids.generate_span_id(), False, _FLAGS[sampled | random], chosen.trace_state
        )
        if chosen.decision is Decision.DROP:
            return NonRecordingSpan(context)
        return _Recording(self, name, context, above, kind, attributes | dict(chosen.attributes), links)

    def ended(self, span: "_Recording") -> None:
        """Hands a span on."""
        finished = ReadableSpan(
            span.name,
            span.context,
            span.parent,
            self._provider.resource,
            span.attributes,
            span.events,
            span.links,
            span.kind,
            status=span.status,
            start_time=span.began,
            end_time=span.ended_at,
            instrumentation_scope=self._scope,
        )
        # The SDK has no public way from a provider to its processors.
        self._provider._active_span_processor.on_end(finished)


class _Recording(trace.Span):
    """A span that is recorded; belongs to one thread."""

    __slots__ = (
        "_recorder",
        "attributes",
        "began",
        "context",
        "ended_at",
        "events",
        "kind",
        "links",
        "name",
        "parent",
        "status",
    )

    def __init__(
        self,
        recorder: Recorder,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        attributes: dict[str, Any],
        links: Sequence[Link],
    ) -> None:
        self._recorder = recorder
        self.name = name
        self.context = context
        self.parent = parent
        self.kind = kind
        self.attributes = attributes
        self.links = links
        self.events: Sequence[Event] = ()
        self.status = _UNSET
        self.began = time.time_ns()
        self.ended_at: int | None = None

    def end(self, end_time: int | None = None) -> None:
        if self.ended_at is None:
            self.ended_at = end_time or time.time_ns()
            self._recorder.ended(self)

    def get_span_context(self) -> SpanContext:
        return self.context

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        self.attributes.update(attributes)

    def set_attribute(self, key: str, value: Any) -> None:
        self.attributes[key] = value

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        self.events = (*self.events, Event(name, attributes, timestamp))

    def update_name(self, name: str) -> None:
        self.name = name

    def is_recording(self) -> bool:
        return self.ended_at is None

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        self.status = status if isinstance(status, Status) else Status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        told = {
            "exception.type": type(exception).__qualname__,
            "exception.message": str(exception),
            "exception.stacktrace": "".join(traceback.format_exception(exception)),
            "exception.escaped": str(escaped),
        }
        self.add_event("exception", {**told, **(attributes or {})}, timestamp)
