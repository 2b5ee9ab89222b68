"""All rules, as Prometheus reads them and as the Prometheus operator's resource."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import yaml

from deploy.monitoring import alerts
from deploy.monitoring.alert import Alert, Rule
from deploy.monitoring.slo import objectives
from services.shared.metrics import catalogue as of_all

_HEADER = "# Written by `make metrics`, from deploy/monitoring; edit that.\n"
# The autoscalers' metric; and what dashboards ask for over and over.
_HANDY = (
    Rule(
        "job:rpc_server_calls:rate5m",
        f"sum by (job, rpc_method, rpc_response_status_code) (rate({of_all.RPC_SERVER.prometheus_name}_count[5m]))",
    ),
    Rule(
        "job:rpc_server_call_duration:p99_5m",
        "histogram_quantile(0.99, sum by (job, rpc_method, le) "
        f"(rate({of_all.RPC_SERVER.prometheus_name}_bucket[5m])))",
    ),
)


# The alerts that are not about an objective, by their group.
_CAUSES: Mapping[str, Callable[[], Iterable[Alert]]] = {
    "processes": alerts.processes,
    "stores": alerts.stores,
    "outboxes": alerts.outboxes,
    "ledger": alerts.ledger,
    "invariants": alerts.invariants,
    "jobs": alerts.jobs,
}


def all_alerts() -> list[Alert]:
    """Those of the objectives, and the others."""
    groups = [build() for build in _CAUSES.values()]
    return [*(alert for each in objectives() for alert in each.alerts()), *(a for group in groups for a in group)]


def all_records() -> list[Rule]:
    """Every series that rules make."""
    return [*_HANDY, *(rule for each in objectives() for rule in each.rules())]


def groups() -> list[dict[str, Any]]:
    """The groups in which Prometheus evaluates them: each in order, at its own pace."""
    return [
        _group("rates", _HANDY),
        *(_group(f"slo-{each.name}", [*each.rules(), *each.alerts()]) for each in objectives()),
        *(_group(name, build()) for name, build in _CAUSES.items()),
    ]


def for_prometheus() -> str:
    """A rules file."""
    return _HEADER + _dump({"groups": groups()})


def for_kubernetes() -> str:
    """A PrometheusRule of the Prometheus operator."""
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "alliance"},
        "spec": {"groups": groups()},
    }
    return _HEADER + _dump(resource)


def _group(name: str, rules: Iterable[Rule | Alert]) -> dict[str, Any]:
    return {"name": name, "interval": "30s", "rules": [rule.as_prometheus() for rule in rules]}


def _dump(content: dict[str, Any] | Sequence[Any]) -> str:
    text: str = yaml.safe_dump(content, sort_keys=False, width=1_000, allow_unicode=True)
    return text
