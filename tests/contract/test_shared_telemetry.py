"""Traces leave a service by OTLP when a collector is named, and its logs carry their ids."""

import json
from pathlib import Path

from alliance.partners.v1 import partners_pb2 as pb
from alliance.partners.v1.partners_pb2_grpc import PartnersServiceStub
from services.shared.errors import InvalidArgument
from tests.support.errors import refused
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
