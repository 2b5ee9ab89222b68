"""The rewards service's methods: proto in, use case, proto out."""

from collections.abc import AsyncIterator
from typing import Any

from alliance.rewards.v1 import rewards_pb2 as pb
from alliance.rewards.v1.rewards_pb2_grpc import RewardsServiceServicer
from services.rewards import messages
from services.rewards.domain.lots import LotKey
from services.rewards.messages import Messages
from services.rewards.service.changes import Changes
from services.rewards.service.earnings import Earnings
from services.rewards.service.gifts import Gifts
from services.rewards.service.redemptions import Redemptions
from services.rewards.service.settlements import Settlements
from services.rewards.service.wallets import Wallets
from services.shared import checks
from services.shared.idempotency import Idempotency
from services.shared.identity import CallerKind, current_caller
from services.shared.mongo import Transaction
from services.shared.pages import PageQuery, page_of_each
from services.shared.proto import timestamp

Context = Any

_MOST_EVENTS = 500
_MOST_MEMBERS = 200
_MOST_SETTLEMENTS = 100


class RewardsRpc(RewardsServiceServicer):
    """The methods, as the proto describes them."""

    def __init__(
        self,
        earnings: Earnings,
        redemptions: Redemptions,
        gifts: Gifts,
        settlements: Settlements,
        wallets: Wallets,
        changes: Changes,
        idempotency: Idempotency,
        to: Messages,
    ) -> None:
        self._earnings = earnings
        self._redemptions = redemptions
        self._gifts = gifts
        self._settlements = settlements
        self._wallets = wallets
        self._changes = changes
        self._once = idempotency.once
        self._to = to

    async def RecordClaims(self, request: pb.RecordClaimsRequest, context: Context) -> pb.RecordClaimsResponse:
        checks.batch(request.events, _MOST_EVENTS)
        claims = [messages.claim(event, f"events[{place}].") for place, event in enumerate(request.events)]
        return pb.RecordClaimsResponse(earnings=map(self._to.earning, await self._earnings.record(claims)))

    async def AllotPrepaidBlocks(
        self, request: pb.AllotPrepaidBlocksRequest, context: Context
    ) -> pb.AllotPrepaidBlocksResponse:
        checks.batch(request.events, _MOST_EVENTS)
        await self._earnings.allot(
            [messages.block(event, f"events[{place}].") for place, event in enumerate(request.events)]
        )
        return pb.AllotPrepaidBlocksResponse()

    async def CancelEarning(self, request: pb.CancelEarningRequest, context: Context) -> pb.CancelEarningResponse:
        async def effect(tx: Transaction) -> pb.CancelEarningResponse:
            await self._earnings.intend_cancel(tx, request.claim_id, current_caller().partner_id)
            return pb.CancelEarningResponse()

        await self._once(request, pb.CancelEarningResponse, effect)
        earning = await self._earnings.complete_cancel(request.claim_id)
        return pb.CancelEarningResponse(
            earning=self._to.earning(earning),
            returned_points=earning.returned_points,
            shortfall_points=earning.shortfall_points,
        )

    async def BatchGetEarnings(
        self, request: pb.BatchGetEarningsRequest, context: Context
    ) -> pb.BatchGetEarningsResponse:
        checks.batch(request.claim_ids)
        return pb.BatchGetEarningsResponse(earnings=map(self._to.earning, await self._earnings.get(request.claim_ids)))

    async def BatchListLotEarnings(
        self, request: pb.BatchListLotEarningsRequest, context: Context
    ) -> pb.BatchListLotEarningsResponse:
        checks.batch(request.lot_ids, _MOST_MEMBERS)
        keys = [LotKey.from_id(id, "lot_ids") for id in request.lot_ids]
        pages = await self._earnings.of_lots(keys, PageQuery.of(request.page))
        return pb.BatchListLotEarningsResponse(
            lots=[
                pb.BatchListLotEarningsResponse.LotEarnings(
                    lot_id=id, earnings=map(self._to.earning, page.rows), page_info=page.info()
                )
                for id, page in pages.items()
            ]
        )

    async def BatchGetWallets(self, request: pb.BatchGetWalletsRequest, context: Context) -> pb.BatchGetWalletsResponse:
        checks.batch(request.member_ids)
        found = await self._wallets.wallets(request.member_ids, dict(request.at_least))
        return pb.BatchGetWalletsResponse(wallets=[self._to.wallet(id, account) for id, account in found.items()])

    async def WatchWallets(
        self, request: pb.WatchWalletsRequest, context: Context
    ) -> AsyncIterator[pb.WatchWalletsResponse]:
        async for changed in self._changes.watch():
            yield pb.WatchWalletsResponse(member_ids=changed.member_ids, any=changed.any, heads=changed.heads)

    async def BatchListEntries(
        self, request: pb.BatchListEntriesRequest, context: Context
    ) -> pb.BatchListEntriesResponse:
        checks.batch(request.member_ids, _MOST_MEMBERS)
        pages = await self._wallets.entries(request.member_ids, PageQuery.of(request.page))
        return pb.BatchListEntriesResponse(
            members=[
                pb.BatchListEntriesResponse.MemberEntries(
                    member_id=id, entries=map(self._to.entry, page.rows), page_info=page.info()
                )
                for id, page in pages.items()
            ]
        )

    async def CreateReward(self, request: pb.CreateRewardRequest, context: Context) -> pb.CreateRewardResponse:
        async def effect(tx: Transaction) -> pb.CreateRewardResponse:
            reward = await self._redemptions.create_reward(
                tx,
                current_caller().partner_id,
                title=request.title,
                description=request.description,
                points=request.points,
                stock=request.stock,
            )
            return pb.CreateRewardResponse(reward=self._to.reward(reward))

        return (await self._once(request, pb.CreateRewardResponse, effect)).response

    async def BatchGetRewards(self, request: pb.BatchGetRewardsRequest, context: Context) -> pb.BatchGetRewardsResponse:
        checks.batch(request.ids)
        return pb.BatchGetRewardsResponse(rewards=map(self._to.reward, await self._redemptions.rewards(request.ids)))

    async def ListRewards(self, request: pb.ListRewardsRequest, context: Context) -> pb.ListRewardsResponse:
        if request.partner_id:
            checks.id_of(request.partner_id, "partner_id", "partner")
        page = await self._redemptions.reward_page(request.partner_id, PageQuery.of(request.page))
        return pb.ListRewardsResponse(rewards=map(self._to.reward, page.rows), page_info=page.info())

    async def Redeem(self, request: pb.RedeemRequest, context: Context) -> pb.RedeemResponse:
        async def effect(tx: Transaction) -> pb.RedeemResponse:
            id = await self._redemptions.redeem(tx, current_caller().member_id, request.reward_id)
            return pb.RedeemResponse(redemption=pb.Redemption(id=id))

        async with self._redemptions.turn(request.reward_id):
            done = await self._once(request, pb.RedeemResponse, effect)
        redemption = await self._redemptions.held(done.response.redemption.id)
        return pb.RedeemResponse(redemption=self._to.redemption(redemption, with_voucher=True))

    async def CaptureRedemption(
        self, request: pb.CaptureRedemptionRequest, context: Context
    ) -> pb.CaptureRedemptionResponse:
        async def effect(tx: Transaction) -> pb.CaptureRedemptionResponse:
            id = await self._redemptions.capture(tx, current_caller().partner_id, request.voucher_code, request.points)
            return pb.CaptureRedemptionResponse(redemption=pb.Redemption(id=id))

        done = await self._once(request, pb.CaptureRedemptionResponse, effect)
        redemption = await self._redemptions.captured(done.response.redemption.id)
        return pb.CaptureRedemptionResponse(redemption=self._to.redemption(redemption, with_voucher=False))

    async def VoidRedemption(self, request: pb.VoidRedemptionRequest, context: Context) -> pb.VoidRedemptionResponse:
        caller = current_caller()

        async def effect(tx: Transaction) -> pb.VoidRedemptionResponse:
            await self._redemptions.void(
                tx, request.redemption_id, member_id=caller.member_id, partner_id=caller.partner_id
            )
            return pb.VoidRedemptionResponse()

        await self._once(request, pb.VoidRedemptionResponse, effect)
        redemption = await self._redemptions.voided(request.redemption_id)
        by_member = caller.kind is CallerKind.MEMBER
        return pb.VoidRedemptionResponse(redemption=self._to.redemption(redemption, with_voucher=by_member))

    async def ReverseRedemption(
        self, request: pb.ReverseRedemptionRequest, context: Context
    ) -> pb.ReverseRedemptionResponse:
        async def effect(tx: Transaction) -> pb.ReverseRedemptionResponse:
            partner_id = current_caller().partner_id
            await self._redemptions.reverse(
                tx, request.redemption_id, partner_id, request.points, restock=request.restock
            )
            return pb.ReverseRedemptionResponse()

        await self._once(request, pb.ReverseRedemptionResponse, effect)
        redemption = await self._redemptions.reversed(request.redemption_id)
        return pb.ReverseRedemptionResponse(redemption=self._to.redemption(redemption, with_voucher=False))

    async def CreateGiftCode(self, request: pb.CreateGiftCodeRequest, context: Context) -> pb.CreateGiftCodeResponse:
        async def effect(tx: Transaction) -> pb.CreateGiftCodeResponse:
            code, expires_at = await self._gifts.create_code(tx, current_caller().member_id)
            return pb.CreateGiftCodeResponse(code=code, expires_at=timestamp(expires_at))

        def without_code(response: pb.CreateGiftCodeResponse) -> pb.CreateGiftCodeResponse:
            return pb.CreateGiftCodeResponse(expires_at=response.expires_at)

        return (await self._once(request, pb.CreateGiftCodeResponse, effect, stored=without_code)).response

    async def GiftPoints(self, request: pb.GiftPointsRequest, context: Context) -> pb.GiftPointsResponse:
        async def effect(tx: Transaction) -> pb.GiftPointsResponse:
            id = await self._gifts.give(tx, current_caller().member_id, request.code, request.points)
            return pb.GiftPointsResponse(gift=pb.Gift(id=id))

        done = await self._once(request, pb.GiftPointsResponse, effect)
        gift = await self._gifts.given(done.response.gift.id)
        return pb.GiftPointsResponse(gift=self._to.gift(gift))

    async def BatchGetGifts(self, request: pb.BatchGetGiftsRequest, context: Context) -> pb.BatchGetGiftsResponse:
        checks.batch(request.ids)
        return pb.BatchGetGiftsResponse(gifts=map(self._to.gift, await self._gifts.get(request.ids)))

    async def BatchGetRedemptions(
        self, request: pb.BatchGetRedemptionsRequest, context: Context
    ) -> pb.BatchGetRedemptionsResponse:
        checks.batch(request.ids)
        found = await self._redemptions.get(request.ids)
        return pb.BatchGetRedemptionsResponse(
            redemptions=[self._to.redemption(redemption, with_voucher=True) for redemption in found]
        )

    async def BatchListRedemptions(
        self, request: pb.BatchListRedemptionsRequest, context: Context
    ) -> pb.BatchListRedemptionsResponse:
        pages = await self._redemptions.pages_of(
            request.member_ids, messages.which(request.period, request.status), PageQuery.of(request.page)
        )
        answer = pb.BatchListRedemptionsResponse()
        for member_id, page in pages.items():
            rows = [self._to.redemption(row, with_voucher=True) for row in page.rows]
            answer.members.add(member_id=member_id, redemptions=rows, page_info=page.info())
        return answer

    async def BatchListPartnerRedemptions(
        self, request: pb.BatchListPartnerRedemptionsRequest, context: Context
    ) -> pb.BatchListPartnerRedemptionsResponse:
        pages = await self._redemptions.partner_pages(
            request.partner_ids, messages.which(request.period, request.status), PageQuery.of(request.page)
        )
        answer = pb.BatchListPartnerRedemptionsResponse()
        for partner_id, page in pages.items():
            rows = [self._to.redemption(row, with_voucher=False) for row in page.rows]
            answer.partners.add(partner_id=partner_id, redemptions=rows, page_info=page.info())
        return answer

    async def BatchFindRedemptions(
        self, request: pb.BatchFindRedemptionsRequest, context: Context
    ) -> pb.BatchFindRedemptionsResponse:
        found = await self._redemptions.find([(key.partner_id, key.voucher_code) for key in request.keys])
        answer = pb.BatchFindRedemptionsResponse()
        for partner_id, voucher_code, id in found:
            answer.found.add(partner_id=partner_id, voucher_code=voucher_code, redemption_id=id)
        return answer

    async def RunSettlement(self, request: pb.RunSettlementRequest, context: Context) -> pb.RunSettlementResponse:
        async def effect(tx: Transaction) -> pb.RunSettlementResponse:
            return pb.RunSettlementResponse(settlement=self._to.settlement(await self._settlements.run(tx)))

        async def run() -> pb.RunSettlementResponse:
            return (await self._once(request, pb.RunSettlementResponse, effect)).response

        return await self._settlements.in_its_own_time(f"{current_caller().scope}/{request.request_id}", run)

    async def BatchGetSettlements(
        self, request: pb.BatchGetSettlementsRequest, context: Context
    ) -> pb.BatchGetSettlementsResponse:
        checks.batch(request.ids)
        found = await self._settlements.get(request.ids)
        return pb.BatchGetSettlementsResponse(settlements=map(self._to.settlement, found))

    async def ListSettlements(self, request: pb.ListSettlementsRequest, context: Context) -> pb.ListSettlementsResponse:
        page = await self._settlements.page(PageQuery.of(request.page))
        return pb.ListSettlementsResponse(settlements=map(self._to.settlement, page.rows), page_info=page.info())

    async def BatchListSettlementLines(
        self, request: pb.BatchListSettlementLinesRequest, context: Context
    ) -> pb.BatchListSettlementLinesResponse:
        checks.batch(request.settlement_ids, _MOST_SETTLEMENTS)
        if request.partner_id:
            checks.id_of(request.partner_id, "partner_id", "partner")
        query = PageQuery.of(request.page)

        async def one(id: str) -> pb.BatchListSettlementLinesResponse.SettlementLines:
            page = await self._settlements.line_page(id, request.partner_id, query)
            return pb.BatchListSettlementLinesResponse.SettlementLines(
                settlement_id=id, lines=map(self._to.line, page.rows), page_info=page.info()
            )

        return pb.BatchListSettlementLinesResponse(
            settlements=(await page_of_each(request.settlement_ids, one)).values()
        )

    async def BatchGetPartnerPoints(
        self, request: pb.BatchGetPartnerPointsRequest, context: Context
    ) -> pb.BatchGetPartnerPointsResponse:
        checks.batch(request.partner_ids)
        for id in request.partner_ids:
            checks.id_of(id, "partner_ids", "partner")
        found = await self._wallets.partner_totals(request.partner_ids)
        return pb.BatchGetPartnerPointsResponse(partners=map(self._to.partner_points, found))

    async def SummarizeEarnings(
        self, request: pb.SummarizeEarningsRequest, context: Context
    ) -> pb.SummarizeEarningsResponse:
        return self._to.summary(*await self._earnings.totals())

    async def VerifyLedger(self, request: pb.VerifyLedgerRequest, context: Context) -> pb.VerifyLedgerResponse:
        report = await self._wallets.verify()
        return pb.VerifyLedgerResponse(
            clean=report.clean, finding=report.finding, entries=report.commands, members=report.members
        )
