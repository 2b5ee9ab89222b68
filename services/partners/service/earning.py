"""By which rules acts earn, and the decisions on what they earn."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from services.partners.domain.earning import (
    Book,
    Campaign,
    Decision,
    EarnRule,
    Question,
    decide,
    longest_return_window,
    members_in_question,
)
from services.partners.store.agreements import AgreementStore
from services.partners.store.earning import EarningStore
from services.partners.store.partners import Limited, PartnerStore
from services.shared import checks
from services.shared.clock import Clock
from services.shared.ids import new_id
from services.shared.mongo import Database, Transaction

_MOST_POINTS = 1_000_000_000
_FARTHEST_BACK = timedelta(days=400)
_FARTHEST_AHEAD = timedelta(days=3_653)


class Earning:
    """The use cases of earn rules, campaigns and decisions."""

    def __init__(
        self,
        store: EarningStore,
        partners: PartnerStore,
        agreements: AgreementStore,
        database: Database,
        clock: Clock,
    ) -> None:
        self._store = store
        self._partners = partners
        self._agreements = agreements
        self._database = database
        self._clock = clock

    async def create_rule(
        self,
        tx: Transaction,
        partner_id: str,
        *,
        kind: str,
        points: int,
        per_quantity: int,
        valid_from: datetime,
        points_valid_months: int,
        return_window_days: int,
    ) -> EarnRule:
        """A partner says what a kind of act earns from then on."""
        checks.whole(points, "points", 0, 1_000_000)
        checks.whole(per_quantity, "per_quantity", 1, 1_000_000)
        checks.whole(points_valid_months, "points_valid_months", 1, 60)
        checks.whole(return_window_days, "return_window_days", 0, 365)
        if return_window_days > (most := longest_return_window(points_valid_months)):
            raise checks.FieldInvalid(
                "return_window_days",
                f"points that are good for {points_valid_months} months can be pending for at most {most} days; "
                "shorten the window, or let the points be good for longer.",
            )
        self._check_start(valid_from)
        partner = await self._partners.get(tx, partner_id)
        partner.check_active()
        await self._partners.take_place(tx, partner.id, Limited.EARN_RULES)
        rule = EarnRule(
            id=new_id("rule"),
            partner_id=partner.id,
            kind=kind,
            version=await self._partners.next_version(tx, partner.id, kind),
            points=points,
            per_quantity=per_quantity,
            valid_from=valid_from,
            points_valid_months=points_valid_months,
            return_window_days=return_window_days,
        )
        await self._store.add_rule(tx, rule)
        return rule

    async def create_campaign(
        self,
        tx: Transaction,
        partner_id: str,
        *,
        name: str,
        kind: str,
        extra_percent: int,
        valid_from: datetime,
        valid_until: datetime,
        budget_points: int,
        member_cap_points: int,
        points_expire_at: datetime,
    ) -> Campaign:
        """A partner gives extra points for a while."""
        name = checks.text(name, "name", 1, 80)
        checks.whole(extra_percent, "extra_percent", 1, 1_000)
        checks.whole(budget_points, "budget_points", 1, _MOST_POINTS)
        checks.whole(member_cap_points, "member_cap_points", 1, _MOST_POINTS)
        self._check_start(valid_from)
        now = self._clock()
        if not valid_from < valid_until <= now + _FARTHEST_AHEAD:
            raise checks.FieldInvalid("valid_until", "has to be after valid_from, and at most ten years ahead.")
        if not valid_until <= points_expire_at <= now + 2 * _FARTHEST_AHEAD:
            raise checks.FieldInvalid(
                "points_expire_at", "has to be valid_until or later, and at most twenty years ahead."
            )
        partner = await self._partners.get(tx, partner_id)
        partner.check_active()
        await self._partners.take_place(tx, partner.id, Limited.CAMPAIGNS)
        campaign = Campaign(
            id=new_id("campaign"),
            partner_id=partner.id,
            name=name,
            kind=kind,
            extra_percent=extra_percent,
            valid_from=valid_from,
            valid_until=valid_until,
            budget_points=budget_points,
            member_cap_points=member_cap_points,
            points_expire_at=points_expire_at,
        )
        await self._store.add_campaign(tx, campaign)
        return campaign

    async def of_partners(self, partner_ids: Sequence[str]) -> tuple[list[EarnRule], list[Campaign]]:
        """The partners' rules and campaigns, newest first."""
        return await asyncio.gather(self._store.rules_of(partner_ids), self._store.campaigns_of(partner_ids))

    async def get(self, rule_ids: Sequence[str], campaign_ids: Sequence[str]) -> tuple[list[EarnRule], list[Campaign]]:
        """Those found."""
        return await asyncio.gather(self._store.rules_by_id(rule_ids), self._store.campaigns_by_id(campaign_ids))

    async def evaluate(self, questions: Sequence[Question]) -> list[Decision]:
        """Decides what claims earn and takes it from the campaigns; a claim decided before keeps its decision.

        All in one transaction of conditional updates: when a budget, a cap or a claim has moved since it was read,
        nothing is stored, and it is read and decided anew. Aborted / TOO_MANY_CONFLICTS if that goes on and on.
        """
        # A claim that is asked for twice in a batch is asked for once: by its first question.
        first = {question.claim_id: question for question in reversed(questions)}

        async def body(tx: Transaction) -> dict[str, Decision]:
            # Reading needs no snapshot, since the writes check what they rest on; without one, queries can run at once.
            decided = dict(await self._store.decisions(first))
            undecided = [question for claim_id, question in reversed(first.items()) if claim_id not in decided]
            if undecided:
                book = await self._book(undecided)
                fresh = decide(undecided, book, self._clock())
                await self._store.record(tx, fresh, book.campaigns)
                decided |= {decision.claim_id: decision for decision in fresh}
            return decided

        decided, _ = await self._database.transaction(body)
        return [decided[question.claim_id] for question in questions]

    async def release(self, claim_ids: Sequence[str]) -> None:
        """Gives back to the campaigns what the claims took, once; unknown claims are passed over."""

        async def body(tx: Transaction) -> None:
            await self._store.release(tx, claim_ids)

        await self._database.transaction(body)

    async def _book(self, questions: Sequence[Question]) -> Book:
        """One query for each kind of thing, whatever the number of questions.

        All that a partner has is read, and what is in force is picked in memory: a partner has few of each, 500 at the
        limit, and the acts of one batch happened at many times.
        """
        partner_ids = {question.partner_id for question in questions}
        statuses, agreements, rules, campaigns = await asyncio.gather(
            self._partners.statuses(partner_ids),
            self._agreements.agreements(partner_ids),
            self._store.rules_of(partner_ids),
            self._store.campaigns_of(partner_ids),
        )
        members = await self._store.member_points(members_in_question(questions, campaigns))
        return Book(statuses, agreements, rules, campaigns, members)

    def _check_start(self, valid_from: datetime) -> None:
        now = self._clock()
        if not now - _FARTHEST_BACK <= valid_from <= now + _FARTHEST_AHEAD:
            raise checks.FieldInvalid("valid_from", "has to be at most 400 days ago and ten years ahead.")
