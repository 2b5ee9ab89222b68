"""Which queries a process makes, for those who check that an index serves each of them.

At log level DEBUG every distinct shape of a query is logged once, with the types of its values instead of the values.
A query that has to read a whole collection says so in its `comment`, beginning with "scan: " and giving the reason.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from services.shared.telemetry import log

_PLACEHOLDERS: Mapping[type, object] = {str: "x", int: 1, float: 1.0, bool: True, bytes: b"x"}


class QueryShapes(CommandListener):
    """Logs each new shape of a query once."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def started(self, event: CommandStartedEvent) -> None:
        for shape in shapes(event.command_name, event.command):
            text = repr(shape)
            if text not in self._seen:
                self._seen.add(text)
                log.debug("query shape", database=event.database_name, **shape)

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Nothing to do: a shape is known when it starts."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Nothing to do: a shape is known when it starts."""


def shapes(name: str, command: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The queries within a driver command: collection, filter, sort and comment; empty for what reads nothing."""
    collection, comment = command.get(name), command.get("comment", "")
    if name == "find":
        found = [(command.get("filter", {}), dict(command.get("sort", {})))]
    elif name == "update":
        found = [(update["q"], {}) for update in command["updates"]]
    elif name == "delete":
        found = [(delete["q"], {}) for delete in command["deletes"]]
    elif name == "aggregate" and isinstance(collection, str):
        stages = command["pipeline"]
        match = stages[0].get("$match", {}) if stages else {}
        sort = next((dict(stage["$sort"]) for stage in stages[:2] if "$sort" in stage), {})
        found = [(match, sort)]
    else:
        found = []
    return [
        {"collection": collection, "filter": _shape(wanted), "sort": sort, "comment": comment} for wanted, sort in found
    ]


def _shape(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _shape(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_shape(value[0])] if value else []
    if isinstance(value, datetime):
        return {"$date": datetime(2000, 1, 1, tzinfo=UTC).isoformat()}
    return _PLACEHOLDERS.get(type(value), None if value is None else "x")
