"""What a process tells Prometheus."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families

POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Metrics:
    """One reading: samples by name, each with its labels."""

    samples: dict[str, list[tuple[dict[str, str], float]]]

    def value(self, series: str, **labels: str) -> float:
        """The sum of the series' samples with these labels; 0 if there are none."""
        return sum(
            value for found, value in self.samples.get(series, []) if all(found.get(k) == v for k, v in labels.items())
        )

    def labels(self, series: str, name: str) -> set[str]:
        """The values of a label."""
        return {labels[name] for labels, _ in self.samples.get(series, [])}


async def read_metrics(address: str) -> Metrics:
    """GET /metrics there."""
    # Certificates are not looked at, and loading them would take longer than all the rest.
    async with httpx.AsyncClient(timeout=60, trust_env=False, verify=False) as http:  # noqa: S501
        answer = await http.get(f"http://{address}/metrics")
    answer.raise_for_status()
    samples: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
    return Metrics(samples)


async def metrics_when(address: str, holds: Callable[[Metrics], bool], within_seconds: float = 60) -> Metrics:
    """The first reading of which the condition holds; AssertionError if there is none in time."""
    until = time.monotonic() + within_seconds
    while not holds(metrics := await read_metrics(address)):
        assert time.monotonic() < until, "the condition did not come to hold in time"
        await asyncio.sleep(POLL_SECONDS)
    return metrics
