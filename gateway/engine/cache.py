"""What has been made of documents, by their hash: bounded in number and in bytes, the longest unused goes first."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """Something that knows how much it takes."""

    size: int


T = TypeVar("T", bound=Sized)


class Cache(Generic[T]):
    """Keeps things that may grow after they were put in; `grown` has to be told of it."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._kept: OrderedDict[bytes, T] = OrderedDict()
        self.bytes = 0
        self._hits = self._misses = 0

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[T]:
        return iter(self._kept.values())

    @property
    def found(self) -> tuple[int, int]:
        """How often something was there, and how often it was not."""
        return self._hits, self._misses

    def get(self, key: bytes) -> T | None:
        """What is kept under a key, from now on the last to go."""
        found = self._kept.get(key)
        if found is None:
            self._misses += 1
            return None
        self._hits += 1
        self._kept.move_to_end(key)
        return found

    def put(self, key: bytes, thing: T) -> None:
        """Keeps it, if it fits at all."""
        self._kept[key] = thing
        self.bytes += thing.size
        self._shrink()

    def grow(self, key: bytes, thing: T, size: int) -> None:
        """Counts that something has become larger; of no effect if it is not kept any more."""
        thing.size += size
        if self._kept.get(key) is thing:
            self.bytes += size
            self._shrink()

    def _shrink(self) -> None:
        while len(self._kept) > self._most or self.bytes > self._most_bytes:
            _, gone = self._kept.popitem(last=False)
            self.bytes -= gone.size
