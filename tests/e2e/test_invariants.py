"""What must hold is checked by a job of each service, which says so by its exit status and through the metrics."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.local.alliance import SERVICES, Alliance
from services.shared.mongo import Database
from tests.e2e.conftest import options, running
from tests.support.alliance import World
from tests.support.metrics import Metrics, metrics_when

ALL = {
    "accounts": {"claims_unique", "claim_grams", "carbon_totals", "outbox"},
    "partners": {"prepaid_blocks", "outbox"},
    "logistics": {"drop_offs_unique", "outbox"},
    "rewards": {"ledger_log", "ledger_books", "ledger_accounts", "settlement_nets", "outbox"},
}
Break = Callable[[Database], Awaitable[object]]


@pytest.fixture(scope="module")
async def measured(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Alliance]:
    """An alliance of its own, which a member has used and whose data is then broken."""
    async with running(options(tmp_path_factory.mktemp("alliance"), metrics_port=0)) as alliance:
        world = World.of(alliance)
        baker, cafe = await world.brand(earns={"OWN_CUP": 50}), await world.brand()
        member = await baker.enrol()
        await member.earn(baker, member.act(baker, "OWN_CUP"))
        reward = await cafe.reward(20)
        redemption = await member.redeem(reward)
        await cafe.capture(redemption["voucherCode"])
        await world.settle()
        await world.close()
        yield alliance


async def job(alliance: Alliance, service: str) -> tuple[int | None, str]:
    """The exit status of a service's job, and what it printed."""
    script = alliance.processes[service].script
    process = await asyncio.create_subprocess_exec(
        *(str(script), "-m", f"services.{service}.invariants"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def jobs(alliance: Alliance, services: Iterable[str]) -> list[tuple[int | None, str]]:
    """The same of several, which run at the same time."""
    return await asyncio.gather(*(job(alliance, service) for service in services))


def database(alliance: Alliance, service: str) -> Database:
    environment = alliance.processes[service].program.environment
    return Database(environment["MONGODB_URI"], environment["ALLIANCE_MONGODB_DATABASE"])


def broken(metrics: Metrics) -> set[str]:
    names = metrics.labels("alliance_invariant_checked_time_seconds", "invariant")
    held = {name for name in names if metrics.value("alliance_invariant_holds", invariant=name)}
    return names - held


async def test_o1_all_invariants_hold_and_say_so(measured: Alliance):
    before = datetime.now(UTC).timestamp()
    for status, printed in await jobs(measured, SERVICES):
        assert status == 0, printed
    for service in SERVICES:
        metrics = await metrics_when(
            measured.metrics(service),
            lambda read: min(v for _, v in read.samples["alliance_invariant_checked_time_seconds"]) > before,
        )
        assert metrics.labels("alliance_invariant_holds", "invariant") == ALL[service]
        assert broken(metrics) == set()


async def credit_twice(accounts: Database) -> None:
    await accounts["claims"].drop_index("key_1")
    claim = await accounts["claims"].find_one({})
    assert claim is not None
    await accounts["claims"].insert_one({**claim, "_id": f"{claim['_id']}x", "member_id": f"{claim['member_id']}x"})
    await accounts["carbon_totals"].insert_one(
        {"_id": f"{claim['member_id']}x", "claims": 1, "co2e_mg": claim["co2e_mg"]}
    )


async def wait_long(service: Database) -> None:
    since = datetime.now(UTC) - timedelta(hours=1)
    later = datetime.now(UTC) + timedelta(hours=1)
    await service["outbox"].insert_one(
        {"_id": "stuck", "topic": "none", "payload": b"", "due_at": later, "waiting_since": since}
    )


async def deface_block(rewards: Database) -> None:
    (block,) = await rewards["ledger_blocks"].find({}).sort("_id", 1).limit(1).to_list(1)
    payload = bytes(block["payload"])
    await rewards["ledger_blocks"].update_one({"_id": block["_id"]}, {"$set": {"payload": payload[:-1] + b"\0"}})


async def damage_accounts(accounts: Database) -> None:
    await credit_twice(accounts)
    await accounts["claims"].update_one({}, {"$inc": {"co2e_mg": 1}})
    await accounts["carbon_totals"].update_one({}, {"$inc": {"co2e_mg": 7}})
    await wait_long(accounts)


async def damage_read_models(rewards: Database) -> None:
    while not await rewards["ledger_accounts"].find_one({}):
        await asyncio.sleep(0.1)  # they are written when the ledger is idle
    await rewards["ledger_accounts"].delete_many({"_id": {"$exists": True}})
    await rewards["settlements"].update_one({"number": 1}, {"$inc": {"positions.0.due_micros": 10_000}})


OF_EACH_SERVICE: Mapping[str, tuple[Break, set[str]]] = {
    "accounts": (damage_accounts, ALL["accounts"]),
    "partners": (lambda db: db["prepaid_blocks"].update_one({}, {"$inc": {"points": 1}}), {"prepaid_blocks"}),
    "logistics": (lambda db: db["drop_offs"].drop_index("event_hash_1"), {"drop_offs_unique"}),
    "rewards": (damage_read_models, {"settlement_nets", "ledger_accounts"}),
}
# Behind a block that cannot be read nothing is told: what was said of accounts before stays said.
THEN_OF_THE_LOG: Mapping[str, tuple[Break, set[str]]] = {
    "rewards": (deface_block, {"settlement_nets", "ledger_accounts", "ledger_log"})
}


async def test_o1_invariants_are_broken_on_purpose(measured: Alliance):
    for damages in (OF_EACH_SERVICE, THEN_OF_THE_LOG):
        for service, (damage, _) in damages.items():
            stored = database(measured, service)
            await damage(stored)
            stored.close()
        for status, printed in await jobs(measured, damages):
            assert status == 1, printed
            assert " is BROKEN: " in printed
        for service, (_, invariants) in damages.items():
            await metrics_when(measured.metrics(service), lambda read, expected=invariants: broken(read) == expected)


async def test_o1_a_database_that_is_away_is_neither_right_nor_wrong(measured: Alliance, tmp_path: Path):
    script = measured.processes["partners"].script.read_text()
    uri = measured.processes["partners"].program.environment["MONGODB_URI"]
    away = tmp_path / "away.sh"
    away.write_text(script.replace(uri, "mongodb://127.0.0.1:9/?directConnection=true&serverSelectionTimeoutMS=200"))
    away.chmod(0o700)
    process = await asyncio.create_subprocess_exec(
        *(str(away), "-m", "services.partners.invariants"), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 2
    assert "cannot be told" in output.decode()
