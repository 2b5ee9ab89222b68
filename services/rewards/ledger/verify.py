"""Reads the whole log and all read models, and says what is wrong: with the log, with the books, with the read models.

Of each partition: blocks without gaps, each with the hash of its content and of the block before it, times that never
go back, payloads written in the one way there is, every command deciding again what it decided then, no id twice, legs
and books that sum to zero, ids and links that follow from the payload. Between partitions: what is received was sent.
Of the read models: accounts as the log makes them at the block that they say they are from, none missing, none too
many; and each account's next moment in a due list. The ledger may be in use meanwhile.

What is wrong with one of them does not hide the others: the walk goes on with what was stored, and ends early only in a
partition in which a block cannot be read. It reads the log once, in order, and holds one partition at a time: what that
takes of memory and disk, `scratch` says.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from services.rewards.ledger.comparison import Comparison
from services.rewards.ledger.differences import UNREADABLE
from services.rewards.ledger.events import Refusal
from services.rewards.ledger.findings import Findings, Subject
from services.rewards.ledger.log import BlockMalformed, Log
from services.rewards.ledger.model import Gift
from services.rewards.ledger.store import Views
from services.rewards.ledger.walk import Progress, Receipt, Sending, Stopped, Walk, sendings


class Report(NamedTuple):
    """`commands` and `members` say how much was checked."""

    findings: Findings
    commands: int
    members: int

    @property
    def clean(self) -> bool:
        return not self.findings

    @property
    def finding(self) -> str:
        """What is wrong first; empty when all is well."""
        return self.findings.first


async def verify(
    log: Log, views: Views, partition_of: Callable[[str], int], progress: Progress | None = None
) -> Report:
    """Reads everything. `progress` is told partition and block now and then."""
    findings = Findings()
    commands = members = 0
    sent: dict[str, Sending] = {}
    received: list[Receipt] = []
    for partition in range(views.shape.partitions):
        walk = Walk(partition, log, views.shape, findings, progress)
        try:
            await Comparison(walk, views, findings, partition_of).all()
            walk.check_books()
        except Stopped:
            # What comes behind the block that cannot be read is not known.
            findings.cannot_tell(Subject.BOOKS)
            findings.cannot_tell(Subject.ACCOUNTS)
        finally:
            commands += walk.commands
            members += sum(walk.members.values())
            walk.close()
        sent |= walk.sent
        received += walk.received
    await _check_passages(log, views.shape.partitions, sent, received, findings)
    return Report(findings, commands, members)


async def _check_passages(
    log: Log, partitions: int, sent: dict[str, Sending], received: Sequence[Receipt], findings: Findings
) -> None:
    """Whatever came in anywhere has gone out somewhere, and just so, and came in once. A gift may come back."""
    seen: set[str] = set()
    for partition, id, passage, member in received:
        gone = sent.get(id) or await _sent_since(log, partitions, id)
        if isinstance(gone, Gift) and member == gone.giver:
            gone = gone._replace(to=member)
        if gone == passage and id not in seen:
            seen.add(id)
        elif findings.broken(Subject.LOG):
            # It may have gone out in a block that is not what it was.
            findings.cannot_tell(Subject.BOOKS)
        else:
            findings.note(Subject.BOOKS, f"partition {partition}, passage {id}: was received and not sent so")


async def _sent_since(log: Log, partitions: int, id: str) -> Sending | None:
    """What has been sent since the sender's log was walked."""
    for partition in range(partitions):
        try:
            for block in await log.holding(partition, [id]):
                for _, (_, decision, _) in block.mentions(id):
                    for event in () if isinstance(decision, Refusal) else decision:
                        if found := sendings(event).get(id):
                            return found
        except (BlockMalformed, *UNREADABLE):
            continue  # the walk has said so
    return None
