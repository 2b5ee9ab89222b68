"""The job before a roll-out makes a database ready, once and again, as the processes themselves do at their start."""

import json
import os
import subprocess
import sys
from typing import Any
from uuid import uuid4

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure, ServerSelectionTimeoutError

from services.accounts import migrate as accounts
from services.accounts.factors import FACTORS
from services.accounts.store import INDEXES as ACCOUNTS
from services.logistics import migrate as logistics
from services.logistics.store import INDEXES as LOGISTICS
from services.partners import migrate as partners
from services.partners.store import INDEXES as PARTNERS
from services.rewards import migrate as rewards
from services.rewards.config import Settings
from services.rewards.store import INDEXES as REWARDS
from services.shared import outbox
from services.shared.config import database_only
from services.shared.migrate import until_done
from services.shared.mongo import Database, Indexes

SERVICES = {"accounts": ACCOUNTS, "partners": PARTNERS, "logistics": LOGISTICS, "rewards": REWARDS}

# What a process of the service does before it answers.
AT_THE_START = {
    "accounts": accounts.prepare,
    "partners": partners.prepare,
    "logistics": logistics.prepare,
    "rewards": lambda database: rewards.prepare(database, rewards.ledger_of(database_only(Settings), database)),
}


@pytest.fixture
def name() -> str:
    return f"test_{uuid4().hex[:12]}"


def job(service: str, mongodb_uri: str, name: str, **environment: str) -> tuple[int, list[dict[str, Any]]]:
    """The exit status of a service's job, which is given no key, and the lines that it printed."""
    done = subprocess.run(
        [sys.executable, "-m", f"services.{service}.migrate"],
        env={**os.environ, "MONGODB_URI": mongodb_uri, "ALLIANCE_MONGODB_DATABASE": name, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def stored(mongodb_uri: str, name: str) -> dict[str, Any]:
    """All indexes and documents of a database."""
    client: MongoClient[dict[str, Any]] = MongoClient(mongodb_uri)
    with client:
        database = client[name]
        return {
            collection: (database[collection].index_information(), list(database[collection].find()))
            for collection in database.list_collection_names()
        }


def missing(declared: Indexes, mongodb_uri: str, name: str) -> list[str]:
    """The declared indexes that are not there as declared."""
    found = stored(mongodb_uri, name)
    wrong = []
    for collection, models in {**declared, **outbox.INDEXES}.items():
        indexes = found[collection][0] if collection in found else {}
        for model in models:
            wanted, there = model.document, indexes.get(model.document["name"], {})
            same = dict(there.get("key", ())) == dict(wanted["key"])
            if not same or bool(there.get("unique")) != bool(wanted.get("unique")):
                wrong.append(f"{collection}.{wanted['name']}")
    return wrong


@pytest.mark.parametrize("service", SERVICES)
async def test_a_job_makes_an_empty_database_ready_and_who_comes_after_it_changes_nothing(
    service: str, mongodb_uri: str, name: str
):
    assert missing(SERVICES[service], mongodb_uri, name)
    status, lines = job(service, mongodb_uri, name)
    assert status == 0, lines
    assert lines[-1]["event"] == "the database is ready"
    assert missing(SERVICES[service], mongodb_uri, name) == []
    before = stored(mongodb_uri, name)
    assert "sessions" in before
    if service == "accounts":
        assert {row["_id"] for row in before["factors"][1]} == {factor.id for factor in FACTORS}
    if service == "rewards":
        assert {row["_id"]: row["count"] for row in before["ledger_meta"][1]} == {"partitions": 4, "buckets": 128}
    told = {line["collection"] for line in lines if line["event"] == "indexes"}
    assert told == {*SERVICES[service], *outbox.INDEXES, "sessions"}

    database = Database(mongodb_uri, name)
    await AT_THE_START[service](database)
    database.close()
    assert stored(mongodb_uri, name) == before


def test_a_job_that_cannot_succeed_says_why_and_fails(mongodb_uri: str, name: str):
    with MongoClient[dict[str, Any]](mongodb_uri) as client:
        client[name]["ledger_meta"].insert_one({"_id": "partitions", "count": 2})
    status, lines = job("rewards", mongodb_uri, name, ALLIANCE_LEDGER_PARTITIONS="4")
    assert status == 1
    assert lines[-1]["event"] == "the database cannot be made ready"
    assert "set ALLIANCE_LEDGER_PARTITIONS=2" in lines[-1]["exception"]


async def test_a_job_waits_for_a_database_that_is_away():
    failures: list[Exception] = [ServerSelectionTimeoutError("away"), ServerSelectionTimeoutError("away")]

    async def prepare() -> None:
        if failures:
            raise failures.pop()

    assert await until_done(prepare) == 0
    assert failures == []


async def test_a_job_does_not_wait_for_what_waiting_does_not_mend():
    async def prepare() -> None:
        raise OperationFailure("E11000 duplicate key", 11000)

    assert await until_done(prepare) == 1
