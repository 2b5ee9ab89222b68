"""What waits for a subscriber: never more than it should, in order, nothing lost that was not said to be."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

from hypothesis import given
from hypothesis import strategies as st

from gateway.live.mailbox import Buffered, Latest

MOST = 3


@dataclass(frozen=True)
class Row:
    number: int
    answers: ClassVar[None] = None

    @property
    def cursor(self) -> str:
        return str(self.number)


def waiting(box: Any) -> bool:
    return bool(box.arrived.is_set())


STEPS = st.lists(st.one_of(st.integers(0, 3), st.sampled_from(["take", "put back"])), max_size=60)


@given(STEPS)
def test_the_latest_state_wins_and_one_that_was_shown_last_is_no_news(steps: list[Any]):
    box = Latest(None, "0")
    current, shown, taken = Row(0), ["0"], None
    for step in steps:
        if isinstance(step, int):
            current = Row(step)
            box.offer(current)
        elif step == "take":
            if taken is not None:
                shown.append(taken.cursor)
            taken = box.take()
        elif taken is not None:
            box.put_back(taken)
            taken = None
    if taken is not None:
        shown.append(taken.cursor)
    last = box.take()
    assert box.take() is None
    assert not waiting(box)
    if last is not None:
        shown.append(last.cursor)
    assert shown[-1] == current.cursor, "whoever reads on ends with the state that is"
    assert all(one != other for one, other in pairwise(shown))


@given(STEPS)
def test_a_buffer_keeps_order_and_ends_with_the_cursor_behind_its_last_row(steps: list[Any]):
    box = Buffered(None, MOST)
    offered, taken = [], []
    for step in steps:
        if isinstance(step, int):
            row = Row(len(offered))
            before = box.ended
            box.offer(row)
            if box.ended is None:
                offered.append(row)
            elif before is None:
                assert box.ended.extensions["cursor"] == offered[-1].cursor
        elif (row := box.take()) is not None:
            if step == "put back":
                box.put_back(row)
            else:
                taken.append(row)
        assert waiting(box) == (len(taken) < len(offered) or box.ended is not None)
        assert len(offered) - len(taken) <= MOST
    while (row := box.take()) is not None:
        taken.append(row)
    assert taken == offered
