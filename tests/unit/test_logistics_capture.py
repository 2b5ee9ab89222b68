"""What comes of a batch (L3), whatever the mix of its items."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from services.logistics.domain.capture import Batch, Captured, ItemStatus, Mode, capture, check_all, hashes
from services.logistics.domain.items import Event, Item
from services.logistics.domain.points import Machine, Material

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
MACHINE = Machine("machine_1", "point_1", "partner_1", b"", retired=False, registered_at=NOW)
MEMBER = "member_01h455vb4pex5vsknk084sn02q"
ACCEPTED, DUPLICATE, INVALID, ROLLED_BACK = ItemStatus

# A small alphabet, so that duplicates are frequent; a weight of 0 is not valid.
items = st.lists(
    st.builds(
        Item,
        member_id=st.just(MEMBER),
        material=st.just(Material.PET),
        weight_grams=st.sampled_from([0, 1, 1, 1, 2]),
        code=st.sampled_from(["a", "A", "b", "c"]),
        occurred_at=st.just(NOW - timedelta(days=399)),
    ),
    min_size=1,
    max_size=20,
).map(tuple)
stored_codes = st.sets(st.sampled_from(["a", "b", "c"]))


def batch(contents: tuple[Item, ...], mode: Mode) -> Batch:
    return Batch(MACHINE, "batch-1", mode, contents, b"")


def bottle(code: str, weight_grams: int = 1) -> Item:
    return Item(MEMBER, Material.PET, weight_grams, code, NOW)


def known(contents: tuple[Item, ...], codes: set[str]) -> Mapping[str, str]:
    """Those of the batch's events with such codes, as if they were stored already."""
    found = check_all(batch(contents, Mode.PROCEED), NOW)
    return {one.hash: f"old_{one.code}" for one in found if isinstance(one, Event) and one.code in codes}


def decided(contents: tuple[Item, ...], mode: Mode, stored: Mapping[str, str]) -> Captured:
    numbers = count(1)
    sent = batch(contents, mode)
    return capture(sent, check_all(sent, NOW), stored, NOW, lambda: f"dropoff_{next(numbers)}")


def statuses(captured: Captured) -> list[ItemStatus]:
    return [result.status for result in captured.results]


def test_l3_proceed_stores_the_good_ones_and_names_the_bad():
    captured = decided((bottle("a"), bottle("b", 0), bottle("c")), Mode.PROCEED, {})
    assert statuses(captured) == [ACCEPTED, INVALID, ACCEPTED]
    assert [drop_off.code for drop_off in captured.drop_offs] == ["a", "c"]
    assert captured.results[1].reason == "WEIGHT_OUT_OF_RANGE"


def test_l3_rollback_stores_none_if_one_is_bad():
    captured = decided((bottle("a"), bottle("b", 0), bottle("c")), Mode.ROLLBACK, {})
    assert statuses(captured) == [ROLLED_BACK, INVALID, ROLLED_BACK]
    assert captured.drop_offs == ()


def test_l3_a_duplicate_does_not_spoil_a_batch():
    contents = (bottle("a"), bottle("b"), bottle("B"))
    captured = decided(contents, Mode.ROLLBACK, known(contents, {"a"}))
    assert statuses(captured) == [DUPLICATE, ACCEPTED, DUPLICATE]
    assert [result.drop_off_id for result in captured.results] == ["old_a", "dropoff_1", "dropoff_1"]


@given(items, stored_codes, st.sampled_from(Mode))
def test_l3_every_item_ends_as_the_mode_says(contents: tuple[Item, ...], codes: set[str], mode: Mode):
    stored = known(contents, codes)
    captured = decided(contents, mode, stored)
    found = statuses(captured)
    assert len(found) == len(contents)
    assert [status is INVALID for status in found] == [item.weight_grams == 0 for item in contents]
    if mode is Mode.ROLLBACK and INVALID in found:
        assert captured.drop_offs == ()
        assert ACCEPTED not in found
    else:
        assert ROLLED_BACK not in found
    # Each event is stored once, by the first item that reports it, and not at all if it was stored before.
    assert [drop_off.id for drop_off in captured.drop_offs] == [
        result.drop_off_id for result in captured.results if result.status is ACCEPTED
    ]
    new = [drop_off.event_hash for drop_off in captured.drop_offs]
    assert len(new) == len(set(new))
    assert not set(new) & stored.keys()
    assert sum(captured.count(status) for status in ItemStatus) == len(contents)


@given(items)
def test_sending_a_batch_again_under_another_id_stores_nothing_new(contents: tuple[Item, ...]):
    first = decided(contents, Mode.PROCEED, {})
    stored = {drop_off.event_hash: drop_off.id for drop_off in first.drop_offs}
    again = decided(contents, Mode.PROCEED, stored)
    assert again.drop_offs == ()
    assert set(statuses(again)) <= {DUPLICATE, INVALID}


@given(items)
def test_each_event_is_looked_up_once(contents: tuple[Item, ...]):
    asked = hashes(check_all(batch(contents, Mode.PROCEED), NOW))
    assert len(asked) == len(set(asked))
    assert set(asked) == {drop_off.event_hash for drop_off in decided(contents, Mode.PROCEED, {}).drop_offs}


def test_l10_a_late_drop_off_keeps_the_time_at_which_it_happened():
    late = Item(MEMBER, Material.PET, 1, "a", NOW - timedelta(days=400))
    (drop_off,) = decided((late,), Mode.PROCEED, {}).drop_offs
    assert (drop_off.occurred_at, drop_off.recorded_at) == (late.occurred_at, NOW)
    assert (drop_off.machine_id, drop_off.recycling_point_id, drop_off.partner_id) == (
        "machine_1",
        "point_1",
        "partner_1",
    )
