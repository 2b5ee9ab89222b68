"""Reading a request's body, and no more of it than is allowed."""

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest

from gateway.fields import field_of


class BodyTooLarge(Exception):
    """The body is longer than the endpoint reads."""


async def read_body(request: HttpRequest, most: int) -> bytes:
    """The whole body; BodyTooLarge as soon as that is known."""
    announced = field_of(request.scope, b"content-length") or "0"
    if not announced.isdigit() or int(announced) > most:
        raise BodyTooLarge
    body = b""
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        # Most bodies come in one piece, which is not copied then.
        part: bytes = message.get("body", b"")
        body = body + part if body else part
        if len(body) > most:
            raise BodyTooLarge
        if not message.get("more_body", False):
            return body
