"""One alliance per data folder."""

import fcntl
import os
from pathlib import Path
from typing import IO


class Locked(Exception):
    """Another process holds the lock; the message is its process id."""


class Lock:
    """A lock file. The kernel gives it up with the process that holds it, however that ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def take(self) -> None:
        """Takes the lock; Locked if somebody else has it."""
        file = self._path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip()
            file.close()
            raise Locked(holder) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._file = file

    def give_up(self) -> None:
        """Gives the lock up, if it was taken."""
        if self._file is not None:
            self._file.close()
            self._file = None
