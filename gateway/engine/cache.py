"""What has been made of documents, by their hash: bounded in number and in bytes.

Two segments, as in a segmented LRU: what is new is on probation, and what is asked for again is hot. What goes first is
what was on probation longest unused, so that a flood of documents that are sent once each takes the place of nothing
but itself.
"""

from collections import OrderedDict
from collections.abc import Iterator
from itertools import chain
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """Something that knows how much it takes."""

    size: int


T = TypeVar("T", bound=Sized)

# Of the whole; what is on probation has at least the rest.
_HOT_SHARE = 0.8


class Cache(Generic[T]):
    """Keeps things that may grow after they were put in; `grow` has to be told of it."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._hot: OrderedDict[bytes, T] = OrderedDict()
        self._probation: OrderedDict[bytes, T] = OrderedDict()
        self._hot_bytes = 0
        self.bytes = 0
        self._hits = self._misses = 0

    def __len__(self) -> int:
        return len(self._hot) + len(self._probation)

    def __iter__(self) -> Iterator[T]:
        return chain(self._hot.values(), self._probation.values())

    @property
    def found(self) -> tuple[int, int]:
        """How often something was there, and how often it was not."""
        return self._hits, self._misses

    def get(self, key: bytes, *, hot: bool = True) -> T | None:
        """What is kept under a key, which is hot from now on, unless it was asked for by someone who cannot say so."""
        found = self._hot.get(key)
        if found is not None:
            self._hits += 1
            self._hot.move_to_end(key)
            return found
        found = self._probation.get(key)
        if found is None:
            self._misses += 1
            return None
        self._hits += 1
        if not hot:
            self._probation.move_to_end(key)
            return found
        self._hot[key] = self._probation.pop(key)
        self._hot_bytes += found.size
        self._cool()
        return found

    def put(self, key: bytes, thing: T) -> None:
        """Keeps it on probation, if it fits at all."""
        self._probation[key] = thing
        self.bytes += thing.size
        self._shrink()

    def grow(self, key: bytes, thing: T, size: int) -> None:
        """Counts that something has become larger; of no effect if it is not kept any more."""
        thing.size += size
        if self._hot.get(key) is thing:
            self._hot_bytes += size
            self._cool()
        elif self._probation.get(key) is not thing:
            return
        self.bytes += size
        self._shrink()

    def _cool(self) -> None:
        """What is too much for the hot segment goes back on probation, as the newest there."""
        while len(self._hot) > self._most * _HOT_SHARE or self._hot_bytes > self._most_bytes * _HOT_SHARE:
            key, thing = self._hot.popitem(last=False)
            self._hot_bytes -= thing.size
            self._probation[key] = thing

    def _shrink(self) -> None:
        while len(self) > self._most or self.bytes > self._most_bytes:
            _, gone = self._probation.popitem(last=False)
            self.bytes -= gone.size
