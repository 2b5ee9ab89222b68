"""A service's user of the database may do what the service does, and can take nothing away."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = (ROOT / "deploy" / "base" / "mongodb" / "initiate.js").read_text()
# Of MongoDB's role `readWrite`, what makes data or indexes disappear.
TAKING = {"dropCollection", "dropIndex", "dropDatabase", "renameCollectionSameDB", "convertToCapped", "collMod"}
CALLS = re.compile(r"\.(drop|drop_index|drop_indexes|drop_collection|drop_database|rename)\(")
COMMANDS = re.compile(r'command\(\s*"(collMod|drop|dropIndexes|dropDatabase|convertToCapped)"')


def test_a_service_reads_writes_and_makes_indexes_in_its_own_database_and_drops_nothing():
    found = re.search(r"const ACTIONS = \[(.*?)\];", SCRIPT, re.DOTALL)
    assert found is not None
    actions = set(re.findall(r'"(\w+)"', found[1]))
    assert actions >= {"find", "insert", "update", "remove", "createCollection", "createIndex", "listIndexes"}
    assert not actions & TAKING
    assert "readWrite" not in re.sub(r"//.*", "", SCRIPT)
    assert 'resource: { db: `alliance_${name}`, collection: "" }' in SCRIPT


def test_no_service_asks_for_more():
    sources = {path: path.read_text() for path in (ROOT / "services").rglob("*.py")}
    assert len(sources) > 100
    assert [path.name for path, text in sources.items() if CALLS.search(text) or COMMANDS.search(text)] == []
