"""The ledger's own methods: proto in, command, outcome, proto out."""

from collections.abc import AsyncIterator
from typing import Any

from alliance.rewards.v1 import ledger_pb2 as pb
from alliance.rewards.v1 import rewards_pb2
from alliance.rewards.v1.ledger_pb2_grpc import LedgerServiceServicer
from services.rewards.domain.moments import millis
from services.rewards.ledger.draft import Outcome
from services.rewards.ledger.ledger import Ledger
from services.rewards.ledger_messages import Commands, Outcomes, check_linked, refusal, scoped
from services.rewards.messages import Messages
from services.rewards.service.inspection import Inspection
from services.rewards.service.wallets import Wallets
from services.rewards.service.watches import Watches
from services.shared import checks
from services.shared.errors import NotFound
from services.shared.identity import current_caller
from services.shared.pages import PageQuery

Context = Any

_MOST_COMMANDS = 1_000


class IssueNotFound(NotFound):
    """The caller has posted no such issue, or it gave nothing."""


class CaptureNotFound(NotFound):
    """The caller has posted no such capture, or it took nothing."""


class LedgerRpc(LedgerServiceServicer):
    """The methods, as the proto describes them."""

    def __init__(
        self, ledger: Ledger, wallets: Wallets, inspection: Inspection, watches: Watches, currency: str
    ) -> None:
        self._ledger = ledger
        self._wallets = wallets
        self._inspection = inspection
        self._watches = watches
        self._to = Messages(currency)
        self._commands = Commands(currency)
        self._outcomes = Outcomes(self._to)

    async def Post(self, request: pb.PostRequest, context: Context) -> pb.PostResponse:
        return pb.PostResponse(outcome=await self._post(request.command, "command."))

    async def BatchPost(self, request: pb.BatchPostRequest, context: Context) -> pb.BatchPostResponse:
        checks.batch(request.commands, _MOST_COMMANDS, may_be_empty=False)
        caller = current_caller()
        commands = [
            self._commands.command(caller, message, f"commands[{place}].")
            for place, message in enumerate(request.commands)
        ]
        if request.linked:
            check_linked(commands)
            outcomes = await self._ledger.post_linked(commands)
        else:
            outcomes = await self._ledger.post(commands)
        return pb.BatchPostResponse(outcomes=map(self._outcome, request.commands, outcomes))

    async def Hold(self, request: pb.HoldRequest, context: Context) -> pb.HoldResponse:
        command = pb.Command(request_id=request.request_id, hold=request.hold)
        return pb.HoldResponse(outcome=await self._post(command, ""))

    async def Capture(self, request: pb.CaptureRequest, context: Context) -> pb.CaptureResponse:
        command = pb.Command(request_id=request.request_id, capture=request.capture)
        return pb.CaptureResponse(outcome=await self._post(command, ""))

    async def Void(self, request: pb.VoidRequest, context: Context) -> pb.VoidResponse:
        command = pb.Command(request_id=request.request_id, void=request.void)
        return pb.VoidResponse(outcome=await self._post(command, ""))

    async def Reverse(self, request: pb.ReverseRequest, context: Context) -> pb.ReverseResponse:
        member_id = checks.id_of(request.member_id, "member_id", "member")
        if bool(request.issue_id) == bool(request.capture_id):
            raise checks.FieldInvalid("issue_id", "needs either this or capture_id.")
        id = request.issue_id or request.capture_id
        if request.issue_id:
            outcome = await self._ledger.cancel(scoped(current_caller(), id, "issue_id"), member_id)
            if outcome is None:
                raise IssueNotFound("You have posted no such issue to that member, or it gave nothing.")
        else:
            capture = scoped(current_caller(), id, "capture_id")
            outcome = await self._ledger.reverse(capture, member_id, request.points)
            if outcome is None:
                raise CaptureNotFound("You have posted no such capture of that member's points, or it took nothing.")
        if refused := outcome.refusal:
            raise refusal(refused)
        return pb.ReverseResponse(outcome=self._outcomes.outcome(id, outcome, self._ledger.partition(member_id)))

    async def GetWallet(self, request: pb.GetWalletRequest, context: Context) -> pb.GetWalletResponse:
        checks.id_of(request.member_id, "member_id", "member")
        ((id, account),) = (await self._wallets.wallets([request.member_id])).items()
        return pb.GetWalletResponse(wallet=self._to.wallet(id, account))

    async def BatchGetWallets(
        self, request: rewards_pb2.BatchGetWalletsRequest, context: Context
    ) -> rewards_pb2.BatchGetWalletsResponse:
        checks.batch(request.member_ids)
        found = await self._wallets.wallets(request.member_ids)
        return rewards_pb2.BatchGetWalletsResponse(
            wallets=[self._to.wallet(id, account) for id, account in found.items()]
        )

    async def ListEntries(self, request: pb.ListEntriesRequest, context: Context) -> pb.ListEntriesResponse:
        checks.id_of(request.member_id, "member_id", "member")
        (page,) = (await self._wallets.entries([request.member_id], PageQuery.of(request.page))).values()
        return pb.ListEntriesResponse(entries=map(self._to.entry, page.rows), page_info=page.info())

    async def BalanceAt(self, request: pb.BalanceAtRequest, context: Context) -> pb.BalanceAtResponse:
        checks.id_of(request.member_id, "member_id", "member")
        at = millis(checks.moment(request.at, "at"))
        return pb.BalanceAtResponse(balance=await self._inspection.balance_at(request.member_id, at))

    async def WatchWallet(
        self, request: pb.WatchWalletRequest, context: Context
    ) -> AsyncIterator[pb.WatchWalletResponse]:
        checks.id_of(request.member_id, "member_id", "member")
        async for account in self._watches.watch(request.member_id):
            yield pb.WatchWalletResponse(wallet=self._to.wallet(request.member_id, account))

    async def Liability(self, request: pb.LiabilityRequest, context: Context) -> pb.LiabilityResponse:
        checks.batch(request.partner_ids)
        for id in request.partner_ids:
            checks.id_of(id, "partner_ids", "partner")
        found = await self._wallets.partner_totals(request.partner_ids)
        return pb.LiabilityResponse(
            partners=map(self._to.partner_points, found),
            outstanding=sum(totals.outstanding for totals in found),
            liability=self._to.money(sum(totals.liability for totals in found)),
        )

    async def Lineage(self, request: pb.LineageRequest, context: Context) -> pb.LineageResponse:
        entry, block, place = await self._inspection.lineage(request.entry_id)
        return pb.LineageResponse(
            entry=self._to.entry(entry),
            place=pb.LogPlace(partition=block.partition, block=block.seq, entry=place),
            block_hash=block.hash,
            previous_hash=block.previous,
        )

    async def _post(self, message: pb.Command, at: str) -> pb.Outcome:
        command = self._commands.command(current_caller(), message, at)
        outcome = await self._ledger.post_one(command)
        if refused := outcome.refusal:
            raise refusal(refused)
        return self._outcome(message, outcome)

    def _outcome(self, message: pb.Command, outcome: Outcome) -> pb.Outcome:
        account = getattr(outcome.command, "member", "") or getattr(outcome.command, "partner", "")
        return self._outcomes.outcome(message.request_id, outcome, self._ledger.partition(account))
