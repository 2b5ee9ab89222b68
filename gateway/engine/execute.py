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
from gateway.engine.derive import derive
from gateway.engine.plan import Derivation, Load, Plan, Selection
from gateway.engine.project import Projector, Unfit
from gateway.engine.reads import Rule
from gateway.engine.source import Arguments, Key, Source
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
        # Rows that others are to be made of, as soon as all is there that it takes.
        self._underway: list[tuple[Derivation, list[Any]]] = []
        # Loads that wait for others of their source, each with how many levels more.
        self._waiting: list[tuple[int, Load, list[Any]]] = []
        # Whether anything was refused, failed or did not fit.
        self.trouble = False

    async def run(self) -> None:
        level: list[tuple[Selection, list[Any]]] = [(self._plan.root, [None])]
        while level or self._underway or self._waiting:
            wanted: list[tuple[Load, list[Any]]] = []
            for selection, rows in level:
                if selection.flat:
                    wanted.extend([(load, rows) for load in selection.loads])
                else:
                    await self._gather(selection, rows, wanted)
            calls: list[tuple[Load | None, list[Key], Outcomes, Future | None]] = []
            if self._underway:
                for source, missing in (await self._derive(wanted)).items():
                    calls.append((None, list(missing), *self._request.load_all(source, missing)))
            if self._plan.waits:
                wanted = self._due(wanted)
            if len(wanted) > 1:
                # What nobody has to be asked about goes out first.
                wanted.sort(key=self._guarded)
            for load, rows in wanted:
                allowed = rows if self._open(load.field_rule) else await self._passing(load.field_rule, rows)
                asked = self._asked(load, allowed) if allowed else None
                if asked is None:
                    continue
                keys, arguments = asked
                if not self._open(load.key_rule):
                    keys = await self._passing_keys(load, load.key_rule, keys)
                if keys:
                    calls.append((load, keys, *self._request.load_all(load.source, keys, arguments)))
                    if load.beside:
                        # All that is to be known of the rows that they join.
                        known = [load.stand_in(key) for key in keys]
                        wanted.extend([(join, known) for join in load.beside])
            level = []
            for asked_by, keys, loaded, coming in calls:
                if coming is not None:
                    outcomes = await coming
                    for key in keys:
                        if key not in loaded:
                            loaded[key] = outcomes[key]
                if asked_by is None:
                    continue
                load = asked_by
                self._take(load, keys, loaded)
                if load.row_rule is None and load.shallow:
                    continue
                found = self._found(load)
                if not self._open(load.row_rule):
                    found = await self._passing(load.row_rule, found)
                if found:
                    level.extend([(below, found) for below in load.below if not below.idle])

    def _due(self, wanted: list[tuple[Load, list[Any]]]) -> list[tuple[Load, list[Any]]]:
        """What is to be loaded in this level; the rest waits, unless nothing else is left to wait for."""
        later = [(levels - 1, load, rows) for levels, load, rows in self._waiting]
        later += [(load.waits, load, rows) for load, rows in wanted]
        now = [(load, rows) for levels, load, rows in later if levels <= 0]
        self._waiting = [one for one in later if one[0] > 0]
        if now or self._underway:
            return now
        now = [(load, rows) for _, load, rows in self._waiting]
        self._waiting = []
        return now

    async def _gather(self, selection: Selection, rows: list[Any], wanted: list[tuple[Load, list[Any]]]) -> None:
        """The loads that these rows need, and those of all that is embedded in them."""
        for rule in selection.checks:
            await self._passing(rule, rows)
        wanted.extend((load, rows) for load in selection.loads)
        for derivation in selection.derivations:
            self._underway.append((derivation, await self._passing(derivation.field_rule, rows)))
        for part in selection.embedded:
            inner = part.rows(self._request, await self._passing(part.field_rule, rows))
            if part.row_rule is not None and part.filtered:
                inner = [row for row in inner if part.row_rule.shows(self._request, row)]
            else:
                inner = await self._passing(part.row_rule, inner)
            if inner:
                await self._gather(part.below, inner, wanted)

    async def _derive(self, wanted: list[tuple[Load, list[Any]]]) -> dict[Source, dict[Key, None]]:
        """Makes what can be made by now, and gathers the loads behind it; what is missing for the rest, by source.

        Rows of one place are gone on from together, so that what is behind them shares its calls.
        """
        missing: dict[Source, dict[Key, None]] = {}
        waiting: list[tuple[Derivation, list[Any]]] = []
        while self._underway:
            derivation, rows = self._underway.pop()
            found: list[Any] = []
            complete = True
            for row in rows:
                try:
                    made, lacking = derive(derivation.read, self._request, row)
                except Exception:
                    self.trouble = True
                    continue
                for source, key in lacking:
                    missing.setdefault(source, {})[key] = None
                    complete = False
                if made is not None:
                    found.append(made)
            if not complete:
                waiting.append((derivation, rows))
            elif found and not derivation.below.idle:
                await self._gather(derivation.below, found, wanted)
        self._underway = waiting
        return missing

    def _asked(self, load: Load, rows: list[Any]) -> tuple[list[Key], Arguments] | None:
        """What to ask for; None if that is nothing, or nothing that a viewer of this kind may have."""
        request = self._request
        try:
            arguments_of = load.entry.arguments
            given = arguments_of.values(self._variables) if arguments_of is not None else _NOTHING
            arguments: Arguments = load.arguments(request, given)
            self.behind[load.number] = bool(given.get("after"))
            keys = self._keys(load, rows, given)
            if not keys:
                return None
            if load.row_rule is not None and not load.source.paged:
                load.row_rule.enter(request)
        except Exception:
            self.trouble = True
            return None
        return keys, arguments

    def _keys(self, load: Load, rows: list[Any], given: Mapping[str, Any]) -> list[Key]:
        if load.door is not None:
            key = self.keys[load.number] = load.door(self._request, given)
            if sound(key):
                return [key]
            for rule in (load.key_rule, load.row_rule):
                if rule is not None:
                    rule.enter(self._request)
            return []
        if load.pick is not None:
            picked = self.keys[load.number] = load.pick(given)
            if None in picked:
                self.trouble = True
            return list(dict.fromkeys([one[1] for one in picked if one is not None and one[0] == load.of_type]))
        on, prefix = load.on, load.prefix
        keys = dict.fromkeys([getattr(row, on) for row in rows])
        if load.source.paged:
            if "" in keys:
                # A row that has no such list.
                del keys[""]
                self.rows[load.number][""] = load.source.missing()
            return list(keys)
        return [key for key in keys if key and (not prefix or key.startswith(prefix))]

    def _take(self, load: Load, keys: list[Key], outcomes: Outcomes) -> None:
        """Keeps the rows that have come."""
        rows = self.rows[load.number]
        for key in keys:
            outcome = outcomes[key]
            if type(outcome) is Failed:
                self.trouble = True
            else:
                rows[key] = outcome

    def _found(self, load: Load) -> list[Any]:
        """All rows that a load has brought."""
        rows = self.rows[load.number]
        if load.source.paged:
            return [row for page in rows.values() for row in page.rows]
        if load.many:
            return [row for part in rows.values() for row in part]
        return [row for row in rows.values() if row is not None]

    def _open(self, rule: Rule | None) -> bool:
        """Whether the viewer sees all that the rule is for."""
        return rule is None or rule.shows_all(self._request)

    def _guarded(self, wanted: tuple[Load, list[Any]]) -> bool:
        load, _ = wanted
        return not (self._open(load.field_rule) and self._open(load.key_rule))

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

    async def _passing_keys(self, load: Load, rule: Rule | None, keys: list[Key]) -> list[Key]:
        rows = [load.stand_in(key) for key in keys]
        part = load.source.by[0]
        return [getattr(row, part) for row in await self._passing(rule, rows)]
