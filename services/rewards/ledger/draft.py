"""A block while it is being decided: commands in, outcomes out, nothing stored yet."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from services.rewards.ledger import machine
from services.rewards.ledger.block import Posting
from services.rewards.ledger.commands import Command
from services.rewards.ledger.effects import apply
from services.rewards.ledger.events import Decision, Refusal
from services.rewards.ledger.model import Books
from services.shared.errors import AlreadyExists


class RequestIdReused(AlreadyExists):
    """The same command id was used for another command."""


class Outcome(NamedTuple):
    """What became of a command, for ever. `seq` is 0 for a refusal for want of allotment that is not final yet."""

    command: Command
    decision: Decision
    at: int
    seq: int
    place: int

    @property
    def refusal(self) -> Refusal | None:
        return self.decision if isinstance(self.decision, Refusal) else None


class Draft:
    """The next block of a partition. `known` are outcomes of earlier blocks, by command id."""

    def __init__(self, seq: int, at: int, books: Books, known: Mapping[str, Outcome]) -> None:
        self.postings: list[Posting] = []
        self.fresh: dict[str, Outcome] = {}  # of each posting, by its command's id
        self.books = books
        self._seq = seq
        self._at = at
        self._known = known

    def each(self, commands: Sequence[Command], *, final: bool) -> list[Outcome]:
        """Decides commands one after the other. RequestIdReused if one's id stands for another command; then those
        before it stand.

        Unless `final`, a refusal for want of allotment is answered but not recorded.
        """
        return [self._one(command, final) for command in commands]

    def linked(self, commands: Sequence[Command], *, final: bool) -> list[Outcome]:
        """Decides commands that happen all or not at all; for the rest as `each`."""
        before = [outcome for command in commands if (outcome := self._find(command))]
        if before:
            if len(before) < len(commands):
                raise RequestIdReused("Some of these linked commands are known, others not; use new ids for all.")
            return before
        decisions = machine.decide_linked(self.books, commands, self._at)
        if not final and any(_short(decision) for decision in decisions):
            return [self._passing(*pair) for pair in zip(commands, decisions, strict=True)]
        return [
            self._record(command, decision, 0 if place else len(commands))
            for place, (command, decision) in enumerate(zip(commands, decisions, strict=True))
        ]

    def _one(self, command: Command, final: bool) -> Outcome:
        if outcome := self._find(command):
            return outcome
        decision = machine.decide(self.books, command, self._at)
        if not final and _short(decision):
            return self._passing(command, decision)
        return self._record(command, decision)

    def _find(self, command: Command) -> Outcome | None:
        outcome = self.fresh.get(command.id) or self._known.get(command.id)
        if outcome is None:
            return None
        # Tuples of two types may be equal, so that the types count too.
        if type(outcome.command) is type(command) and outcome.command == command:
            return outcome
        raise RequestIdReused("This id was used for another command; use a new one.", request_id=command.id)

    def _passing(self, command: Command, decision: Decision) -> Outcome:
        return Outcome(command, decision, self._at, 0, 0)

    def _record(self, command: Command, decision: Decision, chain: int = 0) -> Outcome:
        if not isinstance(decision, Refusal):
            apply(self.books, decision)
        outcome = self.fresh[command.id] = Outcome(command, decision, self._at, self._seq, len(self.postings))
        self.postings.append(Posting(command, decision, chain))
        return outcome


def _short(decision: Decision) -> bool:
    return isinstance(decision, Refusal) and decision.reason == machine.PREPAID_BLOCK_EXHAUSTED
