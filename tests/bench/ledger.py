"""`make bench-ledger`: how fast the ledger is, on an embedded store of its own; a table and, last, one JSON object.

- The engine, in this process: 1,000 concurrent callers issue points of 7 hot issuers to 10,000 members, one command a
  call, each answered when it is in the log for good. `engine_per_s` ends with the last answer, `sustained_per_s` of the
  same commands when the read models have caught up, too.
- The baseline: the same transfers with one multi-document transaction each (balance of the issuer, balance of the
  member, the transfer), one caller per issuer, so that none ever meets another's: the best that it can do.
- The store: `insert_many` of documents as small as a record, durable, 1,000 a call, 4 callers, no secondary index.
- The service, a process of its own: BatchPost with 500 commands a call, one client, one call after the other; then one
  Post after the other while nothing else goes on.
- Without --quick: 1,000,000 members, against the 10,000; and the service's memory after work on all over them.
"""

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from alliance.rewards.v1 import ledger_pb2 as pb
from alliance.rewards.v1.ledger_pb2_grpc import LedgerServiceStub
from deploy.local.embedded import EmbeddedServer
from deploy.local.keys import ensure_keys
from services.rewards.ledger.ledger import INDEXES, Ledger
from services.rewards.ledger.model import Allot, Issue, Lot
from services.shared import collector
from services.shared.client import Client
from services.shared.ids import new_id
from services.shared.mongo import Database, Transaction
from tests.support.service import OPERATOR, ServiceProcess

Result = dict[str, float | None]

CALLERS = 1_000
MEMBERS = 10_000
MILLION = 1_000_000
PARTITIONS = 4
_SEEDED_AT_ONCE = 10_000
EXPIRES = 4_102_444_800_000
ISSUERS = [new_id("partner") for _ in range(7)]
_LOTS = [(Lot(EXPIRES, issuer, 10_000, 5),) for issuer in ISSUERS]


def now() -> int:
    return time.time_ns() // 1_000_000


def rate(count: int, began: float) -> float:
    return count / (time.perf_counter() - began)


@asynccontextmanager
async def running(database: Database) -> AsyncIterator[Ledger]:
    """A ledger in use, with points to issue in all partitions."""
    await database.create_indexes(INDEXES)
    ledger = Ledger(database, PARTITIONS, now)
    await ledger.open()
    job = asyncio.create_task(ledger.run())
    await ledger.post([Allot(new_id("block"), issuer, 10**12) for issuer in ISSUERS])
    for number in range(20):  # each partition gets its share
        await ledger.post([Issue(new_id("claim"), f"first_{number}", lots) for lots in _LOTS])
    await ledger.project()
    collector.settle()  # as the service does
    yield ledger
    job.cancel()
    await asyncio.gather(job, return_exceptions=True)


async def engine(ledger: Ledger, commands: int, members: int) -> tuple[float, float]:
    """Commands a second until the last is acknowledged, and until the read models have it."""
    choose = random.Random(7)
    run, left = new_id("run"), iter(range(commands))

    async def caller() -> None:
        for number in left:
            member = f"member_{choose.randrange(members)}"
            outcome = await ledger.post_one(Issue(f"{run}/{number}", member, choose.choice(_LOTS)))
            if outcome.refusal:
                raise RuntimeError(f"refused: {outcome.refusal}")

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    acknowledged = rate(commands, began)
    await ledger.project()
    return acknowledged, rate(commands, began)


async def baseline(database: Database, seconds: float) -> float:
    """Transfers a second, each in a transaction of its own."""
    accounts, transfers = database["baseline_accounts"], database["baseline_transfers"]
    choose = random.Random(7)
    people = [f"member_{number}" for number in range(MEMBERS)]
    await accounts.insert_many([{"_id": id, "balance": 0} for id in [*people, *ISSUERS]])
    await transfers.insert_one({"_id": "first"})
    until = time.perf_counter() + seconds
    done = 0

    async def caller(issuer: str) -> None:
        nonlocal done
        while time.perf_counter() < until:
            member, id = choose.choice(people), new_id("transfer")

            async def transfer(tx: Transaction, member: str = member, id: str = id) -> None:
                await accounts.update_one({"_id": issuer}, {"$inc": {"balance": -5}}, session=tx.session)
                await accounts.update_one({"_id": member}, {"$inc": {"balance": 5}}, session=tx.session)
                await transfers.insert_one({"_id": id, "from": issuer, "to": member, "points": 5}, session=tx.session)

            await database.transaction(transfer)
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*map(caller, ISSUERS))
    return rate(done, began)


async def raw_insert(database: Database, seconds: float) -> float:
    """Documents a second."""
    collection = database["raw"]
    until = time.perf_counter() + seconds
    done = 0

    async def caller(name: int) -> None:
        nonlocal done
        place = 0
        while time.perf_counter() < until:
            ids = [f"{name}/{new_id('claim')}" for _ in range(1_000)]
            await collection.insert_many([{"_id": id, "seq": place, "i": 0, "body": bytes(90)} for id in ids])
            done += len(ids)
            place += 1

    began = time.perf_counter()
    await asyncio.gather(*map(caller, range(PARTITIONS)))
    return rate(done, began)


def issues(people: list[str], count: int) -> list[pb.Command]:
    return [
        pb.Command(
            request_id=new_id("claim"),
            issue=pb.IssueCommand(
                member_id=random.choice(people),
                lots=[
                    {
                        "issuer_partner_id": random.choice(ISSUERS),
                        "points": 5,
                        "unit_value": {"currency": "EUR", "micros": 10_000},
                        "expires_at": {"seconds": EXPIRES // 1_000},
                    }
                ],
            ),
        )
        for _ in range(count)
    ]


async def batches(client: Client[Any], calls: int, people: list[str]) -> float:
    """Commands a second over gRPC, 500 a call, one call after the other."""
    requests = [pb.BatchPostRequest(commands=issues(people, 500)) for _ in range(calls)]
    began = time.perf_counter()
    for request in requests:
        answer = await client.call(client.stub.BatchPost, request, caller=OPERATOR, timeout_seconds=60)
        if any(outcome.refusal.reason for outcome in answer.outcomes):
            raise RuntimeError("refused")
    return rate(calls * 500, began)


async def unary(client: Client[Any], calls: int, people: list[str]) -> list[float]:
    """The milliseconds that each of so many Posts took, one after the other; sorted."""
    took = []
    for command in issues(people, calls):
        began = time.perf_counter()
        await client.call(client.stub.Post, pb.PostRequest(command=command), caller=OPERATOR)
        took.append((time.perf_counter() - began) * 1_000)
    return sorted(took)


@asynccontextmanager
async def service(uri: str, work: Path, database: str) -> AsyncIterator[tuple[ServiceProcess, Client[Any]]]:
    """A rewards process on that database."""
    settings = {"ALLIANCE_MONGODB_DATABASE": database, "ALLIANCE_LOG_LEVEL": "WARNING"}
    process = ServiceProcess("rewards", uri, work / "keys", work / "rewards.log", **settings)
    try:
        process.start()
        client = process.client(LedgerServiceStub)
        yield process, client
        await client.close()
        process.stop()
    finally:
        process.kill()


async def allot(client: Client[Any]) -> None:
    commands = [
        pb.Command(request_id=new_id("block"), allot=pb.AllotCommand(partner_id=id, points=1_000_000_000))
        for id in ISSUERS
    ]
    await client.call(client.stub.BatchPost, pb.BatchPostRequest(commands=commands), caller=OPERATOR)


def resident_mb(pid: int) -> float:
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024


async def seed(ledger: Ledger, members: int) -> None:
    """So many accounts, by commands as any other."""
    began = time.perf_counter()
    for start in range(0, members, _SEEDED_AT_ONCE):
        numbers = range(start, min(start + _SEEDED_AT_ONCE, members))
        commands = [Issue(f"seed/{number}", f"member_{number}", _LOTS[number % 7]) for number in numbers]
        outcomes = await ledger.post(commands)
        if any(outcome.refusal for outcome in outcomes):
            raise RuntimeError("refused")
        if numbers[-1] % 100_000 < _SEEDED_AT_ONCE and start:
            print(f"  {start + len(numbers):,} of {members:,} members, {rate(start, began):,.0f}/s", flush=True)
    await ledger.project()


async def measure(uri: str, work: Path, *, quick: bool) -> Result:
    # In a burst of so many the read models' lag has no say: they may be 20,000 behind in each partition.
    commands, seconds = (10_000, 2.0) if quick else (60_000, 10.0)
    small = Database(uri, "bench_small")
    result: Result = {}
    async with running(small) as ledger:
        await seed(ledger, MEMBERS)
        result["engine_per_s"], sustained = await engine(ledger, commands, MEMBERS)
    say(result)
    result["baseline_per_s"] = await baseline(small, seconds)
    result["engine_vs_baseline"] = result["engine_per_s"] / result["baseline_per_s"]
    result["sustained_per_s"] = sustained
    result["raw_insert_per_s"] = await raw_insert(small, seconds)
    result["sustained_vs_raw"] = sustained / result["raw_insert_per_s"]
    small.close()
    say(result)
    people = [new_id("member") for _ in range(1_000)]
    async with service(uri, work, "bench_rpc") as (_, client):
        await allot(client)
        await batches(client, 4, people)  # warm
        result["batch_rpc_per_s"] = await batches(client, 20 if quick else 200, people)
        await asyncio.sleep(2.0)  # until it is idle
        took = await unary(client, 200 if quick else 1_000, people)
        result["unary_p50_ms"] = median(took)
        result["unary_p99_ms"] = took[int(len(took) * 0.99)]
    result["throughput_1m_vs_10k"] = result["rss_mb_1m"] = None
    if not quick:
        await million(uri, work, commands, result)
    return result


async def million(uri: str, work: Path, commands: int, result: Result) -> None:
    """The same with 1,000,000 members."""
    large = Database(uri, "bench_large")
    async with running(large) as ledger:
        await seed(ledger, MILLION)
        # Members that are not in memory are read first, as in the first hour of a day.
        _, sustained = await engine(ledger, commands, MILLION)
    large.close()
    result["sustained_1m_per_s"] = sustained
    result["throughput_1m_vs_10k"] = sustained / (result["sustained_per_s"] or 1)
    async with service(uri, work, "bench_large") as (process, client):
        await allot(client)
        await batches(client, 200, [new_id("member") for _ in range(100_000)])
        result["rss_mb_1m"] = resident_mb(process.pid)


_FLOORS: dict[str, tuple[str, Callable[[float], bool]]] = {
    "engine_per_s": ("10,000, target 20,000", lambda n: n >= 10_000),
    "engine_vs_baseline": ("50, target 100", lambda n: n >= 50),
    "sustained_vs_raw": ("0.3, target 0.5", lambda n: n >= 0.3),
    "batch_rpc_per_s": ("6,000, target 10,000", lambda n: n >= 6_000),
    "unary_p99_ms": ("15, target 8", lambda n: n <= 15),
    "throughput_1m_vs_10k": ("0.7, target 0.9", lambda n: n >= 0.7),
    "rss_mb_1m": ("400, target 250", lambda n: n <= 400),
}


def say(result: Result) -> None:
    print("  so far:", ", ".join(f"{name} {value:,.0f}" for name, value in result.items() if value), flush=True)


def table(result: Result) -> str:
    lines = [f"{'measure':<24}{'measured':>12}   floor"]
    for name, value in result.items():
        floor, reached = _FLOORS.get(name, ("", lambda _: True))
        shown = "-" if value is None else f"{value:,.2f}" if value < 100 else f"{value:,.0f}"
        short = "" if value is None or reached(value) else "  (short of it)"
        lines.append(f"{name:<24}{shown:>12}   {floor}{short}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="under 50 s, without the million members")
    quick = parser.parse_args().quick
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing outlives it
    with tempfile.TemporaryDirectory(prefix="bench-ledger-") as folder:
        work = Path(folder)
        ensure_keys(work / "keys")
        server = EmbeddedServer(work / "database", work / "database.log")
        server.start()
        try:
            result = uvloop.run(measure(server.uri, work, quick=quick))
        finally:
            server.stop()
    print(table(result))
    print(json.dumps({name: value if value is None else round(value, 3) for name, value in result.items()}))


if __name__ == "__main__":
    main()
