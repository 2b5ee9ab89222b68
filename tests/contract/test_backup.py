"""Backups, on the real server: of one moment although they are in use, whole or refused, never over something."""

import gzip
import random
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from bson import Int64
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from deploy.backup import NotEmpty, NotWhole, check, dump, main, restore

_ACCOUNTS = 200
_POINTS = 100


@pytest.fixture
def client(mongodb_uri: str) -> Iterator[MongoClient[Any]]:
    with MongoClient[Any](mongodb_uri, tz_aware=True) as client:
        yield client


@pytest.fixture
def prefix() -> str:
    return f"test_{uuid4().hex[:8]}"


def test_values_types_and_indexes_come_back_as_they_were(client: MongoClient[Any], prefix: str, tmp_path: Path):
    at = datetime(2026, 11, 22, 8, 30, 0, 123_000, tzinfo=UTC)
    document = {
        "_id": {"p": 1, "s": "x"},
        "n": Int64(7),
        "small": 7,
        "b": b"\x00\xff",
        "at": at,
        "f": 7.0,
        "no": None,
    }
    things = client[f"{prefix}_rewards"]["things"]
    things.create_index([("n", 1), ("at", -1)], unique=True, name="n_at")
    things.create_index("at", sparse=True, expireAfterSeconds=10**8)
    things.insert_one(document)
    client[f"{prefix}_accounts"]["empty"].create_index("a")
    before = [dict(index) for index in things.list_indexes()]

    assert str(dump(client, prefix, tmp_path / "backup")) == "1 documents in 1 collections"
    restore(client, f"{prefix}b", tmp_path / "backup")

    restored = client[f"{prefix}b_rewards"]["things"]
    (found,) = restored.find()
    assert found == document
    assert [type(value) for value in found.values()] == [type(value) for value in document.values()]
    assert [dict(index) for index in restored.list_indexes()] == before
    assert "a_1" in client[f"{prefix}b_accounts"]["empty"].index_information()


def test_a_backup_is_of_one_moment_although_points_move_between_databases(
    client: MongoClient[Any], prefix: str, tmp_path: Path
):
    one, other = client[f"{prefix}_accounts"]["points"], client[f"{prefix}_rewards"]["points"]
    for collection in (one, other):
        collection.insert_many([{"_id": number, "points": _POINTS} for number in range(_ACCOUNTS)])
    stop, moves = threading.Event(), 0

    def move() -> None:
        nonlocal moves
        while not stop.is_set():
            number = random.randrange(_ACCOUNTS)
            try:
                with client.start_session() as session, session.start_transaction():
                    one.update_one({"_id": number}, {"$inc": {"points": -1}}, session=session)
                    other.update_one({"_id": number}, {"$inc": {"points": 1}}, session=session)
            except OperationFailure:
                continue
            moves += 1

    threads = [threading.Thread(target=move) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(3):
            before = moves
            while moves < before + 20:
                stop.wait(0.01)
            dump(client, prefix, tmp_path / str(number))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    for number in range(3):
        restore(client, f"{prefix}{number}", tmp_path / str(number))
        sums = [
            sum(row["points"] for row in client[f"{prefix}{number}_{name}"]["points"].find())
            for name in ("accounts", "rewards")
        ]
        assert sum(sums) == 2 * _ACCOUNTS * _POINTS
        assert sums[1] > _ACCOUNTS * _POINTS


@pytest.mark.parametrize("damage", ["cut off", "changed", "another file"])
def test_a_file_that_is_not_whole_is_refused_before_anything_is_written(
    client: MongoClient[Any], prefix: str, tmp_path: Path, damage: str
):
    client[f"{prefix}_rewards"]["things"].insert_many([{"_id": number, "points": 5} for number in range(50)])
    path = tmp_path / "backup"
    dump(client, prefix, path)
    text = gzip.decompress(path.read_bytes())
    if damage == "cut off":
        path.write_bytes(path.read_bytes()[:-40])
    elif damage == "changed":
        path.write_bytes(gzip.compress(text.replace(b'"5"', b'"6"', 1)))
    else:
        path.write_bytes(gzip.compress(b"{}\n"))
    with pytest.raises(NotWhole):
        restore(client, f"{prefix}b", path)
    assert client[f"{prefix}b_rewards"].list_collection_names() == []


def test_nothing_is_restored_over_what_is_there(client: MongoClient[Any], prefix: str, tmp_path: Path):
    client[f"{prefix}_rewards"]["things"].insert_one({"_id": 1})
    dump(client, prefix, tmp_path / "backup")
    with pytest.raises(NotEmpty):
        restore(client, prefix, tmp_path / "backup")


def test_the_command_says_what_it_did(
    client: MongoClient[Any],
    mongodb_uri: str,
    prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    client[f"{prefix}_rewards"]["things"].insert_one({"_id": 1})
    monkeypatch.setenv("MONGODB_URI", mongodb_uri)
    path = str(tmp_path / "backup")
    assert main(["dump", path, "--prefix", prefix]) == 0
    assert main(["check", path]) == 0
    assert main(["restore", path, "--prefix", prefix]) == 1
    assert "is there already" in capsys.readouterr().err
    assert check(tmp_path / "backup").counts == {"rewards.things": 1}
