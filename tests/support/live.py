"""Subscribers, as a brand's frontend writes them: one over WebSocket, one over server-sent events."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

PROTOCOL = "graphql-transport-ws"
_PATIENCE_SECONDS = 60.0
# Certificates are not looked at here; loading them for each client would take longer than all the rest.
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@dataclass
class Socket:
    """A client of graphql-transport-ws."""

    connection: ClientConnection

    async def say(self, message: Mapping[str, Any] | str | bytes) -> None:
        await self.connection.send(json.dumps(message) if isinstance(message, Mapping) else message)

    async def hear(self) -> dict[str, Any]:
        """The next message; ConnectionClosed if there is none."""
        return dict(json.loads(await asyncio.wait_for(self.connection.recv(), _PATIENCE_SECONDS)))

    async def init(self, token: str | None = None) -> None:
        await self.say({"type": "connection_init", "payload": {"authorization": f"Bearer {token}"} if token else None})
        assert (await self.hear())["type"] == "connection_ack"

    async def subscribe(self, document: str, id: str = "1", /, **variables: Any) -> None:
        payload = {"query": document, "variables": variables}
        await self.say({"id": id, "type": "subscribe", "payload": payload})

    async def next(self, id: str = "1") -> Any:
        """The data of the next event, which has to be without errors."""
        message = await self.hear()
        assert (message["type"], message["id"]) == ("next", id), message
        assert "errors" not in message["payload"], message
        return message["payload"]["data"]

    async def closed(self) -> tuple[int, str]:
        """The code and reason of the close, once it comes."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await self.connection.wait_closed()
        return self.connection.close_code or 0, self.connection.close_reason or ""


@asynccontextmanager
async def socket(
    url: str, token: str | None = None, *, init: bool = True, protocol: str | None = PROTOCOL, **options: Any
) -> AsyncIterator[Socket]:
    """A connection to the gateway at an http URL, initialised."""
    subprotocols = [Subprotocol(protocol)] if protocol else None
    target = f"ws{url.removeprefix('http')}/graphql"
    patience = {"open_timeout": _PATIENCE_SECONDS, "ping_timeout": _PATIENCE_SECONDS}
    async with connect(target, subprotocols=subprotocols, proxy=None, **patience, **options) as made:
        client = Socket(made)
        if init:
            await client.init(token)
        yield client


@dataclass
class Event:
    """An event as it came."""

    kind: str = ""
    id: str = ""
    data: str = ""


@dataclass
class Events:
    """A client of GraphQL over SSE, in distinct connections mode."""

    response: httpx.Response
    lines: AsyncIterator[str]
    # Of the last event that had one: what EventSource sends as Last-Event-ID.
    last_id: str = ""
    retries: list[int] = field(default_factory=list)

    async def event(self) -> Event | None:
        """The next one; None where the stream ends."""
        event = Event()
        async with asyncio.timeout(_PATIENCE_SECONDS):
            async for line in self.lines:
                name, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if not line and event.kind:
                    self.last_id = event.id or self.last_id
                    return event
                match name:
                    case "event":
                        event.kind = value
                    case "id":
                        event.id = value
                    case "data":
                        event.data += value
                    case "retry":
                        self.retries.append(int(value))
        return None

    async def result(self) -> Any:
        """The result in the next event."""
        event = await self.event()
        assert event is not None
        assert event.kind == "next", event
        return json.loads(event.data)

    async def next(self) -> Any:
        """The data of the next event, which has to be without errors."""
        result = await self.result()
        assert "errors" not in result, result
        return result["data"]


@asynccontextmanager
async def events(
    url: str, token: str | None, document: str, *, last_id: str = "", get: bool = False, **variables: Any
) -> AsyncIterator[Events]:
    """A subscription."""
    headers = {"accept": "text/event-stream"}
    headers |= {"authorization": f"Bearer {token}"} if token else {}
    headers |= {"last-event-id": last_id} if last_id else {}
    async with httpx.AsyncClient(base_url=url, timeout=_PATIENCE_SECONDS, trust_env=False, verify=_NO_TLS) as http:
        if get:
            given = {"query": document, "variables": json.dumps(variables)}
            request = http.stream("GET", "/graphql", params=given, headers=headers)
        else:
            request = http.stream("POST", "/graphql", json={"query": document, "variables": variables}, headers=headers)
        async with request as response:
            yield Events(response, response.aiter_lines())
