"""All metrics that the alliance's processes have, and the page that lists them."""

from collections.abc import Iterator, Mapping, Sequence

from deploy.monitoring import outside
from gateway import metrics as of_gateway
from gateway.live import measures as of_subscriptions
from services.rewards import metrics as of_rewards
from services.shared.metrics import catalogue as of_all
from services.shared.metrics.definition import Definition, Kind

OWNERS: Mapping[str, Sequence[Definition]] = {
    "Every process, or every service": tuple(of_all.definitions(of_all)),
    "The gateway": (*of_all.definitions(of_gateway), *of_all.definitions(of_subscriptions)),
    "The rewards service": tuple(of_all.definitions(of_rewards)),
}
# Prometheus makes it itself, of each process that it reads.
UP = "up"

_INTRODUCTION = """# Metrics

Every process counts, and answers `GET /metrics` at `ALLIANCE_METRICS_LISTEN` (port 9464 in the manifests), a port of
its own that callers cannot reach. With `OTEL_METRICS_EXPORTER=otlp` and an OTLP endpoint they are sent there as well,
under the names in the second column. Counting a value takes about 0.2 µs.

Names and attributes are OpenTelemetry's semantic conventions where those have one. Values of attributes come from
bounded sets; beyond 500 combinations a metric counts the rest together, as `overflow`. Prometheus adds `job`, the name
of the process, and `instance`. Written by `make metrics`; edit the definitions, not this page.
"""
_FROM_OTHERS = f"""
## Read, and made by others

By [kube-state-metrics]({outside.SOURCE}), of Jobs and CronJobs. Let Prometheus read it
with `honor_labels: true`, so that `namespace` is that of the object.

| Prometheus | labels | what it says |
|---|---|---|
"""


def everything() -> Iterator[Definition]:
    """All definitions."""
    return (definition for definitions in OWNERS.values() for definition in definitions)


def series() -> frozenset[str]:
    """The names of all time series that rules and panels may read."""
    ours = {name for each in everything() for name in each.prometheus_series}
    return frozenset({UP, "target_info"} | ours | {each.name for each in outside.ALL})


def page() -> str:
    """The catalogue for people, in Markdown."""
    parts = [_INTRODUCTION]
    for owner, definitions in OWNERS.items():
        parts.append(f"\n## {owner}\n\n| Prometheus | OpenTelemetry | kind, unit | what it says |\n|---|---|---|---|\n")
        parts += [_row(definition) for definition in definitions]
    parts.append(_FROM_OTHERS)
    parts += [f"| `{each.name}` | {', '.join(each.labels)} | {each.meaning} |\n" for each in outside.ALL]
    return "".join(parts)


def _row(definition: Definition) -> str:
    text = definition.description
    for label, (name, values) in zip(definition.labels, definition.attributes.items(), strict=True):
        written = f"`{label}`" if label == name else f"`{label}` (`{name}`)"
        text += f"<br>{written}: {values}"
    if definition.kind is Kind.HISTOGRAM:
        text += f"<br>buckets up to {', '.join(f'{end:g}' for end in definition.boundaries)}"
    return (
        f"| `{definition.prometheus_name}` | `{definition.name}` | {definition.kind}, `{definition.unit}` "
        f"| {text.replace('|', '/')} |\n"
    )
