"""Turns a mutation's input into the message that its rpc takes."""

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from graphql import get_named_type

from gateway.engine.declare import declaration_of
from gateway.engine.reads import InputDeclaration
from services.shared.errors import InvalidArgument

Build = Callable[[Mapping[str, Any]], Any]
_Fill = Callable[[Any, Mapping[str, Any], str], None]
_DEFINITION = "strawberry-definition"


class InputInvalid(InvalidArgument):
    """A value fits GraphQL's type and not the message's."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}", reason="FIELD_INVALID", field=field)


def message_builder(type: Any) -> Build:
    """The function from a coerced input of a GraphQL type to its message; InputInvalid names the field that fails."""
    message, fill = _filler(type)

    def build(given: Mapping[str, Any]) -> Message:
        made = message()
        fill(made, given, "")
        return made

    return build


def _filler(type: Any) -> tuple[type[Message], _Fill]:
    declared = declaration_of(type.extensions[_DEFINITION].origin)
    if not isinstance(declared, InputDeclaration):
        raise TypeError(f"{type.name} says of no message that it becomes it")
    setters = {name: _setter(declared.message, field) for name, field in type.fields.items()}

    def fill(message: Any, given: Mapping[str, Any], path: str) -> None:
        for name, value in given.items():
            if value is None:
                continue
            try:
                setters[name](message, value, f"{path}{name}")
            except (ValueError, TypeError) as error:
                raise InputInvalid(f"{path}{name}", "cannot be sent on; use plain text and numbers.") from error

    return declared.message, fill


def _setter(message: type[Message], field: Any) -> Callable[[Any, Any, str], None]:
    name: str = field.extensions[_DEFINITION].python_name
    descriptor = message.DESCRIPTOR.fields_by_name[name]
    named = get_named_type(field.type)
    if descriptor.type == FieldDescriptor.TYPE_MESSAGE and hasattr(named, "fields"):
        _, fill = _filler(named)
        if descriptor.is_repeated:

            def add_all(into: Any, values: Any, path: str) -> None:
                for index, value in enumerate(values):
                    fill(getattr(into, name).add(), value, f"{path}[{index}].")

            return add_all
        return lambda into, value, path: fill(getattr(into, name), value, f"{path}.")
    if descriptor.type == FieldDescriptor.TYPE_ENUM:
        if descriptor.is_repeated:
            return lambda into, members, _: getattr(into, name).extend(member.value for member in members)
        return lambda into, member, _: setattr(into, name, member.value)
    if descriptor.is_repeated:
        return lambda into, values, _: getattr(into, name).extend(values)
    if descriptor.type == FieldDescriptor.TYPE_MESSAGE:
        return lambda into, value, _: getattr(into, name).CopyFrom(value)
    if descriptor.containing_oneof is None:
        return lambda into, value, _: setattr(into, name, value)
    oneof = descriptor.containing_oneof.name

    def set_one(into: Any, value: Any, path: str) -> None:
        if other := into.WhichOneof(oneof):
            raise InputInvalid(path, f"cannot be given together with {other}; choose one.")
        setattr(into, name, value)

    return set_one
