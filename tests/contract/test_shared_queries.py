"""The check that an index serves each query finds one that none serves."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import structlog
from pymongo import IndexModel

from services.shared.mongo import Database
from tests.support.queries import scans


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file to which query shapes are logged as a service at DEBUG does."""
    with (tmp_path / "log").open("w", buffering=1) as out:
        logger = structlog.wrap_logger(structlog.PrintLogger(out), processors=[structlog.processors.JSONRenderer()])
        monkeypatch.setattr("services.shared.queries.log", logger)
        yield tmp_path / "log"


async def test_a_query_without_an_index_is_found(mongodb_uri: str, log: Path):
    database = Database(mongodb_uri, f"test_{uuid4().hex[:12]}", show_queries=True)
    await database.create_indexes({"rows": [IndexModel([("member_id", 1), ("order", 1)])]})
    rows = database["rows"]
    await rows.insert_many([{"_id": str(n), "member_id": f"m{n % 7}", "order": str(n), "kind": "a"} for n in range(50)])

    await asyncio.gather(
        rows.find_one({"_id": "1"}),
        rows.find({"_id": {"$in": ["1", "2"]}}).to_list(None),
        rows.find({"member_id": "m1", "order": {"$lt": "4"}}, sort=[("order", -1)]).to_list(None),
        rows.update_one({"_id": "1"}, {"$set": {"kind": "b"}}),
        rows.count_documents({"member_id": "m1"}),
        rows.find({"kind": "a"}, comment="scan: an operator asks once a day").to_list(None),
    )
    assert scans(mongodb_uri, log) == []

    await rows.find({"kind": "a"}).to_list(None)
    await rows.update_many({"kind": "b"}, {"$set": {"kind": "a"}})
    await rows.count_documents({"kind": "a"})
    await rows.aggregate([{"$group": {"_id": "$kind", "n": {"$sum": 1}}}]).to_list(None)
    found = scans(mongodb_uri, log)
    database.close()
    assert len(found) == 2  # three of them have the same shape
    assert all(text.startswith("rows: ") for text in found)
