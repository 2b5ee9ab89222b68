"""Which command ids may have been decided before: memory of a fixed size, however long the log is."""

_BITS = 1 << 25  # 4 MB: with 4 million ids in it, every 35th new one is looked up in vain; every fifth with 10 million


class Seen:
    """A Bloom filter. "No" is certain, "perhaps" has to be looked up; so has everything until it is `complete`."""

    __slots__ = ("_bits", "complete")

    def __init__(self) -> None:
        self._bits = bytearray(_BITS >> 3)
        self.complete = False

    def add(self, id: str) -> None:
        """From now on the answer for it is "perhaps"."""
        bits, first = self._bits, hash(id)
        step = first >> 32 | 1
        for number in (first, first + step, first + 2 * step):
            place = number & _BITS - 1
            bits[place >> 3] |= 1 << (place & 7)

    def perhaps(self, ids: list[str]) -> list[str]:
        """Those that may have been decided before."""
        if not self.complete:
            return ids
        bits, found = self._bits, []
        for id in ids:
            first = hash(id)
            step = first >> 32 | 1
            for number in (first, first + step, first + 2 * step):
                place = number & _BITS - 1
                if not bits[place >> 3] & 1 << (place & 7):
                    break
            else:
                found.append(id)
        return found
