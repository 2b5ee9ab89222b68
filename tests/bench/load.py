"""Sends requests to a gateway and says how many it answered: by wrk where it is installed, else from this process.

Only ratios between gateways measured in turn by the same generator mean anything.
"""

import asyncio
import json
import math
import random
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import orjson

from tests.bench.services import MEMBERS

_TICKS = 100


@dataclass(frozen=True)
class Target:
    """A gateway's process."""

    name: str
    url: str
    pid: int
    token: str

    def cpu_seconds(self) -> float:
        """What the process has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS


@dataclass(frozen=True)
class Measured:
    """What a run showed."""

    rps: float
    # Of the gateway's process, per request.
    cpu_ms: float
    p99_ms: float
    # Requests that were not answered with 200.
    failed: int


def generator() -> str:
    """What sends the requests."""
    return "wrk" if shutil.which("wrk") else "python"


def measure(target: Target, query: str, *, first: int | None, connections: int, seconds: float) -> Measured:
    """As many requests as these connections can send; with `first` of lists, else of members by random id."""
    before = target.cpu_seconds()
    run = _wrk if generator() == "wrk" else _python
    count, elapsed, p99, failed = run(target, query, first, connections, seconds)
    cpu = target.cpu_seconds() - before
    return Measured(count / elapsed, 1_000 * cpu / count if count else math.nan, p99, failed)


def paced(target: Target, query: str, *, rate: float, seconds: float) -> float:
    """The 99th percentile in ms at a fixed rate, from when each request was due."""
    return asyncio.run(_paced(target, query, rate, seconds))


_SCRIPT = """
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["accept"] = "application/json"
wrk.headers["authorization"] = "Bearer %(token)s"
local list, before, after = %(list)s, %(before)s, %(after)s
request = function()
  if list then return wrk.format(nil, nil, nil, before) end
  return wrk.format(nil, nil, nil, before .. math.random(0, %(last)d) .. after)
end
done = function(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.status + errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format("RESULT %%d %%d %%f %%d\\n", summary.requests, summary.duration,
    latency:percentile(99.0) / 1000, failed))
end
"""


def _wrk(
    target: Target, query: str, first: int | None, connections: int, seconds: float
) -> tuple[int, float, float, int]:
    before, after = _body(query, first)
    script = _SCRIPT % {
        "token": target.token,
        "list": "true" if first is not None else "false",
        "before": json.dumps(before),
        "after": json.dumps(after),
        "last": len(MEMBERS) - 1,
    }
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", file.name, target.url]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"RESULT (\d+) (\d+) ([\d.]+) (\d+)", told)
    if found is None:
        raise RuntimeError(f"wrk said nothing of its results: {told}")
    count, micros, p99, failed = found.groups()
    return int(count), int(micros) / 1e6, float(p99), int(failed)


def _python(
    target: Target, query: str, first: int | None, connections: int, seconds: float
) -> tuple[int, float, float, int]:
    return asyncio.run(_closed_loop(target, query, first, connections, seconds))


async def _closed_loop(
    target: Target, query: str, first: int | None, connections: int, seconds: float
) -> tuple[int, float, float, int]:
    took: list[float] = []
    failed = 0
    until = time.perf_counter() + seconds

    async def one() -> None:
        nonlocal failed
        connection = await Connection.open(target)
        while (start := time.perf_counter()) < until:
            failed += await connection.ask(query, first) != 200
            took.append(time.perf_counter() - start)
        connection.close()

    start = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(connections)))
    return len(took), time.perf_counter() - start, 1_000 * percentile(took, 0.99), failed


async def _paced(target: Target, query: str, rate: float, seconds: float) -> float:
    loop = asyncio.get_running_loop()
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(64):
        free.put_nowait(await Connection.open(target))
    took: list[float] = []

    async def one(due: float) -> None:
        connection = await free.get()
        await connection.ask(query, None)
        took.append(loop.time() - due)
        free.put_nowait(connection)

    start = loop.time()
    tasks = []
    for number in range(round(rate * seconds)):
        due = start + number / rate
        if (wait := due - loop.time()) > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(one(due)))
    await asyncio.gather(*tasks)
    while not free.empty():
        free.get_nowait().close()
    return 1_000 * percentile(took, 0.99)


class Connection:
    """A kept connection that speaks as much HTTP as it takes."""

    def __init__(self, target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        host, _, path = target.url.removeprefix("http://").partition("/")
        self._head = (
            f"POST /{path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\naccept: application/json\r\n"
            f"authorization: Bearer {target.token}\r\ncontent-length: "
        )

    @classmethod
    async def open(cls, target: Target) -> "Connection":
        host, _, port = target.url.removeprefix("http://").partition("/")[0].partition(":")
        return cls(target, *await asyncio.open_connection(host, int(port)))

    async def ask(self, query: str, first: int | None) -> int:
        """Sends one request and reads its answer; the status."""
        before, after = _body(query, first)
        body = before if first is not None else f"{before}{random.randrange(len(MEMBERS))}{after}"
        self._writer.write(f"{self._head}{len(body)}\r\n\r\n{body}".encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        assert length is not None
        self.last = await self._reader.readexactly(int(length[1]))
        return int(head.split(b" ", 2)[1])

    def close(self) -> None:
        self._writer.close()


def percentile(values: list[float], share: float) -> float:
    """By nearest rank; 0 of nothing."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def _body(query: str, first: int | None) -> tuple[str, str]:
    if first is not None:
        return orjson.dumps({"query": query, "variables": {"first": first}}).decode(), ""
    whole = orjson.dumps({"query": query, "variables": {"id": "member_#"}}).decode()
    before, _, after = whole.partition("#")
    return before, after
