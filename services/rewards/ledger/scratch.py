"""Room for a walk through the whole log: accounts, ids and due lists on disk, so that memory does not grow with them.

It holds 20,000 accounts in memory (some 20 MB) and puts the others into a temporary file, which takes about 150 bytes
for each member and 20 for each command, and is gone with the process.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from hashlib import blake2b

from services.rewards.ledger.model import NO_MEMBER, Member
from services.rewards.ledger.store import Stored, line, stored

_AT_HAND = 20_000
_TABLES = """
    CREATE TABLE accounts (member TEXT PRIMARY KEY, line BLOB) WITHOUT ROWID;
    CREATE TABLE commands (id INTEGER PRIMARY KEY);
    CREATE TABLE due (minute INTEGER, member TEXT, PRIMARY KEY (minute, member)) WITHOUT ROWID;
"""


class Scratch:
    """One partition's."""

    def __init__(self) -> None:
        self._file = sqlite3.connect("", isolation_level=None)  # a temporary file of SQLite's own
        self._file.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; {_TABLES} BEGIN;")
        self._accounts: dict[str, tuple[Member, int]] = {}

    def close(self) -> None:
        self._file.close()

    def account(self, member: str) -> tuple[Member, int]:
        """An account and the block that touched it last; an empty one and 0 for who has none."""
        if (found := self._accounts.get(member)) is None:
            row = self._file.execute("SELECT line FROM accounts WHERE member = ?", (member,)).fetchone()
            found = _of(stored(row[0])[1]) if row else (NO_MEMBER, 0)
            self._accounts[member] = found
        return found

    def put(self, member: str, account: Member, last: int) -> None:
        """Replaces an account."""
        self._accounts[member] = account, last

    def trim(self) -> None:
        """Puts accounts out of memory if there are many."""
        if len(self._accounts) > _AT_HAND:
            self._spill()

    def accounts(self) -> Iterator[tuple[str, Member]]:
        """All accounts."""
        self._spill()
        for member, text in self._file.execute("SELECT member, line FROM accounts"):
            yield member, stored(text)[1].account

    def add_commands(self, ids: Iterable[str]) -> list[str]:
        """Those of the ids that are, with near certainty, there already; the others are there now."""
        again = []
        for id in ids:
            key = int.from_bytes(blake2b(id.encode(), digest_size=8).digest(), signed=True)
            if not self._file.execute("INSERT OR IGNORE INTO commands VALUES (?)", (key,)).rowcount:
                again.append(id)
        return again

    def add_due(self, minute: int, members: Iterable[str]) -> None:
        """Notes who is in a due list."""
        rows = [(minute, member) for member in members]
        self._file.executemany("INSERT OR IGNORE INTO due VALUES (?, ?)", rows)

    def is_due(self, minute: int, member: str) -> bool:
        """Whether a due list of that minute has the member."""
        found = self._file.execute("SELECT 1 FROM due WHERE minute = ? AND member = ?", (minute, member))
        return found.fetchone() is not None

    def _spill(self) -> None:
        rows = [(id, line(id, account, last, None)) for id, (account, last) in self._accounts.items() if last]
        self._file.executemany("INSERT OR REPLACE INTO accounts VALUES (?, ?)", rows)
        self._accounts.clear()


def _of(found: Stored) -> tuple[Member, int]:
    return found.account, found.last
