"""What a change to the contracts would break for those who have the old ones."""

from collections.abc import Iterator, Mapping

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)
from graphql import GraphQLError, GraphQLSchema, build_schema, find_breaking_changes, parse, validate

from deploy.release.contracts import Contracts

_OURS = "alliance"


def breaking(old: Contracts, new: Contracts) -> list[str]:
    """Sentences, one for each thing that an old client would stumble over."""
    schema = _schema(new.schema)
    return [
        *_protos(old.protos, new.protos),
        *(f"GraphQL: {change.description}" for change in find_breaking_changes(_schema(old.schema), schema)),
        *(f"GraphQL: a document of the last release: {error.message}" for error in _documents(old.documents, schema)),
    ]


def _schema(text: str) -> GraphQLSchema:
    # Directives of Apollo Federation are used in the schema and declared elsewhere.
    return build_schema(text, assume_valid=True)


def _documents(texts: str, schema: GraphQLSchema) -> Iterator[GraphQLError]:
    yield from validate(schema, parse(texts))


def _protos(old: FileDescriptorSet, new: FileDescriptorSet) -> Iterator[str]:
    before, after = _Index(old), _Index(new)
    for name, method in before.methods.items():
        yield from _method(name, method, after.methods.get(name))
    for name, message in before.messages.items():
        if name in after.messages:
            yield from _message(name, message, after.messages[name])
        else:
            yield f"protos: message {name} is gone"
    for name, enum in before.enums.items():
        yield from _enum(name, enum, after.enums.get(name))


class _Index:
    """Everything of the alliance in a set of files, by full name."""

    def __init__(self, files: FileDescriptorSet) -> None:
        self.methods: dict[str, MethodDescriptorProto] = {}
        self.messages: dict[str, DescriptorProto] = {}
        self.enums: dict[str, EnumDescriptorProto] = {}
        for file in files.file:
            if file.package.split(".")[0] != _OURS:
                continue
            for service in file.service:
                for method in service.method:
                    self.methods[f"{file.package}.{service.name}/{method.name}"] = method
            for message in file.message_type:
                self._add(file.package, message)
            self.enums |= {f"{file.package}.{enum.name}": enum for enum in file.enum_type}

    def _add(self, scope: str, message: DescriptorProto) -> None:
        name = f"{scope}.{message.name}"
        self.messages[name] = message
        self.enums |= {f"{name}.{enum.name}": enum for enum in message.enum_type}
        for nested in message.nested_type:
            self._add(name, nested)


def _method(name: str, old: MethodDescriptorProto, new: MethodDescriptorProto | None) -> Iterator[str]:
    if new is None:
        yield f"protos: method {name} is gone"
    elif _signature(old) != _signature(new):
        yield f"protos: method {name} takes or answers something else"


def _signature(method: MethodDescriptorProto) -> tuple[object, ...]:
    return method.input_type, method.output_type, method.client_streaming, method.server_streaming


def _message(name: str, old: DescriptorProto, new: DescriptorProto) -> Iterator[str]:
    fields: Mapping[int, FieldDescriptorProto] = {field.number: field for field in new.field}
    for field in old.field:
        now = fields.get(field.number)
        what = f"protos: field {name}.{field.name} (number {field.number})"
        if now is None:
            yield f"{what} is gone"
        elif now.name != field.name:
            yield f"{what} is called {now.name} now"
        elif _shape(field) != _shape(now):
            yield f"{what} is of another type"
        elif _oneof(field, old) != _oneof(now, new):
            yield f"{what} has moved into or out of a oneof"


def _shape(field: FieldDescriptorProto) -> tuple[object, ...]:
    return field.type, field.type_name, field.label, field.json_name


def _oneof(field: FieldDescriptorProto, message: DescriptorProto) -> str:
    if not field.HasField("oneof_index") or field.proto3_optional:
        return "optional" if field.proto3_optional else ""
    return message.oneof_decl[field.oneof_index].name


def _enum(name: str, old: EnumDescriptorProto, new: EnumDescriptorProto | None) -> Iterator[str]:
    if new is None:
        yield f"protos: enum {name} is gone"
        return
    values = {value.number: value.name for value in new.value}
    for value in old.value:
        if values.get(value.number) != value.name:
            yield f"protos: value {name}.{value.name} (number {value.number}) is gone or has another name"
