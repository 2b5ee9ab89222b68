"""Spans made and sent by the short way are what the SDK makes and sends."""

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.span import TraceState

from services.shared.recorder import Recorder
from services.shared.spans_otlp import encoded

VALUES = st.sampled_from(["", "a", 0, 1, True, False, 1.0, ["a", "b"]])
CONTEXTS = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.just(TraceFlags(1)),
    st.sampled_from([TraceState(), TraceState([("vendor", "1")])]),
)
SPANS = st.builds(
    ReadableSpan,
    st.sampled_from(["POST /graphql", "call"]),
    CONTEXTS,
    st.none() | CONTEXTS,
    st.sampled_from([Resource({"service.name": "gateway"}), Resource({"service.name": "partners"})]),
    st.dictionaries(st.sampled_from(["a", "b"]), VALUES),
    st.just(()),
    st.lists(st.builds(Link, CONTEXTS, st.sampled_from([None, {"a": 1}])), max_size=2),
    st.sampled_from(SpanKind),
    status=st.sampled_from([Status(), Status(StatusCode.OK), Status(StatusCode.ERROR, "UNAVAILABLE")]),
    start_time=st.integers(1, 2**62),
    end_time=st.integers(1, 2**62),
    instrumentation_scope=st.sampled_from([InstrumentationScope("one"), InstrumentationScope("two", "1")]),
)


@settings(max_examples=40)
@given(st.lists(st.lists(SPANS, min_size=1, max_size=8), min_size=1, max_size=3))
def test_spans_are_sent_as_the_sdk_sends_them(batches: list[list[ReadableSpan]]):
    known: dict[object, bytes] = {}
    for batch in batches:
        assert encoded(batch, known) == encode_spans(batch)


def finished(sampler: object = None) -> tuple[TracerProvider, InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=sampler)  # type: ignore[arg-type]
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


def test_a_recorded_span_is_as_the_sdks():
    provider, exporter = finished()
    link = Link(SpanContext(1, 2, True, TraceFlags(1)))
    tracer, recorder = provider.get_tracer("alliance.test"), Recorder(provider, "alliance.test")
    outer = tracer.start_span("outer")
    parent = trace.set_span_in_context(outer)
    for span in (
        tracer.start_span("call", parent, SpanKind.CLIENT, {"a": 1}, [link]),
        recorder.begin("call", SpanKind.CLIENT, parent, {"a": 1}, [link]),
    ):
        assert span.is_recording()
        span.set_attribute("b", "2")
        span.record_exception(ValueError("no"))
        span.set_status(Status(StatusCode.ERROR, "ValueError"))
        span.end()
        span.end()
        assert not span.is_recording()
    sdks, ours = exporter.get_finished_spans()
    for name in ("name", "kind", "parent", "resource", "attributes", "links", "instrumentation_scope"):
        assert getattr(ours, name) == getattr(sdks, name), name
    assert ours.context.trace_id == sdks.context.trace_id == outer.get_span_context().trace_id
    assert ours.context.trace_flags == sdks.context.trace_flags
    assert ours.context.span_id != sdks.context.span_id
    assert (ours.status.status_code, ours.status.description) == (StatusCode.ERROR, "ValueError")
    assert [(event.name, dict(event.attributes)) for event in ours.events] == [
        (event.name, dict(event.attributes)) for event in sdks.events
    ]
    assert 0 < ours.start_time <= ours.end_time


def test_the_sampler_decides():
    provider, exporter = finished(ParentBased(TraceIdRatioBased(0.5)))
    recorder = Recorder(provider, "alliance.test")
    begun = [recorder.begin("request", SpanKind.SERVER, None, {}) for _ in range(400)]
    recorded = [span for span in begun if span.is_recording()]
    assert 100 < len(recorded) < 300
    for span in begun:
        assert span.get_span_context().is_valid
        assert span.get_span_context().trace_flags.sampled == span.is_recording()
        below = recorder.begin("call", SpanKind.CLIENT, trace.set_span_in_context(span), {})
        assert below.is_recording() == span.is_recording()
        assert below.get_span_context().trace_id == span.get_span_context().trace_id
        span.end()
    assert len(exporter.get_finished_spans()) == len(recorded)


def test_nothing_is_recorded_where_the_sampler_wants_nothing():
    provider, exporter = finished(ALWAYS_OFF)
    Recorder(provider, "alliance.test").begin("request", SpanKind.SERVER, None, {}).end()
    assert exporter.get_finished_spans() == ()
