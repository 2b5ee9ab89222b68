"""How deep and how wide a document is, whatever its variables say: checked before it is even validated."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    Visitor,
    visit,
)

_OF_THE_SCHEMA = frozenset(("__schema", "__type", "_service"))
# Beyond this the exact number tells nobody anything.
_MOST = 10**12

Fragments = Mapping[str, FragmentDefinitionNode]


class TooExpensive(Exception):
    """The document asks for more than a limit allows; nothing has been called."""

    def __init__(self, what: str, found: int, limit: int, advice: str) -> None:
        super().__init__(f"The document has {found:,} {what}, {limit:,} are allowed; {advice}.")
        self.details: dict[str, object] = {"limit": limit, "found": found, "measure": what}


@dataclass(frozen=True)
class Budget:
    """The limits on a document."""

    depth: int
    aliases: int
    root_fields: int
    fields: int
    # How often one name may stand at one place of the answer: validation compares each with each.
    repetitions: int
    cost: int
    # ... and how many such comparisons there may be in all, of fields and of fragments.
    overlaps: int = _MOST
    # In how many parts an answer may come; what could have more comes whole.
    parts: int = 0


class _Shape(NamedTuple):
    """Of a selection set, with fragments counted wherever they are used."""

    depth: int = 0
    aliases: int = 0
    fields: int = 0


class _Overlap(NamedTuple):
    """Of a place of the answer and all below it: how often one name stands at one place, and how many pairs there are
    of fields of one name, or of fragments, at one place.
    """

    repetitions: int = 0
    comparisons: int = 0


# None while it is being worked out.
_Known = dict[str, _Shape | None]


class _Circle(Exception):
    """Fragments that use each other without end; validation says so better than we could."""


def check_shape(document: DocumentNode, budget: Budget) -> None:
    """TooExpensive if any operation is too deep or too wide. The document need not be valid yet."""
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    known: _Known = {}
    for node in document.definitions:
        if not isinstance(node, OperationDefinitionNode):
            continue
        try:
            shape = _shape(node.selection_set, fragments, known)
        except _Circle:
            return
        limit("levels", shape.depth, budget.depth, "ask for less depth at once")
        limit("aliases", shape.aliases, budget.aliases, "ask in several requests")
        roots = len(list(fields([node.selection_set], fragments)))
        limit("root fields", roots, budget.root_fields, "ask in several requests")
        limit("fields", shape.fields, budget.fields, "ask in several requests")
        overlap = _overlap([node.selection_set], fragments)
        limit("repetitions", overlap.repetitions, budget.repetitions, "name a field once at each place")
        limit("overlaps", overlap.comparisons, budget.overlaps, "use fewer fragments at each place, and fields once")


def fields(
    selection_sets: Sequence[SelectionSetNode], fragments: Fragments, seen: set[str] | None = None
) -> Iterator[FieldNode]:
    """The fields of selection sets that are answered together, each fragment's once; `seen` gets the fragments."""
    seen = set() if seen is None else seen
    pending = list(selection_sets)
    while pending:
        for node in pending.pop().selections:
            if isinstance(node, FieldNode):
                yield node
            elif isinstance(node, InlineFragmentNode):
                pending.append(node.selection_set)
            elif isinstance(node, FragmentSpreadNode) and (name := node.name.value) not in seen:
                seen.add(name)
                if name in fragments:
                    pending.append(fragments[name].selection_set)


def limit(what: str, found: int, most: int, advice: str) -> None:
    """TooExpensive if there is more than the most of something."""
    if found > most:
        raise TooExpensive(what, found, most, advice)


def introspections(document: DocumentNode) -> list[GraphQLError]:
    """An error for each field that asks for the schema: introspection's own, and federation's `_service`."""
    found: list[GraphQLError] = []

    class Asked(Visitor):
        def enter_field(self, node: FieldNode, *_: Any) -> None:
            if node.name.value in _OF_THE_SCHEMA:
                found.append(GraphQLError(f"The schema is not shown without a token ({node.name.value}).", node))

    visit(document, Asked())
    return found


def _shape(selections: SelectionSetNode, fragments: Fragments, known: _Known) -> _Shape:
    depth = aliases = count = 0
    for node in selections.selections:
        if isinstance(node, FieldNode):
            below = _shape(node.selection_set, fragments, known) if node.selection_set else _Shape()
            below = _Shape(below.depth + 1, below.aliases + (node.alias is not None), below.fields + 1)
        elif isinstance(node, InlineFragmentNode):
            below = _shape(node.selection_set, fragments, known)
        elif isinstance(node, FragmentSpreadNode):
            below = _shape_of_fragment(node.name.value, fragments, known)
        else:
            continue
        depth = max(depth, below.depth)
        aliases = min(aliases + below.aliases, _MOST)
        count = min(count + below.fields, _MOST)
    return _Shape(depth, aliases, count)


def _shape_of_fragment(name: str, fragments: Fragments, known: _Known) -> _Shape:
    if name not in known:
        known[name] = None
        known[name] = _shape(fragments[name].selection_set, fragments, known) if name in fragments else _Shape()
    shape = known[name]
    if shape is None:
        raise _Circle
    return shape


def _overlap(selection_sets: Sequence[SelectionSetNode], fragments: Fragments) -> _Overlap:
    """Of what is answered together, and of all below it."""
    together: dict[str, list[FieldNode]] = {}
    spread: set[str] = set()
    for node in fields(selection_sets, fragments, spread):
        together.setdefault(node.alias.value if node.alias else node.name.value, []).append(node)
    most, comparisons = 0, _pairs(len(spread))
    for nodes in together.values():
        below = [node.selection_set for node in nodes if node.selection_set]
        inner = _overlap(below, fragments) if below else _Overlap()
        most = max(most, len(nodes), inner.repetitions)
        comparisons += _pairs(len(nodes)) + inner.comparisons
    return _Overlap(most, comparisons)


def _pairs(count: int) -> int:
    return count * (count - 1) // 2
