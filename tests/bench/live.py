"""What subscribers cost the gateway: `make bench-live`. Idle, and when all of their wallets change at once.

The gateway is a process of its own, over stand-ins of the services in this one; each subscriber has a connection of its
own and follows the wallet of another member. Prints a table and, last, one JSON object.
"""

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from alliance.rewards.v1 import rewards_pb2
from deploy.local.embedded import free_port
from deploy.local.keys import ensure_keys, identity_key, token_key, trust_file
from gateway.tokens import TokenKeys, Tokens
from services.shared.identity import Verifier
from services.shared.ids import new_id
from tests.gateway.fakes import FakeAlliance
from tests.support.live import Events, Socket, events, socket

WALLET = "subscription W($id: ID!) { walletChanged(memberId: $id) { cursor wallet { balance } } }"
_TICKS = os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> int:
    """Bytes resident."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS"))


def _cpu(pid: int) -> float:
    """Seconds of processor time so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@asynccontextmanager
async def _gateway(alliance: FakeAlliance, keys: Path) -> AsyncIterator[tuple[str, int]]:
    """Its URL and process id."""
    listen = f"127.0.0.1:{free_port()}"
    targets = {f"ALLIANCE_{name.upper()}_TARGET": server.target for name, server in alliance.servers.items()}
    environment = {
        **os.environ,
        **targets,
        "ALLIANCE_LISTEN": listen,
        "ALLIANCE_TOKEN_KEY_FILE": str(token_key(keys)),
        "ALLIANCE_IDENTITY_KEY_FILE": str(identity_key(keys, "gateway")),
        "ALLIANCE_PLAINTEXT": "true",
        "ALLIANCE_LIVE_CONNECTIONS_PER_CLIENT": "100000",
    }
    process = await asyncio.create_subprocess_exec(
        os.sys.executable,
        "-m",
        "gateway",
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,  # type: ignore[attr-defined]
    )
    async with httpx.AsyncClient(base_url=f"http://{listen}", trust_env=False) as http:
        while True:
            try:
                if (await http.get("/readyz")).status_code == 200:
                    break
            except httpx.TransportError:
                await asyncio.sleep(0.05)
        # What is compiled at first sight is compiled before anything is measured.
        await http.post("/graphql", json={"query": "{ viewer { kind } }"})
    yield f"http://{listen}", process.pid
    process.terminate()
    await process.wait()


async def _measure(transport: str, count: int, idle_seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder)
        ensure_keys(keys)
        alliance = FakeAlliance(Verifier.from_file(trust_file(keys)))
        await alliance.start()
        async with _gateway(alliance, keys) as (url, pid):
            tokens = Tokens(TokenKeys.from_file(token_key(keys)), url, partner_seconds=900, member_seconds=600)
            token = tokens.for_operator("operator").text
            async with AsyncExitStack() as stack:
                warm = await stack.enter_async_context(socket(url, token))
                await warm.subscribe(WALLET, id=new_id("member"))
                await warm.next()
                before, began, cpu_began = _memory(pid), time.perf_counter(), _cpu(pid)
                members = [new_id("member") for _ in range(count)]
                clients: list[Socket | Events] = []
                for id in members:
                    if transport == "websocket":
                        client = await stack.enter_async_context(socket(url, token))
                        await client.subscribe(WALLET, id=id)
                        clients.append(client)
                    else:
                        clients.append(await stack.enter_async_context(events(url, token, WALLET, id=id)))
                    await clients[-1].next()
                connected, connected_cpu = time.perf_counter() - began, _cpu(pid) - cpu_began
                memory, cpu = _memory(pid), _cpu(pid)
                await asyncio.sleep(idle_seconds)
                idle = (_cpu(pid) - cpu) / idle_seconds
                calls, cpu = len(alliance.calls), _cpu(pid)
                for id in members:
                    alliance.rewards.earn(id, 5, silently=True)
                began = time.perf_counter()
                alliance.rewards.changes.tell(rewards_pb2.WatchWalletsResponse(any=True))
                await asyncio.gather(*(client.next() for client in clients))
                told = time.perf_counter() - began
                found = {
                    "transport": transport,
                    "subscriptions": count,
                    "kib_per_subscription": round((memory - before) / count / 1024, 1),
                    "connect_ms_cpu": round(connected_cpu / count * 1000, 2),
                    "connect_seconds": round(connected, 1),
                    "idle_cpu_percent": round(idle * 100, 2),
                    "streams": alliance.rewards.changes.opened,
                    "all_change_seconds": round(told, 2),
                    "event_ms_cpu": round((_cpu(pid) - cpu) / count * 1000, 3),
                    "calls_for_all": len(alliance.calls) - calls,
                }
        await alliance.stop()
    return found


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subscriptions", type=int, default=1_000)
    parser.add_argument("--quick", action="store_true", help="idle for 5 s instead of 20")
    options = parser.parse_args()
    found = [
        await _measure(transport, options.subscriptions, 5 if options.quick else 20)
        for transport in ("websocket", "events")
    ]
    for name in found[0]:
        print(f"{name:24}" + "".join(f"{row[name]!s:>14}" for row in found))
    print(json.dumps({row["transport"]: row for row in found}))


if __name__ == "__main__":
    asyncio.run(main())
