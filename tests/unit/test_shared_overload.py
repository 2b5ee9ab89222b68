"""How many calls of a method a service lets in at once."""

from services.shared.overload import Limit


class Service:
    """A method that does one call after the other, each for so long: more at once only wait for each other."""

    def __init__(self, seconds: float, most: int = 1_000) -> None:
        self.now = 0.0
        self.seconds = seconds
        self.limit = Limit(most, lambda: self.now)
        self.waiting: list[float] = []
        self.refused = 0

    def offer(self, calls: int) -> None:
        for _ in range(calls):
            began = self.limit.enter()
            if began is None:
                self.refused += 1
            else:
                self.waiting.append(began)

    def work(self, seconds: float) -> list[float]:
        """How long each call that was answered in that time had waited."""
        until, waits = self.now + seconds, []
        while self.now < until:
            self.now += self.seconds
            if self.waiting:
                began = self.waiting.pop(0)
                self.limit.leave(began)
                waits.append(self.now - began)
        return waits


def test_with_little_to_do_nobody_is_refused():
    service = Service(0.01)
    for _ in range(200):
        service.offer(5)
        service.work(0.1)
    assert service.refused == 0
    assert service.limit.limit == 1_000


def test_at_three_times_what_can_be_done_those_let_in_are_answered_soon_and_the_rest_at_once():
    service = Service(0.01)
    service.offer(5)
    service.work(1)
    waits: list[float] = []
    for second in range(60):
        for _ in range(10):
            service.offer(30)
            done = service.work(0.1)
            if second >= 20:
                waits += done
    # It is never idle, and half of the callers wait for little longer than a second.
    assert len(waits) > 3_900
    assert sorted(waits)[len(waits) // 2] < 1.5
    assert max(waits) < 5.0
    assert service.refused > 5_000


def test_when_the_crowd_is_gone_all_are_let_in_again():
    service = Service(0.01)
    service.offer(5)
    service.work(1)
    for _ in range(300):
        service.offer(30)
        service.work(0.1)
    low = service.limit.limit
    assert low < 200
    refused = service.refused
    for _ in range(3_000):
        service.offer(5)
        service.work(0.1)
    assert service.refused - refused < 500
    assert service.limit.limit > 2 * low


def test_after_some_seconds_without_a_call_a_crowd_is_let_in_again():
    service = Service(0.01)
    service.offer(5)
    service.work(1)
    for _ in range(300):
        service.offer(30)
        service.work(0.1)
    service.work(10)
    refused = service.refused
    service.offer(500)
    assert service.refused == refused


def test_while_nobody_is_answered_no_crowd_is_let_in():
    service = Service(0.01)
    for _ in range(10):
        service.offer(5)
        service.work(0.1)
    service.offer(3)
    service.now += 3  # The database hangs.
    service.offer(100)
    assert len(service.waiting) == 64
    service.work(1)
    service.offer(80)
    assert len(service.waiting) == 80


def test_a_method_that_takes_long_by_nature_is_left_alone():
    service = Service(0.8)
    for _ in range(100):
        service.offer(1)
        service.work(1)
    assert service.refused == 0
