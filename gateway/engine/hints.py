"""How long an answer may be kept: what its types declare, if everybody may see all of it alike."""

from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    get_named_type,
    is_leaf_type,
)

from gateway.engine.resolve import field_declaration, type_declaration
from gateway.engine.shape import Fragments


def max_age_of(schema: GraphQLSchema, document: Any, operation: OperationDefinitionNode) -> int:
    """Seconds for which any cache may keep the answer of a valid operation; 0: none may keep it at all.

    The least that any type in it declares. What depends on the viewer, or declares nothing, is not to be kept.
    """
    if operation.operation is not OperationType.QUERY:
        return 0
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    ages: list[int] = []
    seen: set[str] = set()
    _collect(schema, operation.selection_set, schema.query_type, fragments, ages, seen)
    return min(ages, default=0)


def _collect(
    schema: GraphQLSchema,
    selections: SelectionSetNode,
    parent: Any,
    fragments: Fragments,
    ages: list[int],
    seen: set[str],
) -> None:
    for node in selections.selections:
        if isinstance(node, FieldNode):
            field = schema.get_field(parent, node.name.value)
            if field is None:
                ages.append(0)
                continue
            _of_field(field, ages)
            if node.selection_set is not None:
                _collect(schema, node.selection_set, get_named_type(field.type), fragments, ages, seen)
        elif isinstance(node, InlineFragmentNode):
            condition = node.type_condition
            inner = schema.get_type(condition.name.value) if condition else parent
            _collect(schema, node.selection_set, inner, fragments, ages, seen)
        elif isinstance(node, FragmentSpreadNode) and (name := node.name.value) not in seen:
            seen.add(name)
            fragment = fragments[name]
            inner = schema.get_type(fragment.type_condition.name.value)
            _collect(schema, fragment.selection_set, inner, fragments, ages, seen)


def _of_field(field: Any, ages: list[int]) -> None:
    named = get_named_type(field.type)
    declared = field_declaration(field)
    if declared is not None and declared.rule is not None and not declared.rule.open:
        ages.append(0)
    if is_leaf_type(named):
        return
    of_type = type_declaration(named)
    if of_type is None:
        ages.append(0)
        return
    rule = (declared.entry if declared is not None else None) or of_type.rule
    if not rule.open:
        ages.append(0)
    elif of_type.max_age is not None:
        ages.append(of_type.max_age)
