"""Multilateral netting: who owes whom for points spent elsewhere than where they were issued. Pure and exact.

A line is a spend of one issuer's points of one value at another partner; the issuer owes their value. If the spend is
reversed, that partner owes it back in a line of the settlement that the reversal falls into. A position is what a
partner is owed less what it owes. Since what is paid is whole cents, each partner's fraction is carried into its
next settlement; the largest remainder method (Hamilton's) keeps the cents summing to zero.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from services.rewards.domain.moments import moment
from services.rewards.ledger.postings import EntryKind, Spend

CENT = 10_000  # micros


@dataclass(frozen=True)
class Line:
    """One spend at a partner of points that another partner issued, or the reversal of one. Either a redemption or a
    claim caused it: a claim whose points were taken back after they had been spent, and were repaid."""

    id: str
    redemption_id: str
    claim_id: str
    debtor_partner_id: str
    creditor_partner_id: str
    points: int
    unit_value_micros: int
    spent_at: datetime
    reverses: bool = False

    @property
    def amount_micros(self) -> int:
        return self.points * self.unit_value_micros


@dataclass(frozen=True)
class Position:
    """What a partner gets (positive) or pays (negative)."""

    partner_id: str
    receivable_micros: int
    payable_micros: int
    due_micros: int
    carried_micros: int

    @property
    def net_micros(self) -> int:
        return self.receivable_micros - self.payable_micros


@dataclass(frozen=True)
class Settlement:
    """One netting between all partners; `heads` are the last blocks of the ledger that it covers."""

    id: str
    number: int
    since: datetime
    until: datetime
    heads: Mapping[str, int]
    positions: tuple[Position, ...]
    lines: int
    lines_hash: str


def lines(spends: Iterable[Spend]) -> list[Line]:
    """The lines of spends, in their order; within one by issuer, then value.

    Of a reversal debtor and creditor change places. A point that repays a debt is settled for no more than the
    point that it replaces was worth.
    """
    found = []
    for id, at, entry in spends:
        points: defaultdict[tuple[str, int], int] = defaultdict(int)
        for lot in entry.lots:
            value = min(lot.value, entry.value) if entry.kind is EntryKind.REPAY else lot.value
            if lot.issuer != entry.partner:
                points[lot.issuer, value] += lot.points
        repays, reverses = entry.kind is EntryKind.REPAY, entry.kind is EntryKind.REVERSE
        for number, (issuer, value) in enumerate(sorted(points)):
            found.append(
                Line(
                    id=f"{id}-{number}",
                    redemption_id="" if repays else entry.reference,
                    claim_id=entry.reference if repays else "",
                    debtor_partner_id=entry.partner if reverses else issuer,
                    creditor_partner_id=issuer if reverses else entry.partner,
                    points=points[issuer, value],
                    unit_value_micros=value,
                    spent_at=moment(at),
                    reverses=reverses,
                )
            )
    return found


class Netting:
    """What lines sum to, and the hash over them; they come one after the other, so that they may be many."""

    def __init__(self, carried: Mapping[str, int]) -> None:
        """`carried`: micros of each partner from the settlement before."""
        self.lines = 0
        self._carried = carried
        self._receivable: defaultdict[str, int] = defaultdict(int)
        self._payable: defaultdict[str, int] = defaultdict(int)
        self._digest = hashlib.sha256()

    def add(self, line: Line) -> None:
        """The next line."""
        self.lines += 1
        self._receivable[line.creditor_partner_id] += line.amount_micros
        self._payable[line.debtor_partner_id] += line.amount_micros
        way = "|reverses" if line.reverses else ""
        self._digest.update(
            f"{line.id}|{line.redemption_id}|{line.claim_id}|{line.debtor_partner_id}|{line.creditor_partner_id}|"
            f"{line.points}|{line.unit_value_micros}|{line.spent_at.isoformat()}{way}\n".encode()
        )

    @property
    def lines_hash(self) -> str:
        """SHA-256, in hex, over everything that the lines say, in order."""
        return self._digest.hexdigest()

    def positions(self) -> tuple[Position, ...]:
        """By partner id; every partner with a line, or with something carried from the last settlement."""
        receivable, payable, carried = self._receivable, self._payable, self._carried
        partners = sorted(receivable.keys() | payable.keys() | {id for id, micros in carried.items() if micros})
        exact = {id: receivable[id] - payable[id] + carried.get(id, 0) for id in partners}
        due = {id: micros // CENT * CENT for id, micros in exact.items()}  # rounded down, towards minus infinity
        short = -sum(due.values()) // CENT
        for id in sorted(partners, key=lambda id: (due[id] - exact[id], id))[:short]:
            due[id] += CENT
        return tuple(Position(id, receivable[id], payable[id], due[id], exact[id] - due[id]) for id in partners)


def netted(lines: Iterable[Line], carried: Mapping[str, int]) -> Netting:
    """All of a settlement's lines, added up."""
    netting = Netting(carried)
    for line in lines:
        netting.add(line)
    return netting


def lines_hash(lines: Iterable[Line]) -> str:
    """As `Netting.lines_hash`."""
    return netted(lines, {}).lines_hash


def positions(lines: Iterable[Line], carried: Mapping[str, int]) -> tuple[Position, ...]:
    """As `Netting.positions`."""
    return netted(lines, carried).positions()
