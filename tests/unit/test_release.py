"""What clients of the last release have goes on working, and a change that would break it is found."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import Default, DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from alliance.accounts.v1 import accounts_pb2  # noqa: F401  (makes its descriptors known, as the next ones do)
from alliance.logistics.v1 import logistics_pb2  # noqa: F401
from alliance.partners.v1 import partners_pb2  # noqa: F401
from alliance.rewards.v1 import ledger_pb2, rewards_pb2  # noqa: F401
from deploy.checks.references.images import as_name, project_version
from deploy.release import __main__ as making
from deploy.release.__main__ import CHANGELOG
from deploy.release.breaking import breaking
from deploy.release.contracts import Contracts


@pytest.fixture(scope="module")
def released() -> Contracts:
    return Contracts.last_released()


def test_nothing_breaks_for_clients_of_the_last_release(released: Contracts):
    assert breaking(released, Contracts.of_now()) == []


def test_the_changelog_has_an_entry_for_this_version():
    assert f"\n## {project_version()}\n" in CHANGELOG.read_text()


def test_a_release_sets_the_version_wherever_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    current, files = project_version(), ("pyproject.toml", *making._COPIES, making._NAMES)
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(making._ROOT / name, tmp_path / name)
    changelog = tmp_path / "changelog.md"
    changelog.write_text(CHANGELOG.read_text() + "\n## 99.2.10\n")
    monkeypatch.setattr(making, "_ROOT", tmp_path)
    monkeypatch.setattr(making, "CHANGELOG", changelog)
    monkeypatch.setattr(Contracts, "write", lambda _: None)
    assert making.release("99.2.10") == 0
    for name in files:
        text = (tmp_path / name).read_text()
        assert "99.2.10" in text or "nameSuffix: -99-2-10\n" in text, name
        assert current not in text, name
        assert f"-{as_name(current)}\n" not in text, name


# --- Old and new on one wire ------------------------------------------------------------------------------------------


def old_messages(released: FileDescriptorSet) -> list[Descriptor]:
    """All messages of the last release, as an old client has them."""
    pool = DescriptorPool()
    for file in released.file:
        pool.Add(file)  # type: ignore[no-untyped-call]
    names = [
        f"{f.package}.{m.name}" for f in released.file if f.package.startswith("alliance.") for m in f.message_type
    ]
    return [pool.FindMessageTypeByName(name) for name in names]


def filled(descriptor: Descriptor, depth: int = 3) -> Message:
    """A message in which every field has a value other than its default; of a oneof, the last."""
    message = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            continue
        if field.message_type is not None:
            if depth:
                part = filled(field.message_type, depth - 1)
                getattr(message, field.name).append(part) if field.is_repeated else getattr(
                    message, field.name
                ).CopyFrom(part)
            continue
        value = sample(field)
        if field.is_repeated:
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)
    return message


def sample(field: FieldDescriptor) -> object:
    if field.enum_type is not None:
        return field.enum_type.values[-1].number
    return {
        FieldDescriptor.CPPTYPE_STRING: b"x" if field.type == FieldDescriptor.TYPE_BYTES else "x",
        FieldDescriptor.CPPTYPE_BOOL: True,
        FieldDescriptor.CPPTYPE_DOUBLE: 1.5,
        FieldDescriptor.CPPTYPE_FLOAT: 1.5,
    }.get(field.cpp_type, 7)


def test_an_old_client_and_a_new_server_understand_each_other(released: Contracts):
    messages = old_messages(released.protos)
    assert len(messages) > 100
    for old in messages:
        sent = filled(old)
        new = GetMessageClass(Default().FindMessageTypeByName(old.full_name))
        understood = new.FromString(sent.SerializeToString())
        # All of it is known, by the same names, and comes back as it went.
        assert json_format.MessageToDict(understood) == json_format.MessageToDict(sent), old.full_name
        answered = type(sent).FromString(understood.SerializeToString())
        assert answered == sent, old.full_name


def test_an_old_server_reads_what_a_new_client_sends_as_far_as_it_knows_it(released: Contracts):
    for old in old_messages(released.protos):
        sent = filled(Default().FindMessageTypeByName(old.full_name))
        read = GetMessageClass(old).FromString(sent.SerializeToString())
        # What it does not know it passes on as it came.
        assert type(sent).FromString(read.SerializeToString()) == sent, old.full_name


# --- Each kind of damage is found -------------------------------------------------------------------------------------


def message(files: FileDescriptorSet, name: str) -> DescriptorProto:
    return next(m for file in files.file for m in file.message_type if m.name == name)


def field_gone(files: FileDescriptorSet) -> None:
    del message(files, "EnrolMemberRequest").field[0]


def field_renamed(files: FileDescriptorSet) -> None:
    message(files, "EnrolMemberRequest").field[0].name = "other"


def field_retyped(files: FileDescriptorSet) -> None:
    message(files, "EnrolMemberRequest").field[0].type = FieldDescriptorProto.TYPE_INT32


def field_repeated(files: FileDescriptorSet) -> None:
    message(files, "EnrolMemberRequest").field[0].label = FieldDescriptorProto.LABEL_REPEATED


def message_gone(files: FileDescriptorSet) -> None:
    for file in files.file:
        for m in [m for m in file.message_type if m.name == "EnrolMemberRequest"]:
            file.message_type.remove(m)


def method_gone(files: FileDescriptorSet) -> None:
    for file in files.file:
        for service in file.service:
            if service.name == "AccountsService":
                del service.method[0]


def method_streams(files: FileDescriptorSet) -> None:
    for file in files.file:
        for service in file.service:
            if service.name == "AccountsService":
                service.method[0].server_streaming = True


def value_gone(files: FileDescriptorSet) -> None:
    del next(e for file in files.file for e in file.enum_type if e.name == "Material").value[-1]


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (field_gone, "field alliance.accounts.v1.EnrolMemberRequest.request_id (number 1) is gone"),
        (field_renamed, "is called other now"),
        (field_retyped, "is of another type"),
        (field_repeated, "is of another type"),
        (message_gone, "message alliance.accounts.v1.EnrolMemberRequest is gone"),
        (method_gone, "method alliance.accounts.v1.AccountsService/EnrolMember is gone"),
        (method_streams, "AccountsService/EnrolMember takes or answers something else"),
        (value_gone, "is gone or has another name"),
    ],
)
def test_a_change_of_the_protos_that_breaks_clients_is_found(
    released: Contracts, damage: Callable[[FileDescriptorSet], None], found: str
):
    changed = FileDescriptorSet.FromString(released.protos.SerializeToString())
    damage(changed)
    sentences = breaking(released, Contracts(changed, released.schema, released.documents))
    assert [sentence for sentence in sentences if found in sentence], sentences


def test_what_is_added_breaks_nobody(released: Contracts):
    changed = FileDescriptorSet.FromString(released.protos.SerializeToString())
    added = message(changed, "EnrolMemberRequest").field.add()
    added.name, added.number, added.type, added.label = "more", 99, added.TYPE_STRING, added.LABEL_OPTIONAL
    schema = released.schema.replace("type Query {", "type Query {\n  more: String\n", 1)
    assert breaking(released, Contracts(changed, schema, released.documents)) == []


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("  displayName: String!\n", "  name: String!\n", "displayName"),
        ("  displayName: String!\n", "  displayName: String\n", "changed type from String! to String"),
        ("  requestId: String!\n", "  requestId: String!\n\n  more: String!\n", "more"),
    ],
)
def test_a_change_of_the_schema_that_breaks_clients_is_found(released: Contracts, old: str, new: str, found: str):
    assert old in released.schema
    schema = released.schema.replace(old, new)
    sentences = breaking(released, Contracts(released.protos, schema, released.documents))
    assert [sentence for sentence in sentences if found in sentence], sentences
