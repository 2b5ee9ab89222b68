"""Cells that count, and the meter that has all of a process.

A cell belongs to one thread, the event loop's; others only read it, which needs no lock: a reading may be one event
behind. What is written by several threads (the database driver's) is guarded by whoever writes.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, NamedTuple, TypeVar

from services.shared.logs import log
from services.shared.metrics.definition import Definition, Kind

# Stands for all attributes of a series beyond the most that a metric may have.
OVERFLOW = "overflow"


class Count:
    """What only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0

    def add(self, amount: float = 1) -> None:
        """Counts."""
        self.value += amount


class Level:
    """What goes up and down."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0

    def add(self, amount: float) -> None:
        """Goes up, or down."""
        self.value += amount

    def set(self, value: float) -> None:
        """Is now."""
        self.value = value


class Distribution:
    """How values are spread over buckets, the last of which has no end."""

    __slots__ = ("_boundaries", "counts", "total")

    def __init__(self, boundaries: tuple[float, ...]) -> None:
        self._boundaries = boundaries
        self.counts = [0] * (len(boundaries) + 1)
        self.total = 0.0

    def record(self, value: float) -> None:
        """Adds a value."""
        self.counts[bisect_left(self._boundaries, value)] += 1
        self.total += value


Cell = TypeVar("Cell", Count, Level, Distribution)


class Instrument(Generic[Cell]):
    """One metric, with a cell for each combination of its attributes' values. Keep a cell that is used often."""

    def __init__(self, definition: Definition, make: Callable[[], Cell]) -> None:
        self.definition = definition
        self._make: Callable[[], Cell] = make
        self._cells: dict[tuple[str, ...], Cell] = {values: make() for values in definition.from_zero}

    def at(self, *values: str) -> Cell:
        """The cell of these values, in the order of the definition's attributes."""
        cell = self._cells.get(values)
        return self._new(values) if cell is None else cell

    def cells(self) -> list[tuple[tuple[str, ...], Cell]]:
        """All there are."""
        return list(self._cells.items())

    def _new(self, values: tuple[str, ...]) -> Cell:
        definition = self.definition
        if len(values) != len(definition.attributes):
            raise ValueError(f"{definition.name} has the attributes {', '.join(definition.attributes) or 'none'}")
        if len(self._cells) >= definition.most_series:
            values = (OVERFLOW,) * len(values)
        cell = self._cells.get(values)
        if cell is None:
            cell = self._cells[values] = self._make()
        return cell


class Spread(NamedTuple):
    """A distribution as it was read: how many in each bucket, and the sum of all values."""

    counts: tuple[int, ...]
    total: float


# A series' values, in the order of the definition's attributes, and what it stands at.
Point = tuple[tuple[str, ...], float | Spread]
# Reads what is known elsewhere: a number, or one for each of several attributes' values.
Observe = Callable[[], float | Iterable[tuple[tuple[str, ...], float]]]


class Reading(NamedTuple):
    """What a metric stands at."""

    definition: Definition
    points: list[Point]


class Meter:
    """All instruments of a process. Made once in `__main__`, handed to whatever counts."""

    def __init__(self) -> None:
        self._counters: dict[str, Instrument[Count]] = {}
        self._gauges: dict[str, Instrument[Level]] = {}
        self._histograms: dict[str, Instrument[Distribution]] = {}
        self._observed: list[tuple[Definition, Observe]] = []

    def counter(self, definition: Definition) -> Instrument[Count]:
        """The instrument of that definition; the same for whoever asks."""
        return self._counters.setdefault(_checked(definition, Kind.COUNTER).name, Instrument(definition, Count))

    def gauge(self, definition: Definition) -> Instrument[Level]:
        """The instrument of that definition; the same for whoever asks."""
        return self._gauges.setdefault(_checked(definition, Kind.GAUGE).name, Instrument(definition, Level))

    def histogram(self, definition: Definition) -> Instrument[Distribution]:
        """The instrument of that definition; the same for whoever asks."""
        _checked(definition, Kind.HISTOGRAM)
        made = Instrument(definition, lambda: Distribution(definition.boundaries))
        return self._histograms.setdefault(definition.name, made)

    def observe(self, definition: Definition, read: Observe) -> None:
        """Has a counter or gauge read when somebody asks, from another thread; for what is counted anyway."""
        if definition.kind is Kind.HISTOGRAM:
            raise ValueError(f"{definition.name}: a histogram cannot be read elsewhere")
        self._observed.append((definition, read))

    def collect(self) -> list[Reading]:
        """What everything stands at, by name; of what is made meanwhile, the next time."""
        readings = [
            Reading(each.definition, [(values, cell.value) for values, cell in each.cells()])
            for each in list(self._counters.values())
        ]
        readings += [
            Reading(each.definition, [(values, cell.value) for values, cell in each.cells()])
            for each in list(self._gauges.values())
        ]
        readings += [
            Reading(
                each.definition, [(values, Spread(tuple(cell.counts), cell.total)) for values, cell in each.cells()]
            )
            for each in list(self._histograms.values())
        ]
        observed: dict[str, Reading] = {}
        for definition, read in self._observed:
            observed.setdefault(definition.name, Reading(definition, [])).points.extend(_points(definition, read))
        return sorted([*readings, *observed.values()], key=lambda reading: reading.definition.name)


def attributes_of(definition: Definition, values: tuple[str, ...]) -> Mapping[str, str]:
    """A series' attributes by name."""
    return dict(zip(definition.attributes, values, strict=True))


def _points(definition: Definition, read: Observe) -> list[Point]:
    try:
        found = read()
        return [((), found)] if isinstance(found, int | float) else list(found)
    except Exception:
        # One number that cannot be had must not hide all others.
        log.exception("metric cannot be read", metric=definition.name)
        return []


def _checked(definition: Definition, kind: Kind) -> Definition:
    if definition.kind is not kind:
        raise ValueError(f"{definition.name} is a {definition.kind}, not a {kind}")
    return definition
