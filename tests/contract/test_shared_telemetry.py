"""Traces leave a service by OTLP when a collector is named, and its logs carry their ids."""

import json
from pathlib import Path

from alliance.partners.v1 import partners_pb2 as pb
from alliance.partners.v1.partners_pb2_grpc import PartnersServiceStub
from deploy.local.embedded import free_port
from services.shared.errors import InvalidArgument
from tests.support.errors import refused
from tests.support.metrics import metrics_when
from tests.support.otlp import receiving
from tests.support.service import ANYONE, ServiceProcess, request_id


async def test_a_call_and_its_queries_are_one_trace(mongodb_uri: str, keys: Path, tmp_path: Path):
    with receiving() as collector:
        process = ServiceProcess("partners", mongodb_uri, keys, tmp_path / "log", **collector.environment())
        process.start()
        client = process.client(PartnersServiceStub)
        request = pb.ApplyPartnerRequest(request_id=request_id(), name="Traced", trade="grocer", country="NL")
        await client.call(client.stub.ApplyPartner, request, caller=ANYONE)
        request.country, request.request_id = "?", request_id()
        await refused(InvalidArgument, client.call(client.stub.ApplyPartner, request, caller=ANYONE))
        assert process.stop() == 0

        calls = [span for _, span in collector.spans if span.name.endswith("ApplyPartner")]
        assert len(calls) == 2
        accepted, refusal = calls
        queries = {span.name.split(".")[-1] for _, span in collector.spans if span.trace_id == accepted.trace_id}
        assert {"find", "insert", "commitTransaction"} <= queries
        assert {item.key: item.value.int_value for item in refusal.attributes}["rpc.grpc.status_code"] == 3


async def test_logs_are_json_lines_without_secrets(mongodb_uri: str, keys: Path, tmp_path: Path):
    process = ServiceProcess("partners", mongodb_uri, keys, tmp_path / "log")
    process.start()
    assert process.stop() == 0
    events = [json.loads(line) for line in process.log_text().splitlines()]
    assert {"listening", "serving", "stopping", "stopped"} <= {event["event"] for event in events}
    assert all(event["service"] == "partners" for event in events)
    assert (keys / "operator.secret").read_text() not in process.log_text()


async def test_a_service_counts_its_calls_and_what_they_cost_the_database(mongodb_uri: str, keys: Path, tmp_path: Path):
    address = f"127.0.0.1:{free_port()}"
    process = ServiceProcess("partners", mongodb_uri, keys, tmp_path / "log", ALLIANCE_METRICS_LISTEN=address)
    process.start()
    client = process.client(PartnersServiceStub)
    request = pb.ApplyPartnerRequest(request_id=request_id(), name="Counted", trade="grocer", country="NL")
    await client.call(client.stub.ApplyPartner, request, caller=ANYONE)
    request.country, request.request_id = "?", request_id()
    await refused(InvalidArgument, client.call(client.stub.ApplyPartner, request, caller=ANYONE))

    metrics = await metrics_when(address, lambda read: read.value("alliance_event_loop_lag_seconds_count") >= 1)
    method = "alliance.partners.v1.PartnersService/ApplyPartner"
    for status in ("OK", "INVALID_ARGUMENT"):
        labels = {"rpc_method": method, "rpc_response_status_code": status}
        assert metrics.value("rpc_server_call_duration_seconds_count", **labels) == 1
    assert metrics.value("alliance_requests_in_flight") == 0
    assert metrics.value("alliance_service_serving") == 1
    assert metrics.value("alliance_database_transactions_total", outcome="committed") == 1
    inserts = {"db_operation_name": "insert", "db_response_status_code": "OK"}
    assert metrics.value("db_client_operation_duration_seconds_count", **inserts) >= 1
    assert metrics.value("db_client_connection_count", db_client_connection_state="idle") >= 1
    assert process.stop() == 0


async def test_log_lines_are_sent_where_a_collector_wants_them(mongodb_uri: str, keys: Path, tmp_path: Path):
    with receiving() as collector:
        environment = collector.environment() | {"OTEL_LOGS_EXPORTER": "otlp"}
        process = ServiceProcess("partners", mongodb_uri, keys, tmp_path / "log", **environment)
        process.start()
        assert process.stop() == 0
    lines = {record.body.string_value: record for _, record in collector.logs.lines}
    assert lines["serving"].severity_text == "INFO"
    attributes = {item.key: item.value.string_value for item in lines["listening"].attributes}
    assert attributes["address"] == process.target
    printed = [json.loads(line)["event"] for line in process.log_text().splitlines()]
    # What is told after the last were sent stays in the process's own log.
    assert set(printed) - set(lines) <= {"stopped"}
