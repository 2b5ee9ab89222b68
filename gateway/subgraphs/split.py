"""Splits the gateway's schema into one subgraph per domain, each of which composes with Apollo Federation 2.

A brand that runs a router of its own, or the alliance itself once a domain is served by another gateway, takes these
instead of the whole. What belongs where follows from what fields read:

- A door or mutation belongs to the service that answers it.
- An entity belongs to the domain that declares it. A field that is loaded by the entity's own key from another service
  belongs to that service, which so extends the entity (`Member.wallet` is of rewards).
- A field that is loaded by another key names an entity of the other domain, and a router goes on from there.
- Everything else is a value, and shared by all subgraphs that have it.
- What spans the services and has no key (who is asking, the operator's report) is a subgraph of its own, `alliance`.
- Asking by global id is for clients of the gateway as a whole: a router of subgraphs finds entities by their keys.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from graphql import (
    ConstDirectiveNode,
    DefinitionNode,
    DirectiveDefinitionNode,
    DocumentNode,
    FieldDefinitionNode,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    InputObjectTypeDefinitionNode,
    InterfaceTypeDefinitionNode,
    Node,
    ObjectTypeDefinitionNode,
    SchemaDefinitionNode,
    TypeDefinitionNode,
    UnionTypeDefinitionNode,
    get_named_type,
    parse,
    print_ast,
)
from graphql.language import NamedTypeNode

from gateway.engine.reads import ById, Connection, Join, Lookup, Mutation, Stream
from gateway.engine.resolve import callers, closed, field_declaration, type_declaration

DOMAINS = ("accounts", "partners", "logistics", "rewards", "alliance")
_FEDERATION = "https://specs.apollo.dev/federation/v2.9"
_IMPORTS = ("@key", "@shareable", "@tag")
_DEFINITION = "strawberry-definition"
_HEAD = """schema @contact(name: "The operators of the alliance", description: "{description}")
  @link(url: "{url}", import: [{imports}]) {{
{roots}}}

directive @contact(name: String!, url: String, description: String) on SCHEMA
"""


def split(schema: GraphQLSchema, sdl: str) -> dict[str, str]:
    """Each domain's SDL, out of the whole schema's."""
    whole = parse(sdl)
    made = {domain: _Subgraph(schema, whole, domain) for domain in DOMAINS}
    values = [name for subgraph in made.values() for name in subgraph.values()]
    shared = {name for name in values if values.count(name) > 1}
    return {domain: subgraph.text(shared) for domain, subgraph in made.items()}


class _Subgraph:
    def __init__(self, schema: GraphQLSchema, whole: DocumentNode, domain: str) -> None:
        self._schema = schema
        self._whole = whole
        self._domain = domain
        self._definitions: dict[str, Any] = {
            node.name.value: node for node in whole.definitions if isinstance(node, TypeDefinitionNode)
        }
        self._roots = [
            type.name
            for type in (schema.query_type, schema.mutation_type, schema.subscription_type)
            if type is not None
        ]
        query: Any = schema.query_type
        # What global ids lead to.
        self._global = {
            get_named_type(field.type).name
            for field in query.fields.values()
            if (found := field_declaration(field)) is not None and isinstance(found.read, ById)
        }
        # Types by name, each with its fields that are here; None: all of it.
        self._types: dict[str, set[str] | None] = {}
        for name in (*self._roots, *(name for name in self._definitions if self._is_entity(name))):
            if here := set(self._fields_here(name)):
                self._add(name, here)

    def values(self) -> Iterator[str]:
        """The object types that other subgraphs may have as well."""
        for name in self._types:
            if isinstance(self._definitions[name], ObjectTypeDefinitionNode) and not (
                name in self._roots or self._is_entity(name)
            ):
                yield name

    def text(self, shared: Iterable[str]) -> str:
        """The subgraph; types that other subgraphs have as well are said to be shared."""
        definitions: list[DefinitionNode] = [
            node for node in self._whole.definitions if isinstance(node, DirectiveDefinitionNode)
        ]
        for name, node in self._definitions.items():
            if name in self._types:
                definitions.append(self._definition(node, self._types[name], shared=name in shared))
        body = "\n\n".join(print_ast(node) for node in definitions)
        return f"{self._head()}\n{body}\n"

    def _head(self) -> str:
        original = [node for node in self._whole.definitions if isinstance(node, SchemaDefinitionNode)]
        given = [directive for node in original for directive in node.directives or ()]
        others = [print_ast(directive) for directive in given if not _is_federation(directive)]
        imports = dict.fromkeys((*_IMPORTS, *(name for directive in given for name in _imported(directive))))
        head = _HEAD.format(
            description=f"Subgraph {self._domain}",
            url=_FEDERATION,
            imports=", ".join(f'"{name}"' for name in imports),
            roots="".join(f"  {name.lower()}: {name}\n" for name in self._roots if name in self._types),
        )
        return head.replace(") {\n", ")\n  " + "\n  ".join(others) + " {\n", 1) if others else head

    def _definition(self, node: Any, fields: set[str] | None, *, shared: bool) -> TypeDefinitionNode:
        directives = list(node.directives or ())
        shown = node.fields if hasattr(node, "fields") else None
        if isinstance(node, ObjectTypeDefinitionNode):
            name = node.name.value
            if fields is not None:
                shown = tuple(self._tagged(name, field) for field in shown or () if field.name.value in fields)
            if self._is_entity(name) and not self._resolves(name):
                key = type_declaration(self._schema.type_map[name]).key  # type: ignore[union-attr]
                directives = [_directive(f'@key(fields: "{key}", resolvable: false)')]
            if shared and not any(directive.name.value == "shareable" for directive in directives):
                directives.append(_directive("@shareable"))
        changed = {name: getattr(node, name) for name in node.keys} | {"directives": tuple(directives)}
        if shown is not None:
            changed["fields"] = tuple(shown)
        if isinstance(node, ObjectTypeDefinitionNode):
            interfaces = node.interfaces or ()
            changed["interfaces"] = tuple(each for each in interfaces if each.name.value not in self._global)
        return type(node)(**changed)  # type: ignore[no-any-return]

    def _tagged(self, name: str, field: FieldDefinitionNode) -> FieldDefinitionNode:
        """Doors are tagged by whom they are for: a router's contracts can leave out what its users cannot use."""
        if name not in self._roots:
            return field
        type: Any = self._schema.type_map[name]
        tags = [_directive(f'@tag(name: "{audience}")') for audience in _audiences(type.fields[field.name.value])]
        changed = {key: getattr(field, key) for key in field.keys}
        return FieldDefinitionNode(**{**changed, "directives": (*(field.directives or ()), *tags)})

    def _add(self, name: str, fields: set[str] | None) -> None:
        """Adds a type, and all that it leads to."""
        if name not in self._definitions:
            return
        if name in self._types:
            known = self._types[name]
            if known is None or (fields is not None and fields <= known):
                return
            fields = known | fields if fields is not None else None
        self._types[name] = fields
        for inner in _named(self._definitions[name], fields):
            if inner in self._global:
                continue
            self._add(inner, set(self._key_and_own(inner)) if self._is_entity(inner) else None)

    def _key_and_own(self, name: str) -> Iterator[str]:
        declared = type_declaration(self._schema.type_map[name])
        if declared is not None:
            yield declared.key.split()[0]
        yield from self._fields_here(name)

    def _fields_here(self, name: str) -> Iterator[str]:
        """The fields of a root or an entity that belong to this domain; with the key, if there are any others."""
        type: Any = self._schema.type_map[name]
        here = [
            part
            for part, field in type.fields.items()
            if not (part.startswith("_") or get_named_type(field.type).name in self._global)
            and self._home(type, field) == self._domain
        ]
        if here and self._is_entity(name):
            yield type_declaration(type).key.split()[0]  # type: ignore[union-attr]
        yield from here

    def _home(self, type: GraphQLObjectType, field: GraphQLField) -> str:
        """The domain that a field of a root or an entity belongs to."""
        read = field_declaration(field).read  # type: ignore[union-attr]
        if isinstance(read, Mutation):
            return _domain_of(read.service.full_name)
        if type.name in self._roots:
            if isinstance(read, Lookup | Connection):
                return _domain_of(read.source.service.full_name)
            behind = get_named_type(field.type)
            return _module_domain(behind) if isinstance(read, Stream) else "alliance"
        if isinstance(read, Join | Connection) and read.on == "id" and type_declaration(type).key == "id":  # type: ignore[union-attr]
            return _domain_of(read.source.service.full_name)
        return _module_domain(type)

    def _resolves(self, name: str) -> bool:
        """Whether the subgraph has more of an entity than its key."""
        return bool(set(self._fields_here(name)))

    def _is_entity(self, name: str) -> bool:
        declared = type_declaration(self._schema.type_map[name])
        return declared is not None and bool(declared.key)


def _named(node: Any, fields: set[str] | None) -> Iterator[str]:
    """The types that a definition names: of an object's fields only those."""
    if isinstance(node, UnionTypeDefinitionNode):
        yield from (type.name.value for type in node.types or ())
    for interface in getattr(node, "interfaces", None) or ():
        yield interface.name.value
    if isinstance(node, ObjectTypeDefinitionNode | InterfaceTypeDefinitionNode | InputObjectTypeDefinitionNode):
        for field in node.fields or ():
            if fields is None or field.name.value in fields:
                yield _innermost(field.type)
                yield from (_innermost(argument.type) for argument in getattr(field, "arguments", None) or ())


def _innermost(type: Any) -> str:
    while not isinstance(type, NamedTypeNode):
        type = type.type
    return type.name.value


def _domain_of(service: str) -> str:
    """`alliance.rewards.v1.RewardsService` is of rewards."""
    return service.split(".")[1]


def _module_domain(type: Any) -> str:
    """The domain whose module declares a type."""
    module: str = type.extensions[_DEFINITION].origin.__module__
    return module.split(".")[1]


def _audiences(field: GraphQLField) -> Iterator[str]:
    """Whom a door is for."""
    declared: Any = field_declaration(field)
    if isinstance(declared.read, Mutation):
        yield from sorted("public" if kind.value == "anyone" else kind.value for kind in callers(declared.read))
        return
    behind = type_declaration(get_named_type(field.type))
    rule: Any = closed(declared.rule) or (closed(behind.rule) if behind is not None and not declared.rule else None)
    if rule is None:
        yield "public"
        return
    kinds: Mapping[str, bool] = {
        "member": bool(rule.member) or rule.signed_in,
        "operator": rule.operator or rule.signed_in,
        "partner": rule.partner or rule.consent or bool(rule.owners) or rule.signed_in,
    }
    yield from (kind for kind, passes in kinds.items() if passes)


def _directive(text: str) -> ConstDirectiveNode:
    (definition,) = parse(f"type T {text} {{ t: Int }}").definitions
    return definition.directives[0]  # type: ignore[attr-defined, no-any-return]


def _is_federation(directive: ConstDirectiveNode) -> bool:
    return directive.name.value == "link" and "federation" in print_ast(directive)


def _imported(directive: ConstDirectiveNode) -> Iterator[str]:
    """What a link to federation imports."""
    if _is_federation(directive):
        for argument in directive.arguments or ():
            values: Iterable[Node] = getattr(argument.value, "values", ())
            yield from (value.value for value in values if hasattr(value, "value"))
