"""Who sees what, found out by asking: every field of every type, by its shortest way from a door, as every kind of
viewer, in both ways of answering. Written as tables that people can read."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from graphql import (
    ExecutionResult,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_leaf_type,
    is_required_argument,
)

from gateway.asked import Asked
from gateway.backends import Backends
from gateway.callers import Session
from gateway.context import Request
from gateway.engine.document import Documents
from gateway.engine.reads import Mutation
from gateway.engine.resolve import callers, field_declaration, type_declaration
from gateway.http import formatted
from gateway.limits import Account
from gateway.live.live import Live
from gateway.live.subscription import Ended
from services.shared.identity import Caller

YES, HIDDEN = "yes", "null"
WORDS = {"UNAUTHENTICATED": "sign in", "FORBIDDEN": "no", "CONSENT_REQUIRED": "consent"}
# Parts of pages, shown at the lists that have them.
_PARTS = ("Connection", "Edge", "PageInfo")
_AT_ONCE = 40
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Way:
    """How to come to the rows of a type: the fields to go through, each with its arguments."""

    steps: tuple[str, ...] = ()
    # Whether it begins with what is followed, instead of asked for.
    live: bool = False

    def to(self, step: str) -> "Way":
        return Way((*self.steps, step), self.live)

    def document(self, alias: str, last: str) -> str:
        first, *rest = (*self.steps, last)
        opened = " { ".join([f"{alias}: {first}", *rest])
        return opened + " }" * len(rest)

    def __str__(self) -> str:
        return " . ".join(step.partition("(")[0] for step in self.steps)


@dataclass
class Matrix:
    """The schema's types with their ways, and what comes of each field for each viewer."""

    schema: GraphQLSchema
    # The arguments by which doors lead to rows that are there.
    doors: Mapping[str, str]
    # ... and for what can be followed, the ways to do so: each with its name, in the order of the schema.
    streams: Mapping[str, str] = field(default_factory=dict)
    # Fields, and all fields of types, that are asked for by another way than the shortest, since there they are empty.
    instead: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ways: dict[str, Way] = field(default_factory=dict)

    def __post_init__(self) -> None:
        root: Any = self.schema.query_type
        self.ways[root.name] = Way()
        self._spread(root)
        for followed in self.streams.values():
            type: Any = get_named_type(self.schema.subscription_type.fields[followed.partition("(")[0]].type)  # type: ignore[union-attr]
            if type.name not in self.ways:
                self.ways[type.name] = Way((followed,), live=True)
                self._spread(type)

    def _spread(self, root: Any) -> None:
        """Finds ways to all that can be come to from a type."""
        pending = deque([root])
        while pending:
            type = pending.popleft()
            for name, of in type.fields.items():
                named = get_named_type(of.type)
                step = self._step(type, name, of)
                if step is None or not isinstance(named, GraphQLObjectType) or named.name in self.ways:
                    continue
                self.ways[named.name] = self.ways[type.name].to(step)
                pending.append(named)

    def fields(self) -> Iterator[tuple[GraphQLObjectType, str, GraphQLField]]:
        """All fields of all types that can be come to by asking."""
        for name in sorted(self.ways):
            type: Any = self.schema.type_map[name]
            if not name.endswith(_PARTS):
                yield from ((type, part, of) for part, of in type.fields.items() if not part.startswith("_"))

    def questions(self) -> dict[str, str]:
        """For each `Type.field` a part of a document that asks for it."""
        return self._questions(live=False)

    def events(self) -> dict[str, str]:
        """For each `Type.field` that only subscriptions lead to, and for each of them, what a subscription asks for."""
        return {
            **{name: f"ALIAS: {followed} {{ __typename }}" for name, followed in self.streams.items()},
            **self._questions(live=True),
        }

    def _questions(self, *, live: bool) -> dict[str, str]:
        asked = {}
        for type, name, of in self.fields():
            if self.way(type.name, name).live is not live:
                continue
            step = self._step(type, name, of)
            if step is None:
                raise AssertionError(f"{type.name}.{name} needs arguments; say which in `doors`")
            named = get_named_type(of.type)
            if is_leaf_type(named):
                below = ""
            else:
                below = " { nodes { __typename } }" if named.name.endswith("Connection") else " { __typename }"
            asked[f"{type.name}.{name}"] = self.way(type.name, name).document("ALIAS", step + below)
        return asked

    def way(self, type: str, name: str) -> Way:
        """How to come to a field."""
        instead = self.instead.get(f"{type}.{name}") or self.instead.get(type)
        if instead is None:
            return self.ways[type]
        door, *rest = instead
        return Way((f"{door}({self.doors[door]})", *rest))

    def _step(self, type: Any, name: str, of: GraphQLField) -> str | None:
        if name.startswith("_"):
            return None
        if type is self.schema.query_type and name in self.doors:
            return f"{name}({self.doors[name]})"
        return None if any(is_required_argument(argument) for argument in of.args.values()) else name


@dataclass
class Asker:
    """Asks both ways."""

    documents: Documents
    backends: Backends

    async def outcomes(self, questions: Mapping[str, str], viewer: Caller) -> dict[str, str]:
        """What comes of each question."""
        found: dict[str, str] = {}
        names = list(questions)
        for start in range(0, len(names), _AT_ONCE):
            part = names[start : start + _AT_ONCE]
            asked = " ".join(questions[name].replace("ALIAS", f"a{number}") for number, name in enumerate(part))
            answer = await self._answer("{ " + asked + " }", viewer)
            for number, name in enumerate(part):
                found[name] = _outcome(answer, f"a{number}")
        return found

    async def _answer(self, text: str, viewer: Caller) -> dict[str, Any]:
        operation = self.documents.operation(self.documents.prepare(text), None)
        before = self.documents.ways.uncompiled
        planned = as_json(await self.documents.answer(operation, {}, Request(viewer, self.backends, "r")))
        assert self.documents.ways.uncompiled == before, text
        interpreted = as_json(await self.documents.interpret(operation, {}, Request(viewer, self.backends, "r")))
        assert planned["data"] == interpreted["data"]
        assert told(planned) == told(interpreted)
        return planned


@dataclass
class Follower:
    """Subscribes, and takes the first event."""

    live: Live

    async def outcomes(self, questions: Mapping[str, str], viewer: Caller) -> dict[str, str]:
        """What comes of each question."""
        return {name: _outcome(await self._first(question, viewer), "a") for name, question in questions.items()}

    async def _first(self, question: str, viewer: Caller) -> dict[str, Any]:
        text = "subscription { " + question.replace("ALIAS", "a") + " }"
        begun = await self.live.begin(Asked(text, None, {}), Session(viewer, None, "r", Account(()), "client"))
        if isinstance(begun, Ended):
            return _refused(begun)
        with begun:
            told = await begun.next(_PATIENCE_SECONDS)
        assert told is not None, text
        return _refused(told) if isinstance(told, Ended) else dict(orjson.loads(told.body))


def _refused(ended: Ended) -> dict[str, Any]:
    """As an answer whose only field is refused."""
    return {"data": None, "errors": [{"path": ["a"], **error} for error in orjson.loads(ended.errors)]}


def as_json(answer: bytes | ExecutionResult) -> dict[str, Any]:
    """As the HTTP layer writes it."""
    if isinstance(answer, bytes):
        return {"data": orjson.loads(answer)}
    errors = [formatted(error, "BAD_USER_INPUT", "r") for error in answer.errors or ()]
    return dict(orjson.loads(orjson.dumps({"data": answer.data, "errors": errors})))


def told(answer: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The errors of an answer, in one order."""
    return sorted((str(error["path"]), error["extensions"]["code"]) for error in answer.get("errors", ()))


def _outcome(answer: Mapping[str, Any], alias: str) -> str:
    for error in answer.get("errors", ()):
        if error["path"][0] == alias:
            code = error["extensions"]["code"]
            return WORDS.get(code, code)
    return YES if _there(answer["data"][alias]) else HIDDEN


def _there(value: Any) -> bool:
    """Whether anything is shown at the end of the way."""
    if isinstance(value, dict | list):
        return any(_there(inner) for inner in (value.values() if isinstance(value, dict) else value))
    return value is not None


# By viewer, and by `Type.field` or the name of what is asked.
Outcomes = Mapping[str, Mapping[str, str]]


def written(matrix: Matrix, outcomes: Outcomes, by_key: Outcomes, mutations: Outcomes) -> str:
    """The whole as Markdown: a table for each type."""
    viewers = list(outcomes)
    lines = [_HEAD]
    head = _head(viewers, "rule of its own")
    types = dict.fromkeys(type.name for type, _, _ in matrix.fields())
    for name in types:
        type: Any = matrix.schema.type_map[name]
        declared = type_declaration(type)
        lines += ["", f"## {name}", ""]
        if declared is not None:
            way = matrix.way(name, "")
            how = "Followed" if way.live else "Asked for"
            lines += [f"For {declared.rule.name}. {how} as `{way}`.", ""]  # type: ignore[attr-defined]
        lines += head
        if name in next(iter(by_key.values())):
            cells = [by_key[viewer][name] for viewer in viewers]
            lines.append(f"| *by key* | {' | '.join(cells)} | |")
        for part, of in type.fields.items():
            if not part.startswith("_"):
                cells = [outcomes[viewer][f"{name}.{part}"] for viewer in viewers]
                lines.append(f"| {part} | {' | '.join(cells)} | {_own_rule(of)} |")
    lines += ["", *_mutations(matrix, mutations), "", *_subscriptions(matrix, outcomes), "", *_beyond(matrix)]
    return "\n".join(lines) + "\n"


def _head(viewers: list[str], last: str) -> list[str]:
    return [f"| | {' | '.join(viewers)} | {last} |", f"|---|{'---|' * len(viewers)}---|"]


def _mutations(matrix: Matrix, outcomes: Outcomes) -> Iterator[str]:
    yield from ("## Mutation", "", _MUTATIONS, "", *_head(list(outcomes), "kinds that its rpc is for"))
    type: Any = matrix.schema.mutation_type
    for name, of in sorted(type.fields.items()):
        read = field_declaration(of).read  # type: ignore[union-attr]
        assert isinstance(read, Mutation)
        kinds = ", ".join(sorted(kind.value for kind in callers(read)))
        yield f"| {name} | {' | '.join(row[name] for row in outcomes.values())} | {kinds} |"


def _subscriptions(matrix: Matrix, outcomes: Outcomes) -> Iterator[str]:
    yield from ("## Subscription", "", "`yes`: the first event came.", "", *_head(list(outcomes), "rule of its rows"))
    type: Any = matrix.schema.subscription_type
    for name, followed in matrix.streams.items():
        of = type.fields[followed.partition("(")[0]]
        behind: Any = type_declaration(get_named_type(of.type))
        rule: Any = field_declaration(of).rule or behind.rule  # type: ignore[union-attr]
        yield f"| {name} | {' | '.join(row[name] for row in outcomes.values())} | {rule.name} |"


def _beyond(matrix: Matrix) -> Iterator[str]:
    """Types that only mutations lead to."""
    yield from ("## Types that only mutations lead to", "", "| | seen by | fields |", "|---|---|---|")
    for name, type in sorted(matrix.schema.type_map.items()):
        declared = type_declaration(type)
        if declared is None or name in matrix.ways or not isinstance(type, GraphQLObjectType):
            continue
        fields = [f"{part}{f' ({own})' if (own := _own_rule(of)) else ''}" for part, of in type.fields.items()]
        yield f"| {name} | {declared.rule.name} | {', '.join(fields)} |"  # type: ignore[attr-defined]


def _own_rule(of: GraphQLField) -> str:
    declared = field_declaration(of)
    if declared is None or declared.rule is None:
        return ""
    return f"{declared.rule.name}{' (null to others)' if declared.silent else ''}"  # type: ignore[attr-defined]


_HEAD = """# Who sees what

Found out by asking the gateway for every field as every kind of viewer, by the way that is named, in both of its ways
of answering; `make access` writes it anew, and a test fails when it is not up to date. What has no rule cannot be
served.

All rows are one member's, and one brand's (the owner), which enrolled the member, reported the act, runs the machine,
offers the reward, and is debtor in the settlement. The brands without and with consent have the member for a customer;
the foreign brand does not know the member.

`yes`: shown. `null`: left out without an error. `sign in`, `no`, `consent`: null, with the error UNAUTHENTICATED,
FORBIDDEN or CONSENT_REQUIRED, at the field or at the first one on the way that the viewer may not see."""

_MUTATIONS = """`yes`: the call went out to the service, which decides on the rows that it is about: another brand's
machine or voucher, say, is not found there, or refused. `sign in`, `no`: nothing was called."""
