"""The rewards service's domain as proto messages, and back."""

from collections.abc import Iterable, Sequence

from alliance.accounts.v1.accounts_pb2 import ActKind
from alliance.common.v1.money_pb2 import Money
from alliance.common.v1.page_pb2 import Period
from alliance.rewards.v1 import rewards_pb2 as pb
from services.rewards.domain.earnings import Claim, Earning, KindTotal, RefusalTotal
from services.rewards.domain.gifts import Gift
from services.rewards.domain.lots import LotKey
from services.rewards.domain.moments import moment
from services.rewards.domain.redemptions import Redemption, RedemptionStatus, Reward
from services.rewards.domain.settlement import Line, Position, Settlement
from services.rewards.ledger.lots import points_of
from services.rewards.ledger.model import Lot, Member
from services.rewards.ledger.postings import EntryKind
from services.rewards.ledger.totals import Totals
from services.rewards.service.earnings import Block
from services.rewards.service.wallets import WalletEntry
from services.rewards.store.redemptions import Which
from services.shared import checks
from services.shared.pages import between_times
from services.shared.proto import enum_name, enum_number, timestamp

_KIND = "ACT_KIND_"
_OF_CLAIMS = (EntryKind.EARN, EntryKind.CANCEL, EntryKind.REPAY)
_OF_REDEMPTIONS = (EntryKind.SPEND, EntryKind.REVERSE)
_OF_GIFTS = (EntryKind.GIVE, EntryKind.TAKE)
_LARGEST_BLOCK = 1_000_000_000
_STATUS = "REDEMPTION_STATUS_"


def claim(event: pb.ClaimRecorded, at: str) -> Claim:
    """FieldInvalid, with the field behind `at`, if something is not as it must be."""
    kind = enum_name(ActKind, event.kind, _KIND)
    if not kind:
        raise checks.FieldInvalid(f"{at}kind", "needs one of the known kinds of act.")
    return Claim(
        id=checks.id_of(event.claim_id, f"{at}claim_id", "claim"),
        partner_id=checks.id_of(event.partner_id, f"{at}partner_id", "partner"),
        member_id=checks.id_of(event.member_id, f"{at}member_id", "member"),
        kind=kind,
        quantity=checks.whole(event.quantity, f"{at}quantity", 1, checks.LARGEST_NUMBER),
        occurred_at=checks.moment(event.occurred_at, f"{at}occurred_at"),
    )


def block(event: pb.PrepaidBlockPaid, at: str) -> Block:
    """FieldInvalid, with the field behind `at`, if something is not as it must be."""
    return Block(
        id=checks.id_of(event.block_id, f"{at}block_id", "block"),
        partner_id=checks.id_of(event.partner_id, f"{at}partner_id", "partner"),
        points=checks.whole(event.points, f"{at}points", 1, _LARGEST_BLOCK),
    )


def which(period: Period, status: int) -> Which:
    """Which redemptions are wanted; PeriodEmpty, FieldInvalid."""
    if not status:
        return Which(between_times(period))
    name = enum_name(pb.RedemptionStatus, status, _STATUS)
    if not name:
        raise checks.FieldInvalid("status", "needs one of the states that a redemption may be in, or none.")
    return Which(between_times(period), RedemptionStatus(name))


class Messages:
    """Domain to proto; the one currency of the alliance is added here."""

    def __init__(self, currency: str) -> None:
        self._currency = currency

    def money(self, micros: int) -> Money:
        return Money(currency=self._currency, micros=micros)

    def lots(self, lots: Iterable[Lot], of_member: str = "") -> list[pb.Lot]:
        """With ids if they are lots of a member who alone, with those the member lets see it, gets to see them."""
        return [
            pb.Lot(
                id=LotKey.of(of_member, lot).id if of_member else "",
                issuer_partner_id=lot.issuer,
                points=lot.points,
                unit_value=self.money(lot.value),
                expires_at=timestamp(moment(lot.expires)),
            )
            for lot in lots
        ]

    def earning(self, earning: Earning) -> pb.Earning:
        return pb.Earning(
            claim_id=earning.claim_id,
            member_id=earning.member_id,
            partner_id=earning.partner_id,
            status=enum_number(pb.EarningStatus, earning.status, "EARNING_STATUS_"),
            points=earning.points,
            reason=earning.reason,
            lots=[
                pb.Lot(
                    issuer_partner_id=lot.issuer_partner_id,
                    points=lot.points,
                    unit_value=self.money(lot.unit_value_micros),
                    expires_at=timestamp(lot.expires_at),
                    rule_id=lot.rule_id,
                    claim_id=earning.claim_id,
                    agreement_id=lot.agreement_id,
                )
                for lot in earning.lots
            ],
            decided_at=timestamp(earning.decided_at),
            available_at=timestamp(earning.available_at),
            kind=enum_number(ActKind, earning.kind, _KIND),
        )

    def wallet(self, member_id: str, account: Member) -> pb.Wallet:
        first = account.lots[0].expires if account.lots else None
        return pb.Wallet(
            member_id=member_id,
            balance=account.balance,
            held=account.held,
            available=account.balance - account.held,
            shortfall=account.shortfall,
            next_expiry_at=None if first is None else timestamp(moment(first)),
            points_expiring_next=sum(lot.points for lot in account.lots if lot.expires == first),
            lots=self.lots(account.lots, member_id),
            pending=account.pending_points,
            pending_earnings=[
                pb.PendingEarning(
                    claim_id=pending.issue,
                    points=points_of(pending.lots),
                    available_at=timestamp(moment(pending.due)),
                    lots=self.lots(pending.lots, member_id),
                )
                for pending in account.pending
            ],
        )

    def entry(self, row: WalletEntry) -> pb.Entry:
        entry = row.entry
        return pb.Entry(
            id=row.id,
            member_id=row.member_id,
            kind=enum_number(pb.EntryKind, entry.kind.name, "ENTRY_KIND_"),
            points=entry.points,
            at=timestamp(moment(row.at)),
            claim_id=entry.reference if entry.kind in _OF_CLAIMS else "",
            redemption_id=entry.reference if entry.kind in _OF_REDEMPTIONS else "",
            gift_id=entry.reference if entry.kind in _OF_GIFTS else "",
            lots=self.lots(entry.lots, row.member_id),
            partner_id=entry.partner if entry.kind in (EntryKind.SPEND, EntryKind.REPAY, EntryKind.REVERSE) else "",
        )

    def gift(self, gift: Gift) -> pb.Gift:
        return pb.Gift(id=gift.id, points=gift.points, lots=self.lots(gift.lots), given_at=timestamp(gift.given_at))

    def reward(self, reward: Reward) -> pb.Reward:
        return pb.Reward(
            id=reward.id,
            partner_id=reward.partner_id,
            title=reward.title,
            description=reward.description,
            points=reward.points,
            stock=reward.stock,
            created_at=timestamp(reward.created_at),
        )

    def redemption(self, redemption: Redemption, *, with_voucher: bool) -> pb.Redemption:
        captured = redemption.status in (RedemptionStatus.CAPTURED, RedemptionStatus.REVERSED)
        return pb.Redemption(
            id=redemption.id,
            reward_id=redemption.reward_id,
            member_id=redemption.member_id,
            partner_id=redemption.partner_id,
            status=enum_number(pb.RedemptionStatus, redemption.status, _STATUS),
            points=redemption.capture_points if captured else redemption.points,
            voucher_code=redemption.voucher_code if with_voucher else "",
            created_at=timestamp(redemption.created_at),
            expires_at=timestamp(redemption.expires_at),
            resolved_at=timestamp(redemption.resolved_at),
            lots=self.lots(redemption.lots),
            reversed_points=redemption.reversed_points if redemption.reversed_at else 0,
            reversed_at=timestamp(redemption.reversed_at),
            reversed_lots=self.lots(redemption.reversed_lots),
        )

    def settlement(self, settlement: Settlement) -> pb.Settlement:
        message = pb.Settlement(
            id=settlement.id,
            number=settlement.number,
            until=timestamp(settlement.until),
            positions=map(self.position, settlement.positions),
            lines=settlement.lines,
            lines_hash=settlement.lines_hash,
        )
        getattr(message, "from").CopyFrom(timestamp(settlement.since))  # a keyword of Python's
        return message

    def position(self, position: Position) -> pb.NetPosition:
        return pb.NetPosition(
            partner_id=position.partner_id,
            receivable=self.money(position.receivable_micros),
            payable=self.money(position.payable_micros),
            net=self.money(position.net_micros),
            due=self.money(position.due_micros),
            carried=self.money(position.carried_micros),
        )

    def line(self, line: Line) -> pb.SettlementLine:
        return pb.SettlementLine(
            id=line.id,
            redemption_id=line.redemption_id,
            claim_id=line.claim_id,
            debtor_partner_id=line.debtor_partner_id,
            creditor_partner_id=line.creditor_partner_id,
            points=line.points,
            unit_value=self.money(line.unit_value_micros),
            amount=self.money(line.amount_micros),
            spent_at=timestamp(line.spent_at),
            reverses=line.reverses,
        )

    def partner_points(self, totals: Totals) -> pb.PartnerPoints:
        return pb.PartnerPoints(
            partner_id=totals.partner,
            allotted=totals.allotted,
            allotment_left=totals.left,
            issued=totals.issued,
            cancelled=totals.cancelled,
            spent=totals.spent,
            expired=totals.expired,
            outstanding=totals.outstanding,
            liability=self.money(totals.liability),
            accepted=totals.accepted,
        )

    def summary(self, kinds: Sequence[KindTotal], reasons: Sequence[RefusalTotal]) -> pb.SummarizeEarningsResponse:
        return pb.SummarizeEarningsResponse(
            kinds=[
                pb.SummarizeEarningsResponse.KindTotal(
                    kind=enum_number(ActKind, total.kind, _KIND), earnings=total.earnings, points=total.points
                )
                for total in kinds
            ],
            refusals=[
                pb.SummarizeEarningsResponse.RefusalTotal(reason=total.reason, earnings=total.earnings)
                for total in reasons
            ],
        )
