"""@defer and @stream: understood by every document, granted to who can take an answer in parts.

Both are a wish, which a server may grant by answering at once. For most clients that is the better way: what a document
asks for is loaded level by level in one call per source, and is there within milliseconds. Who names a format of parts
gets what is ready first, while a slow service's fields are still to come; those are asked for at once all the same, so
that each source is called as often as for the whole.
"""

from collections.abc import Sequence
from typing import Any

from graphql import (
    REMOVE,
    DirectiveNode,
    DocumentNode,
    ExperimentalIncrementalExecutionResults,
    GraphQLDeferDirective,
    GraphQLDirective,
    GraphQLSchema,
    GraphQLStreamDirective,
    Visitor,
    visit,
)

# What graphql-core answers with where there are parts to come.
Parts = ExperimentalIncrementalExecutionResults

_WISHES = (GraphQLDeferDirective, GraphQLStreamDirective)
# The argument of @stream that says how many rows come with what is not streamed.
STREAM_BEGIN = "initialCount"
# For who reads the schema.
_HOW = "Queries accepting multipart/mixed (incrementalSpec=v0.2) get an answer in parts, all others the whole at once."
_NAMES = {directive.name for directive in _WISHES}


def understand(schema: GraphQLSchema) -> None:
    """Lets documents have both directives."""
    known = {directive.name for directive in schema.directives}
    told = [_told(wish) for wish in _WISHES if wish.name not in known]
    schema.directives = (*schema.directives, *told)


def wished(directives: Sequence[DirectiveNode] | None) -> list[DirectiveNode]:
    """Those of the two that are among them."""
    return [directive for directive in directives or () if directive.name.value in _NAMES]


def whole(document: DocumentNode) -> DocumentNode:
    """A valid document without the two; the same if it has none."""
    without: DocumentNode = visit(document, _Without())
    return without


def _told(wish: GraphQLDirective) -> GraphQLDirective:
    description = f"{wish.description} {_HOW}"
    return GraphQLDirective(wish.name, wish.locations, args=wish.args, description=description)


class _Without(Visitor):
    def enter_directive(self, node: DirectiveNode, *_: Any) -> Any:
        return REMOVE if node.name.value in _NAMES else None
