"""What a verification has found, by what it is about: the log, the books, or what is derived from the log."""

from collections import Counter, defaultdict
from enum import StrEnum

_IN_WORDS = 5


class Subject(StrEnum):
    """What can be wrong by itself, by the name of its invariant."""

    LOG = "ledger_log"
    BOOKS = "ledger_books"
    ACCOUNTS = "ledger_accounts"


class Findings:
    """Of each subject the first few in words, and how many there are: however much is wrong, this stays small."""

    def __init__(self) -> None:
        self._in_words: defaultdict[Subject, list[str]] = defaultdict(list)
        self._counts: Counter[Subject] = Counter()
        self._untold: set[Subject] = set()

    def __bool__(self) -> bool:
        return self._counts.total() > 0

    def __len__(self) -> int:
        return self._counts.total()

    def note(self, subject: Subject, text: str) -> None:
        """Something is wrong."""
        self._counts[subject] += 1
        if len(self._in_words[subject]) < _IN_WORDS:
            self._in_words[subject].append(text)

    def cannot_tell(self, subject: Subject) -> None:
        """Some of it could not be judged, since it is judged by something that is itself wrong."""
        self._untold.add(subject)

    def broken(self, subject: Subject) -> bool:
        """Whether something is known to be wrong with it."""
        return self._counts[subject] > 0

    def of(self, subject: Subject) -> str | None:
        """What is wrong with it; "" if nothing is, None if that cannot be told."""
        if not self.broken(subject):
            return None if subject in self._untold else ""
        more = self._counts[subject] - len(self._in_words[subject])
        return "; ".join([*self._in_words[subject], *([f"and {more:,} more"] if more else [])])

    def lines(self) -> list[str]:
        """Everything in words, a line each; what others rest on first."""
        said = []
        for subject in Subject:
            said += [f"{subject}: {text}" for text in self._in_words[subject]]
            if more := self._counts[subject] - len(self._in_words[subject]):
                said.append(f"{subject}: {more:,} more")
            if subject in self._untold:
                said.append(f"{subject}: cannot be told wholly, before what is wrong above is set right")
        return said

    @property
    def first(self) -> str:
        """What is wrong first; empty if nothing is."""
        return next((self._in_words[subject][0] for subject in Subject if self._in_words[subject]), "")
