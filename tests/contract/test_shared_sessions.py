"""What a killed process left open does not stand in the way of its successor."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from pymongo.errors import ConnectionFailure

from services.shared.mongo import Database, Transaction
from tests.drill.links import Link

# Without help the server would keep locked for a minute what a transaction has changed.
_SOONER_SECONDS = 30


@pytest.fixture
def name() -> str:
    return f"test_{uuid4().hex[:12]}"


@pytest.fixture
async def link(mongodb_uri: str) -> AsyncIterator[Link]:
    """What lies between a process and the database."""
    link = Link()
    link.upstream = urlsplit(mongodb_uri).netloc
    await link.start()
    yield link
    await link.stop()


async def test_a_successor_ends_the_transaction_that_its_predecessor_left_open(mongodb_uri: str, name: str):
    killed, successor = (Database(mongodb_uri, name, instance="host/127.0.0.1:1") for _ in range(2))
    await killed["things"].insert_one({"_id": 0})
    inside = asyncio.Event()

    async def left_open(tx: Transaction) -> None:
        await killed["things"].insert_one({"_id": 1}, session=tx.session)
        inside.set()
        await asyncio.Event().wait()

    async def writes(tx: Transaction) -> str:
        await successor["things"].insert_one({"_id": 1}, session=tx.session)
        return "done"

    # From now on nobody works on this transaction, as if its process had been killed.
    abandoned = asyncio.create_task(killed.transaction(left_open))
    await inside.wait()
    result, _ = await asyncio.wait_for(successor.transaction(writes), _SOONER_SECONDS)
    assert result == "done"
    assert await successor["things"].count_documents({"_id": 1}) == 1
    abandoned.cancel()
    with suppress(asyncio.CancelledError):
        await abandoned
    killed.close()
    successor.close()


async def test_a_replica_leaves_the_transactions_of_the_others_alone(mongodb_uri: str, name: str):
    one, other = (Database(mongodb_uri, name, instance=f"host-{number}/127.0.0.1:1") for number in range(2))
    await one["things"].insert_one({"_id": 0})  # To make a collection is a race of its own.
    inside, go_on = asyncio.Event(), asyncio.Event()
    runs = 0

    async def slow(tx: Transaction) -> None:
        nonlocal runs
        runs += 1
        await one["things"].insert_one({"_id": 1}, session=tx.session)
        inside.set()
        await go_on.wait()

    async def quick(tx: Transaction) -> None:
        await other["things"].insert_one({"_id": 2}, session=tx.session)

    working = asyncio.create_task(one.transaction(slow))
    await inside.wait()
    await other.transaction(quick)
    go_on.set()
    await working
    assert runs == 1
    assert await one["things"].count_documents({"_id": {"$in": [1, 2]}}) == 2
    one.close()
    other.close()


class Refused(Exception):
    """A rule says no, within a transaction."""


@pytest.mark.parametrize("ends", ["refused", "refused when the driver knows", "cancelled"])
async def test_a_transaction_whose_end_the_server_did_not_hear_of_is_ended_when_it_can_be_reached(
    mongodb_uri: str, link: Link, name: str, ends: str
):
    away = Database(mongodb_uri.replace(link.upstream, link.address), name, instance="host/127.0.0.1:1")
    there = Database(mongodb_uri, name)
    await there["things"].insert_one({"_id": 0, "by": "nobody"})
    inside, cut_off = asyncio.Event(), asyncio.Event()

    async def left_open(tx: Transaction) -> None:
        await away["things"].update_one({"_id": 0}, {"$set": {"by": "away"}}, session=tx.session)
        inside.set()
        await cut_off.wait()
        raise Refused

    async def writes(tx: Transaction) -> None:
        await there["things"].update_one({"_id": 0}, {"$set": {"by": "there"}}, session=tx.session)

    working = asyncio.create_task(away.transaction(left_open))
    await inside.wait()
    upstream, link.upstream = link.upstream, "127.0.0.1:9"
    link.cut()
    if ends == "refused when the driver knows":
        with pytest.raises(ConnectionFailure):
            await away["things"].find_one({})
    if ends == "cancelled":
        working.cancel()
    else:
        cut_off.set()
    with pytest.raises((Refused, asyncio.CancelledError)):
        await working
    link.upstream = upstream
    await asyncio.wait_for(there.transaction(writes), _SOONER_SECONDS)
    assert await there["things"].find_one({}) == {"_id": 0, "by": "there"}
    # It takes leave of the server over the link, which this loop carries.
    await asyncio.to_thread(away.close)
    there.close()


async def test_while_the_database_is_started_again_a_transaction_waits_for_it(mongodb_uri: str, link: Link, name: str):
    database = Database(mongodb_uri.replace(link.upstream, link.address), name, instance="host/127.0.0.1:1")
    await database["things"].insert_one({"_id": 0, "times": 0})
    upstream, attempts = link.upstream, 0
    coming_back: list[asyncio.Task[None]] = []

    async def come_back() -> None:
        await asyncio.sleep(2.5)  # longer than the driver looks for a server
        link.upstream = upstream

    async def cut_off_at_first(tx: Transaction) -> None:
        nonlocal attempts
        attempts += 1
        await database["things"].update_one({"_id": 0}, {"$inc": {"times": 1}}, session=tx.session)
        if attempts == 1:
            link.upstream = "127.0.0.1:9"
            link.cut()
            coming_back.append(asyncio.create_task(come_back()))
            await database["things"].find_one({"_id": 0}, session=tx.session)

    await database.transaction(cut_off_at_first)
    assert await database["things"].find_one({}) == {"_id": 0, "times": 1}
    assert attempts > 1
    await asyncio.to_thread(database.close)
