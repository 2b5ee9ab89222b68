"""Runs a plan: loads level by level, across all rows of a level at once, then makes the answer's bytes.

Rules are asked before anything is loaded behind them. A row that is refused, or that could not be loaded, drops out;
what else was asked for is loaded all the same, and the answer is then told by `walk`, with its errors.
"""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.engine.admit import sound
from gateway.engine.batch import Failed, Future, Outcomes
from gateway.engine.declare import Rule
from gateway.engine.plan import Load, Plan, Selection
from gateway.engine.project import Projector, Unfit
from gateway.engine.source import Arguments, Key
from gateway.engine.variables import Variables

_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Compiled:
    """A plan with the function that makes its answer."""

    plan: Plan
    project: Projector


async def run(compiled: Compiled, request: Any, variables: Variables) -> bytes | None:
    """The answer's `data`; None if something of it has to be told as an error, with all rows loaded that can be."""
    loading = _Loading(compiled.plan, request, variables)
    await loading.run()
    if loading.trouble:
        return None
    try:
        data = compiled.project(loading.rows, loading.keys, loading.behind, request)
        return orjson.dumps(data, option=orjson.OPT_STRICT_INTEGER)
    except (Unfit, LookupError, ValueError, TypeError, AttributeError, orjson.JSONEncodeError):
        # Something does not fit its type: told at its place by whoever looks at each value.
        return None


class _Loading:
    def __init__(self, plan: Plan, request: Any, variables: Variables) -> None:
        self._plan = plan
        self._request = request
        self._variables = variables
        self.rows: list[dict[Key, Any]] = [{} for _ in plan.loads]
        self.keys: list[Key] = [None] * len(plan.loads)
        self.behind: list[bool] = [False] * len(plan.loads)
        # Whether anything was refused, failed or did not fit.
        self.trouble = False

    async def run(self) -> None:
        level: list[tuple[Selection, list[Any]]] = [(self._plan.root, [None])]
        while level:
            wanted: list[tuple[Load, list[Any]]] = []
            for selection, rows in level:
                await self._gather(selection, rows, wanted)
            # What nobody has to be asked about goes out first.
            wanted.sort(key=_guarded)
            calls = [call for load, rows in wanted if (call := await self._begin(load, rows)) is not None]
            level = []
            for load, keys, loaded, coming in calls:
                if coming is not None:
                    outcomes = await coming
                    for key in keys:
                        if key not in loaded:
                            loaded[key] = outcomes[key]
                await self._end(load, keys, loaded, level)

    async def _gather(self, selection: Selection, rows: list[Any], wanted: list[tuple[Load, list[Any]]]) -> None:
        """The loads that these rows need, and those of all that is embedded in them."""
        for rule in selection.checks:
            await self._passing(rule, rows)
        wanted.extend((load, rows) for load in selection.loads)
        for part in selection.embedded:
            inner = part.rows(self._request, await self._passing(part.field_rule, rows))
            if part.row_rule is not None and part.filtered:
                inner = [row for row in inner if part.row_rule.shows(self._request, row)]
            else:
                inner = await self._passing(part.row_rule, inner)
            if inner:
                await self._gather(part.below, inner, wanted)

    async def _begin(self, load: Load, rows: list[Any]) -> tuple[Load, list[Key], Outcomes, Future | None] | None:
        """Sends for what the rows want; None if that is nothing, or nothing that the viewer may have."""
        if load.field_rule is not None:
            rows = await self._passing(load.field_rule, rows)
            if not rows:
                return None
        request = self._request
        try:
            arguments_of = load.entry.arguments
            given = arguments_of.values(self._variables) if arguments_of is not None else _NOTHING
            arguments: Arguments = load.arguments(request, given)
            keys = self._keys(load, rows, given)
            if not keys:
                return None
            if load.row_rule is not None and not load.source.paged:
                load.row_rule.enter(request)
        except Exception:
            self.trouble = True
            return None
        if load.key_rule is not None:
            keys = await self._passing_keys(load, load.key_rule, keys)
            if not keys:
                return None
        self.behind[load.number] = bool(given.get("after"))
        return load, keys, *request.load_all(load.source, keys, arguments)

    def _keys(self, load: Load, rows: list[Any], given: Mapping[str, Any]) -> list[Key]:
        if load.door is not None:
            key = self.keys[load.number] = load.door(self._request, given)
            if sound(key):
                return [key]
            for rule in (load.key_rule, load.row_rule):
                if rule is not None:
                    rule.enter(self._request)
            return []
        on, prefix = load.on, load.prefix
        keys = dict.fromkeys([getattr(row, on) for row in rows])
        if load.source.paged:
            return list(keys)
        return [key for key in keys if key and (not prefix or key.startswith(prefix))]

    async def _end(
        self, load: Load, keys: list[Key], outcomes: Outcomes, level: list[tuple[Selection, list[Any]]]
    ) -> None:
        """Takes what has come, and what is selected of it to the next level."""
        rows = self.rows[load.number]
        for key in keys:
            outcome = outcomes[key]
            if type(outcome) is Failed:
                self.trouble = True
            else:
                rows[key] = outcome
        if load.row_rule is None and all(below.idle for below in load.below):
            return
        found: list[Any]
        if load.source.paged:
            found = [row for page in rows.values() for row in page.rows]
        elif load.many:
            found = [row for part in rows.values() for row in part]
        else:
            found = [row for row in rows.values() if row is not None]
        if load.row_rule is not None:
            found = await self._passing(load.row_rule, found)
        if found:
            level.extend((below, found) for below in load.below if not below.idle)

    async def _passing(self, rule: Rule | None, rows: Iterable[Any]) -> list[Any]:
        """The rows that the viewer may see, or go on from."""
        if rule is None or rule.shows_all(self._request):
            return rows if isinstance(rows, list) else list(rows)
        passed = []
        pending: list[tuple[Any, Awaitable[None]]] = []
        for row in rows:
            try:
                answer = rule.check(self._request, row)
            except Exception:
                self.trouble = True
                continue
            passed.append(row)
            if answer is not None:
                pending.append((row, answer))
        if not pending:
            return passed
        refused = set()
        answers = await asyncio.gather(*(answer for _, answer in pending), return_exceptions=True)
        for (row, _), answer in zip(pending, answers, strict=True):
            if isinstance(answer, BaseException):
                if not isinstance(answer, Exception):
                    raise answer
                self.trouble = True
                refused.add(id(row))
        return [row for row in passed if id(row) not in refused]

    async def _passing_keys(self, load: Load, rule: Rule, keys: list[Key]) -> list[Key]:
        rows = [load.stand_in(key) for key in keys]
        part = load.source.by[0]
        return [getattr(row, part) for row in await self._passing(rule, rows)]


def _guarded(wanted: tuple[Load, list[Any]]) -> bool:
    load, _ = wanted
    return load.field_rule is not None or load.key_rule is not None
