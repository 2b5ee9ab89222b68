"""What an operator sees of one thing that a member did: one trace from GraphQL down to the databases and on to the
services that are told by events; lines of the logs; and the numbers, read by Prometheus or sent.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from deploy.local.alliance import SERVICES, Alliance
from deploy.monitoring import catalogue
from tests.e2e.conftest import options
from tests.support.alliance import World
from tests.support.metrics import Metrics, metrics_when, read_metrics
from tests.support.otlp import TraceReceiver, receiving

Named = tuple[str, Span]
_BOTH = """
query Both($a: ID!, $b: ID!) {
  a: member(id: $a) { wallet { balance } }
  b: member(id: $b) { wallet { balance } }
}
"""


def attributes(span: Span) -> dict[str, object]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in span.attributes}


class Trace:
    """The spans of one trace among all."""

    def __init__(self, collector: TraceReceiver, of: Callable[[str, Span], bool]) -> None:
        (chosen,) = {span.trace_id for service, span in collector.spans if of(service, span)}
        self.id = chosen
        self.spans = [(service, span) for service, span in collector.spans if span.trace_id == chosen]
        self._by_id = {span.span_id: (service, span) for service, span in self.spans}

    def one(self, service: str, name: str, kind: int) -> Span:
        """The span of that service and kind whose name ends so."""
        (found,) = [s for who, s in self.spans if who == service and s.kind == kind and s.name.endswith(name)]
        return found

    def parent(self, span: Span) -> Named:
        return self._by_id[span.parent_span_id]

    def above(self, span: Span) -> list[str]:
        """The names from the span's parent up to the root."""
        names = []
        while span.parent_span_id:
            _, span = self.parent(span)
            names.append(span.name)
        return names

    def commands(self, service: str, below: Span) -> set[str]:
        """The database's commands that a service sent for that span."""
        return {
            str(attributes(span)["db.operation"] if "db.operation" in attributes(span) else span.name.split(".")[-1])
            for who, span in self.spans
            if who == service and "db.system" in attributes(span) and below.name in self.above(span)
        }


async def test_o2_one_trace_from_graphql_to_the_databases_and_the_relay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with receiving() as collector:
        settings = collector.environment() | {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_LOGS_EXPORTER": "otlp"}
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        alliance = Alliance(options(tmp_path, metrics_port=0))
        await alliance.start()
        world = World.of(alliance)
        cafe = await world.brand(earns={"OWN_CUP": 5})
        ada, bob = await cafe.enrol(), await cafe.enrol()
        await ada.earn(cafe, ada.act(cafe, "OWN_CUP"))
        await world.query(world.operator, _BOTH, a=ada.id, b=bob.id)
        refused = await world.ask(None, "{ nonsense }")
        # An earning can be seen a little before accounts hears that it was told of the claim.
        await metrics_when(alliance.metrics("accounts"), lambda read: relayed(read) >= 1)
        seen = {name: await read_metrics(alliance.metrics(name)) for name in ("gateway", *SERVICES)}
        await metrics_when(alliance.metrics("gateway"), lambda read: read.value("alliance_requests_in_flight") == 0)
        await world.close()
        await alliance.stop()  # what is still waiting is sent at the end

    of_an_act_and_what_follows(collector)
    of_a_query_whose_calls_are_shared(collector)
    of_numbers(seen)
    sent = collector.metrics.metrics
    assert {service for service, name in sent if name == "rpc.server.call.duration"} == set(SERVICES)
    assert sent["gateway", "http.server.request.duration"].unit == "s"
    serving = [record for service, record in collector.logs.lines if record.body.string_value == "serving"]
    assert len(serving) == len(SERVICES)
    assert refused["errors"][0]["extensions"]["traceId"] in {span.trace_id.hex() for _, span in collector.spans}


def of_an_act_and_what_follows(collector: TraceReceiver) -> None:
    """GraphQL, the RPC, the store; the relay, the other service, its store; and what that one asks in turn."""
    trace = Trace(
        collector,
        lambda who, span: span.kind == Span.SPAN_KIND_SERVER and span.name.endswith("AccountsService/ReportActs"),
    )
    (root,) = [span for _, span in trace.spans if not span.parent_span_id]
    assert root.name == "POST /graphql"
    assert attributes(root)["graphql.operation.type"] == "mutation"
    assert attributes(root)["alliance.outcome"] == "ok"
    reported = trace.one("accounts", "ReportActs", Span.SPAN_KIND_SERVER)
    who, calling = trace.parent(reported)
    assert (who, calling.kind) == ("gateway", Span.SPAN_KIND_CLIENT)
    assert root.name in trace.above(calling)
    assert {"insert", "commitTransaction"} <= trace.commands("accounts", reported)
    relayed = trace.one("accounts", "relay claims", Span.SPAN_KIND_PRODUCER)
    assert reported.name in trace.above(relayed)
    assert [link.trace_id for link in relayed.links] == [trace.id]
    recorded = trace.one("rewards", "RecordClaims", Span.SPAN_KIND_SERVER)
    assert relayed.name in trace.above(recorded)
    assert "insert" in trace.commands("rewards", recorded)
    priced = trace.one("partners", "BatchEvaluateEarns", Span.SPAN_KIND_SERVER)
    assert recorded.name in trace.above(priced)
    assert trace.commands("partners", priced)


def of_a_query_whose_calls_are_shared(collector: TraceReceiver) -> None:
    """Two members of one query: one call for both, below the operation, with a link to it for each that waited."""
    trace = Trace(collector, lambda who, span: attributes(span).get("graphql.operation.name") == "Both")
    (root,) = [span for _, span in trace.spans if not span.parent_span_id]
    wallets = trace.one("gateway", "BatchGetWallets", Span.SPAN_KIND_CLIENT)
    assert attributes(wallets)["alliance.keys"] == 2
    assert {link.span_id for link in wallets.links} == {root.span_id}
    answered = trace.one("rewards", "BatchGetWallets", Span.SPAN_KIND_SERVER)
    assert trace.parent(answered) == ("gateway", wallets)


def relayed(accounts: Metrics) -> float:
    return accounts.value("alliance_outbox_attempts_total", topic="claims", outcome="delivered")


def of_numbers(seen: dict[str, Metrics]) -> None:
    """Every process tells Prometheus of what it did, in series that the catalogue has."""
    for name, metrics in seen.items():
        assert {n for n in metrics.samples if not n.startswith("target")} <= catalogue.series(), name
        assert metrics.value("target_info", service_name=name) == 1
        assert metrics.value("process_cpu_time_seconds_total") > 0
        assert metrics.value("process_memory_usage_bytes") > 10_000_000
    gateway, accounts, rewards = seen["gateway"], seen["accounts"], seen["rewards"]
    duration = "alliance_graphql_operation_duration_seconds"
    assert gateway.value(f"{duration}_count", field="reportActs", outcome="ok") == 1
    assert gateway.value(f"{duration}_bucket", field="reportActs", outcome="ok", le="+Inf") == 1
    assert gateway.value("alliance_graphql_batch_size_sum", source="RewardsService/BatchGetWallets") >= 2
    assert gateway.value("alliance_graphql_refused_total", code="DOCUMENT_INVALID") == 1
    method = "alliance.accounts.v1.AccountsService/ReportActs"
    assert accounts.value("rpc_server_call_duration_seconds_count", rpc_method=method) == 1
    assert gateway.value("rpc_client_call_duration_seconds_count", rpc_method=method) == 1
    assert relayed(accounts) == 1
    assert rewards.value("alliance_ledger_commit_duration_seconds_count") >= 2
    assert rewards.value("alliance_ledger_head") >= 2
