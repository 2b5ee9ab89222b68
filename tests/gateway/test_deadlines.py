"""Requests run out of time each by itself, though one timer is for all."""

import asyncio

import pytest

from gateway.deadlines import Deadlines
from gateway.fields import fields_of


class Told:
    """Something that waits."""

    def __init__(self) -> None:
        self.until = 0.0
        self.expired = asyncio.Event()

    def expires(self, until: float) -> None:
        self.until = until

    def expire(self, _: float) -> None:
        self.expired.set()


async def test_who_is_out_of_time_is_told_and_who_has_ended_is_not():
    deadlines = Deadlines(0.02, 10)
    ended, late, later = Told(), Told(), Told()
    begun = deadlines.begin()
    begun.watch(ended)
    deadlines.begin().watch(late)
    deadlines.end(begun)
    await asyncio.sleep(0.001)
    deadlines.begin().watch(later)
    await later.expired.wait()
    assert asyncio.get_running_loop().time() >= later.until > late.until
    assert late.expired.is_set()
    assert not ended.expired.is_set()


async def test_who_cannot_make_do_is_cut_off_and_knows_why():
    deadlines = Deadlines(0.0, 0.01)
    deadline = deadlines.begin()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.Event().wait()
    assert deadline.passed()
    deadlines.end(deadline)
    assert not asyncio.current_task().cancelling()


async def test_who_is_cancelled_by_another_is_not_out_of_time():
    deadlines = Deadlines(10, 10)
    passed = []

    async def request() -> None:
        deadline = deadlines.begin()
        try:
            await asyncio.Event().wait()
        finally:
            passed.append(deadline.passed())
            deadlines.end(deadline)

    task = asyncio.create_task(request())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (task.cancelled(), passed) == (True, [False])


def test_a_field_that_is_there_twice_is_one_with_a_comma():
    headers = [(b"accept", b"text/html"), (b"host", b"a"), (b"accept", b"application/json")]
    assert fields_of({"headers": headers}) == {b"accept": b"text/html, application/json", b"host": b"a"}
