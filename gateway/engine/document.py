"""From a document's text to its answer: limits, parsing, validation, a plan where there can be one, and one cache.

An operation is answered by its plan; by the plan's walk over the same rows where an answer has errors; and by
graphql-core where there is no plan. `Ways` counts the three.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from graphql import (
    ASTValidationRule,
    DocumentNode,
    ExecutionResult,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    OperationType,
    Undefined,
    experimental_execute_incrementally,
    get_argument_values,
    get_named_type,
    get_operation_ast,
    parse,
    specified_rules,
    validate,
)
from graphql.execution.collect_fields import FragmentDetails, collect_fields

from gateway.engine.admit import is_awaitable
from gateway.engine.cache import Cache
from gateway.engine.compile import compile_plan, conditions_of
from gateway.engine.cost import cost_of, counted_variables, parts_of
from gateway.engine.execute import Compiled, run
from gateway.engine.hints import max_age_of
from gateway.engine.incremental import Parts, whole
from gateway.engine.plan import Uncovered
from gateway.engine.project import projector
from gateway.engine.reads import Rule, Stream
from gateway.engine.resolve import field_declaration, type_declaration
from gateway.engine.shape import Budget, TooExpensive, check_shape, introspections, limit
from gateway.engine.variables import Signature, Variables, VariablesInvalid
from gateway.engine.walk import NotLoaded, walk

_MOST_ERRORS = 20
# Of one operation: plans for different @skip and @include, and costs for different variables.
_MOST_PLANS = 8
_MOST_COSTS = 64


class DocumentInvalid(Exception):
    """The document cannot be executed; nothing has been called. Has the errors for its author."""

    def __init__(self, *errors: GraphQLError) -> None:
        super().__init__("; ".join(error.message for error in errors))
        self.errors = errors


@dataclass(frozen=True)
class Allowance:
    """What a kind of caller may send."""

    budget: Budget
    most_bytes: int
    most_tokens: int
    # Whether they may ask for the schema, and are told of names like the one that they misspelt.
    introspection: bool


@dataclass(slots=True)
class Ways:
    """How many operations were answered in which way."""

    # By a plan alone.
    compiled: int = 0
    # By a plan, with errors in the answer.
    walked: int = 0
    # By graphql-core, since the operation has no plan ...
    uncompiled: int = 0
    # ... or since a plan could not be gone through with.
    abandoned: int = 0
    # By graphql-core, in parts.
    divided: int = 0


@dataclass(eq=False)
class Operation:
    """An operation of a document, with what has been made of it."""

    document: "Document"
    node: OperationDefinitionNode
    signature: Signature
    # By what its conditions say. None: graphql-core answers it.
    plans: OrderedDict[tuple[Any, ...], Compiled | None] = field(default_factory=OrderedDict)
    costs: dict[tuple[Any, ...], int] = field(default_factory=dict)
    counted: tuple[str, ...] = ()
    # Seconds for which an answer without errors may be kept by any cache.
    max_age: int = 0
    # What it is counted under: its type, and the one root field that it asks for.
    type: str = field(init=False)
    field: str = field(init=False)

    def __post_init__(self) -> None:
        selections = self.node.selection_set.selections
        only = selections[0] if len(selections) == 1 else None
        self.type = self.node.operation.value
        self.field = only.name.value if isinstance(only, FieldNode) else "several"


@dataclass(eq=False)
class Document:
    """A valid document, with what has been made of it."""

    key: bytes
    node: DocumentNode
    length: int
    # In characters of documents: its own, and again for each plan that it has.
    size: int
    conditions: tuple[str, ...]
    # With its @defer and @stream, for an answer in parts; None if it has none.
    divided: DocumentNode | None = None
    # Why strangers may not use it, if not; worked out when the first one does.
    for_strangers: Exception | None = None
    seen_by_strangers: bool = False
    operations: dict[str | None, Operation] = field(default_factory=dict)


@dataclass(frozen=True)
class Followed:
    """What a subscription follows, and as what each event is answered."""

    # The response key of its only field.
    key: str
    stream: Stream
    # Of the rows that come.
    rule: Rule
    arguments: Mapping[str, Any]


class Documents:
    """Prepares and answers documents of one schema."""

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
        strangers: Allowance | None = None,
    ) -> None:
        self._schema = schema
        self._callers = Allowance(budget, most_bytes, most_tokens, introspection)
        self._strangers = strangers or self._callers
        self._rules: Sequence[type[ASTValidationRule]] = (
            specified_rules if introspection else (*specified_rules, NoSchemaIntrospectionCustomRule)
        )
        self.cache: Cache[Document] = Cache(cached, cached_bytes)
        self.ways = Ways()

    def prepare(self, text: str, *, stranger: bool = False, unseen: Callable[[int], None] | None = None) -> Document:
        """The document, valid and within the caller's limits; DocumentInvalid or TooExpensive if it is not.

        `unseen` is told the length in bytes of a document that has to be read first, and may refuse that by raising.
        """
        encoded = text.encode(errors="surrogatepass")
        key = sha256(encoded).digest()
        document = self.cache.get(key, hot=not stranger)
        if document is None:
            document = self._read(key, text, len(encoded), self._allowance(stranger), unseen)
        if stranger:
            self._check_for_strangers(document)
        return document

    def kept(self, key: bytes, *, stranger: bool) -> Document | None:
        """The document with that SHA-256, if it was sent before and is still there."""
        document = self.cache.get(key, hot=not stranger)
        if document is not None and stranger:
            self._check_for_strangers(document)
        return document

    def _read(
        self, key: bytes, text: str, length: int, allowance: Allowance, unseen: Callable[[int], None] | None
    ) -> Document:
        limit("bytes", length, allowance.most_bytes, "send a shorter one")
        if unseen is not None:
            unseen(length)
        node = _parse(text, allowance.most_tokens)
        check_shape(node, allowance.budget)
        errors = validate(
            self._schema, node, self._rules, max_errors=_MOST_ERRORS, hide_suggestions=not allowance.introspection
        )
        if errors:
            raise DocumentInvalid(*errors)
        given, node = node, whole(node)
        divided = given if given is not node else None
        size = length if divided is None else 2 * length
        document = Document(key, node, length, size, conditions_of(node), divided)
        self.cache.put(key, document)
        return document

    def _check_for_strangers(self, document: Document) -> None:
        """Whoever sent a document first: strangers may use it if they could have sent it."""
        if not document.seen_by_strangers:
            document.seen_by_strangers = True
            try:
                self._check_as_strangers(document)
            except (TooExpensive, DocumentInvalid) as refusal:
                document.for_strangers = refusal
        if document.for_strangers is not None:
            raise document.for_strangers.with_traceback(None)

    def _check_as_strangers(self, document: Document) -> None:
        allowance = self._strangers
        if not allowance.introspection:
            asked = introspections(document.node)
            if asked:
                raise DocumentInvalid(*asked)
        limit("bytes", document.length, allowance.most_bytes, "send a shorter one")
        limit("tokens", document.node.token_count or 0, allowance.most_tokens, "send a shorter one")
        check_shape(document.node, allowance.budget)

    def _allowance(self, stranger: bool) -> Allowance:
        return self._strangers if stranger else self._callers

    def operation(self, document: Document, name: str | None) -> Operation:
        """The operation to execute; DocumentInvalid if the name chooses none."""
        known = document.operations.get(name)
        if known is not None:
            return known
        node = get_operation_ast(document.node, name)
        if node is None:
            raise DocumentInvalid(
                GraphQLError(
                    f"The document has no operation named {name!r}."
                    if name
                    else "The document has several operations; say which one with operationName."
                )
            )
        signature = Signature(self._schema, node)
        operation = Operation(
            document,
            node,
            signature,
            counted=counted_variables(document.node),
            max_age=max_age_of(self._schema, document.node, node),
        )
        document.operations[name] = operation
        return operation

    def cost(self, operation: Operation, given: Mapping[str, Any], *, stranger: bool = False) -> int:
        """What the operation costs with these variables; TooExpensive if that is beyond the caller's limit."""
        counted = tuple(given.get(name, Undefined) for name in operation.counted)
        plain = all(value is Undefined or type(value) is int for value in counted)
        cost = operation.costs.get(counted) if plain else None
        if cost is None:
            cost = cost_of(self._schema, operation.document.node, operation.node, given)
            if plain and len(operation.costs) < _MOST_COSTS:
                operation.costs[counted] = cost
        limit("cost", cost, self._allowance(stranger).budget.cost, "ask for smaller pages, or for less below each row")
        return cost

    async def answer(
        self, operation: Operation, given: Mapping[str, Any], request: object, *, stranger: bool = False
    ) -> bytes | ExecutionResult:
        """The answer's data as JSON where it has no errors, else the answer; TooExpensive before anything is called."""
        self.cost(operation, given, stranger=stranger)
        hide_suggestions = not self._allowance(stranger).introspection
        try:
            variables = operation.signature.read(given, hide_suggestions=hide_suggestions)
        except VariablesInvalid as invalid:
            return ExecutionResult(None, invalid.errors)
        compiled = self.compiled(operation, variables)
        if compiled is None:
            self.ways.uncompiled += 1
            return await self.interpret(operation, given, request, hide_suggestions=hide_suggestions)
        data = await run(compiled, request, variables)
        if data is not None:
            self.ways.compiled += 1
            return data
        try:
            told, errors = walk(compiled.plan, request, variables)
        except NotLoaded:
            self.ways.abandoned += 1
            return await self.interpret(operation, given, request, hide_suggestions=hide_suggestions)
        self.ways.walked += 1
        return ExecutionResult(told, errors or None)

    def followed(self, operation: Operation, given: Mapping[str, Any], *, stranger: bool = False) -> Followed:
        """What a subscription follows; TooExpensive, DocumentInvalid or VariablesInvalid before anything is called."""
        self.cost(operation, given, stranger=stranger)
        hide_suggestions = not self._allowance(stranger).introspection
        variables = operation.signature.read(given, hide_suggestions=hide_suggestions).whole
        root: Any = self._schema.subscription_type
        fragments = {
            node.name.value: FragmentDetails(node)
            for node in operation.document.node.definitions
            if isinstance(node, FragmentDefinitionNode)
        }
        collected = collect_fields(self._schema, fragments, variables, root, operation.node)
        for key, (first, *_) in collected.grouped_field_set.items():
            field = root.fields[first.node.name.value]
            try:
                arguments = get_argument_values(field, first.node, variables)
            except GraphQLError as error:
                raise DocumentInvalid(error) from error
            declared: Any = field_declaration(field)
            rule = declared.entry or type_declaration(get_named_type(field.type)).rule  # type: ignore[union-attr]
            return Followed(key, declared.read, rule, arguments)
        raise DocumentInvalid(GraphQLError("The subscription's field is left out by its directives.", operation.node))

    async def interpret(
        self, operation: Operation, given: Mapping[str, Any], request: object, *, hide_suggestions: bool = False
    ) -> ExecutionResult:
        """The answer by graphql-core, whatever the operation is."""
        answer: Any = await self._interpret(operation.document.node, operation, given, request, hide_suggestions)
        return answer  # type: ignore[no-any-return]

    def divides(self, operation: Operation, given: Mapping[str, Any], *, stranger: bool = False) -> bool:
        """Whether the operation can be answered in parts: it asks for that, and not for more parts than are allowed.

        Only a query can: what follows a mutation must not be read before it. DocumentInvalid if what it asks for is
        no way to divide an answer.
        """
        document = operation.document
        if document.divided is None or operation.node.operation is not OperationType.QUERY:
            return False
        node = get_operation_ast(document.divided, _name(operation))
        try:
            parts = parts_of(self._schema, document.divided, node, given) if node is not None else 0
        except GraphQLError as error:
            raise DocumentInvalid(error) from error
        return 0 < parts <= self._allowance(stranger).budget.parts

    async def answer_in_parts(
        self, operation: Operation, given: Mapping[str, Any], request: object, *, stranger: bool = False
    ) -> ExecutionResult | Parts:
        """The answer of what `divides`; whole where its variables defer nothing. TooExpensive as `answer`."""
        self.cost(operation, given, stranger=stranger)
        hide_suggestions = not self._allowance(stranger).introspection
        try:
            operation.signature.read(given, hide_suggestions=hide_suggestions)
        except VariablesInvalid as invalid:
            return ExecutionResult(None, invalid.errors)
        self.ways.divided += 1
        node = operation.document.divided or operation.document.node
        return await self._interpret(node, operation, given, request, hide_suggestions)

    async def _interpret(
        self,
        node: DocumentNode,
        operation: Operation,
        given: Mapping[str, Any],
        request: object,
        hide_suggestions: bool,
    ) -> ExecutionResult | Parts:
        result = experimental_execute_incrementally(
            self._schema,
            node,
            context_value=request,
            variable_values=dict(given),
            operation_name=_name(operation),
            is_awaitable=is_awaitable,
            hide_suggestions=hide_suggestions,
            # What is deferred is loaded together with what is not: one call per source.
            enable_early_execution=True,
        )
        return result if isinstance(result, ExecutionResult | Parts) else await result

    def compiled(self, operation: Operation, variables: Variables) -> Compiled | None:
        """The plan for what the variables skip and include; None if there can be none."""
        chosen = tuple(variables.coerced.get(name) for name in operation.document.conditions)
        plans = operation.plans
        if chosen in plans:
            plans.move_to_end(chosen)
            return plans[chosen]
        try:
            plan = compile_plan(self._schema, operation.document.node, operation.node, variables.whole)
            made: Compiled | None = Compiled(plan, projector(plan))
        except Uncovered:
            made = None
        plans[chosen] = made
        document = operation.document
        self.cache.grow(document.key, document, document.length)
        if len(plans) > _MOST_PLANS:
            plans.popitem(last=False)
            self.cache.grow(document.key, document, -document.length)
        return made


def _name(operation: Operation) -> str | None:
    return operation.node.name.value if operation.node.name else None


def _parse(text: str, most_tokens: int) -> DocumentNode:
    try:
        return parse(text, max_tokens=most_tokens, allow_empty_selection_sets=False)
    except GraphQLError as error:
        if "contains more than" in error.message:
            raise TooExpensive("tokens", most_tokens + 1, most_tokens, "send a shorter one") from error
        raise DocumentInvalid(error) from error
