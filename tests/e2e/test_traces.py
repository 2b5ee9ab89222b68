"""One trace from GraphQL down to the databases, and on to the services that are told by events."""

from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from deploy.local.alliance import Alliance
from tests.e2e.conftest import options
from tests.support.alliance import World
from tests.support.otlp import receiving


async def test_o2_one_trace_from_graphql_to_the_databases_and_the_relay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with receiving() as collector:
        for name, value in collector.environment().items():
            monkeypatch.setenv(name, value)
        alliance = Alliance(options(tmp_path))
        await alliance.start()
        world = World.of(alliance)
        cafe = await world.brand(earns={"OWN_CUP": 5})
        ada = await cafe.enrol()
        await ada.earn(cafe, ada.act(cafe, "OWN_CUP"))
        assert (await ada.wallet())["balance"] == 5
        await world.close()
        await alliance.stop()  # what is still waiting is sent at the end

    spans = {span.span_id: (service, span) for service, span in collector.spans}
    (reported,) = [
        span
        for service, span in spans.values()
        if service == "accounts" and span.kind == Span.SPAN_KIND_SERVER and span.name.endswith("ReportActs")
    ]
    trace = [(service, span) for service, span in spans.values() if span.trace_id == reported.trace_id]

    def edges() -> set[tuple[str, str]]:
        """Which service's span is a child of which service's."""
        return {(spans[span.parent_span_id][0], service) for service, span in trace if span.parent_span_id in spans}

    assert {("gateway", "accounts"), ("accounts", "rewards"), ("rewards", "partners")} <= edges()
    roots = [(service, span.name) for service, span in trace if not span.parent_span_id]
    assert roots == [("gateway", "POST /graphql")]
    commands = {service for service, span in trace if any(item.key == "db.system" for item in span.attributes)}
    assert commands >= {"accounts", "rewards", "partners"}
