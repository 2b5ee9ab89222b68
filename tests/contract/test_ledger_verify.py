"""`python -m services.rewards.ledger verify` as an operator runs it: a process, a database, an exit status."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

from services.rewards.ledger import machine
from services.rewards.ledger.__main__ import VerifySettings, main
from services.rewards.ledger.commands import Allot, Command, Issue, Place, Void
from services.rewards.ledger.events import Released
from services.rewards.ledger.findings import Subject
from services.rewards.ledger.ledger import INDEXES, Ledger, as_stored
from services.rewards.ledger.model import Lot
from services.shared.mongo import Database

FAR = 4_000_000_000_000


@pytest.fixture
async def stored(mongodb_uri: str) -> AsyncIterator[tuple[Database, str]]:
    """A database with a small ledger in two partitions."""
    name = f"test_{uuid4().hex[:12]}"
    database = Database(mongodb_uri, name)
    await database.create_indexes(INDEXES)
    ledger = Ledger(database, 2, lambda: 1_750_000_000_000)
    await ledger.open()
    job = asyncio.create_task(ledger.run())
    lots = (Lot(FAR, "partner_a", 10_000, 100),)
    steps: list[list[Command]] = [
        [Allot("block_1", "partner_a", 10_000)],
        [Issue(f"claim_{number}", f"member_{number}", lots) for number in range(8)],
        [Place(f"hold_{number}", f"member_{number}", 40, FAR) for number in range(8)],
    ]
    for commands in steps:
        assert not any(outcome.refusal for outcome in await ledger.post(commands))
    await ledger.project()
    job.cancel()
    await asyncio.gather(job, return_exceptions=True)
    yield database, name
    database.close()


async def verify(mongodb_uri: str, name: str) -> tuple[int | None, list[str]]:
    """The exit status, and the lines that were printed."""
    environment = {
        "PATH": os.environ["PATH"],
        "MONGODB_URI": mongodb_uri,
        "ALLIANCE_MONGODB_DATABASE": name,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.rewards.ledger", "verify"),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode().splitlines()


async def test_r12_a_clean_ledger_is_said_to_be_so_and_read_only(mongodb_uri: str, stored: tuple[Database, str]):
    database, name = stored
    blocks = [row async for row in database["ledger_blocks"].find({})]
    status, lines = await verify(mongodb_uri, name)
    assert (status, lines[-1][:6]) == (0, "clean:"), lines
    assert "8 members in 2 partitions" in lines[-1]
    assert [row async for row in database["ledger_blocks"].find({})] == blocks


async def test_r12_a_block_edited_by_one_byte_is_named(mongodb_uri: str, stored: tuple[Database, str]):
    database, name = stored
    row = Random(3).choice([row async for row in database["ledger_blocks"].find({})])
    payload = bytearray(row["payload"])
    payload[len(payload) // 2] ^= 1
    await database["ledger_blocks"].replace_one({"_id": row["_id"]}, {**row, "payload": bytes(payload)})
    status, lines = await verify(mongodb_uri, name)
    assert status == 1
    partition, _, seq = row["_id"].partition("/")
    assert lines[-1].startswith(f"partition {int(partition)}, block {int(seq)}, ")
    assert "field " in lines[-1]


def changed(value: Any) -> Any:
    """The value with one byte, or one bit of a number, changed; in a list, in its first item."""
    if isinstance(value, int):
        return value ^ 1
    if isinstance(value, list):
        return [changed(value[0]), *value[1:]]
    content = bytearray(value.encode() if isinstance(value, str) else value)
    content[len(content) // 2] ^= 1
    return content.decode() if isinstance(value, str) else bytes(content)


async def test_r12_one_byte_of_whatever_field_is_stored_is_named(
    mongodb_uri: str, stored: tuple[Database, str], capsys: pytest.CaptureFixture[str]
):
    database, name = stored
    settings = VerifySettings(mongodb_uri=SecretStr(mongodb_uri), mongodb_database=name)

    async def said_with(collection: str, id: Any, change: dict[str, Any]) -> str:
        rows = database[collection]
        row = await rows.find_one({"_id": id}) or {}
        await rows.replace_one({"_id": id}, {**row, **change})
        assert await main(settings) == 1, (collection, change)
        await rows.replace_one({"_id": id}, row)
        return capsys.readouterr().out.splitlines()[-1]

    block = await database["ledger_blocks"].find_one({"_id": "0001/000000000001"}) or {}
    for field in ("at", "previous", "payload", "hash", "ids", "links"):
        for value in (changed(block[field]), None, []):
            said = await said_with("ledger_blocks", block["_id"], {field: value})
            assert said.startswith("partition 1, block 1, "), said
            assert f"field {field}" in said or field in ("payload", "at"), said
    bucket = await database["ledger_accounts"].find_one({}) or {}
    partition, _, number = bucket["_id"].split("/")
    checkpoint = await database["ledger_checkpoints"].find_one({"partition": 0}) or {}
    for row, collection, about in (
        (
            bucket,
            "ledger_accounts",
            (f"partition {int(partition)}, accounts {int(number)}", f"accounts {bucket['_id']}"),
        ),
        (checkpoint, "ledger_checkpoints", ("partition 0, checkpoint", "partition 0, block")),
    ):
        state = row["state"]
        for change in (
            *({"state": {**state, field: changed(state[field])}} for field in ("seq", "body")),
            *({"state": {**state, "body": value}} for value in (b"", b'\n["x",1,null,{}]', "text")),
            *({"state": value} for value in (None, {})),
        ):
            said = await said_with(collection, row["_id"], change)
            assert said.startswith(about), said
    listed = await database["ledger_due"].find_one({}) or {}
    for change in ({"minute": listed["minute"] ^ 1}, {"members": changed(listed["members"])}, {"members": b"["}):
        said = await said_with("ledger_due", listed["_id"], change)
        assert said.startswith(("due list ", "partition ")), said
        assert "due" in said
    assert await main(settings) == 0


async def told(database: Database) -> dict[str, str | None]:
    """What is said of each subject, empty if it is well, None if it cannot be told."""
    ledger = await as_stored(database)
    assert ledger is not None
    findings = (await ledger.verify()).findings
    return {subject.name: findings.of(subject) for subject in Subject}


async def test_r12_what_was_decided_by_the_rules_of_its_time_is_not_wrong(
    stored: tuple[Database, str], monkeypatch: pytest.MonkeyPatch
):
    """By the rules before these, points that came free of a hold repaid nothing."""
    database, _ = stored
    ledger = Ledger(database, 2, lambda: 1_750_000_000_001)
    await ledger.open()
    job = asyncio.create_task(ledger.run())
    await ledger.cancel("claim_1", "member_1")
    with monkeypatch.context() as patch:
        patch.setattr(machine.decide, "__defaults__", (2,))
        outcome = await ledger.post_one(Void("void_1", "member_1", "hold_1"))
    assert outcome.decision == (Released("member_1", "hold_1", False),)
    assert (await ledger.members(["member_1"]))["member_1"].shortfall == 40
    await ledger.project()
    job.cancel()
    await asyncio.gather(job, return_exceptions=True)
    assert await told(database) == {"LOG": "", "BOOKS": "", "ACCOUNTS": ""}


async def test_o1_what_is_wrong_with_one_does_not_hide_what_is_with_another(
    mongodb_uri: str, stored: tuple[Database, str]
):
    database, name = stored
    blocks, accounts = database["ledger_blocks"], database["ledger_accounts"]
    assert await told(database) == {"LOG": "", "BOOKS": "", "ACCOUNTS": ""}

    # A block says that another came before it; nothing that was decided is touched.
    await blocks.update_one({"_id": "0000/000000000002"}, {"$set": {"hash": b"another"}})
    found = await told(database)
    assert found["LOG"] == "partition 0, block 2, field hash: is not the hash of the content"
    assert (found["BOOKS"], found["ACCOUNTS"]) == ("", "")

    # Beside it, in the other partition, two accounts are gone and a passage comes from nowhere.
    lost = [row async for row in accounts.find({}) if row["_id"].startswith("0001/")]
    await accounts.delete_many({"_id": {"$in": [row["_id"] for row in lost]}})
    found = await told(database)
    assert found["LOG"] == "partition 0, block 2, field hash: is not the hash of the content"
    assert found["BOOKS"] == ""
    assert found["ACCOUNTS"] is not None
    assert found["ACCOUNTS"].count("is missing") == min(len(lost), 5)
    status, lines = await verify(mongodb_uri, name)
    assert status == 1
    assert {line.partition(":")[0] for line in lines[1:-1]} == {"ledger_log", "ledger_accounts"}
    assert lines[-1] == "partition 0, block 2, field hash: is not the hash of the content"


async def test_o1_behind_a_block_that_cannot_be_read_nothing_is_told_in_that_partition_but_in_the_others(
    stored: tuple[Database, str],
):
    database, _ = stored
    blocks, accounts = database["ledger_blocks"], database["ledger_accounts"]
    await blocks.update_one({"_id": "0000/000000000002"}, {"$set": {"payload": b"nothing"}})
    found = await told(database)
    assert found["LOG"] is not None
    assert found["LOG"].startswith("partition 0, block 2, field payload: ")
    assert (found["BOOKS"], found["ACCOUNTS"]) == (None, None)
    (row, *_) = [row async for row in accounts.find({}) if row["_id"].startswith("0001/")]
    await accounts.delete_one({"_id": row["_id"]})
    found = await told(database)
    assert found["ACCOUNTS"] is not None
    assert found["ACCOUNTS"].startswith("partition 1, accounts ")


async def test_o1_what_differs_from_a_log_that_was_changed_may_be_right(stored: tuple[Database, str]):
    database, _ = stored
    row = await database["ledger_blocks"].find_one({"_id": "0000/000000000002"}) or {}
    payload = bytes(row["payload"])
    assert payload.count(b"10000,100]")
    # Whoever raises what a member was given has not changed the member's account.
    await database["ledger_blocks"].replace_one(
        {"_id": row["_id"]}, {**row, "payload": payload.replace(b"10000,100]", b"10000,900]")}
    )
    found = await told(database)
    assert found["LOG"] is not None
    assert "the hash is not that of the content" in found["LOG"] or "field hash" in found["LOG"]
    assert found["ACCOUNTS"] is None


async def test_a_database_that_cannot_be_reached_is_neither_clean_nor_wrong():
    status, lines = await verify("mongodb://127.0.0.1:9/?directConnection=true&serverSelectionTimeoutMS=200", "none")
    assert status == 2
    assert lines[-1].startswith("cannot be told: ")
