"""From a document's text to something that can be executed: limits, parsing, validation, and a bounded cache."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from graphql import (
    ASTValidationRule,
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLSchema,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    execute,
    get_operation_ast,
    parse,
    specified_rules,
    validate,
)

from gateway.engine.admit import is_awaitable
from gateway.engine.cost import check_cost
from gateway.engine.shape import Budget, TooExpensive, check_shape

_MOST_ERRORS = 20


class DocumentInvalid(Exception):
    """The document cannot be executed; nothing has been called. Has the errors for its author."""

    def __init__(self, *errors: GraphQLError) -> None:
        super().__init__("; ".join(error.message for error in errors))
        self.errors = errors


class Documents:
    """Prepares and executes documents of one schema."""

    def __init__(
        self,
        schema: GraphQLSchema,
        budget: Budget,
        *,
        most_bytes: int,
        most_tokens: int,
        cached: int,
        cached_bytes: int,
        introspection: bool,
    ) -> None:
        self._schema = schema
        self._budget = budget
        self._most_bytes = most_bytes
        self._most_tokens = most_tokens
        self._cached = cached
        self._cached_bytes = cached_bytes
        self._hide_suggestions = not introspection
        self._rules: Sequence[type[ASTValidationRule]] = (
            specified_rules if introspection else (*specified_rules, NoSchemaIntrospectionCustomRule)
        )
        self._documents: OrderedDict[str, DocumentNode] = OrderedDict()
        self._bytes = 0

    def prepare(self, text: str) -> DocumentNode:
        """The document, valid and within its limits; DocumentInvalid or TooExpensive if it is not."""
        document = self._documents.get(text)
        if document is not None:
            self._documents.move_to_end(text)
            return document
        document = self._parse(text)
        check_shape(document, self._budget)
        errors = validate(
            self._schema, document, self._rules, max_errors=_MOST_ERRORS, hide_suggestions=self._hide_suggestions
        )
        if errors:
            raise DocumentInvalid(*errors)
        self._keep(text, document)
        return document

    def operation(self, document: DocumentNode, name: str | None) -> OperationDefinitionNode:
        """The operation to execute; DocumentInvalid if the name chooses none."""
        operation = get_operation_ast(document, name)
        if operation is None:
            raise DocumentInvalid(
                GraphQLError(
                    f"The document has no operation named {name!r}."
                    if name
                    else "The document has several operations; say which one with operationName."
                )
            )
        return operation

    async def execute(
        self,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        variables: Mapping[str, Any],
        context: object,
    ) -> ExecutionResult:
        """The answer; TooExpensive before anything is called."""
        check_cost(self._schema, document, operation, variables, self._budget)
        result = execute(
            self._schema,
            document,
            context_value=context,
            variable_values=dict(variables),
            operation_name=operation.name.value if operation.name else None,
            is_awaitable=is_awaitable,
            hide_suggestions=self._hide_suggestions,
        )
        return result if isinstance(result, ExecutionResult) else await result

    def _parse(self, text: str) -> DocumentNode:
        size = len(text.encode(errors="replace"))
        if size > self._most_bytes:
            raise TooExpensive("bytes", size, self._most_bytes, "send a shorter one")
        try:
            return parse(text, max_tokens=self._most_tokens, allow_empty_selection_sets=False)
        except GraphQLError as error:
            if "contains more than" in error.message:
                raise TooExpensive("tokens", self._most_tokens + 1, self._most_tokens, "send a shorter one") from error
            raise DocumentInvalid(error) from error

    def _keep(self, text: str, document: DocumentNode) -> None:
        self._documents[text] = document
        self._bytes += len(text)
        while len(self._documents) > self._cached or self._bytes > self._cached_bytes:
            old, _ = self._documents.popitem(last=False)
            self._bytes -= len(old)
