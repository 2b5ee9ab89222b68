"""How many calls of a method are let in at once."""

from hypothesis import given, settings
from hypothesis import strategies as st

from services.shared.overload import Limit


class Service:
    """A method that does one call after the other, each for so long: more at once only wait for each other."""

    def __init__(self, seconds: float, most: int = 1_000, **limit: float) -> None:
        self.now = 0.0
        self.seconds = seconds
        self.limit = Limit(most, clock=lambda: self.now, **limit)  # type: ignore[arg-type]
        self.waiting: list[float] = []
        self.refused = 0

    def offer(self, calls: int, left_seconds: float = 0.0) -> None:
        for _ in range(calls):
            began = self.limit.enter(left_seconds)
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

    def flood(self, seconds: int, per_tenth: int = 30) -> list[float]:
        """So many calls in each tenth of a second; the waits of those that are let in and answered."""
        waits = []
        for _ in range(10 * seconds):
            self.offer(per_tenth)
            waits += self.work(0.1)
        return waits


def test_with_little_to_do_nobody_is_refused():
    service = Service(0.01)
    service.flood(20, per_tenth=5)
    assert service.refused == 0
    assert service.limit.limit == 1_000


def test_at_three_times_what_can_be_done_those_let_in_are_answered_soon_and_the_rest_at_once():
    service = Service(0.01, target_seconds=1.0)
    service.flood(1, per_tenth=1)
    service.flood(10)
    waits = service.flood(60)
    # It is never idle, and nobody waits for much longer than a second.
    assert len(waits) > 5_900
    assert sorted(waits)[len(waits) // 2] < 1.1
    assert max(waits) < 2.0
    assert service.refused > 5_000


def test_a_flood_that_lasts_for_an_hour_is_never_taken_for_what_is_usual():
    service = Service(0.1, target_seconds=1.0)
    service.flood(10, per_tenth=3)
    assert max(service.flood(3_600, per_tenth=3)) < 2.0


def test_who_begins_small_lets_in_more_while_answers_are_quick():
    service = Service(0.001, start=16, target_seconds=0.5)
    service.offer(100)
    assert len(service.waiting) == 16
    service.flood(10, per_tenth=90)
    refused = service.refused
    service.flood(10, per_tenth=90)
    assert service.refused == refused
    assert service.limit.limit >= 90


def test_a_crowd_that_waits_for_one_lock_is_no_flood():
    """All come at once and are answered one after the other; and again, while the last of them are still there."""
    service = Service(0.02)
    service.offer(100)
    waits = service.work(1.9)
    service.offer(90)
    waits += service.work(2.0)
    assert service.refused == 0
    assert max(waits) > 1.8


def test_who_has_more_time_may_join_a_longer_queue():
    service = Service(0.1, target_seconds=2.0)
    service.flood(60, per_tenth=3)
    service.offer(100, left_seconds=5)
    few, refused = len(service.waiting), service.refused
    assert few <= 1.3 * service.limit.limit
    service.offer(100, left_seconds=30)
    assert service.refused == refused
    # However long that may be.
    service.offer(1_000, left_seconds=1e9)
    assert len(service.waiting) <= 10 * service.limit.limit + 1


def test_when_the_crowd_is_gone_all_are_let_in_again():
    service = Service(0.01, target_seconds=1.0)
    service.flood(30)
    assert service.limit.limit < 200
    service.work(3)
    refused = service.refused
    service.offer(500)
    assert service.refused == refused


def test_a_flood_has_no_quiet_moments():
    """Those few who are let in may all be answered at once, and still the flood is one."""
    service = Service(0.3, target_seconds=0.5)
    service.flood(30)
    assert service.limit.limit == 8
    assert max(service.flood(30)) < 4


def test_while_nobody_is_answered_no_crowd_is_let_in():
    service = Service(0.01)
    service.flood(1, per_tenth=5)
    service.offer(3)
    service.now += 3  # The database hangs.
    service.offer(100)
    assert len(service.waiting) == 32
    service.work(1)
    service.offer(80)
    assert len(service.waiting) == 80


def test_a_method_that_takes_long_by_nature_is_left_alone():
    service = Service(4.0)
    for _ in range(20):
        service.offer(1)
        service.work(4)
    service.offer(6)
    service.work(24)
    assert service.refused == 0
    assert service.limit.limit == 1_000


def test_even_the_smallest_limit_is_kept():
    service = Service(1.0, most=3)
    service.flood(30)
    assert service.limit.limit == 3


@settings(max_examples=60, deadline=None)
@given(
    seconds=st.floats(0.001, 0.2),
    target=st.floats(0.1, 2.0),
    start=st.integers(1, 200),
    most=st.integers(8, 500),
    tenths=st.lists(st.integers(0, 60), min_size=20, max_size=120),
)
def test_whatever_comes_the_limit_stays_in_its_bounds_and_nobody_is_forgotten(
    seconds: float, target: float, start: int, most: int, tenths: list[int]
):
    service = Service(seconds, most, start=start, target_seconds=target)
    for calls in tenths:
        service.offer(calls)
        service.work(0.1)
        assert min(8, start) <= service.limit.limit <= most
        assert service.limit.in_flight == len(service.waiting) <= most
    while service.waiting:
        service.work(1)
    assert service.limit.in_flight == 0


@settings(max_examples=30, deadline=None)
@given(per_second=st.integers(20, 500), target=st.floats(0.2, 2.0), times=st.floats(1.5, 10.0))
def test_whatever_the_flood_as_much_is_answered_as_can_be_and_in_time(per_second: int, target: float, times: float):
    service = Service(1 / per_second, target_seconds=target)
    per_tenth = int(per_second * times / 10) + 1
    # The first crowd, let in before anything was known, has to be gone, however long each of its calls takes.
    service.flood(20 + service.limit.most // per_second, per_tenth)
    waits = service.flood(20, per_tenth)
    assert len(waits) > 0.9 * 20 * per_second
    # Eight are always let in, however long it takes them.
    assert sum(waits) / len(waits) < max(1.5 * target, 9 / per_second)
