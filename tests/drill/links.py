"""What lies between two processes: a forwarder of TCP connections that can be slow, cut, silent, or lead elsewhere.

It stands for the network and, where a process is replaced by its successor, for the Service of Kubernetes in front of
it: connections that are there stay where they are, new ones go to the successor.
"""

import asyncio
import random
from contextlib import suppress

from deploy.local.embedded import reserved_port

_CHUNK = 64 << 10


class Link:
    """Forwards connections from an address of its own to a process. `delay_seconds` is added to each piece of data,
    anew by chance, up to twice as much; `upstream` counts for new connections.
    """

    def __init__(self) -> None:
        self.address = f"127.0.0.1:{reserved_port(self)}"
        self.upstream = ""
        self.delay_seconds = 0.0
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listens from now on."""
        host, _, port = self.address.partition(":")
        self._server = await asyncio.start_server(self._accept, host, int(port))

    async def stop(self) -> None:
        """Ends all connections, and listens no more."""
        if self._server is not None:
            self._server.close()
        self.cut()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def cut(self) -> None:
        """Ends all connections of this moment, in the middle of whatever they carry."""
        for connection in list(self._connections):
            connection.cancel()

    def silence(self) -> None:
        """Takes what comes and delivers nothing, and ends no connection, until `speak`: as a cable that was pulled."""
        self._open.clear()

    def speak(self) -> None:
        """Delivers again, and what was held back first."""
        self._open.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        far_writer: asyncio.StreamWriter | None = None
        try:
            host, _, port = self.upstream.partition(":")
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
            await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer))
        except (OSError, asyncio.CancelledError):
            for end in (writer, far_writer):
                if end is not None:
                    end.transport.abort()
        finally:
            for end in (writer, far_writer):
                if end is not None:
                    end.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            if self.delay_seconds:
                await asyncio.sleep(random.uniform(0, 2 * self.delay_seconds))
            await self._open.wait()
            writer.write(data)
            await writer.drain()
        with suppress(OSError):
            writer.write_eof()
