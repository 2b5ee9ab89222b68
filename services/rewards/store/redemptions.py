"""The reward catalogue and its redemptions, on MongoDB."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from pymongo import IndexModel

from services.rewards.domain.redemptions import Intent, Redemption, RedemptionStatus, Reward, voucher_hash
from services.rewards.ledger.events import Refusal
from services.rewards.ledger.model import Lot
from services.shared.mongo import Database, Document, Indexes, Transaction
from services.shared.pages import WHOLE, Between, Page, PageQuery, find_page, time_order

INDEXES: Indexes = {
    "rewards": [
        IndexModel([("order", 1)], unique=True),
        IndexModel([("partner_id", 1), ("order", 1)]),
    ],
    "redemptions": [
        IndexModel([("voucher_hash", 1)], unique=True),
        # `shown_to` is set when the member has it, `due` as long as something is still to be done.
        IndexModel([("shown_to", 1), ("order", 1)], sparse=True),
        IndexModel([("shown_to", 1), ("status", 1), ("order", 1)]),
        IndexModel([("partner_id", 1), ("order", 1)]),
        IndexModel([("partner_id", 1), ("status", 1), ("order", 1)]),
        IndexModel([("due", 1)], sparse=True),
    ],
}
# Before all orders.
_FIRST = "0"
_OURS_ALONE = (RedemptionStatus.PENDING, RedemptionStatus.REFUSED)


@dataclass(frozen=True)
class Which:
    """Which of somebody's redemptions: all that were asked for in a stretch of time, or only those in a state."""

    between: Between = WHOLE
    status: RedemptionStatus | None = None


class RedemptionStore:
    """Rewards with their stock, and redemptions with their vouchers."""

    def __init__(self, database: Database) -> None:
        self._rewards = database["rewards"]
        self._redemptions = database["redemptions"]

    async def add_reward(self, tx: Transaction, reward: Reward) -> None:
        row = asdict(reward)
        order = f"{reward.points:010d}:{reward.id}"
        await self._rewards.insert_one({"_id": row.pop("id"), **row, "order": order}, session=tx.session)

    async def rewards(self, ids: Sequence[str]) -> list[Reward]:
        """Those found."""
        return [_reward(row) async for row in self._rewards.find({"_id": {"$in": list(ids)}})]

    async def reward_page(self, partner_id: str, query: PageQuery) -> Page[Reward]:
        """Cheapest first; one partner's, or all."""
        prefix = {"partner_id": partner_id} if partner_id else {}
        page = await find_page(self._rewards, prefix, query, descending=False)
        return Page([_reward(row) for row in page.rows], page.orders, page.has_next)

    async def take_one(self, tx: Transaction, reward_id: str) -> bool:
        """Takes one from the stock; False if there is none."""
        result = await self._rewards.update_one(
            {"_id": reward_id, "stock": {"$gt": 0}}, {"$inc": {"stock": -1}}, session=tx.session
        )
        return result.modified_count == 1

    async def add_redemption(self, tx: Transaction, redemption: Redemption, due: datetime) -> None:
        """Stores a PENDING redemption, to be looked at again when due."""
        await self._redemptions.insert_one(_document(redemption, due), session=tx.session)

    async def intend(self, tx: Transaction, redemption: Redemption, due: datetime) -> bool:
        """Stores what is to become of a redemption; False if somebody was faster."""
        result = await self._redemptions.replace_one(
            {"_id": redemption.id, "status": redemption.status, "intent": Intent.NONE},
            _document(redemption, due),
            session=tx.session,
        )
        return result.modified_count == 1

    async def advance(self, before: Redemption, after: Redemption, tx: Transaction | None = None) -> bool:
        """Stores what the ledger made of it, and gives the stock back where that follows, which takes a transaction;
        False if it has been done."""
        due = after.expires_at if after.open else None
        session = tx.session if tx else None
        result = await self._redemptions.replace_one(
            {"_id": before.id, "status": before.status, "intent": before.intent},
            _document(after, due),
            session=session,
        )
        if result.modified_count != 1:
            return False
        if after.gives_stock_back:
            await self._rewards.update_one({"_id": after.reward_id}, {"$inc": {"stock": 1}}, session=session)
        return True

    async def redemption(self, id: str, tx: Transaction | None = None) -> Redemption | None:
        row = await self._redemptions.find_one({"_id": id}, session=tx.session if tx else None)
        return _redemption(row) if row else None

    async def by_voucher(self, code: str, tx: Transaction) -> Redemption | None:
        """By its code, however it is typed; VoucherNotFound if that cannot be one."""
        row = await self._redemptions.find_one({"voucher_hash": voucher_hash(code)}, session=tx.session)
        return _redemption(row) if row else None

    async def by_vouchers(self, hashes: Collection[bytes]) -> dict[bytes, Redemption]:
        """Those found that members have, by the hashes of their codes."""
        rows = self._redemptions.find({"voucher_hash": {"$in": list(hashes)}})
        found = {bytes(row["voucher_hash"]): _redemption(row) async for row in rows}
        return {key: one for key, one in found.items() if one.status not in _OURS_ALONE}

    async def redemptions(self, ids: Sequence[str]) -> list[Redemption]:
        """Those found that members have."""
        rows = self._redemptions.find({"_id": {"$in": list(ids)}})
        return [found for found in [_redemption(row) async for row in rows] if found.status not in _OURS_ALONE]

    async def page_of(self, member_id: str, which: Which, query: PageQuery) -> Page[Redemption]:
        """A member's, newest first."""
        return await self._page({"shown_to": member_id}, which, query)

    async def partner_page(self, partner_id: str, which: Which, query: PageQuery) -> Page[Redemption]:
        """Those of a partner's rewards that members have, newest first."""
        return await self._page({"partner_id": partner_id}, which, query)

    async def _page(self, owner: Document, which: Which, query: PageQuery) -> Page[Redemption]:
        status = {"status": which.status} if which.status else {}
        # Those that no member has are not in the order.
        between = Between(which.between.least or _FIRST, which.between.below)
        page = await find_page(self._redemptions, {**owner, **status}, query, between=between)
        return Page([_redemption(row) for row in page.rows], page.orders, page.has_next)

    async def due(self, at: datetime, limit: int) -> list[Redemption]:
        """Those whose time has come: half done, or held for too long."""
        rows = self._redemptions.find({"due": {"$lte": at}}, sort=[("due", 1)], limit=limit)
        return [_redemption(row) async for row in rows]


def _reward(row: Document) -> Reward:
    return Reward(
        id=row["_id"],
        partner_id=row["partner_id"],
        title=row["title"],
        description=row["description"],
        points=row["points"],
        stock=row["stock"],
        created_at=row["created_at"],
    )


def _document(redemption: Redemption, due: datetime | None) -> Document:
    row = asdict(redemption)
    row["lots"] = [tuple(lot) for lot in redemption.lots]
    row["reversed_lots"] = [tuple(lot) for lot in redemption.reversed_lots]
    row["refusal"] = tuple(redemption.refusal) if redemption.refusal else None
    row |= {"_id": row.pop("id"), "voucher_hash": voucher_hash(redemption.voucher_code)}
    if redemption.status not in _OURS_ALONE:
        row |= {"shown_to": redemption.member_id, "order": time_order(redemption.created_at, redemption.id)}
    if due is not None:
        row["due"] = due
    return row


def _redemption(row: Document) -> Redemption:
    return Redemption(
        id=row["_id"],
        reward_id=row["reward_id"],
        member_id=row["member_id"],
        partner_id=row["partner_id"],
        status=RedemptionStatus(row["status"]),
        points=row["points"],
        voucher_code=row["voucher_code"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        intent=Intent(row["intent"]),
        capture_points=row["capture_points"],
        resolved_at=row["resolved_at"],
        lots=tuple(Lot(*lot) for lot in row["lots"]),
        refusal=Refusal(*row["refusal"]) if row["refusal"] else None,
        reversed_points=row.get("reversed_points", 0),
        reversed_at=row.get("reversed_at"),
        reversed_lots=tuple(Lot(*lot) for lot in row.get("reversed_lots", [])),
        restock=row.get("restock", False),
    )
