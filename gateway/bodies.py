"""Reading a request's body, and no more of it than is allowed."""

from starlette.requests import Request as HttpRequest


class BodyTooLarge(Exception):
    """The body is longer than the endpoint reads."""


async def read_body(request: HttpRequest, most: int) -> bytes:
    """The whole body; BodyTooLarge as soon as that is known."""
    announced = request.headers.get("content-length", "0")
    if not announced.isdigit() or int(announced) > most:
        raise BodyTooLarge
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise BodyTooLarge
    return bytes(body)
