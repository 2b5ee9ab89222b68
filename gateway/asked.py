"""What is asked: the parameters of a GraphQL request, out of a URL or a body."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request as HttpRequest

from gateway.answers import Refusal
from gateway.bodies import BodyTooLarge, read_body
from gateway.errors import BAD_USER_INPUT
from gateway.negotiation import JSON

_UTF8 = ("charset=utf-8", 'charset="utf-8"', "charset=utf8")


@dataclass(frozen=True)
class Asked:
    """The parameters of a GraphQL request."""

    query: str
    operation_name: str | None
    variables: Mapping[str, Any]


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


async def from_body(http: HttpRequest, most: int) -> Asked:
    """Of a POST, of which no more than `most` bytes are read; Refusal if it is malformed."""
    type, _, parameters = http.headers.get("content-type", "").partition(";")
    charset = parameters.replace(" ", "").lower()
    if type.strip().lower() != JSON or (charset.startswith("charset=") and charset not in _UTF8):
        raise Refusal(415, BAD_USER_INPUT, f"Send the request as {JSON} in UTF-8.", reason="MEDIA_TYPE_UNSUPPORTED")
    if http.headers.get("content-encoding", "identity").lower() != "identity":
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
        raise Refusal(400, BAD_USER_INPUT, "Send one request at a time.", reason="BATCHING_NOT_SUPPORTED")
    if not isinstance(body, dict):
        raise _malformed("The body has to be an object with `query`.")
    return asked_of(body)


def asked_of(given: Mapping[str, Any]) -> Asked:
    """The parameters as they were sent; Refusal if they are none."""
    query, name = given.get("query"), given.get("operationName")
    variables, extensions = given.get("variables"), given.get("extensions")
    if not isinstance(query, str) or not query.strip():
        raise _malformed("`query` has to be a document, as text.")
    if name is not None and not isinstance(name, str):
        raise _malformed("`operationName` has to be text.")
    if variables is not None and not isinstance(variables, dict):
        raise _malformed("`variables` has to be an object.")
    if extensions is not None and not isinstance(extensions, dict):
        raise _malformed("`extensions` has to be an object.")
    return Asked(query, name or None, variables or {})


def _malformed(message: str) -> Refusal:
    return Refusal(400, BAD_USER_INPUT, message, reason="REQUEST_MALFORMED")
