"""@defer and @stream: understood, and answered whole.

Both are a wish, which a server may grant by answering at once. Here it is the better way: what a document asks for is
loaded level by level in one call per source, so that a part of the answer is there a few milliseconds before the
whole, and each further part would cost the client a payload and the services a call of their own.
"""

from typing import Any

from graphql import (
    REMOVE,
    DirectiveNode,
    DocumentNode,
    GraphQLDeferDirective,
    GraphQLSchema,
    GraphQLStreamDirective,
    Visitor,
    visit,
)

_WISHES = (GraphQLDeferDirective, GraphQLStreamDirective)
_NAMES = {directive.name for directive in _WISHES}


def understand(schema: GraphQLSchema) -> None:
    """Lets documents have both directives."""
    known = {directive.name for directive in schema.directives}
    schema.directives = (*schema.directives, *(wish for wish in _WISHES if wish.name not in known))


def whole(document: DocumentNode) -> DocumentNode:
    """A valid document without the two."""
    without: DocumentNode = visit(document, _Without())
    return without


class _Without(Visitor):
    def enter_directive(self, node: DirectiveNode, *_: Any) -> Any:
        return REMOVE if node.name.value in _NAMES else None
