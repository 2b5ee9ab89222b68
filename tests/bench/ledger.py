"""`make bench-ledger`: how fast the ledger is, on an embedded store of its own; a table and, last, one JSON object.

In three rounds, each in turns, so that a ratio compares what was measured at the same time; of each the middle counts:

- The engine, in this process: 1,000 concurrent callers issue points of 7 hot issuers to 10,000 members, one command a
  call, each answered when it is in the log for good (majority, journaled). `engine_per_s` ends with the last answer,
  `sustained_per_s` of the same commands when all read models have caught up, too.
- The baseline: the same transfers with one multi-document transaction each (balance of the issuer, balance of the
  member, the transfer), one caller per issuer, so that none ever meets another's: the best that it can do.
- The store: `insert_many` of documents as small as a record, durable, 1,000 a call, 4 callers, no secondary index.

Then the service, a process of its own: BatchPost with 500 commands a call, one client, one call after the other; and
one Post after the other while nothing else goes on. Without --quick: 1,000,000 members, made by as many commands,
against the 10,000 in turns (sustained, both); and the service's memory after work among all of them.
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
from services.rewards.ledger.commands import Allot, Issue
from services.rewards.ledger.ledger import INDEXES, Ledger
from services.rewards.ledger.model import Lot
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
_ROUNDS = 3
_WRITTEN_AFTER = 100_000  # commands in 4 partitions, after which the ledger writes its read models, however busy
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


async def engine(ledger: Ledger, members: int, seconds: float, commands: int = 1_000_000) -> tuple[float, float, float]:
    """Commands a second until the last is acknowledged, and until the read models have it; and the microseconds of this
    process's CPU time that each took, which depend less on what else the machine does. For so long, or so many.
    """
    choose = random.Random(7)
    run, done = new_id("run"), 0
    worked, began = time.process_time(), time.perf_counter()
    until = began + seconds

    async def caller() -> None:
        nonlocal done
        while done < commands and time.perf_counter() < until:
            done += 1
            member = f"member_{choose.randrange(members)}"
            outcome = await ledger.post_one(Issue(f"{run}/{done}", member, choose.choice(_LOTS)))
            if outcome.refusal:
                raise RuntimeError(f"refused: {outcome.refusal}")

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    acknowledged = rate(done, began)
    await ledger.project()
    return acknowledged, rate(done, began), (time.process_time() - worked) / done * 1e6


class Baseline:
    """One transaction per transfer."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._accounts, self._transfers = database["baseline_accounts"], database["baseline_transfers"]
        self._choose = random.Random(7)
        self._people = [f"member_{number}" for number in range(MEMBERS)]

    async def prepare(self) -> None:
        await self._accounts.insert_many([{"_id": id, "balance": 0} for id in [*self._people, *ISSUERS]])
        await self._transfers.insert_one({"_id": "first"})

    async def run(self, seconds: float) -> float:
        """Transfers a second."""
        until = time.perf_counter() + seconds
        done = 0

        async def caller(issuer: str) -> None:
            nonlocal done
            while time.perf_counter() < until:
                member, id = self._choose.choice(self._people), new_id("transfer")

                async def transfer(tx: Transaction, member: str = member, id: str = id) -> None:
                    move, session = self._accounts.update_one, tx.session
                    await move({"_id": issuer}, {"$inc": {"balance": -5}}, session=session)
                    await move({"_id": member}, {"$inc": {"balance": 5}}, session=session)
                    record = {"_id": id, "from": issuer, "to": member, "points": 5}
                    await self._transfers.insert_one(record, session=session)

                await self._database.transaction(transfer)
                done += 1

        began = time.perf_counter()
        await asyncio.gather(*map(caller, ISSUERS))
        return rate(done, began)


async def raw_insert(database: Database, seconds: float) -> float:
    """Documents a second."""
    collection = database["raw"]
    until = time.perf_counter() + seconds
    done = 0

    async def caller(_: int) -> None:
        nonlocal done
        while time.perf_counter() < until:
            rows = [{"_id": new_id("claim"), "seq": 1, "i": place, "body": bytes(90)} for place in range(1_000)]
            await collection.insert_many(rows)
            done += len(rows)

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


async def batches(client: Client[Any], people: list[str], *, seconds: float = 60.0, calls: int = 1_000) -> float:
    """Commands a second over gRPC, 500 a call, one call after the other: for so long, or so many calls."""
    took = 0.0
    done = 0
    while took < seconds and done < calls:
        request = pb.BatchPostRequest(commands=issues(people, 500))
        began = time.perf_counter()
        answer = await client.call(client.stub.BatchPost, request, caller=OPERATOR, timeout_seconds=60)
        took += time.perf_counter() - began
        done += 1
        if any(outcome.refusal.reason for outcome in answer.outcomes):
            raise RuntimeError("refused")
    return done * 500 / took


async def unary(client: Client[Any], people: list[str], *, seconds: float) -> list[float]:
    """The milliseconds that each Post took, one after the other, for so long; sorted."""
    took: list[float] = []
    while sum(took) < seconds * 1_000:
        (command,) = issues(people, 1)
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
    small = Database(uri, "bench_small")
    baseline = Baseline(small)
    await baseline.prepare()
    # A long round is about as many commands as the read models wait for while the ledger is busy.
    seconds = 2.0 if quick else 6.0
    async with running(small) as ledger:
        await seed(ledger, MEMBERS)
        taken = [
            (*await engine(ledger, MEMBERS, seconds), await baseline.run(seconds), await raw_insert(small, seconds / 2))
            for _ in range(_ROUNDS)
        ]
        per_s, sustained, worked, transactions, raw = (median(column) for column in zip(*taken, strict=True))
        result: Result = {
            "engine_per_s": per_s,
            "engine_cpu_us": worked,
            "baseline_per_s": transactions,
            "engine_vs_baseline": per_s / transactions,
            "sustained_per_s": sustained,
            "raw_insert_per_s": raw,
            "sustained_vs_raw": sustained / raw,
        }
        say(result)
        await service_rates(uri, work, result, seconds)
        say(result)
        result["throughput_1m_vs_10k"] = result["rss_mb_1m"] = None
        if not quick:
            await million(uri, work, ledger, result)
    small.close()
    return result


async def service_rates(uri: str, work: Path, result: Result, seconds: float) -> None:
    people = [new_id("member") for _ in range(1_000)]
    async with service(uri, work, "bench_rpc") as (_, client):
        await allot(client)
        await batches(client, people, calls=4)  # warm
        result["batch_rpc_per_s"] = median([await batches(client, people, seconds=seconds) for _ in range(_ROUNDS)])
        await asyncio.sleep(2.0)  # until it is idle
        took = await unary(client, people, seconds=seconds * 2)
        result["unary_p50_ms"] = median(took)
        result["unary_p99_ms"] = took[int(len(took) * 0.99)]


async def million(uri: str, work: Path, small: Ledger, result: Result) -> None:
    """The same with 1,000,000 members, in turns with the 10,000; then a service of its own among so many."""
    database = Database(uri, "bench_large")
    taken: list[tuple[float, ...]] = []
    async with running(database) as large:
        await seed(large, MILLION)
        for _ in range(_ROUNDS):
            many, few = [await engine(*which, 60.0, _WRITTEN_AFTER) for which in ((large, MILLION), (small, MEMBERS))]
            taken.append((*many, *few))
            for name, (per_s, sustained, worked) in (("1,000,000", many), ("10,000", few)):
                print(f"  {name} members: {per_s:,.0f}/s, sustained {sustained:,.0f}/s, {worked:.0f} µs", flush=True)
    database.close()
    result["engine_1m_per_s"], result["sustained_1m_per_s"] = (
        median(column) for column in list(zip(*taken, strict=True))[:2]
    )
    result["throughput_1m_vs_10k"] = median([sustained / few for _, sustained, _, _, few, _ in taken])
    say(result)
    async with service(uri, work, "bench_large") as (process, client):
        await allot(client)
        # Whoever of the million: the service's own checks want ids of another form, so these come on top.
        await batches(client, [new_id("member") for _ in range(100_000)], calls=200)
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
