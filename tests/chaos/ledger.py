"""`make chaos-ledger`: sudden death under load, round after round; what came of it as JSON, last.

A round: callers post commands to a rewards process over gRPC, and at a random moment the process or the database is
killed with SIGKILL, and started again. Who got no answer sends the same command again, as callers do, or never again,
so that its fate stays open. Then the log is read: each command that was acknowledged is there once, at the place that
was said; each other one once or not at all; and `verify` finds nothing wrong.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import uvloop

from alliance.rewards.v1 import ledger_pb2 as pb
from alliance.rewards.v1.ledger_pb2_grpc import LedgerServiceStub
from deploy.local.embedded import EmbeddedServer
from deploy.local.keys import ensure_keys
from services.rewards.ledger.block import decode
from services.rewards.ledger.ledger import Ledger
from services.rewards.ledger.verify import verify
from services.shared.client import Client
from services.shared.errors import DeadlineExceeded, ResourceExhausted, Unavailable
from services.shared.ids import new_id
from services.shared.mongo import Database
from tests.support.service import OPERATOR, ServiceProcess

_DATABASE = "chaos_ledger"
_PARTITIONS = 4
_CALLERS = 16
_LASTS_SECONDS = (0.3, 1.0)  # of load before the kill
_AGAIN_SECONDS = 120.0
_PASSING = (Unavailable, DeadlineExceeded, ResourceExhausted)


@dataclass
class Tally:
    """What the rounds have shown."""

    rounds: int = 0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    verify_clean: int = 0
    findings: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.lost and not self.doubled and self.verify_clean == self.rounds

    def as_json(self) -> str:
        names = ("rounds", "acknowledged", "lost", "doubled", "verify_clean")
        return json.dumps({name: getattr(self, name) for name in names})


class Round:
    """Load, a death in the middle of it, and what each command was told."""

    def __init__(self, client: Client[Any], random: Random, members: list[str], issuers: list[str]) -> None:
        self.sent: set[str] = set()
        self.told: dict[str, pb.Outcome] = {}
        self.stop = asyncio.Event()
        self._client = client
        self._random = random
        self._members = members
        self._issuers = issuers

    async def caller(self) -> None:
        while not self.stop.is_set():
            commands = [self._command() for _ in range(self._random.choice([1, 1, 5, 10]))]
            self.sent.update(command.request_id for command in commands)
            insists = self._random.random() < 0.7
            while True:
                try:
                    request = pb.BatchPostRequest(commands=commands)
                    answer = await self._client.call(
                        self._client.stub.BatchPost, request, caller=OPERATOR, timeout_seconds=5
                    )
                except _PASSING:
                    if not insists:
                        break
                    await asyncio.sleep(0.1)
                    continue
                self.told.update({outcome.request_id: outcome for outcome in answer.outcomes})
                break

    def _command(self) -> pb.Command:
        member, issuer = self._random.choice(self._members), self._random.choice(self._issuers)
        if self._random.random() < 0.3:
            held = {
                "member_id": member,
                "points": self._random.randint(1, 20),
                "expires_at": {"seconds": 4_102_444_800},
            }
            return pb.Command(request_id=new_id("hold"), hold=pb.HoldCommand(**held))
        lot = {
            "issuer_partner_id": issuer,
            "points": self._random.randint(1, 50),
            "unit_value": {"currency": "EUR", "micros": 10_000},
            "expires_at": {"seconds": 4_102_444_800},
        }
        return pb.Command(request_id=new_id("claim"), issue=pb.IssueCommand(member_id=member, lots=[lot]))


async def chaos(work: Path, rounds: int, seed: int) -> Tally:
    """So many rounds on a database of their own."""
    random = Random(seed)
    ensure_keys(work / "keys")
    server = EmbeddedServer(work / "database", work / "database.log")
    settings = {
        "ALLIANCE_MONGODB_DATABASE": _DATABASE,
        "ALLIANCE_LOG_LEVEL": "WARNING",
        "ALLIANCE_LEDGER_PARTITIONS": str(_PARTITIONS),
    }
    process = ServiceProcess("rewards", server.uri, work / "keys", work / "rewards.log", **settings)
    client = process.client(LedgerServiceStub)
    members = [new_id("member") for _ in range(50)]
    issuers = [new_id("partner") for _ in range(3)]
    allots = [
        pb.Command(request_id=new_id("block"), allot=pb.AllotCommand(partner_id=id, points=10**9)) for id in issuers
    ]
    tally = Tally()
    try:
        server.start()
        process.start()
        await client.call(client.stub.BatchPost, pb.BatchPostRequest(commands=allots), caller=OPERATOR)
        for _ in range(rounds):
            one = Round(client, random, members, issuers)
            victim = (
                random.choice(["service", "database"]) if tally.rounds > 1 else ("service", "database")[tally.rounds]
            )
            callers = [asyncio.create_task(one.caller()) for _ in range(_CALLERS)]
            await asyncio.sleep(random.uniform(*_LASTS_SECONDS))
            if victim == "service":
                process.kill()
                await asyncio.to_thread(process.start)
            else:
                server.kill()
                await asyncio.sleep(random.uniform(0, 0.3))
                await asyncio.to_thread(server.start)
            one.stop.set()
            async with asyncio.timeout(_AGAIN_SECONDS):
                await asyncio.gather(*callers)
            await judge(server.uri, one, tally)
            print(
                f"round {tally.rounds}: {victim} killed; {len(one.told):,} of {len(one.sent):,} acknowledged; so far "
                f"{tally.lost} lost, {tally.doubled} doubled, {tally.verify_clean} times clean",
                flush=True,
            )
    finally:
        await client.close()
        process.kill()
        server.kill()
    return tally


async def judge(uri: str, one: Round, tally: Tally) -> None:
    """Reads the whole log, past the service."""
    database = Database(uri, _DATABASE)
    try:
        ledger = Ledger(database, _PARTITIONS, lambda: 0)
        report = await verify(ledger.log, ledger.views, ledger.partition)
        places = await log_of(ledger)
    finally:
        database.close()
    tally.rounds += 1
    tally.acknowledged += len(one.told)
    tally.verify_clean += report.clean
    if not report.clean:
        tally.findings.append(report.finding)
    for id, outcome in one.told.items():
        place = (outcome.place.partition, outcome.place.block, outcome.place.entry)
        tally.lost += place not in places.get(id, ())
    tally.doubled += sum(len(places.get(id, ())) > 1 for id in one.sent)


async def log_of(ledger: Ledger) -> dict[str, list[tuple[int, int, int]]]:
    """Where in the log each command stands, by its request id; each of the places, if there were several."""
    found: dict[str, list[tuple[int, int, int]]] = {}
    for engine in ledger.engines:
        seq = 1
        while blocks := await ledger.log.read(engine.partition, seq):
            for block in blocks:
                for entry, posting in enumerate(decode(block.payload)):
                    request_id = posting.command.id.rpartition("/")[2]
                    found.setdefault(request_id, []).append((block.partition, block.seq, entry))
            seq = blocks[-1].seq + 1
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing outlives it
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="chaos-ledger-") as folder:
        tally = uvloop.run(chaos(Path(folder), options.rounds, options.seed))
    for finding in tally.findings:
        print(finding)
    print(tally.as_json())
    return 0 if tally.good else 1


if __name__ == "__main__":
    sys.exit(main())
