"""A request's header fields, read once."""

from collections.abc import Mapping

from starlette.types import Scope

Fields = Mapping[bytes, bytes]


def fields_of(scope: Scope) -> Fields:
    """Values by name in lower case; of a field that is there several times, joined by commas (RFC 9110, 5.3)."""
    known: Fields | None = scope.get("fields")
    if known is None:
        headers = scope["headers"]
        known = dict(headers)
        if len(known) < len(headers):
            known = _joined(headers)
        scope["fields"] = known
    return known


def field_of(scope: Scope, name: bytes) -> str:
    """The value of one field; empty if it is not there."""
    return fields_of(scope).get(name, b"").decode("latin-1")


def _joined(headers: list[tuple[bytes, bytes]]) -> Fields:
    joined: dict[bytes, bytes] = {}
    for name, value in headers:
        joined[name] = joined[name] + b", " + value if name in joined else value
    return joined
