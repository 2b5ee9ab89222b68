"""Grafana's dashboards, as data."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.monitoring.slo import objectives
from gateway import metrics as of_gateway
from services.rewards import metrics as of_rewards
from services.shared.metrics import catalogue as of_all
from services.shared.metrics.definition import Definition

_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH, _HEIGHT = 24, 8


@dataclass(frozen=True)
class Panel:
    """A panel with its expressions, each by the legend of its lines."""

    title: str
    queries: Mapping[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    # Colours from which on something is wrong: (value, colour) in rising order.
    steps: tuple[tuple[float | None, str], ...] = ((None, "green"),)


@dataclass(frozen=True)
class Dashboard:
    """Panels, row after row."""

    uid: str
    title: str
    description: str
    panels: Sequence[Panel]

    def as_json(self) -> str:
        """As Grafana loads it."""
        content = {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["alliance"],
            "schemaVersion": 39,
            "editable": False,
            "refresh": "30s",
            "time": {"from": "now-3h", "to": "now"},
            "templating": {
                "list": [{"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}]
            },
            "links": [{"title": "Alliance", "type": "dashboards", "tags": ["alliance"], "asDropdown": True}],
            "panels": _placed(self.panels),
        }
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def dashboards() -> tuple[Dashboard, ...]:
    """All of them."""
    return (_overview(), _gateway(), _services(), _ledger(), _invariants())


def _overview() -> Dashboard:
    operations = of_gateway.OPERATIONS.prometheus_name
    red = ((None, "green"), (1.0, "orange"), (6.0, "red"))
    burns = {
        each.name: f"{each.recorded('1h')} / {1 - each.target:.6g}"  # how many times too fast the budget goes
        for each in objectives()
    }
    return Dashboard(
        "alliance-overview",
        "Alliance: overview",
        "Whether the alliance keeps its promises, and where to look if not.",
        (
            Panel("Budget burn in the last hour", burns, kind="stat", width=12, steps=red),
            Panel("Processes that answer", {"{{job}}": "sum by (job) (up)"}, kind="stat", width=12),
            Panel("Operations", {"{{outcome}}": f"sum by (outcome) (rate({operations}_count[5m]))"}, "reqps"),
            Panel("Duration of operations", _quantiles(of_gateway.OPERATIONS), "s"),
            Panel("Requests in flight", {"{{job}}": f"sum by (job) ({of_all.IN_FLIGHT.prometheus_name})"}, "short"),
            Panel(
                "Calls that fail through the service's fault",
                {
                    "{{job}}": "sum by (job) (job:rpc_server_calls:rate5m"
                    '{rpc_response_status_code=~"INTERNAL|UNKNOWN|UNAVAILABLE|DATA_LOSS|DEADLINE_EXCEEDED"})'
                },
                "reqps",
            ),
            Panel(
                "Age of the oldest event",
                {"{{job}}": f"max by (job) ({of_all.OUTBOX_OLDEST.prometheus_name})"},
                "s",
            ),
            Panel(
                "Invariants that do not hold",
                {"{{job}} {{invariant}}": f"min by (job, invariant) ({of_all.INVARIANT_HOLDS.prometheus_name}) == 0"},
            ),
        ),
    )


def _gateway() -> Dashboard:
    operations, http = of_gateway.OPERATIONS.prometheus_name, of_gateway.HTTP.prometheus_name
    documents = of_gateway.DOCUMENTS.prometheus_name
    hits = f'sum(rate({documents}{{cache="hit"}}[5m])) / sum(rate({documents}[5m]))'
    return Dashboard(
        "alliance-gateway",
        "Alliance: gateway",
        "What is asked, how long it takes, and in which way it is answered.",
        (
            Panel(
                "Operations by root field",
                {"{{field}}": f"topk(15, sum by (field) (rate({operations}_count[5m])))"},
                "reqps",
                width=12,
            ),
            Panel("99th percentile by root field", _slowest(of_gateway.OPERATIONS, "field"), "s", width=12),
            Panel(
                "Operations not answered in full",
                {
                    "{{field}} {{outcome}}": "sum by (field, outcome) "
                    f'(rate({operations}_count{{outcome=~"partial|failed"}}[5m])) > 0'
                },
                "reqps",
            ),
            Panel(
                "Requests refused",
                {"{{code}}": f"sum by (code) (rate({of_gateway.REFUSALS.prometheus_name}[5m]))"},
                "reqps",
            ),
            Panel(
                "HTTP by route and status",
                {
                    "{{http_route}} {{http_response_status_code}}": "sum by (http_route, http_response_status_code) "
                    f"(rate({http}_count[5m]))"
                },
                "reqps",
            ),
            Panel("Ways", {"{{way}}": f"sum by (way) (rate({of_gateway.WAYS.prometheus_name}[5m]))"}, "reqps"),
            Panel("Documents that were kept from before", {"share": hits}, "percentunit"),
            Panel(
                "Keys in a batch, on average",
                {
                    "{{source}}": f"sum by (source) (rate({of_gateway.BATCHES.prometheus_name}_sum[5m])) "
                    f"/ sum by (source) (rate({of_gateway.BATCHES.prometheus_name}_count[5m]))"
                },
            ),
            Panel("Calls to services", _slowest(of_all.RPC_CLIENT, "rpc_method", 'job="gateway"'), "s", width=12),
            Panel("Event loop, 99th percentile of lag", _slowest(of_all.LOOP_LAG, "instance", 'job="gateway"'), "s"),
        ),
    )


def _services() -> Dashboard:
    database = of_all.DATABASE
    return Dashboard(
        "alliance-services",
        "Alliance: services",
        "Rate, errors and duration of every RPC; the database, the outbox and the process behind it.",
        (
            Panel("Calls", {"{{job}}": "sum by (job) (job:rpc_server_calls:rate5m)"}, "reqps"),
            Panel(
                "Calls by status",
                {
                    "{{job}} {{rpc_response_status_code}}": "sum by (job, rpc_response_status_code) "
                    '(job:rpc_server_calls:rate5m{rpc_response_status_code!="OK"})'
                },
                "reqps",
            ),
            Panel(
                "Slowest methods, 99th percentile",
                {"{{job}} {{rpc_method}}": "topk(15, job:rpc_server_call_duration:p99_5m)"},
                "s",
            ),
            Panel("Database commands, 99th percentile", _slowest(database, "job, db_operation_name"), "s"),
            Panel(
                "Database commands that failed",
                {
                    "{{job}} {{db_operation_name}} {{db_response_status_code}}": "sum by (job, db_operation_name, "
                    f"db_response_status_code) (rate({database.prometheus_name}_count"
                    '{db_response_status_code!="OK"}[5m])) > 0'
                },
                "ops",
            ),
            Panel(
                "Connections in use",
                {"{{instance}}": f'{of_all.CONNECTIONS.prometheus_name}{{db_client_connection_state="used"}}'},
            ),
            Panel(
                "Attempts at a transaction beyond the first",
                {"{{job}}": f"sum by (job) (rate({of_all.TRANSACTION_RETRIES.prometheus_name}[5m]))"},
                "ops",
            ),
            Panel("Events that wait", {"{{job}}": f"max by (job) ({of_all.OUTBOX_WAITING.prometheus_name})"}),
            Panel(
                "Deliveries",
                {
                    "{{topic}} {{outcome}}": "sum by (topic, outcome) "
                    f"(rate({of_all.OUTBOX_ATTEMPTS.prometheus_name}[5m]))"
                },
                "ops",
            ),
            Panel(
                "Processor",
                {"{{instance}}": f"sum by (instance) (rate({of_all.PROCESS_CPU.prometheus_name}[5m]))"},
                "percentunit",
            ),
            Panel("Memory", {"{{instance}}": of_all.PROCESS_MEMORY.prometheus_name}, "bytes"),
            Panel("Event loop, 99th percentile of lag", _slowest(of_all.LOOP_LAG, "instance"), "s"),
            Panel(
                "Garbage collection, share of time",
                {"{{instance}}": f"rate({of_all.GC_PAUSES.prometheus_name}[5m])"},
                "percentunit",
            ),
            Panel("Streams open", {"{{rpc_method}}": f"sum by (rpc_method) ({of_all.STREAMS.prometheus_name})"}),
            Panel(
                "Certificates run out in",
                {"{{job}}": f"min by (job) ({of_all.CERTIFICATE_EXPIRES.prometheus_name}) - time()"},
                "s",
            ),
            Panel("Files open", {"{{instance}}": of_all.PROCESS_FILES.prometheus_name}),
        ),
    )


def _ledger() -> Dashboard:
    block, head, done = (each.prometheus_name for each in (of_rewards.BLOCK, of_rewards.HEAD, of_rewards.PROJECTED))
    return Dashboard(
        "alliance-ledger",
        "Alliance: ledger",
        "Commands, blocks, and how far the read models are behind.",
        (
            Panel("Commands", {"decided": f"sum(rate({block}_sum[5m]))"}, "ops"),
            Panel("Blocks", {"committed": f"sum(rate({block}_count[5m]))"}, "ops"),
            Panel("Commands in a block", {"on average": f"sum(rate({block}_sum[5m])) / sum(rate({block}_count[5m]))"}),
            Panel("Time to commit a block", _quantiles(of_rewards.COMMIT), "s"),
            Panel(
                "Commands that wait for a block",
                {"partition {{partition}}": f"max by (partition) ({of_rewards.QUEUE.prometheus_name})"},
            ),
            Panel(
                "Commands that were sent back",
                {"sent back": f"sum(rate({of_rewards.BUSY.prometheus_name}[5m]))"},
                "ops",
            ),
            Panel(
                "Read models: commands behind",
                {"partition {{partition}}": f"max by (partition) ({of_rewards.LAG.prometheus_name})"},
            ),
            Panel("Read models: blocks behind", {"partition {{partition}}": f"max by (partition) ({head} - {done})"}),
            Panel("Last block", {"partition {{partition}}": f"max by (partition) ({head})"}),
            Panel(
                "Since the last sweep",
                {"sweep": f"time() - max({of_rewards.SWEPT.prometheus_name})"},
                "s",
                width=12,
            ),
        ),
    )


def _invariants() -> Dashboard:
    holds, checked = of_all.INVARIANT_HOLDS.prometheus_name, of_all.INVARIANT_CHECKED.prometheus_name
    return Dashboard(
        "alliance-invariants",
        "Alliance: invariants",
        "What must hold on all that is stored: 1 it did when it was last checked, 0 it did not.",
        (
            Panel(
                "Holds",
                {"{{job}} {{invariant}}": f"min by (job, invariant) ({holds})"},
                kind="stat",
                width=24,
                steps=((None, "red"), (1.0, "green")),
            ),
            Panel(
                "Since the last check",
                {"{{job}} {{invariant}}": f"time() - max by (job, invariant) ({checked} > 0)"},
                "s",
                width=12,
            ),
            Panel(
                "How long a check takes",
                {"{{job}} {{invariant}}": f"max by (job, invariant) ({of_all.INVARIANT_DURATION.prometheus_name})"},
                "s",
                width=12,
            ),
            Panel("Events parked", {"{{job}}": f"max by (job) ({of_all.OUTBOX_PARKED.prometheus_name})"}, width=12),
            Panel(
                "Age of the oldest event",
                {"{{job}}": f"max by (job) ({of_all.OUTBOX_OLDEST.prometheus_name})"},
                "s",
                width=12,
            ),
        ),
    )


def _quantiles(definition: Definition) -> dict[str, str]:
    rate = f"sum by (le) (rate({definition.prometheus_name}_bucket[5m]))"
    return {f"p{share:.0%}".rstrip("%"): f"histogram_quantile({share}, {rate})" for share in (0.5, 0.95, 0.99)}


def _slowest(definition: Definition, by: str, where: str = "") -> dict[str, str]:
    legend = " ".join(f"{{{{{name.strip()}}}}}" for name in by.split(","))
    selected = f"{{{where}}}" if where else ""
    rate = f"sum by ({by}, le) (rate({definition.prometheus_name}_bucket{selected}[5m]))"
    return {legend: f"topk(15, histogram_quantile(0.99, {rate}))"}


def _placed(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    placed = []
    x = y = 0
    for number, panel in enumerate(panels, 1):
        if x + panel.width > _WIDTH:
            x, y = 0, y + _HEIGHT
        placed.append(_panel(number, panel, x, y))
        x += panel.width
    return placed


def _panel(number: int, panel: Panel, x: int, y: int) -> dict[str, Any]:
    steps = [{"value": value, "color": colour} for value, colour in panel.steps]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "datasource": _DATASOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": _HEIGHT},
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "targets": [
            {"refId": chr(ord("A") + place), "expr": expression, "legendFormat": legend, "datasource": _DATASOURCE}
            for place, (legend, expression) in enumerate(panel.queries.items())
        ],
    }
