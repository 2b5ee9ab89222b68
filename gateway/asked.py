"""What is asked: the parameters of a GraphQL request, out of a URL or a body."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import orjson
from starlette.requests import Request as HttpRequest

from gateway.answers import Refusal
from gateway.bodies import BodyTooLarge, read_body
from gateway.errors import BAD_USER_INPUT
from gateway.fields import field_of
from gateway.negotiation import JSON

# By the appendix on persisted documents of GraphQL over HTTP.
_DOCUMENT_ID = re.compile(r"(?=.{1,200}$)[A-Za-z0-9._~-]+(:[A-Za-z0-9._~:-]+)?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
# Clients send few different headers.
_REMEMBERED = 256
_UTF8 = ("charset=utf-8", 'charset="utf-8"', "charset=utf8")


class Asked(NamedTuple):
    """The parameters of a GraphQL request."""

    # The document; empty where it is asked for by its id.
    query: str
    operation_name: str | None
    variables: Mapping[str, Any]
    # Of the document, as it is declared, or `sha256:` and its hash; empty where it is sent.
    id: str = ""
    # What the sender says that the hash of the document is, where both are sent; else empty.
    digest: str = ""
    # Asked for by the protocol of automatic persisted queries.
    automatic: bool = False


def from_url(http: HttpRequest) -> Asked:
    """Of a GET; Refusal if it is malformed."""
    given: dict[str, Any] = dict(http.query_params)
    for name in ("variables", "extensions"):
        if name in given:
            try:
                given[name] = orjson.loads(given[name])
            except orjson.JSONDecodeError as error:
                raise _malformed(f"`{name}` is not JSON: {error}.") from error
    return asked_of(given)


async def from_body(http: HttpRequest, most: int, most_at_once: int = 0) -> Asked | list[Asked]:
    """Of a POST, of which no more than `most` bytes are read; Refusal if it is malformed.

    Several requests at once, as a list, are taken if there may be `most_at_once`.
    """
    if not _is_json(field_of(http.scope, b"content-type")):
        raise Refusal(415, BAD_USER_INPUT, f"Send the request as {JSON} in UTF-8.", reason="MEDIA_TYPE_UNSUPPORTED")
    if field_of(http.scope, b"content-encoding").lower() not in ("", "identity"):
        raise Refusal(415, BAD_USER_INPUT, "Send the request uncompressed.", reason="ENCODING_UNSUPPORTED")
    try:
        body = orjson.loads(await read_body(http, most))
    except BodyTooLarge as error:
        message = f"A request has {most:,} bytes at most; send less at once."
        raise Refusal(
            413, BAD_USER_INPUT, message, reason="BODY_TOO_LARGE", measure="body bytes", limit=most
        ) from error
    except orjson.JSONDecodeError as error:
        raise Refusal(400, BAD_USER_INPUT, f"The body is not JSON: {error}.", reason="JSON_MALFORMED") from error
    if isinstance(body, list):
        return _several(body, most_at_once)
    return _one(body)


def _several(bodies: list[Any], most: int) -> list[Asked]:
    if not most:
        raise Refusal(400, BAD_USER_INPUT, "Send one request at a time.", reason="BATCHING_NOT_SUPPORTED")
    if not 0 < len(bodies) <= most:
        message = f"A list has 1 to {most} requests; this has {len(bodies)}."
        raise Refusal(400, BAD_USER_INPUT, message, reason="BATCH_TOO_LARGE", measure="requests in a list", limit=most)
    return [_one(body) for body in bodies]


def _one(body: Any) -> Asked:
    if not isinstance(body, dict):
        raise _malformed("The body has to be an object with `query`.")
    return asked_of(body)


@lru_cache(maxsize=_REMEMBERED)
def _is_json(content_type: str) -> bool:
    """Whether a body of this type is read: JSON in UTF-8."""
    type, _, parameters = content_type.partition(";")
    charset = parameters.replace(" ", "").lower()
    return type.strip().lower() == JSON and not (charset.startswith("charset=") and charset not in _UTF8)


def asked_of(given: Mapping[str, Any]) -> Asked:
    """The parameters as they were sent; Refusal if they are none."""
    query, name = given.get("query"), given.get("operationName")
    variables, extensions = given.get("variables"), given.get("extensions")
    if name is not None and not isinstance(name, str):
        raise _malformed("`operationName` has to be text.")
    if variables is not None and not isinstance(variables, dict):
        raise _malformed("`variables` has to be an object.")
    if extensions is not None and not isinstance(extensions, dict):
        raise _malformed("`extensions` has to be an object.")
    id = given.get("documentId")
    if id is not None:
        if query is not None:
            raise _malformed("Send `query` or `documentId`, not both.")
        if not isinstance(id, str) or not _DOCUMENT_ID.fullmatch(id):
            raise _malformed("`documentId` has to be text of letters, digits and -._~ with `:` behind a prefix.")
        return Asked("", name or None, variables or {}, id)
    digest = _digest(extensions) if extensions else ""
    if query is None and digest:
        return Asked("", name or None, variables or {}, f"sha256:{digest}", automatic=True)
    if not isinstance(query, str) or not query.strip():
        raise _malformed("`query` has to be a document, as text.")
    return Asked(query, name or None, variables or {}, digest=digest, automatic=bool(digest))


def _digest(extensions: Mapping[str, Any]) -> str:
    """The hash by the protocol of automatic persisted queries; empty if it is not spoken."""
    given = extensions.get("persistedQuery")
    if given is None:
        return ""
    digest = given.get("sha256Hash") if isinstance(given, dict) else None
    if not isinstance(digest, str) or not _SHA256.fullmatch(digest) or given.get("version") != 1:
        raise _malformed("`persistedQuery` has to have version 1 and sha256Hash, 64 hexadecimal digits in lower case.")
    return digest


def _malformed(message: str) -> Refusal:
    return Refusal(400, BAD_USER_INPUT, message, reason="REQUEST_MALFORMED")
