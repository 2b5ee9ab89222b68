"""What the accounts service does with acts."""

import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from services.accounts.domain.acts import (
    DROP_OFFS,
    TRIPS,
    WEIGHED,
    Act,
    ActCount,
    ActKind,
    ActStatus,
    CarbonTotal,
    Claim,
    ClaimSum,
    Factor,
    Reason,
)
from services.accounts.domain.decisions import Decision, Known, Report, decide
from services.accounts.domain.keys import normal_reference
from services.accounts.store.acts import ActStore
from services.accounts.store.factors import FactorStore
from services.accounts.store.members import MemberStore
from services.shared import checks
from services.shared.clock import Clock
from services.shared.ids import new_id
from services.shared.mongo import Transaction
from services.shared.pages import Between, Page, PageQuery, page_of_each

T = TypeVar("T")
Announce = Callable[[Transaction, Sequence[Claim]], Awaitable[None]]

_LARGEST_REPORT = 100
_LARGEST_EVENTS = 500
_LARGEST_PAGES = 200
_LARGEST_QUANTITY = 1_000_000
_LONGEST_REFERENCE = 80
_NAME = re.compile(r"[!-~]{1,128}")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ReportedAct:
    """What a partner says a member did, as it came in. One of `member_id` and `customer_number` is set."""

    member_id: str
    customer_number: str
    kind: ActKind
    quantity: int
    occurred_at: datetime
    reference: str


@dataclass(frozen=True)
class DropOff:
    """What logistics says a member handed in, as it came in."""

    event_id: str
    drop_off_id: str
    member_id: str
    partner_id: str
    kind: ActKind
    quantity: int
    occurred_at: datetime
    event_hash: str
    box_number: str = ""


class Acts:
    """The use cases. Those that change something run in a transaction that the caller opens and commits; they raise
    LostRace where others were faster, and may then be run again. `announce` tells of new claims."""

    def __init__(
        self, store: ActStore, members: MemberStore, factors: FactorStore, announce: Announce, clock: Clock
    ) -> None:
        self._store = store
        self._members = members
        self._factors = factors
        self._announce = announce
        self._clock = clock

    async def report(self, tx: Transaction, partner_id: str, reported: Sequence[ReportedAct]) -> list[Act]:
        """Records what a partner saw members do; an act per report, in their order."""
        checks.batch(reported, _LARGEST_REPORT, may_be_empty=False)
        checked = [_checked_report(report, f"reports[{number}].") for number, report in enumerate(reported)]
        numbers = [(partner_id, report.customer_number) for report in checked if report.customer_number]
        named = {report.member_id for report in checked if report.member_id}
        linked = {found.customer_number: found.member_id for found in await self._members.identities(numbers, tx)}
        existing = {member.id for member in await self._members.members(named, tx)}
        identities = await self._members.identities_of(existing, tx)
        customers = {identity.member_id for identity in identities if identity.partner_id == partner_id}

        def whose(report: ReportedAct) -> tuple[str, Reason | None]:
            if report.customer_number:
                member_id = linked.get(report.customer_number, "")
                return member_id, None if member_id else Reason.CUSTOMER_NOT_LINKED
            if report.member_id not in existing:
                return "", Reason.MEMBER_NOT_FOUND
            # The act of a stranger to the partner is not put under the member: it would show among the member's acts.
            return (report.member_id, None) if report.member_id in customers else ("", Reason.CUSTOMER_NOT_LINKED)

        reports = []
        for report in checked:
            member_id, refusal = whose(report)
            reports.append(
                Report(
                    act_id=new_id("act"),
                    claim_id=new_id("claim"),
                    partner_id=partner_id,
                    member_id=member_id,
                    kind=report.kind,
                    quantity=report.quantity,
                    occurred_at=report.occurred_at,
                    reference=report.reference,
                    box_number=report.reference if report.kind is ActKind.BOX_REUSE else "",
                    refusal=refusal,
                )
            )
        return list((await self._record(tx, reports)).acts)

    async def record_drop_offs(self, tx: Transaction, events: Sequence[DropOff]) -> list[Act]:
        """Records what machines took in; an act per event, in their order: the stored one if the event is known."""
        checks.batch(events, _LARGEST_EVENTS)
        for number, event in enumerate(events):
            _check_drop_off(event, f"events[{number}].")
        acts = await self._store.acts_of_events(tx, {event.event_id for event in events})
        fresh: dict[str, DropOff] = {}
        for event in events:
            if event.event_id not in acts:
                fresh.setdefault(event.event_id, event)  # of two deliveries in one call, the first
        existing = {member.id for member in await self._members.members({e.member_id for e in fresh.values()}, tx)}
        reports = [
            Report(
                act_id=new_id("act"),
                claim_id=new_id("claim"),
                partner_id=event.partner_id,
                member_id=event.member_id if event.member_id in existing else "",
                kind=event.kind,
                quantity=event.quantity,
                occurred_at=event.occurred_at,
                refusal=None if event.member_id in existing else Reason.MEMBER_NOT_FOUND,
                drop_off_id=event.drop_off_id,
                event_id=event.event_id,
                event_hash=event.event_hash,
                box_number=event.box_number,
            )
            for event in fresh.values()
        ]
        acts |= {act.event_id: act for act in (await self._record(tx, reports)).acts}
        return [acts[event.event_id] for event in events]

    async def _record(self, tx: Transaction, reports: Sequence[Report]) -> Decision:
        creditable = [report for report in reports if report.refusal is None]
        known = Known(
            claims=await self._store.claim_ids(tx, creditable),
            used=await self._store.caps_used(tx, {report.cap for report in creditable}),
            factors=await self._factors.factors_of({report.kind for report in creditable}, tx),
        )
        decision = decide(reports, known, self._clock())
        await self._store.record(tx, decision, known.used)
        await self._announce(tx, decision.claims)
        return decision

    async def acts(self, ids: Collection[str]) -> list[Act]:
        """Those found."""
        return await self._store.acts(ids)

    async def acts_of_drop_offs(self, drop_off_ids: Collection[str]) -> list[Act]:
        """Those found."""
        return await self._store.acts_of_drop_offs(drop_off_ids)

    async def act_pages(self, member_ids: Sequence[str], query: PageQuery, between: Between) -> dict[str, Page[Act]]:
        """The same page of each member's acts, latest recorded first."""
        return await _pages(member_ids, lambda id: self._store.act_page(id, query, between))

    async def partner_act_pages(
        self, partner_ids: Sequence[str], status: ActStatus | None, query: PageQuery, between: Between
    ) -> dict[str, Page[Act]]:
        """The same page of each partner's acts, latest recorded first; only those of which this came, if it is said."""
        return await _pages(partner_ids, lambda id: self._store.partner_act_page(id, status, query, between))

    async def claims(self, ids: Collection[str]) -> list[Claim]:
        """Those found."""
        return await self._store.claims(ids)

    async def claim_pages(
        self, member_ids: Sequence[str], query: PageQuery, between: Between
    ) -> dict[str, Page[Claim]]:
        """The same page of each member's claims, latest recorded first."""
        return await _pages(member_ids, lambda id: self._store.claim_page(id, query, between))

    async def partner_claim_pages(
        self, partner_ids: Sequence[str], query: PageQuery, between: Between
    ) -> dict[str, Page[Claim]]:
        """The same page of each partner's claims, latest recorded first."""
        return await _pages(partner_ids, lambda id: self._store.partner_claim_page(id, query, between))

    async def totals(self, member_ids: Collection[str]) -> list[CarbonTotal]:
        """One for each member asked for, in that order."""
        found = {total.member_id: total for total in await self._store.totals(member_ids)}
        return [found.get(member_id, CarbonTotal(member_id)) for member_id in dict.fromkeys(member_ids)]

    async def factors(self, ids: Collection[str]) -> list[Factor]:
        """Those found."""
        return await self._factors.factors(ids)

    async def catalogue(self) -> list[Factor]:
        """All factors, by kind and start of validity."""
        return await self._factors.factors_of(list(ActKind))

    async def summary(self) -> tuple[list[ActCount], list[ClaimSum]]:
        """All acts by kind and what came of them, and all claims by kind and partner."""
        return await self._store.act_counts(), await self._store.claim_sums()


async def _pages(owner_ids: Sequence[str], page: Callable[[str], Awaitable[Page[T]]]) -> dict[str, Page[T]]:
    checks.batch(owner_ids, _LARGEST_PAGES)
    # Acts that name nobody have an empty member id; nobody may ask for them as a member's.
    return await page_of_each(filter(None, owner_ids), page)


def _checked_report(report: ReportedAct, at: str) -> ReportedAct:
    if report.customer_number:
        number = checks.text(report.customer_number, f"{at}customer_number", 1, 64)
    else:
        number = ""
        checks.id_of(report.member_id, f"{at}member_id", "member")
    if report.kind in WEIGHED:
        raise checks.FieldInvalid(f"{at}kind", "is weighed by a machine, which reports it itself; leave it out.")
    checks.whole(report.quantity, f"{at}quantity", 1, _LARGEST_QUANTITY)
    reference = checks.text(report.reference, f"{at}reference", 0, _LONGEST_REFERENCE)
    if report.kind in TRIPS and not normal_reference(reference):
        raise checks.FieldInvalid(f"{at}reference", "a trip needs the number of its ticket.")
    return ReportedAct(report.member_id, number, report.kind, report.quantity, report.occurred_at, reference)


def _check_drop_off(event: DropOff, at: str) -> None:
    checks.pattern(event.event_id, f"{at}event_id", _NAME, "1 to 128 visible ASCII characters")
    checks.pattern(event.drop_off_id, f"{at}drop_off_id", _NAME, "1 to 128 visible ASCII characters")
    checks.pattern(event.partner_id, f"{at}partner_id", _NAME, "1 to 128 visible ASCII characters")
    checks.pattern(event.event_hash, f"{at}event_hash", _HASH, "a SHA-256 as 64 hexadecimal digits in lower case")
    checks.whole(event.quantity, f"{at}quantity", 1, _LARGEST_QUANTITY)
    if event.kind not in DROP_OFFS:
        raise checks.FieldInvalid(f"{at}kind", "needs a kind of drop-off.")
