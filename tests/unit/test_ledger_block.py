"""How blocks are written: one way only, and every bit counts."""

from hypothesis import given
from hypothesis import strategies as st

from services.rewards.ledger.block import GENESIS, Block, Posting, decode, encode, links
from services.rewards.ledger.commands import Command
from services.rewards.ledger.events import Event, Given, Placed, Refusal, Sent
from services.rewards.ledger.model import Gift, Hold, Lot, Passage, Tally

ids = st.text(min_size=1, max_size=12)
numbers = st.integers(0, 2**53 - 1)
lots = st.lists(st.builds(Lot, numbers, ids, numbers, numbers), max_size=3).map(tuple)
FIELDS = {
    "lots": lots,
    "hold": ids,
    "points": numbers,
    "expires": numbers,
    "to": st.integers(0, 63),
    "owed": lots,
    "due": numbers,
    "value": numbers,
    "most_points": numbers,
    "most_gifts": numbers,
    "timed_out": st.booleans(),
}


def some(kind: type) -> st.SearchStrategy:
    if kind is Sent:
        return st.builds(kind, st.builds(Passage, ids, ids, numbers, numbers))
    if kind is Placed:
        return st.builds(kind, ids, st.builds(Hold, ids, numbers, numbers, numbers))
    if kind is Given:
        return st.builds(kind, ids, st.builds(Gift, ids, ids, ids, lots), st.builds(Tally, numbers, numbers, numbers))
    return st.builds(kind, *(FIELDS.get(name, ids) for name in kind._fields))


commands = st.one_of([some(kind) for kind in Command.__args__])
events = st.lists(st.one_of([some(kind) for kind in Event.__args__]), max_size=3).map(tuple)
refusals = st.builds(Refusal, ids, numbers, numbers)
postings = st.lists(st.builds(Posting, commands, st.one_of(events, refusals), st.integers(0, 9)), max_size=4)


@given(postings)
def test_what_is_written_reads_back_the_same(written: list[Posting]):
    payload = encode(written)
    read = decode(payload)
    assert read == written
    assert [type(p.command) for p in read] == [type(p.command) for p in written]
    assert encode(read) == payload, "there is one way to write it"


@given(postings.filter(len))
def test_what_names_an_account_or_a_command_is_found_without_reading_the_rest(written: list[Posting]):
    block = Block.build(0, 1, 0, GENESIS, written)
    for place, posting in enumerate(written):
        for name in {posting.command.id, getattr(posting.command, "member", "")} - {""}:
            assert (place, posting) in block.mentions(name)
    assert set(block.mentions(written[0].command.id)) <= set(enumerate(written))


@given(st.dictionaries(ids, numbers, max_size=4), ids)
def test_links_lead_to_the_block_before(before: dict[str, int], other: str):
    block = Block.build(0, 1, 0, GENESIS, [], links(before))
    assert links(dict(reversed(before.items()))) == links(before), "there is one way to write them"
    for account in {*before, other}:
        assert block.before(account) == before.get(account)


@given(postings.filter(len), st.data())
def test_r12_no_bit_can_change_unseen(written: list[Posting], data: st.DataObject):
    block = Block.build(3, 7, 1_700_000_000_000, GENESIS, written)
    assert block.intact
    field = data.draw(st.sampled_from(["payload", "previous", "hash"]))
    content = bytearray(getattr(block, field))
    bit = data.draw(st.integers(0, len(content) * 8 - 1))
    content[bit // 8] ^= 1 << bit % 8
    assert not block._replace(**{field: bytes(content)}).intact
    for number in ("partition", "seq", "at"):
        assert not block._replace(**{number: getattr(block, number) + 1}).intact
