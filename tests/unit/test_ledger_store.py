"""How accounts are written into buckets, and what is known of ids that have been seen."""

from hypothesis import given
from hypothesis import strategies as st

from services.rewards.ledger.model import Debt, Hold, Lot, Member, Pending, Tally
from services.rewards.ledger.seen import Seen
from services.rewards.ledger.store import Bucket, Stored, body_of, due_of, line, stored

ids = st.text(min_size=1, max_size=12)
numbers = st.integers(0, 2**53 - 1)


def some(of: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(of, max_size=2).map(tuple)


lots = some(st.builds(Lot, numbers, ids, numbers, numbers))
members = st.builds(
    Member,
    lots,
    some(st.builds(Hold, ids, numbers, numbers, numbers)),
    some(st.builds(Debt, ids, ids, numbers, numbers)),
    some(st.builds(Pending, numbers, ids, lots)),
    st.builds(Tally, numbers, numbers, numbers),
)
accounts = st.dictionaries(ids, st.builds(Stored, members, numbers, st.none() | numbers), max_size=3)


@given(accounts, ids)
def test_an_account_is_found_in_its_bucket(written: dict[str, Stored], other: str):
    lines = {id: line(id, *account) for id, account in written.items()}
    bucket = Bucket(1, body_of(1, lines.values()))
    assert bucket.rows() == sorted(lines.values())
    for id in {*written, other}:
        assert bucket.find(id) == written.get(id)
    assert [stored(text) for text in lines.values()] == list(written.items())


@given(accounts, accounts)
def test_a_bucket_with_other_accounts_is_as_if_it_had_been_written_so(
    before: dict[str, Stored], changed: dict[str, Stored]
):
    rows, other = ({id: line(id, *account) for id, account in some.items()} for some in (before, changed))
    told: dict[str, bytes] = {}

    def write(id: str, row: bytes) -> bytes:
        told[id] = row
        return other[id]

    for bucket in (Bucket(1, body_of(1, rows.values())), Bucket(0, b"").after(1, rows, lambda id, _: rows[id])):
        assert bucket.after(2, other, write) == Bucket(2, body_of(2, {**rows, **other}.values()))
        assert told == {id: rows.get(id, b"") for id in other}


@given(accounts)
def test_a_bucket_is_written_in_one_way(written: dict[str, Stored]):
    lines = [line(id, *account) for id, account in written.items()]
    assert body_of(7, reversed(lines)) == body_of(7, lines)
    assert [due_of(text) for text in lines] == [account.due for account in written.values()]


def test_what_has_not_been_seen_is_nearly_always_known_to_be_new():
    seen = Seen()
    old = [f"old_{number}" for number in range(20_000)]
    for id in old:
        seen.add(id)
    assert seen.perhaps(old[:1]) == old[:1], "until it is complete, anything may have been seen"
    assert len(seen.perhaps(["new"])) == 1
    seen.complete = True
    assert seen.perhaps(old) == old
    assert len(seen.perhaps([f"new_{number}" for number in range(20_000)])) < 20


def test_any_of_many_accounts_is_found_and_written_anew_in_a_large_bucket():
    def row(number: int, last: int) -> bytes:
        return line(f"member_{number}", Member((Lot(number, "p", 1, number + 1),)), last, number)

    there = range(0, 3_000, 3)
    bucket = Bucket(1, body_of(1, [row(number, 1) for number in there]))
    for number in range(3_000):
        found = bucket.find(f"member_{number}")
        assert (found and found.due) == (number if number % 3 == 0 else None)
    for step in (1, 2, 7, 500):
        anew = range(0, 3_000, step)
        rows = {number: row(number, 1) for number in there} | {number: row(number, 2) for number in anew}
        fresh = bucket.after(2, [f"member_{number}" for number in anew], lambda id, _: row(int(id[7:]), 2))
        assert fresh == Bucket(2, body_of(2, rows.values()))
        assert all(fresh.find(f"member_{number}") == Stored(*stored(text)[1]) for number, text in rows.items())
