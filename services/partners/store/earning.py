"""Earn rules, campaigns with what they have given, and the decisions on claims."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict

from pymongo import IndexModel, UpdateOne
from pymongo.errors import DuplicateKeyError

from services.partners.domain.agreement import Money
from services.partners.domain.earning import Campaign, CampaignMember, Decision, EarnRule, Grant, taken_by
from services.shared.errors import AlreadyExists
from services.shared.mongo import Database, Document, Indexes, LostRace, Transaction, racing

INDEXES: Indexes = {
    "earn_rules": [IndexModel([("partner_id", 1), ("kind", 1), ("valid_from", 1)], unique=True)],
    "campaigns": [IndexModel([("partner_id", 1)])],
    # By claim id, and by campaign and member: what `_id` serves.
    "earn_decisions": [],
    "campaign_members": [],
}


class RuleStartsAlready(AlreadyExists):
    """The partner has a rule of that kind with the same start."""


class EarningStore:
    """By which rules acts earn, and what they earned."""

    def __init__(self, database: Database) -> None:
        self._rules = database["earn_rules"]
        self._campaigns = database["campaigns"]
        self._decisions = database["earn_decisions"]
        self._members = database["campaign_members"]

    async def add_rule(self, tx: Transaction, rule: EarnRule) -> None:
        """Stores a new rule; RuleStartsAlready if the partner has one of the kind with the same start."""
        row = asdict(rule)
        try:
            await self._rules.insert_one({"_id": row.pop("id"), **row}, session=tx.session)
        except DuplicateKeyError as error:
            raise RuleStartsAlready(
                "There is a rule for this kind of act that starts at the same moment; choose another start."
            ) from error

    async def add_campaign(self, tx: Transaction, campaign: Campaign) -> None:
        row = asdict(campaign)
        await self._campaigns.insert_one({"_id": row.pop("id"), **row}, session=tx.session)

    async def rules_by_id(self, ids: Sequence[str]) -> list[EarnRule]:
        return await self._find_rules({"_id": {"$in": list(ids)}})

    async def campaigns_by_id(self, ids: Sequence[str]) -> list[Campaign]:
        return await self._find_campaigns({"_id": {"$in": list(ids)}})

    async def rules_of(self, partner_ids: Collection[str]) -> list[EarnRule]:
        """Newest first."""
        return await self._find_rules({"partner_id": {"$in": list(partner_ids)}})

    async def campaigns_of(self, partner_ids: Collection[str]) -> list[Campaign]:
        """Newest first."""
        return await self._find_campaigns({"partner_id": {"$in": list(partner_ids)}})

    async def member_points(self, members: Collection[CampaignMember]) -> Mapping[CampaignMember, int]:
        """What the members have from the campaigns; without an entry: nothing."""
        keys = {_member_key(member): member for member in members}
        if not keys:
            return {}
        rows = self._members.find({"_id": {"$in": list(keys)}})
        return {keys[row["_id"]]: row["granted_points"] async for row in rows}

    async def decisions(self, claim_ids: Collection[str]) -> Mapping[str, Decision]:
        """By claim, those made."""
        rows = self._decisions.find({"_id": {"$in": list(claim_ids)}})
        return {row["_id"]: _decision(row) async for row in rows}

    async def record(self, tx: Transaction, decisions: Sequence[Decision], campaigns: Sequence[Campaign]) -> None:
        """Stores decisions and takes their points from the campaigns, each budget and cap in one conditional update.

        LostRace if a claim has been decided already, or a budget or cap does not hold what was decided.
        """
        taken = taken_by(decisions)
        limits = {campaign.id: campaign for campaign in campaigns}
        budgets = [
            UpdateOne(
                {"_id": id, "granted_points": {"$lte": limits[id].budget_points - points}},
                {"$inc": {"granted_points": points}},
            )
            for id, points in taken.by_campaign.items()
        ]
        # A member beyond the cap matches nothing, so that the upsert tries to insert a second row with that id.
        caps = [
            UpdateOne(
                {
                    "_id": _member_key(member),
                    "granted_points": {"$lte": limits[member[0]].member_cap_points - points},
                },
                {"$inc": {"granted_points": points}},
                upsert=True,
            )
            for member, points in taken.by_member.items()
        ]
        with racing():
            await self._decisions.insert_many([_document(decision) for decision in decisions], session=tx.session)
            if not budgets:
                return
            if (await self._campaigns.bulk_write(budgets, session=tx.session)).matched_count < len(budgets):
                raise LostRace
            await self._members.bulk_write(caps, session=tx.session)

    async def release(self, tx: Transaction, claim_ids: Collection[str]) -> None:
        """Gives back to the campaigns what the claims' decisions took, unless that has been done."""
        wanted = {"_id": {"$in": list(claim_ids)}, "reserved": True}
        rows = [row async for row in self._decisions.find(wanted, session=tx.session)]
        if not rows:
            return
        await self._decisions.update_many(
            {"_id": {"$in": [row["_id"] for row in rows]}}, {"$set": {"reserved": False}}, session=tx.session
        )
        taken = taken_by(map(_decision, rows))
        await self._campaigns.bulk_write(
            [UpdateOne({"_id": id}, {"$inc": {"granted_points": -n}}) for id, n in taken.by_campaign.items()],
            session=tx.session,
        )
        await self._members.bulk_write(
            [
                UpdateOne({"_id": _member_key(member)}, {"$inc": {"granted_points": -n}})
                for member, n in taken.by_member.items()
            ],
            session=tx.session,
        )

    async def _find_rules(self, wanted: Document) -> list[EarnRule]:
        rows = [_rule(row) async for row in self._rules.find(wanted)]
        return sorted(rows, key=lambda rule: rule.id, reverse=True)

    async def _find_campaigns(self, wanted: Document) -> list[Campaign]:
        rows = [_campaign(row) async for row in self._campaigns.find(wanted)]
        return sorted(rows, key=lambda campaign: campaign.id, reverse=True)


def _member_key(member: CampaignMember) -> str:
    return "/".join(member)


def _document(decision: Decision) -> Document:
    row = asdict(decision)
    reserved = any(grant.campaign_id for grant in decision.grants)
    return {"_id": row.pop("claim_id"), **row, "reserved": reserved}


def _decision(row: Document) -> Decision:
    return Decision(
        claim_id=row["_id"],
        partner_id=row["partner_id"],
        member_id=row["member_id"],
        grants=tuple(Grant(**grant) for grant in row["grants"]),
        reason=row["reason"],
        unit_value=Money(**row["unit_value"]) if row["unit_value"] else None,
        agreement_id=row.get("agreement_id", ""),
        available_at=row.get("available_at"),
    )


def _rule(row: Document) -> EarnRule:
    return EarnRule(
        id=row["_id"],
        partner_id=row["partner_id"],
        kind=row["kind"],
        version=row["version"],
        points=row["points"],
        per_quantity=row["per_quantity"],
        valid_from=row["valid_from"],
        points_valid_months=row["points_valid_months"],
        return_window_days=row.get("return_window_days", 0),
    )


def _campaign(row: Document) -> Campaign:
    return Campaign(
        id=row["_id"],
        partner_id=row["partner_id"],
        name=row["name"],
        kind=row["kind"],
        extra_percent=row["extra_percent"],
        valid_from=row["valid_from"],
        valid_until=row["valid_until"],
        budget_points=row["budget_points"],
        member_cap_points=row["member_cap_points"],
        points_expire_at=row["points_expire_at"],
        granted_points=row["granted_points"],
    )
