# ruff: noqa: N802 - methods are named as in the proto
"""The stand-in of rewards."""

from collections.abc import AsyncIterator
from typing import Any

from alliance.rewards.v1 import rewards_pb2, rewards_pb2_grpc
from services.shared.errors import InvalidArgument
from services.shared.identity import current_caller
from services.shared.ids import new_id
from tests.gateway.fakes.recording import NOW, Stream, found, page_of, within


class Rewards(rewards_pb2_grpc.RewardsServiceServicer):
    def __init__(self) -> None:
        self.earnings: dict[str, rewards_pb2.Earning] = {}
        self.wallets: dict[str, rewards_pb2.Wallet] = {}
        self.changes = Stream()
        self.entries: list[rewards_pb2.Entry] = []
        self.rewards: dict[str, rewards_pb2.Reward] = {}
        self.redemptions: dict[str, rewards_pb2.Redemption] = {}
        self.settlements: dict[str, rewards_pb2.Settlement] = {}
        self.lines: list[rewards_pb2.SettlementLine] = []

    async def CancelEarning(self, request: Any, _: Any) -> Any:
        earning = rewards_pb2.Earning(claim_id=request.claim_id, partner_id=current_caller().partner_id)
        return rewards_pb2.CancelEarningResponse(earning=earning, returned_points=10, shortfall_points=2)

    async def BatchGetEarnings(self, request: Any, _: Any) -> Any:
        return rewards_pb2.BatchGetEarningsResponse(earnings=found(self.earnings, request.claim_ids))

    async def BatchListLotEarnings(self, request: Any, _: Any) -> Any:
        answer = rewards_pb2.BatchListLotEarningsResponse()
        for id in request.lot_ids:
            if not id:
                raise InvalidArgument("This is no lot.", reason="LOT_ID_MALFORMED")
            found = [earning for earning in self.earnings.values() if id == f"lot of {earning.member_id}"]
            rows, info = page_of(found, request.page)
            answer.lots.add(lot_id=id, earnings=rows, page_info=info)
        return answer

    async def BatchGetWallets(self, request: Any, _: Any) -> Any:
        rows = [self.wallets.get(id, rewards_pb2.Wallet(member_id=id)) for id in request.member_ids]
        return rewards_pb2.BatchGetWalletsResponse(wallets=rows)

    def earn(self, member_id: str, points: int, *, silently: bool = False) -> None:
        """Changes a wallet; `silently`: nobody is told, as by a stream that has been cut."""
        balance = self.wallets[member_id].balance + points if member_id in self.wallets else points
        self.wallets[member_id] = rewards_pb2.Wallet(member_id=member_id, balance=balance, available=balance)
        if not silently:
            self.changes.tell(rewards_pb2.WatchWalletsResponse(member_ids=[member_id], heads={0: balance}))

    async def WatchWallets(self, request: Any, _: Any) -> AsyncIterator[Any]:
        async for message in self.changes.messages([rewards_pb2.WatchWalletsResponse(any=True)]):
            yield message

    async def BatchListEntries(self, request: Any, _: Any) -> Any:
        answer = rewards_pb2.BatchListEntriesResponse()
        for id in request.member_ids:
            rows, info = page_of([row for row in self.entries if row.member_id == id], request.page)
            answer.members.add(member_id=id, entries=rows, page_info=info)
        return answer

    async def CreateReward(self, request: Any, _: Any) -> Any:
        reward = rewards_pb2.Reward(id=new_id("reward"), title=request.title, points=request.points)
        return rewards_pb2.CreateRewardResponse(reward=reward)

    async def BatchGetRewards(self, request: Any, _: Any) -> Any:
        return rewards_pb2.BatchGetRewardsResponse(rewards=found(self.rewards, request.ids))

    async def ListRewards(self, request: Any, _: Any) -> Any:
        wanted = [row for row in self.rewards.values() if request.partner_id in ("", row.partner_id)]
        rows, info = page_of(wanted, request.page)
        return rewards_pb2.ListRewardsResponse(rewards=rows, page_info=info)

    async def Redeem(self, request: Any, _: Any) -> Any:
        redemption = rewards_pb2.Redemption(
            id=new_id("redemption"), reward_id=request.reward_id, member_id=current_caller().id, voucher_code="ABCD"
        )
        return rewards_pb2.RedeemResponse(redemption=redemption)

    async def CaptureRedemption(self, request: Any, _: Any) -> Any:
        redemption = rewards_pb2.Redemption(
            id=new_id("redemption"), partner_id=current_caller().partner_id, voucher_code=request.voucher_code
        )
        return rewards_pb2.CaptureRedemptionResponse(redemption=redemption)

    async def VoidRedemption(self, request: Any, _: Any) -> Any:
        caller = current_caller()
        redemption = rewards_pb2.Redemption(
            id=request.redemption_id, member_id=caller.member_id, partner_id=caller.partner_id
        )
        return rewards_pb2.VoidRedemptionResponse(redemption=redemption)

    async def ReverseRedemption(self, request: Any, _: Any) -> Any:
        redemption = rewards_pb2.Redemption(
            id=request.redemption_id,
            partner_id=current_caller().partner_id,
            status=rewards_pb2.REDEMPTION_STATUS_REVERSED,
            reversed_points=request.points,
        )
        return rewards_pb2.ReverseRedemptionResponse(redemption=redemption)

    async def CreateGiftCode(self, request: Any, _: Any) -> Any:
        return rewards_pb2.CreateGiftCodeResponse(code="AAAA-BBBB-CCCC", expires_at=NOW)

    async def GiftPoints(self, request: Any, _: Any) -> Any:
        return rewards_pb2.GiftPointsResponse(gift=rewards_pb2.Gift(id=new_id("gift"), points=request.points))

    async def BatchGetGifts(self, request: Any, _: Any) -> Any:
        return rewards_pb2.BatchGetGiftsResponse(gifts=[rewards_pb2.Gift(id=id, points=5) for id in request.ids])

    async def BatchGetRedemptions(self, request: Any, _: Any) -> Any:
        return rewards_pb2.BatchGetRedemptionsResponse(redemptions=found(self.redemptions, request.ids))

    async def BatchListRedemptions(self, request: Any, _: Any) -> Any:
        answer = rewards_pb2.BatchListRedemptionsResponse()
        for id in request.member_ids:
            rows, info = page_of([row for row in self.redemptions.values() if row.member_id == id], request.page)
            answer.members.add(member_id=id, redemptions=rows, page_info=info)
        return answer

    async def BatchListPartnerRedemptions(self, request: Any, _: Any) -> Any:
        answer = rewards_pb2.BatchListPartnerRedemptionsResponse()
        for id in request.partner_ids:
            owned = [row for row in self.redemptions.values() if row.partner_id == id]
            wanted = [row for row in owned if request.status in (0, row.status)]
            rows, info = page_of([row for row in wanted if within(request.period, row.created_at)], request.page)
            answer.partners.add(partner_id=id, redemptions=rows, page_info=info)
        return answer

    async def BatchFindRedemptions(self, request: Any, _: Any) -> Any:
        answer = rewards_pb2.BatchFindRedemptionsResponse()
        for key in request.keys:
            for row in self.redemptions.values():
                if (row.partner_id, row.voucher_code) == (key.partner_id, key.voucher_code):
                    answer.found.add(partner_id=key.partner_id, voucher_code=key.voucher_code, redemption_id=row.id)
        return answer

    async def RunSettlement(self, request: Any, _: Any) -> Any:
        return rewards_pb2.RunSettlementResponse(settlement=rewards_pb2.Settlement(id=new_id("settlement"), number=1))

    async def BatchGetSettlements(self, request: Any, _: Any) -> Any:
        return rewards_pb2.BatchGetSettlementsResponse(settlements=found(self.settlements, request.ids))

    async def ListSettlements(self, request: Any, _: Any) -> Any:
        rows, info = page_of(list(self.settlements.values()), request.page)
        return rewards_pb2.ListSettlementsResponse(settlements=rows, page_info=info)

    async def BatchListSettlementLines(self, request: Any, _: Any) -> Any:
        answer = rewards_pb2.BatchListSettlementLinesResponse()
        for id in request.settlement_ids:
            wanted = [
                row for row in self.lines if request.partner_id in ("", row.debtor_partner_id, row.creditor_partner_id)
            ]
            rows, info = page_of(wanted, request.page)
            answer.settlements.add(settlement_id=id, lines=rows, page_info=info)
        return answer

    async def BatchGetPartnerPoints(self, request: Any, _: Any) -> Any:
        answer = rewards_pb2.BatchGetPartnerPointsResponse()
        for id in request.partner_ids or ["partner_all"]:
            answer.partners.add(partner_id=id, issued=7)
        return answer

    async def SummarizeEarnings(self, request: Any, _: Any) -> Any:
        answer = rewards_pb2.SummarizeEarningsResponse()
        answer.refusals.add(reason="NO_EARN_RULE", earnings=3)
        return answer

    async def VerifyLedger(self, request: Any, _: Any) -> Any:
        return rewards_pb2.VerifyLedgerResponse(clean=True, entries=len(self.entries))
