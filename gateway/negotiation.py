"""Which media type an answer takes, by the request's Accept header (RFC 9110, section 12.5.1)."""

from dataclasses import dataclass
from functools import lru_cache

GRAPHQL = "application/graphql-response+json"
JSON = "application/json"
EVENTS = "text/event-stream"
PARTS = "multipart/mixed"
# The format of parts, by its name in Accept (https://specs.apollo.dev/incremental/v0.2). `deferSpec=20220824` and
# `subscriptionSpec` are other formats: who wants those would misread this one.
PARTS_FORMAT = "v0.2"
HTML = "text/html"

# Clients send few different headers.
_REMEMBERED = 256
# In the order in which they are preferred among equals.
_OFFERED = (GRAPHQL, JSON)


@dataclass(frozen=True)
class _Range:
    type: str
    quality: float
    parameters: tuple[tuple[str, str], ...] = ()


@lru_cache(maxsize=_REMEMBERED)
def media_type(accept: str) -> str | None:
    """The best of ours for an Accept header; None if it wants none of them.

    Who names no type in particular is taken for a client from before GraphQL had one of its own, and gets JSON.
    """
    ranges = _ranges(accept)
    if not ranges:
        return JSON
    best, quality = None, 0.0
    for offered in _OFFERED:
        named = [given.quality for given in ranges if given.type == offered]
        if named and max(named) > quality:
            best, quality = offered, max(named)
    if best is not None:
        return best
    refused = {given.type for given in ranges if given.quality == 0}
    if JSON not in refused and any(given.type in ("*/*", "application/*") and given.quality > 0 for given in ranges):
        return JSON
    return None


def wants_page(accept: str) -> bool:
    """Whether it is a browser that came to look: it names HTML, and neither of our types."""
    named = {given.type for given in _ranges(accept) if given.quality > 0}
    return HTML in named and not named & set(_OFFERED)


@lru_cache(maxsize=_REMEMBERED)
def accepts_events(accept: str) -> bool:
    """Whether it takes a stream of events, and says so."""
    return any(given.type == EVENTS and given.quality > 0 for given in _ranges(accept))


@lru_cache(maxsize=_REMEMBERED)
def accepts_parts(accept: str) -> bool:
    """Whether it takes an answer in parts, in the format that they have here."""
    return any(given.type == PARTS and given.quality > 0 and _ours(given.parameters) for given in _ranges(accept))


def _ours(parameters: tuple[tuple[str, str], ...]) -> bool:
    formats = [(name, value) for name, value in parameters if name.endswith("spec")]
    return all(given == ("incrementalspec", PARTS_FORMAT) for given in formats)


def _ranges(accept: str) -> list[_Range]:
    found = []
    for part in accept.split(","):
        type, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if type:
            named = (parameter.partition("=") for parameter in parameters)
            pairs = tuple((name.strip(), value.strip(' "')) for name, _, value in named)
            found.append(_Range(type, _quality(parameters), pairs))
    return found


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0
