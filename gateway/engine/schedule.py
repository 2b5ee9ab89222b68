"""When loads begin.

A join by the very key that the rows above it are loaded by need not wait for them: `member(id)` knows already whose
wallet is asked for. It is loaded beside them, a level earlier; if there is no such row, it shows nowhere.

And loads wait for others of the same source further down, where that makes no answer later: so that a document asks
each source once, however many of its levels name rows of it. A load may wait as long as what is behind it has still
time to be loaded in the levels that the plan has anyway.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from gateway.engine.plan import Load, Selection


def hasten(loads: Sequence[Load]) -> None:
    """Has what need not wait for the rows above it loaded beside them; but nothing that others further down read, too,
    since they would ask its source once more.
    """
    readers = Counter(load.source.name for load in loads)
    for load in loads:
        if load.row_rule is not None or load.source.nodes or len(load.source.by) != 1:
            # Which rows there are to go on from is not known beforehand.
            continue
        early = [join for below in load.below for join in below.loads if _by_key(join, load)]
        here = Counter(join.source.name for join in early)
        load.beside = [join for join in early if here[join.source.name] == readers[join.source.name]]
        for below in load.below:
            below.loads = [join for join in below.loads if join not in load.beside]


def _by_key(join: Load, above: Load) -> bool:
    """Whether a row's key is all that it takes to load a join, and to decide who may."""
    (key,) = above.source.by
    return join.on == key and (join.field_rule is None or join.field_rule.fields <= {key})


def schedule(root: Selection) -> bool:
    """Sets how many levels loads wait; whether any does."""
    places = _Places()
    deepest = places.visit(root, 0)
    by_source: dict[object, list[Load]] = {}
    for load in places.levels:
        if not load.source.paged:
            by_source.setdefault(load.source, []).append(load)
    for loads in by_source.values():
        _meet(loads, places, deepest)
    return any(load.waits for load in places.levels)


class _Places:
    def __init__(self) -> None:
        self.levels: dict[Load, int] = {}
        # How many levels of loads are behind a load.
        self.behind: dict[Load, int] = {}

    def visit(self, selection: Selection, level: int) -> int:
        """How many levels of loads there are from here on, without those that only derived rows will know of."""
        for load in selection.loads:
            self._place(load, level)
        inner = [self.visit(part.below, level) for part in selection.embedded]
        return max([*inner, *(self.behind[load] + 1 for load in selection.loads)], default=0)

    def _place(self, load: Load, level: int) -> None:
        self.levels[load] = level
        for join in load.beside:
            self._place(join, level)
        behind = [self.visit(below, level + 1) for below in load.below]
        self.behind[load] = max([*behind, *(self.behind[join] for join in load.beside)], default=0)


def _meet(loads: Iterable[Load], places: _Places, deepest: int) -> None:
    level = max(places.levels[load] for load in loads)
    for load in loads:
        if deepest - 1 - places.behind[load] >= level:
            load.waits = level - places.levels[load]
