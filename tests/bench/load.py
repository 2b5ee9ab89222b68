"""Sends requests to a gateway and says how many it answered: by wrk where it is installed, else from this process.

Only ratios between gateways measured in turn by the same generator mean anything.
"""

import json
import math
import os
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from tests.bench.client import Answers, Next, closed, crowd, paced

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Target:
    """A gateway's process."""

    name: str
    url: str
    pid: int
    token: str
    members: Sequence[str]

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.url.removeprefix("http://").partition("/")[0].partition(":")
        return host, int(port)

    def cpu_seconds(self) -> float:
        """What the process has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def asks(self, query: str, first: int | None) -> Next:
        """Requests for lists of `first` members, else for members by random id."""
        before, after = _body(query, first)
        path = "/" + self.url.removeprefix("http://").partition("/")[2]
        host, port = self.address
        head = (
            f"POST {path} HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-type: application/json\r\n"
            f"accept: application/json\r\nauthorization: Bearer {self.token}\r\ncontent-length: "
        )
        bodies = [before] if first is not None else [f"{before}{id}{after}" for id in self.members]
        requests = [f"{head}{len(body)}\r\n\r\n{body}".encode() for body in bodies]
        return lambda: random.choice(requests)


@dataclass(frozen=True)
class Measured:
    """What a run showed."""

    # Of those that were answered with 200.
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
    # wrk runs for whole seconds.
    run = _wrk if generator() == "wrk" and seconds >= 1 else _python
    count, elapsed, p99, failed = run(target, query, first, connections, seconds)
    cpu = target.cpu_seconds() - before
    return Measured((count - failed) / elapsed, 1_000 * cpu / count if count else math.nan, p99, failed)


def at_rate(target: Target, query: str, *, rate: float, seconds: float) -> Answers:
    """Members by random id, so many a second."""
    return paced(target.address, target.asks(query, None), rate=rate, seconds=seconds)


def flooded(target: Target, query: str, *, rate: float, seconds: float) -> Answers:
    """Members by random id, so many a second, each asked for by somebody else."""
    return crowd(target.address, target.asks(query, None), rate=rate, seconds=seconds)


def nothing_at_rate(target: Target, *, rate: float, seconds: float) -> Answers:
    """Requests that cost next to nothing: what the machine and the generator themselves make of a rate."""
    host, port = target.address
    request = f"GET /healthz HTTP/1.1\r\nhost: {host}:{port}\r\n\r\n".encode()
    return paced(target.address, lambda: request, rate=rate, seconds=seconds)


_SCRIPT = """
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["accept"] = "application/json"
wrk.headers["authorization"] = "Bearer %(token)s"
local list, before, after = %(list)s, %(before)s, %(after)s
local members = {%(members)s}
request = function()
  if list then return wrk.format(nil, nil, nil, before) end
  return wrk.format(nil, nil, nil, before .. members[math.random(#members)] .. after)
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
        "members": ",".join(map(json.dumps, target.members)),
    }
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{round(seconds)}s", "-T15s", "-s", file.name, target.url]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"RESULT (\d+) (\d+) ([\d.]+) (\d+)", told)
    if found is None:
        raise RuntimeError(f"wrk said nothing of its results: {told}")
    count, micros, p99, failed = found.groups()
    return int(count), int(micros) / 1e6, float(p99), int(failed)


def _python(
    target: Target, query: str, first: int | None, connections: int, seconds: float
) -> tuple[int, float, float, int]:
    answers = closed(target.address, target.asks(query, first), connections=connections, seconds=seconds)
    return len(answers.took), answers.elapsed, answers.percentile_ms(0.99), answers.failed


def _body(query: str, first: int | None) -> tuple[str, str]:
    if first is not None:
        return orjson.dumps({"query": query, "variables": {"first": first}}).decode(), ""
    whole = orjson.dumps({"query": query, "variables": {"id": "#"}}).decode()
    before, _, after = whole.partition("#")
    return before, after
