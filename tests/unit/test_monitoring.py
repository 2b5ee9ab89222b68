"""Rules, dashboards and runbooks go with the metrics and with each other; an alert fires when it should, else not."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.monitoring import catalogue, outside, rules
from deploy.monitoring.__main__ import files, stale
from deploy.monitoring.dashboards import dashboards
from services.shared.metrics.definition import Definition

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
RUNBOOKS = DEPLOY / "docs" / "runbooks"
PROMTOOL = shutil.which("promtool") or ""
needs_promtool = pytest.mark.skipif(
    not PROMTOOL, reason="promtool is not installed (Debian: apt-get install prometheus)"
)
# What stands in an expression and is no series.
_WORDS = {
    "and",
    "or",
    "unless",
    "bool",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "offset",
    "inf",
}


def names_in(expression: str) -> set[str]:
    """The series that an expression reads."""
    text = re.sub(r'"[^"]*"', "", expression)
    text = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", text)
    text = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", text)
    found = re.finditer(r"(?<![\w:.])([a-z_:][a-z0-9_:]*)\b(?!\s*\()", text, re.IGNORECASE)
    return {match[1] for match in found} - _WORDS


def test_what_is_made_from_code_is_fresh():
    assert stale() == []


def test_a_changed_file_is_found_to_be_old(tmp_path: Path):
    for path, text in files().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert stale(tmp_path) == []
    (tmp_path / "docs/metrics.md").write_text("something else")
    (tmp_path / "compose/rules.yaml").unlink()
    assert stale(tmp_path) == ["docs/metrics.md", "compose/rules.yaml"]


def test_metrics_have_names_of_their_own():
    everything = list(catalogue.everything())
    assert len({each.name for each in everything}) == len(everything)
    assert len({each.prometheus_name for each in everything}) == len(everything)


def test_every_metric_is_in_the_catalogue():
    sources = [
        path.read_text() for folder in ("gateway", "services") for path in (DEPLOY.parent / folder).rglob("*.py")
    ]
    named = {name for text in sources for name in re.findall(r'= (?:counter|gauge|histogram)\(\s*"([a-z._]+)"', text)}
    assert len(named) > 50
    assert named == {each.name for each in catalogue.everything()}


def test_names_in_an_expression():
    expression = 'sum by (le, a_b) (rate(x_bucket{job="y_total"}[5m])) / ignoring (c) z:d_5m > bool 0.5 and up == 1e3'
    assert names_in(expression) == {"x_bucket", "z:d_5m", "up"}


@pytest.mark.parametrize("rule", [*rules.all_records(), *rules.all_alerts()], ids=lambda rule: type(rule).__name__)
def test_rules_read_series_that_there_are(rule: Any):
    recorded = {each.record for each in rules.all_records()}
    names = names_in(rule.expression)
    assert names
    assert names <= catalogue.series() | recorded


@pytest.mark.parametrize("dashboard", dashboards(), ids=lambda dashboard: dashboard.uid)
def test_panels_read_series_that_there_are(dashboard: Any):
    recorded = {each.record for each in rules.all_records()}
    made = json.loads(dashboard.as_json())
    for panel in made["panels"]:
        for target in panel["targets"]:
            names = names_in(target["expr"])
            assert names, panel["title"]
            assert names <= catalogue.series() | recorded, panel["title"]
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24


def test_labels_that_are_asked_for_are_labels_of_the_metric():
    known = {name: set(each.labels) for each in catalogue.everything() for name in each.prometheus_series}
    known |= {each.name: set(each.labels) for each in outside.ALL}
    texts = [rule.expression for rule in (*rules.all_records(), *rules.all_alerts())]
    texts += [query for each in dashboards() for panel in each.panels for query in panel.queries.values()]
    asked = 0
    for text in texts:
        for name, matchers in re.findall(r"([a-z_:][a-z0-9_:]*)\{([^}]*)\}", text):
            labels = {label for label, _ in re.findall(r'(\w+)\s*[=!]~?\s*("[^"]*")', matchers)}
            if name in known:
                asked += 1
                assert labels <= known[name] | {"job", "instance", "le"}, text
    assert asked > 10


def chosen(expression: str) -> Iterator[tuple[Definition, str, str]]:
    """What an expression counts alone: the metric, its label and each of the values that it asks for."""
    of_series = {name: each for each in catalogue.everything() for name in each.prometheus_series}
    for name, matchers in re.findall(r"rate\(([a-z_:][a-z0-9_:]*)\{([^}]*)\}", expression):
        for label, values in re.findall(r'(\w+)=~?"([^"]*)"', matchers):
            if label not in ("job", "instance", "le"):
                yield from ((of_series[name], label, value) for value in values.split("|"))


@pytest.mark.parametrize("rule", [*rules.all_records(), *rules.all_alerts()], ids=lambda rule: type(rule).__name__)
def test_what_an_alert_counts_is_there_before_it_happens(rule: Any):
    # Commands without an answer are counted from 0 on, too, with the first answer to a command of that name.
    by_name = {"db.client.operation.duration"}
    for definition, label, value in chosen(rule.expression):
        place = definition.labels.index(label)
        known = {values[place] for values in definition.from_zero}
        assert value in known or definition.name in by_name, (
            f"{value} of {definition.name} is told with its first event"
        )


def test_what_is_not_there_before_it_happens_is_found():
    shed = chosen('sum(rate(alliance_gateway_limited_total{limit=~"rate|conections"}[5m]))')
    assert [(value, (value,) in each.from_zero) for each, _, value in shed] == [("rate", True), ("conections", False)]


def test_every_alert_has_a_runbook_and_every_runbook_an_alert():
    alerts = {alert.name for alert in rules.all_alerts()}
    assert {page.stem for page in RUNBOOKS.glob("*.md")} - {"README"} == alerts


@pytest.mark.parametrize("name", sorted({alert.name for alert in rules.all_alerts()}))
def test_a_runbook_says_what_where_how_and_when_over(name: str):
    text = (RUNBOOKS / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [
        "What it means",
        "What to look at",
        "What to do",
        "Over when",
    ]
    recorded = {each.record for each in rules.all_records()}
    for query in re.findall(r"^```promql\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in filter(None, query.splitlines()):
            assert names_in(line) <= catalogue.series() | recorded, line


def test_the_operators_resource_says_the_same():
    plain = yaml.safe_load((DEPLOY / "compose/rules.yaml").read_text())
    resource = yaml.safe_load((DEPLOY / "base/monitoring/rules.yaml").read_text())
    assert resource["spec"]["groups"] == plain["groups"]


def promtool(*arguments: str) -> str:
    """What it says is wrong; empty if nothing is."""
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@needs_promtool
def test_promtool_finds_nothing_wrong():
    assert promtool("check", "rules", str(DEPLOY / "compose/rules.yaml")) == ""
    assert promtool("check", "config", "--syntax-only", str(DEPLOY / "compose/prometheus.yaml")) == ""


OPS = "alliance_graphql_operation_duration_seconds"
QUERY = 'graphql_operation_type="query",field="member",job="gateway"'
RPC = 'rpc_server_call_duration_seconds_count{job="accounts",rpc_method="m"'
RPC_FAULTS = 'alliance_rpc_faults_total{job="accounts"'
HOLDS, CHECKED = "alliance_invariant_holds", "alliance_invariant_checked_time_seconds"


def operations(outcome: str, values: str) -> dict[str, str]:
    of_type = 'alliance_graphql_operations_total{graphql_operation_type="query",job="gateway"'
    return {f'{OPS}_count{{{QUERY},outcome="{outcome}"}}': values, f'{of_type},outcome="{outcome}"}}': values}


def buckets(series: str, labels: str, ends: dict[str, str]) -> dict[str, str]:
    return {f'{series}_bucket{{{labels},le="{end}"}}': values for end, values in ends.items()}


# By alert: series of an hour and a quarter, a value a minute, by which it fires, and by which it does not.
CASES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "GatewayAvailabilityBurn": (
        operations("ok", "0+980x75") | operations("failed", "0+20x75"),
        operations("ok", "0+999x75") | operations("partial", "0+1x75") | operations("refused", "0+500x75"),
    ),
    "GatewayLatencyBurn": (
        operations("ok", "0+100x75") | buckets(OPS, f'{QUERY},outcome="ok"', {"0.5": "0+70x75"}),
        operations("ok", "0+100x75") | buckets(OPS, f'{QUERY},outcome="ok"', {"0.5": "0+99x75"}),
    ),
    "OutboxFreshnessBurn": (
        {'alliance_outbox_oldest_age_seconds{job="accounts"}': "100x75"},
        {'alliance_outbox_oldest_age_seconds{job="accounts"}': "40x75"},
    ),
    "LedgerCommitBurn": (
        buckets("alliance_ledger_commit_duration_seconds", 'job="rewards"', {"0.25": "0+70x75"})
        | {'alliance_ledger_commit_duration_seconds_count{job="rewards"}': "0+100x75"},
        buckets("alliance_ledger_commit_duration_seconds", 'job="rewards"', {"0.25": "0+99x75"})
        | {'alliance_ledger_commit_duration_seconds_count{job="rewards"}': "0+100x75"},
    ),
    "ProcessDown": ({'up{job="gateway"}': "1x70 0x5"}, {'up{job="gateway"}': "1x75", 'up{job="else"}': "0x75"}),
    "ServiceNotServing": (
        {'alliance_service_serving{job="accounts"}': "0x75"},
        {'alliance_service_serving{job="accounts"}': "1x75"},
    ),
    # At the end of the hour and a quarter there are 5 hours and 45 minutes left, or 7.
    "CertificateNotRenewed": (
        {'alliance_tls_certificate_expires_time_seconds{job="accounts"}': "25200x75"},
        {'alliance_tls_certificate_expires_time_seconds{job="accounts"}': "25200x10 29640x65"},
    ),
    "RpcFaults": (
        # A dozen calls a minute, one of which fails.
        {
            f'{RPC},rpc_response_status_code="OK"}}': "0+12x75",
            f'{RPC_FAULTS},rpc_response_status_code="INTERNAL"}}': "0+1x75",
        },
        {
            f'{RPC},rpc_response_status_code="OK"}}': "0+95x75",
            f'{RPC},rpc_response_status_code="NOT_FOUND"}}': "0+9x75",
            f'{RPC_FAULTS},rpc_response_status_code="INTERNAL"}}': "0x75",
        },
    ),
    "GatewaySaturated": (
        {'alliance_requests_in_flight{job="gateway"}': "300x75"},
        {'alliance_requests_in_flight{job="gateway"}': "50x75"},
    ),
    "RequestsShed": (
        {
            'alliance_gateway_limited_total{limit="mutations in flight"}': "0+5x75",
            "http_server_request_duration_seconds_count": "0+100x75",
        },
        {
            'alliance_gateway_limited_total{limit="rate"}': "0+50x75",
            'alliance_gateway_limited_total{limit="connections"}': "0x75",
            "http_server_request_duration_seconds_count": "0+100x75",
        },
    ),
    "EventLoopBlocked": (
        buckets(
            "alliance_event_loop_lag_seconds", 'job="gateway"', {"0.2": "0+9x75", "1": "0+10x75", "+Inf": "0+10x75"}
        ),
        buckets("alliance_event_loop_lag_seconds", 'job="gateway"', {"0.01": "0+10x75", "+Inf": "0+10x75"}),
    ),
    "FileDescriptorsShort": (
        {"process_unix_file_descriptor_count": "900x75", "alliance_process_file_descriptors_max": "1000x75"},
        {"process_unix_file_descriptor_count": "90x75", "alliance_process_file_descriptors_max": "1000x75"},
    ),
    "OperationsWithoutPlan": (
        {'alliance_graphql_ways_total{way="abandoned"}': "0+60x75"},
        {'alliance_graphql_ways_total{way="uncompiled"}': "0+60x75"},
    ),
    "DatabaseFaults": (
        {'db_client_operation_duration_seconds_count{job="accounts",db_response_status_code="network"}': "0+60x75"},
        {'db_client_operation_duration_seconds_count{job="accounts",db_response_status_code="11000"}': "0+60x75"},
    ),
    "DatabaseSlow": (
        buckets(
            "db_client_operation_duration_seconds",
            'job="accounts",db_response_status_code="OK"',
            {"1": "0+9x75", "2.5": "0+10x75", "+Inf": "0+10x75"},
        ),
        buckets(
            "db_client_operation_duration_seconds",
            'job="accounts",db_response_status_code="OK"',
            {"0.01": "0+10x75", "+Inf": "0+10x75"},
        ),
    ),
    "DatabaseConnectionsShort": (
        {
            'db_client_connection_count{db_client_connection_state="used"}': "95x75",
            "db_client_connection_max": "100x75",
        },
        {
            'db_client_connection_count{db_client_connection_state="idle"}': "95x75",
            "db_client_connection_max": "100x75",
        },
    ),
    "TransactionConflicts": (
        {
            "alliance_database_transaction_retries_total": "0+50x75",
            'alliance_database_transactions_total{outcome="committed"}': "0+10x75",
        },
        {
            "alliance_database_transaction_retries_total": "0+5x75",
            'alliance_database_transactions_total{outcome="committed"}': "0+10x75",
        },
    ),
    "OutboxEventParked": (
        {'alliance_outbox_parked{job="accounts"}': "1x75"},
        {'alliance_outbox_parked{job="accounts"}': "0x75"},
    ),
    "OutboxUnwatched": (
        {'alliance_outbox_sampled_time_seconds{job="accounts"}': "0x75"},
        {'alliance_outbox_sampled_time_seconds{job="accounts"}': "0+60x75"},
    ),
    "LedgerBusy": ({"alliance_ledger_busy_total": "0+1x75"}, {"alliance_ledger_busy_total": "7x75"}),
    "LedgerProjectionBehind": (
        {'alliance_ledger_lag{job="rewards",partition="1"}': "45000x75"},
        {'alliance_ledger_lag{job="rewards",partition="1"}': "20000x75"},
    ),
    "SweeperStalled": (
        {'alliance_rewards_swept_time_seconds{job="rewards"}': "0x75"},
        {'alliance_rewards_swept_time_seconds{job="rewards"}': "0+60x75"},
    ),
    "JobFailed": (
        {'kube_job_failed{namespace="a",job_name="rewards-migrate-0-1-0",condition="true"}': "1x75"},
        {
            'kube_job_failed{namespace="a",job_name="rewards-migrate-0-1-0",condition="true"}': "0x75",
            'kube_job_failed{namespace="a",job_name="rewards-migrate-0-1-0",condition="false"}': "1x75",
            'kube_job_failed{namespace="a",job_name="rewards-invariants-29000000",condition="true"}': "1x75",
        },
    ),
    "JobUnfinished": (
        {'kube_job_status_active{namespace="a",job_name="mongodb-init"}': "1x75"},
        {'kube_job_status_active{namespace="a",job_name="mongodb-init"}': "1x40 0x35"},
    ),
    # Of a day, see below: one that never succeeded, and one that does every six hours.
    "BackupOverdue": (
        {'kube_cronjob_created{namespace="a",cronjob="backup"}': "0x1500"},
        {
            'kube_cronjob_created{namespace="a",cronjob="backup"}': "0x1500",
            'kube_cronjob_status_last_successful_time{namespace="a",cronjob="backup"}': "0x400 64800x1100",
        },
    ),
    "InvariantNotChecked": (
        {f'{CHECKED}{{job="rewards",invariant="ledger_log"}}': "0x1500"},
        {f'{CHECKED}{{job="rewards",invariant="ledger_log"}}': "0+60x1500"},
    ),
} | {
    alert.name: (
        {f'{HOLDS}{{job="any",{found[1]}}}': "0x75", f'{HOLDS}{{job="any",instance="2",{found[1]}}}': "1x75"},
        {f'{HOLDS}{{job="any",{found[1]}}}': "1x75", f'{HOLDS}{{job="any",invariant="another"}}': "0x75"},
    )
    for alert in rules.all_alerts()
    if (found := re.search(rf"{HOLDS}\{{(invariant=\"\w+\")\}}", alert.expression))
}


def test_every_alert_is_tested():
    assert set(CASES) == {alert.name for alert in rules.all_alerts()}


def said_of(folder: Path, group: Mapping[str, Any], tests: Sequence[Mapping[str, Any]]) -> str:
    """What promtool says of tests of one group of rules; empty if nothing is wrong."""
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": [group]}))
    (folder / "tests.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": list(tests)}))
    return promtool("test", "rules", str(folder / "tests.yaml"))


def case(series: Mapping[str, str], at: str, expression: str, expected: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "name": expression,
        "interval": "1m",
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "promql_expr_test": [{"expr": expression, "eval_time": at, "exp_samples": list(expected)}],
    }


@needs_promtool
@pytest.mark.parametrize("group", rules.groups()[1:], ids=lambda group: group["name"])
def test_each_alert_fires_when_it_should_and_else_not(group: dict[str, Any], tmp_path: Path):
    tests = []
    for name in dict.fromkeys(rule["alert"] for rule in group["rules"] if "alert" in rule):
        firing, quiet = CASES[name]
        at = "24h" if name in ("InvariantNotChecked", "BackupOverdue") else "74m"
        expression = f'group(ALERTS{{alertname="{name}",alertstate="firing"}})'
        tests.append(case(firing, at, expression, [{"labels": "{}", "value": 1}]))
        tests.append(case(quiet, at, expression, []))
    assert said_of(tmp_path, group, tests) == ""


@needs_promtool
def test_of_what_is_refused_no_more_is_told_than_all(tmp_path: Path):
    (group,) = [group for group in rules.groups() if group["name"] == "processes"]
    flood = {
        'alliance_gateway_limited_total{limit="connections"}': "0+900x75",
        "http_server_request_duration_seconds_count": "0+100x75",
    }
    (alert,) = [alert for alert in rules.all_alerts() if alert.name == "RequestsShed"]
    assert said_of(tmp_path, group, [case(flood, "74m", alert.expression, [{"labels": "{}", "value": 0.9}])]) == ""


@needs_promtool
def test_a_burning_budget_pages_and_says_in_which_window(tmp_path: Path):
    (group,) = [group for group in rules.groups() if group["name"] == "slo-gateway_availability"]
    firing, _ = CASES["GatewayAvailabilityBurn"]
    expression = 'count by (severity, window) (ALERTS{alertstate="firing",window="1h"})'
    expected = [{"labels": '{severity="page", window="1h"}', "value": 1}]
    assert said_of(tmp_path, group, [case(firing, "74m", expression, expected)]) == ""
