"""A client of answers in parts: reads multipart/mixed as RFC 2046 frames it, and puts the parts together."""

import json
from collections.abc import AsyncIterator, Iterable
from copy import deepcopy
from typing import Any

import httpx

ACCEPT = "multipart/mixed;incrementalSpec=v0.2, application/graphql-response+json, application/json;q=0.9"
_DELIMITER = b"\r\n---"


async def parts_of(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """Each part as soon as its end is known; AssertionError where the framing is not right."""
    assert response.headers["content-type"] == 'multipart/mixed; boundary="-"; incrementalSpec=v0.2'
    assert response.headers["cache-control"] == "no-store"
    buffer, opened, ended = b"", False, False
    async for chunk in response.aiter_bytes():
        assert not ended, "something behind the end"
        buffer += chunk
        while (at := buffer.find(_DELIMITER)) >= 0:
            part, buffer = buffer[:at], buffer[at + len(_DELIMITER) :]
            if opened:
                head, separator, body = part.partition(b"\r\n\r\n")
                assert head == b"\r\nContent-Type: application/json; charset=utf-8"
                assert separator
                yield json.loads(body)
            else:
                assert part == b"", "something before the first boundary"
                opened = True
            if buffer.startswith(b"--"):
                assert buffer == b"--\r\n"
                ended = True
    assert ended, "no final boundary"


def joined(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The whole answer; AssertionError where parts contradict each other."""
    first, *rest = parts
    data, errors = deepcopy(first["data"]), list(first.get("errors", ()))
    pending = {one["id"]: one["path"] for one in first["pending"]}
    assert first["hasNext"]
    assert pending
    for number, part in enumerate(rest):
        assert part["hasNext"] is (number < len(rest) - 1)
        pending |= {one["id"]: one["path"] for one in part.get("pending", ())}
        for increment in part.get("incremental", ()):
            place = _at(data, [*pending[increment["id"]], *increment.get("subPath", ())])
            if "items" in increment:
                place.extend(increment["items"])
            else:
                _merge(place, increment["data"])
            errors += increment.get("errors", ())
        for one in part.get("completed", ()):
            del pending[one["id"]]
            errors += one.get("errors", ())
    assert not pending
    return {"data": data, **({"errors": errors} if errors else {})}


def _at(data: Any, path: Iterable[str | int]) -> Any:
    for step in path:
        data = data[step]
    return data


def _merge(into: dict[str, Any], data: dict[str, Any]) -> None:
    for name, value in data.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            assert name not in into, f"{name} came twice"
            into[name] = value
