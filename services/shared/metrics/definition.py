"""What a metric is, as data: the catalogue is made of these."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

# Seconds, for what a person or another service waits for.
LATENCY_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# How many of something go together.
SIZES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0)

_UNITS = {"s": "seconds", "By": "bytes", "1": "ratio"}


class Kind(StrEnum):
    """How a metric moves."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, eq=False)
class Definition:
    """One metric. `attributes` says of each what its values are; they have to come from a bounded set."""

    name: str
    kind: Kind
    unit: str
    description: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    boundaries: tuple[float, ...] = ()
    # Attributes' values that are told from the start, at 0: of a count that begins with its first event Prometheus sees
    # no increase, so that an alert would miss it.
    from_zero: tuple[tuple[str, ...], ...] = ()
    # More combinations of attributes than these are counted together, so that no caller can fill the memory.
    most_series: int = 500

    def __post_init__(self) -> None:
        if (self.kind is Kind.HISTOGRAM) != bool(self.boundaries):
            raise ValueError(f"{self.name}: a histogram has boundaries, and nothing else has")
        if any(len(values) != len(self.attributes) for values in self.from_zero):
            raise ValueError(f"{self.name}: what begins at 0 has a value for each attribute")
        if not self.description.endswith("."):
            raise ValueError(f"{self.name}: say in a sentence what it is")

    @property
    def prometheus_name(self) -> str:
        """As OpenTelemetry maps it: underscores, the unit, and `_total` for what only grows."""
        name = self.name.replace(".", "_")
        unit = _UNITS.get(self.unit, "")
        if unit and not (self.unit == "1" and self.kind is not Kind.GAUGE) and not name.endswith(f"_{unit}"):
            name = f"{name}_{unit}"
        return f"{name}_total" if self.kind is Kind.COUNTER and not name.endswith("_total") else name

    @property
    def prometheus_series(self) -> tuple[str, ...]:
        """The names of the time series that Prometheus has of it."""
        name = self.prometheus_name
        return (f"{name}_bucket", f"{name}_sum", f"{name}_count") if self.kind is Kind.HISTOGRAM else (name,)

    @property
    def labels(self) -> tuple[str, ...]:
        """The attributes' names as Prometheus has them."""
        return tuple(name.replace(".", "_") for name in self.attributes)


def counter(name: str, unit: str, description: str, **options: object) -> Definition:
    """What only grows: how often, how much."""
    return Definition(name, Kind.COUNTER, unit, description, **options)  # type: ignore[arg-type]


def gauge(name: str, unit: str, description: str, **options: object) -> Definition:
    """What goes up and down: how many now."""
    return Definition(name, Kind.GAUGE, unit, description, **options)  # type: ignore[arg-type]


def histogram(
    name: str,
    unit: str,
    description: str,
    *,
    attributes: Mapping[str, str] | None = None,
    boundaries: tuple[float, ...] = LATENCY_SECONDS,
) -> Definition:
    """How values are spread: how long, how large."""
    return Definition(name, Kind.HISTOGRAM, unit, description, attributes or {}, boundaries)
