"""Lets loads wait for others of the same source further down, where that makes no answer later: so that a document asks
each source once, however many of its levels name rows of it.

A load may wait as long as what is behind it has still time to be loaded in the levels that the plan has anyway.
"""

from collections.abc import Iterable

from gateway.engine.plan import Load, Selection


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
            self.levels[load] = level
            self.behind[load] = max((self.visit(below, level + 1) for below in load.below), default=0)
        inner = [self.visit(part.below, level) for part in selection.embedded]
        return max([*inner, *(self.behind[load] + 1 for load in selection.loads)], default=0)


def _meet(loads: Iterable[Load], places: _Places, deepest: int) -> None:
    level = max(places.levels[load] for load in loads)
    for load in loads:
        if deepest - 1 - places.behind[load] >= level:
            load.waits = level - places.levels[load]
