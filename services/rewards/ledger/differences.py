"""In what a stored thing differs from what it should be."""

from typing import Any

from services.rewards.ledger.block import Block, Posting
from services.rewards.ledger.commands import Cancel, Issue, Reverse
from services.rewards.ledger.events import Captured

# What may come of reading, or replaying, what is not what it was.
UNREADABLE = (TypeError, ValueError, KeyError, IndexError, AttributeError, ArithmeticError)


def difference(one: Any, other: Any) -> str:
    """The name of the first field in which two named tuples differ, as deep as names go."""
    if isinstance(one, tuple) and isinstance(other, tuple) and type(one) is type(other):
        names = getattr(one, "_fields", None) or [str(place) for place in range(max(len(one), len(other)))]
        for name, (left, right) in zip(names, zip(one, other, strict=False), strict=False):
            if left != right:
                deeper = difference(left, right)
                return f"{name}.{deeper}" if deeper else name
    return ""


def undoes(command: Cancel | Reverse, done: Posting) -> bool:
    """Whether a command takes back what was given then, or gives back what was taken."""
    if isinstance(command, Cancel):
        issue = done.command
        return isinstance(issue, Issue) and (issue.member, issue.lots) == (command.member, command.lots)
    captured = [event for event in done.decision if isinstance(event, Captured)]
    return [tuple(event) for event in captured] == [(command.member, command.hold, command.partner, command.lots)]


def other_link(block: Block, before: dict[str, int]) -> str:
    """What is wrong with a block's links, given the block before of each member that it touches."""
    try:
        for member, seq in before.items():
            if block.before(member) != seq:
                return f"member {member}: the block before is {seq}"
    except UNREADABLE as error:
        return f"cannot be read: {error}"
    return "are not those of the payload"
