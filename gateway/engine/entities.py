"""Federation's `_entities`: which rows representations name, and the resolver that loads them."""

from collections.abc import Mapping
from typing import Any

from gateway.engine.admit import Gate, Resolver, caught, sound
from gateway.engine.reads import Entity, TypeDeclaration
from gateway.engine.source import Key
from gateway.errors import BAD_USER_INPUT, FieldError

EntityTypes = Mapping[str, Entity]


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
