"""What a client may ask for per second: token buckets, paid in units of cost, which dear documents empty sooner.

A unit is about the work of one object of an answer. A request costs one unit, then the static cost of its operation;
a document that has not been seen before also a unit for every four bytes, which is about one per token.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from gateway.config import Rates
from gateway.errors import TOO_MANY_REQUESTS, FieldError
from gateway.tokens import Bearer
from services.shared.identity import CallerKind

# Of each kind of client; beyond them, who asked the longest time ago is forgotten, and starts with a full bucket.
_CLIENTS = 10_000
_BYTES_PER_UNIT = 4
# To find out that a token is forged takes as long as ten objects.
_FORGED = 10


class Buckets:
    """A bucket per client. Who has a unit left may ask, and pays all that it turns out to cost; who owes waits."""

    def __init__(self, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_second = per_second
        self._burst = float(burst)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, client: str, units: float = 1.0) -> float:
        """Takes units; 0 if the client had one left, else nothing is taken, and it is seconds until there is one."""
        now = self._clock()
        left, at = self._buckets.pop(client, (self._burst, now))
        left = min(self._burst, left + (now - at) * self.per_second)
        enough = left >= 1
        self._buckets[client] = (left - units if enough else left, now)
        if len(self._buckets) > _CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if enough else (1 - left) / self.per_second


class RateExceeded(Exception):
    """The client has asked for more than its rate allows; has what it is told, and how long it is to wait."""

    def __init__(self, whose: str, per_second: float, wait_seconds: float) -> None:
        seconds = self.retry_after_seconds = _rounded_up(wait_seconds)
        message = (
            f"{whose} may have {per_second:,.0f} units of cost per second, and has had more; "
            f"ask again in {seconds} s, or for less."
        )
        super().__init__(message)
        self.error = FieldError(
            TOO_MANY_REQUESTS,
            message,
            reason="RATE_EXCEEDED",
            measure="rate",
            limit=per_second,
            retryAfterSeconds=seconds,
        )


class Purse(NamedTuple):
    """One of the buckets that a client pays from."""

    buckets: Buckets
    key: str
    # As the client is told: whose bucket it is.
    whose: str

    def pay(self, units: float) -> None:
        if wait := self.buckets.take(self.key, units):
            raise RateExceeded(self.whose, self.buckets.per_second, wait)


class Account(NamedTuple):
    """What one request is paid from."""

    purses: tuple[Purse, ...]
    # What documents that were not seen before are paid from too.
    for_unseen: tuple[Purse, ...] = ()

    def pay(self, units: float) -> None:
        """RateExceeded if any of the purses is empty."""
        for purse in self.purses:
            purse.pay(units)

    def pay_unseen(self, length: int) -> None:
        """For reading a document of so many bytes, before it is read."""
        units = length / _BYTES_PER_UNIT
        for purse in (*self.for_unseen, *self.purses):
            purse.pay(units)


class Accounts:
    """Who pays for a request: an API client, a member and the members of its brand, or a stranger's address."""

    def __init__(self, rates: Rates, clock: Callable[[], float] = time.monotonic) -> None:
        def buckets(per_second: float) -> Buckets:
            return Buckets(per_second, per_second * rates.burst_seconds, clock)

        self._operators = buckets(rates.operator)
        self._clients = buckets(rates.client)
        self._members = buckets(rates.member)
        self._brands = buckets(rates.members_of_brand)
        self._addresses = buckets(rates.address)
        # Apart from the others: many people may come from one address, and what one asks without a token must not keep
        # the others' tokens out.
        self._forgers = buckets(rates.address)
        # However many addresses strangers come from, this much of the process is what they can take by new documents.
        self._strangers = (Purse(buckets(rates.strangers_unseen), "", "New documents of all who come without a token"),)

    def __len__(self) -> int:
        kinds = (self._operators, self._clients, self._members, self._brands, self._addresses, self._forgers)
        return sum(map(len, kinds))

    def of(self, bearer: Bearer) -> Account:
        """The account of a token's bearer."""
        viewer = bearer.viewer
        if viewer.kind is CallerKind.MEMBER:
            member = Purse(self._members, viewer.id, "This member")
            brand = Purse(self._brands, viewer.partner_id, "All members at this brand together")
            return Account((member, brand))
        if viewer.kind is CallerKind.PARTNER:
            return Account((Purse(self._clients, bearer.client, "This API client"),))
        return Account((Purse(self._operators, bearer.client, "This API client"),))

    def of_stranger(self, address: str) -> Account:
        """The account of whoever asks without a token from an address."""
        return Account((self._stranger(address),), self._strangers)

    def before_verifying(self, address: str) -> None:
        """RateExceeded if too many tokens from that address did not hold for this one to be looked at."""
        Purse(self._forgers, address, "Your address, for tokens that do not hold,").pay(0)

    def forged(self, address: str) -> None:
        """Takes the price of a token that did not hold."""
        self._forgers.take(address, _FORGED)

    def _stranger(self, address: str) -> Purse:
        return Purse(self._addresses, address, "Your address, without a token,")


def _rounded_up(seconds: float) -> int:
    return max(1, -int(-seconds // 1))
