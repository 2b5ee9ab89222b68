"""Transactions, on the real server: all of the writes or none, whatever the server does to them."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from pymongo.errors import OperationFailure

from services.shared.errors import Aborted
from services.shared.mongo import Database, LostRace, Transaction


@pytest.fixture
async def database(mongodb_uri: str) -> AsyncIterator[Database]:
    database = Database(mongodb_uri, f"test_{uuid4().hex[:12]}")
    yield database
    database.close()


async def test_a_transaction_that_the_server_has_forgotten_at_its_commit_starts_over(database: Database):
    attempts = 0

    async def body(tx: Transaction) -> str:
        nonlocal attempts
        attempts += 1
        await database["things"].insert_one({"_id": "one", "attempt": attempts}, session=tx.session)
        if attempts == 1:
            # As when the server is started again, or another member of the replica set takes over.
            await database.end_sessions([bytes(tx.session.session_id["id"])])
        return "done"

    assert (await database.transaction(body))[0] == "done"
    assert await database["things"].find_one({"_id": "one"}) == {"_id": "one", "attempt": 2}


async def test_a_lost_race_starts_over_and_what_is_wrong_for_good_does_not(database: Database):
    attempts = 0

    async def body(tx: Transaction) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise LostRace
        await database["things"].update_one({"_id": "one"}, {"$wrong": 1}, session=tx.session)

    with pytest.raises((OperationFailure, ValueError)):
        await database.transaction(body)
    assert attempts == 2


async def test_who_loses_on_and_on_is_told(database: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("services.shared.mongo._CONFLICTS_FOR_SECONDS", 0.05)

    async def body(tx: Transaction) -> None:
        raise LostRace

    with pytest.raises(Aborted) as told:
        await database.transaction(body)
    assert told.value.reason == "TOO_MANY_CONFLICTS"
