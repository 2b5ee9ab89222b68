"""`python -m deploy.backup dump|restore|check FILE`: all databases of an alliance in one file, as of one moment.

For the embedded database, which mongodump does not know, and for small alliances: everything is read in one
transaction, which MongoDB ends after a minute. In a cluster the CronJob `backup` does it (deploy/base/backup). What to
do with either is in deploy/docs/restore.md.

The file is gzip of JSON lines, MongoDB's extended JSON: one for each database with its collections and indexes, one for
each document, and last the counts and the hash of all that went before, without which a file is not whole.
"""

import argparse
import gzip
import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bson import json_util
from pymongo import IndexModel, MongoClient
from pymongo.client_session import ClientSession
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from deploy.local.keys import PROCESSES

SERVICES = tuple(name for name in PROCESSES if name != "gateway")
_FORMAT = "alliance-backup/1"
_BATCH = 500
_OPTIONS = json_util.CANONICAL_JSON_OPTIONS.with_options(tz_aware=True)
# Of an index, what makes it and not what the server says of it.
_NOT_OF_AN_INDEX = ("v", "ns", "key", "background")

Document = dict[str, Any]
Client = MongoClient[Document]


class NotWhole(Exception):
    """The file cannot be restored; the message says why."""


class NotEmpty(Exception):
    """There is something already where the backup is to go."""


@dataclass
class Contents:
    """What is in a backup: documents by `database.collection`."""

    counts: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        return f"{self.counts.total():,} documents in {len(self.counts):,} collections"


def dump(client: Client, prefix: str, path: Path) -> Contents:
    """Writes the databases `<prefix>_<service>` to the file, as of one moment, while they are in use. The file has its
    name only when it is whole.
    """
    contents = Contents()
    part = path.with_name(f"{path.name}.part")
    digest = hashlib.sha256()
    with gzip.open(part, "wt", encoding="utf-8", compresslevel=6) as out:

        def write(line: Document) -> None:
            text = json_util.dumps(line, json_options=_OPTIONS)
            digest.update(text.encode() + b"\n")
            out.write(f"{text}\n")

        write({"format": _FORMAT})
        indexes = {service: _indexes(client, f"{prefix}_{service}") for service in SERVICES}
        with client.start_session() as session, session.start_transaction(ReadConcern("snapshot")):
            for service in SERVICES:
                write({"database": service, "collections": indexes[service]})
                for name in indexes[service]:
                    for document in _documents(client, f"{prefix}_{service}", name, session):
                        write({"document": document, "in": f"{service}.{name}"})
                        contents.counts[f"{service}.{name}"] += 1
        out.write(json.dumps({"counts": contents.counts, "sha256": digest.hexdigest()}) + "\n")
    with part.open("rb") as written:
        os.fsync(written.fileno())
    part.rename(path)
    return contents


def check(path: Path) -> Contents:
    """Reads the whole file; NotWhole if anything is missing or has changed."""
    contents, digest, last = Contents(), hashlib.sha256(), {}
    try:
        for text, line in _lines(path):
            if "sha256" in line:
                last = line
                break
            digest.update(text.encode())
            if "in" in line:
                contents.counts[line["in"]] += 1
    except (OSError, EOFError, ValueError) as error:
        raise NotWhole(f"{path} cannot be read to its end: {error}") from error
    if last.get("sha256") != digest.hexdigest() or last["counts"] != contents.counts:
        raise NotWhole(f"{path} is not as it was written; take the backup before it")
    return contents


def restore(client: Client, prefix: str, path: Path) -> Contents:
    """Fills the databases `<prefix>_<service>`, which must be empty, with what is in the file. NotWhole, NotEmpty."""
    contents = check(path)
    for service in SERVICES:
        if client[f"{prefix}_{service}"].list_collection_names():
            raise NotEmpty(f"Database {prefix}_{service} is there already; restore beside it (--prefix), or drop it.")
    waiting: list[Document] = []
    place = ""

    def put() -> None:
        if waiting:
            service, _, collection = place.partition(".")
            durable = client[f"{prefix}_{service}"].get_collection(
                collection, write_concern=WriteConcern("majority", j=True)
            )
            durable.insert_many(waiting)
            waiting.clear()

    for _, line in _lines(path):
        if "database" in line:
            put()
            for collection, indexes in line["collections"].items():
                _make(client, f"{prefix}_{line['database']}", collection, indexes)
        elif "in" in line:
            if line["in"] != place or len(waiting) >= _BATCH:
                put()
                place = line["in"]
            waiting.append(line["document"])
    put()
    return contents


def _indexes(client: Client, database: str) -> dict[str, list[Document]]:
    names = sorted(name for name in client[database].list_collection_names() if not name.startswith("system."))
    return {name: [dict(index) for index in client[database][name].list_indexes()] for name in names}


def _documents(client: Client, database: str, collection: str, session: ClientSession) -> Iterator[Document]:
    return iter(client[database][collection].find({}, session=session, batch_size=_BATCH))


def _make(client: Client, database: str, collection: str, indexes: Sequence[Document]) -> None:
    client[database].create_collection(collection)
    models = [
        IndexModel(list(index["key"].items()), **{k: v for k, v in index.items() if k not in _NOT_OF_AN_INDEX})
        for index in indexes
        if index["name"] != "_id_"
    ]
    if models:
        client[database][collection].create_indexes(models)


def _lines(path: Path) -> Iterator[tuple[str, Document]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        first = True
        for text in lines:
            line: Document = json_util.loads(text, json_options=_OPTIONS)
            if first and line.get("format") != _FORMAT:
                raise ValueError(f"it does not begin as {_FORMAT} does")
            first = False
            yield text, line


def main(arguments: Sequence[str]) -> int:
    """The exit status: 0, or 1 with a sentence."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.backup", description="Backs an alliance up, and restores it."
    )
    parser.add_argument("action", choices=["dump", "restore", "check"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--prefix", default="alliance", help="how the names of the databases begin (default alliance)")
    options = parser.parse_args(arguments)
    try:
        if options.action == "check":
            contents = check(options.file)
        else:
            uri = os.environ.get("MONGODB_URI")
            if not uri:
                sys.stderr.write("MONGODB_URI has to say where the database is.\n")
                return 1
            with MongoClient[Document](uri, tz_aware=True, serverSelectionTimeoutMS=5_000) as client:
                contents = (dump if options.action == "dump" else restore)(client, options.prefix, options.file)
    except (NotWhole, NotEmpty) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{options.action}: {contents}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
