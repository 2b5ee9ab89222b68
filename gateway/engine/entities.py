"""Rows of any type by what names them: federation's `_entities` by representations, `node` by global ids."""

from collections.abc import Mapping
from typing import Any

from gateway.engine.admit import Gate, Resolver, caught, sound
from gateway.engine.reads import Entity, Named, TypeDeclaration
from gateway.engine.source import Key
from gateway.errors import BAD_USER_INPUT, FieldError

EntityTypes = Mapping[str, Entity]
NamedTypes = Mapping[str, Named]


def entity_types(types: Mapping[str, TypeDeclaration]) -> EntityTypes:
    """Those that can be resolved by their key."""
    return {
        name: Entity(_path(declared.key), declared.source, declared.rule)
        for name, declared in types.items()
        if declared.key and declared.source
    }


def named(types: EntityTypes, representation: Any) -> tuple[str, Key]:
    """The type and the key that a representation names; FieldError if it names none."""
    try:
        name = representation["__typename"]
        value = representation
        for step in types[name].path:
            value = value[step]
        if not isinstance(value, str) or not sound(value):
            raise KeyError(name)
    except (KeyError, TypeError) as error:
        message = "A representation needs the __typename of an entity and its key."
        raise FieldError(BAD_USER_INPUT, message, reason="REPRESENTATION_INVALID") from error
    return name, value


def chosen(types: EntityTypes, representations: list[Any]) -> list[tuple[str, Key] | None]:
    """What each representation names; None for what names nothing."""
    found: list[tuple[str, Key] | None] = []
    for representation in representations:
        try:
            found.append(named(types, representation))
        except FieldError:
            found.append(None)
    return found


def resolver(types: EntityTypes) -> Resolver:
    """Every representation through the batched source of its type, and by its type's rule."""
    gates = {name: Gate(entity.rule, entity.source) for name, entity in types.items()}

    def load(request: Any, representation: Any) -> Any:
        name, key = named(types, representation)
        return gates[name].load(request, types[name].source, key, ())

    def resolve(_: Any, info: Any, representations: list[Any]) -> list[Any]:
        return [caught(load, info.context, representation) for representation in representations]

    return resolve


def _path(key: str) -> tuple[str, ...]:
    """`member { id }` as the steps to the key's value."""
    return tuple(key.replace("{", " ").replace("}", " ").split())


def named_types(types: Mapping[str, TypeDeclaration]) -> NamedTypes:
    """Those whose rows have global ids, by the prefixes of these."""
    return {
        declared.ids: Named(name, declared.source, declared.rule, declared.keys or declared.ids)
        for name, declared in types.items()
        if declared.ids is not None and declared.source
    }


def by_id(types: NamedTypes, id: str) -> tuple[Named, Key] | None:
    """How the row of an id is found, and its source's key; None for what is nothing's id."""
    prefix, rest = _divided(id)
    named = types.get(prefix)
    key = _with(named.prefix, rest) if named is not None else ""
    return (named, key) if named is not None and sound(key) else None


def with_prefix(prefix: str, id: str) -> str:
    """The id of what there is one of for each of what the id names."""
    return _with(prefix, _divided(id)[1])


def _divided(id: str) -> tuple[str, str]:
    """The prefix of an id, which may have none, and the rest."""
    prefix, separator, rest = id.partition("_")
    return (prefix, rest) if separator else ("", id)


def _with(prefix: str, rest: str) -> str:
    return f"{prefix}_{rest}" if prefix else rest


def id_resolver(types: NamedTypes) -> Resolver:
    """The row of an id through the batched source of its type, and by its type's rule."""
    gates = {found.type: Gate(found.rule, found.source) for found in types.values()}

    def resolve(_: Any, info: Any, id: str) -> Any:
        found = by_id(types, id)
        if found is None:
            return None
        named, key = found
        return gates[named.type].lookup(info.context, named.source, key)

    return resolve
