# ruff: noqa: N802 - methods are named as in the proto
"""Small stand-ins for the four services: real gRPC servers on free ports, real access rules, state in dicts.

Every call is recorded with its request and caller, and a call can be made to fail.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from alliance.accounts.v1 import accounts_pb2, accounts_pb2_grpc
from alliance.common.v1.page_pb2 import PageInfo, PageRequest
from alliance.logistics.v1 import logistics_pb2, logistics_pb2_grpc
from alliance.partners.v1 import partners_pb2, partners_pb2_grpc
from alliance.rewards.v1 import rewards_pb2, rewards_pb2_grpc
from deploy.local.embedded import free_port
from services.shared.errors import DomainError, FailedPrecondition, InvalidArgument, Unauthenticated, Unavailable
from services.shared.guard import Guard
from services.shared.identity import Caller, Verifier, current_caller
from services.shared.ids import new_id

NOW = Timestamp()
NOW.FromDatetime(datetime(2026, 3, 1, 8, 30, tzinfo=UTC))
LATER = Timestamp()
LATER.FromDatetime(datetime(2027, 4, 1, tzinfo=UTC))


@dataclass
class Call:
    """A call as a service saw it."""

    method: str
    request: Any
    caller: Caller
    metadata: Mapping[str, str | bytes]


@dataclass
class Recorder(aio.ServerInterceptor):
    """Writes calls down, and makes those fail that a test wants to fail."""

    calls: list[Call] = field(default_factory=list)
    failures: dict[str, Exception] = field(default_factory=dict)
    delays: dict[str, float] = field(default_factory=dict)
    # What a method waits for before it answers.
    waits: dict[str, asyncio.Event] = field(default_factory=dict)
    # What is done to an answer, by its method, before it is sent.
    finish: Callable[[str, Any], None] = lambda method, answer: None

    async def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        handler = await continuation(details)
        method = details.method.rpartition("/")[2]
        if details.method.startswith("/grpc.health"):
            return handler
        if handler.response_streaming:
            return handler

        async def recorded(request: Any, context: Any) -> Any:
            self.calls.append(Call(method, request, current_caller(), dict(context.invocation_metadata())))
            await asyncio.sleep(self.delays.get(method, 0))
            if method in self.waits:
                await self.waits[method].wait()
            if method in self.failures:
                raise self.failures[method]
            answer = await handler.unary_unary(request, context)
            self.finish(method, answer)
            return answer

        return grpc.unary_unary_rpc_method_handler(recorded, handler.request_deserializer, handler.response_serializer)


def page_of(rows: Sequence[Any], request: PageRequest) -> tuple[Sequence[Any], PageInfo]:
    """The rows behind a cursor, which here is a row's number."""
    if request.after and not request.after.isdigit():
        raise InvalidArgument("`after` is not a cursor.", reason="CURSOR_MALFORMED")
    start = int(request.after) + 1 if request.after else 0
    end = min(start + (request.first or 20), len(rows))
    return rows[start:end], PageInfo(cursors=[str(n) for n in range(start, end)], has_next_page=end < len(rows))


class Stream:
    """What is told to all who listen, and can be cut off."""

    def __init__(self) -> None:
        # How often.
        self.opened = 0
        self._queues: set[asyncio.Queue[Any]] = set()

    def tell(self, message: Any) -> None:
        for queue in self._queues:
            queue.put_nowait(message)

    def cut(self) -> None:
        """As if the process had been killed."""
        self.tell(None)

    @property
    def heard(self) -> bool:
        return bool(self._queues)

    async def messages(self, first: Sequence[Any]) -> AsyncIterator[Any]:
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self._queues.add(queue)
        self.opened += 1
        try:
            for message in first:
                yield message
            while (message := await queue.get()) is not None:
                yield message
            raise Unavailable("The connection is gone.", reason="UNAVAILABLE")
        finally:
            self._queues.discard(queue)


class Accounts(accounts_pb2_grpc.AccountsServiceServicer):
    def __init__(self) -> None:
        self.impact = accounts_pb2.Impact()
        self.impacts = Stream()
        self.members: dict[str, accounts_pb2.Member] = {}
        self.identities: list[accounts_pb2.Identity] = []
        self.consents: dict[tuple[str, str], bool] = {}
        self.acts: dict[str, accounts_pb2.Act] = {}
        self.claims: dict[str, accounts_pb2.Claim] = {}
        self.factors = {
            "metro-trip-2025": accounts_pb2.Factor(id="metro-trip-2025", kind=2, version=1, unit="m"),
            "pet-recycling-2025": accounts_pb2.Factor(
                id="pet-recycling-2025", kind=6, version=2, avoided_ug_per_unit=1_650_000, unit="g", source="a ministry"
            ),
        }

    async def EnrolMember(self, request: Any, _: Any) -> Any:
        member = accounts_pb2.Member(
            id=new_id("member"),
            display_name=request.display_name,
            enrolled_at=NOW,
            enrolled_by_partner_id=current_caller().partner_id,
        )
        self.members[member.id] = member
        self.identities.append(
            accounts_pb2.Identity(
                partner_id=member.enrolled_by_partner_id,
                customer_number=request.customer_number,
                member_id=member.id,
                linked_at=NOW,
            )
        )
        return accounts_pb2.EnrolMemberResponse(member=member)

    async def BatchGetMembers(self, request: Any, _: Any) -> Any:
        return accounts_pb2.BatchGetMembersResponse(members=_found(self.members, request.ids))

    async def ListMembers(self, request: Any, _: Any) -> Any:
        rows, info = page_of(list(self.members.values()), request.page)
        return accounts_pb2.ListMembersResponse(members=rows, page_info=info)

    async def CreateLinkCode(self, request: Any, _: Any) -> Any:
        return accounts_pb2.CreateLinkCodeResponse(code="CODE", expires_at=NOW)

    async def LinkIdentity(self, request: Any, _: Any) -> Any:
        identity = accounts_pb2.Identity(
            partner_id=current_caller().partner_id,
            customer_number=request.customer_number,
            member_id=next(iter(self.members)),
            linked_at=NOW,
        )
        return accounts_pb2.LinkIdentityResponse(identity=identity)

    async def BatchFindIdentities(self, request: Any, _: Any) -> Any:
        keys = {(key.partner_id, key.customer_number) for key in request.keys}
        found = [row for row in self.identities if (row.partner_id, row.customer_number) in keys]
        return accounts_pb2.BatchFindIdentitiesResponse(identities=found)

    async def BatchListIdentities(self, request: Any, _: Any) -> Any:
        rows = [
            accounts_pb2.BatchListIdentitiesResponse.MemberIdentities(
                member_id=id, identities=[row for row in self.identities if row.member_id == id]
            )
            for id in request.member_ids
        ]
        return accounts_pb2.BatchListIdentitiesResponse(members=rows)

    async def SetConsent(self, request: Any, _: Any) -> Any:
        caller = current_caller()
        self.consents[request.partner_id, caller.id] = request.granted
        consent = accounts_pb2.Consent(
            member_id=caller.id, partner_id=request.partner_id, granted=request.granted, changed_at=NOW
        )
        return accounts_pb2.SetConsentResponse(consent=consent)

    async def BatchListConsents(self, request: Any, _: Any) -> Any:
        rows = [
            accounts_pb2.BatchListConsentsResponse.MemberConsents(
                member_id=id,
                consents=[
                    accounts_pb2.Consent(member_id=id, partner_id=partner, granted=granted)
                    for (partner, member), granted in self.consents.items()
                    if member == id
                ],
            )
            for id in request.member_ids
        ]
        return accounts_pb2.BatchListConsentsResponse(members=rows)

    def avoid(self, co2e_mg: int) -> None:
        """One more claim."""
        self.impact = accounts_pb2.Impact(claims=self.impact.claims + 1, co2e_mg=self.impact.co2e_mg + co2e_mg)
        self.impacts.tell(accounts_pb2.WatchImpactResponse(impact=self.impact))

    async def WatchImpact(self, request: Any, _: Any) -> AsyncIterator[Any]:
        async for message in self.impacts.messages([accounts_pb2.WatchImpactResponse(impact=self.impact)]):
            yield message

    async def BatchCheckConsents(self, request: Any, _: Any) -> Any:
        granted = [pair for pair in request.pairs if self.consents.get((pair.partner_id, pair.member_id))]
        return accounts_pb2.BatchCheckConsentsResponse(granted=granted)

    async def ReportActs(self, request: Any, _: Any) -> Any:
        acts = []
        for report in request.reports:
            act = accounts_pb2.Act(
                id=new_id("act"),
                member_id=report.member_id,
                partner_id=current_caller().partner_id,
                kind=report.kind,
                quantity=report.quantity,
                occurred_at=report.occurred_at,
                reference=report.reference,
                status=accounts_pb2.ACT_STATUS_CREDITED,
            )
            acts.append(act)
        return accounts_pb2.ReportActsResponse(acts=acts)

    async def BatchGetActs(self, request: Any, _: Any) -> Any:
        return accounts_pb2.BatchGetActsResponse(acts=_found(self.acts, request.ids))

    async def BatchGetActsByDropOff(self, request: Any, _: Any) -> Any:
        acts = [act for act in self.acts.values() if act.drop_off_id in request.drop_off_ids]
        return accounts_pb2.BatchGetActsByDropOffResponse(acts=acts)

    async def BatchListActs(self, request: Any, _: Any) -> Any:
        answer = accounts_pb2.BatchListActsResponse()
        for id in request.member_ids:
            rows, info = page_of([act for act in self.acts.values() if act.member_id == id], request.page)
            answer.members.add(member_id=id, acts=rows, page_info=info)
        return answer

    async def BatchGetClaims(self, request: Any, _: Any) -> Any:
        return accounts_pb2.BatchGetClaimsResponse(claims=_found(self.claims, request.ids))

    async def BatchListClaims(self, request: Any, _: Any) -> Any:
        answer = accounts_pb2.BatchListClaimsResponse()
        for id in request.member_ids:
            rows, info = page_of([claim for claim in self.claims.values() if claim.member_id == id], request.page)
            answer.members.add(member_id=id, claims=rows, page_info=info)
        return answer

    async def BatchGetCarbonTotals(self, request: Any, _: Any) -> Any:
        answer = accounts_pb2.BatchGetCarbonTotalsResponse()
        for id in request.member_ids:
            claims = [claim for claim in self.claims.values() if claim.member_id == id]
            answer.totals.add(member_id=id, claims=len(claims), co2e_mg=sum(claim.co2e_mg for claim in claims))
        return answer

    async def BatchGetFactors(self, request: Any, _: Any) -> Any:
        return accounts_pb2.BatchGetFactorsResponse(factors=_found(self.factors, request.ids))

    async def ListFactors(self, request: Any, _: Any) -> Any:
        return accounts_pb2.ListFactorsResponse(factors=self.factors.values())

    async def SummarizeActs(self, request: Any, _: Any) -> Any:
        answer = accounts_pb2.SummarizeActsResponse(claims=len(self.claims))
        answer.kinds.add(kind=accounts_pb2.ACT_KIND_METRO_TRIP, acts=len(self.acts))
        return answer


class Partners(partners_pb2_grpc.PartnersServiceServicer):
    def __init__(self) -> None:
        self.partners: dict[str, partners_pb2.Partner] = {}
        # Secrets by client, with the partner; the operator's has none.
        self.clients: dict[str, tuple[str, str]] = {"operator": ("operator-secret", "")}
        self.blocks: dict[str, partners_pb2.PrepaidBlock] = {}

    def add(self, name: str) -> partners_pb2.Partner:
        partner = partners_pb2.Partner(
            id=new_id("partner"),
            name=name,
            trade="grocer",
            country="NL",
            status=partners_pb2.PARTNER_STATUS_APPROVED,
            applied_at=NOW,
            status_changed_at=NOW,
        )
        self.partners[partner.id] = partner
        self.clients[f"client_{partner.id}"] = (f"secret of {name}", partner.id)
        return partner

    async def ApplyPartner(self, request: Any, _: Any) -> Any:
        return partners_pb2.ApplyPartnerResponse(partner=partners_pb2.Partner(id=new_id("partner"), name=request.name))

    async def SetPartnerStatus(self, request: Any, _: Any) -> Any:
        partner = partners_pb2.Partner(id=request.partner_id, status=request.status)
        return partners_pb2.SetPartnerStatusResponse(partner=partner)

    async def BatchGetPartners(self, request: Any, _: Any) -> Any:
        return partners_pb2.BatchGetPartnersResponse(partners=_found(self.partners, request.ids))

    async def ListPartners(self, request: Any, _: Any) -> Any:
        rows, info = page_of(list(self.partners.values()), request.page)
        return partners_pb2.ListPartnersResponse(partners=rows, page_info=info)

    async def CreateApiClient(self, request: Any, _: Any) -> Any:
        client = partners_pb2.ApiClient(id=new_id("client"), partner_id=request.partner_id, label=request.label)
        return partners_pb2.CreateApiClientResponse(client=client, secret="shown once")

    async def RevokeApiClient(self, request: Any, _: Any) -> Any:
        client = partners_pb2.ApiClient(id=request.client_id, partner_id=current_caller().partner_id, revoked=True)
        return partners_pb2.RevokeApiClientResponse(client=client)

    async def BatchListApiClients(self, request: Any, _: Any) -> Any:
        answer = partners_pb2.BatchListApiClientsResponse()
        for partner_id in request.partner_ids:
            ids = [id for id, (_, owner) in self.clients.items() if owner == partner_id]
            clients = [partners_pb2.ApiClient(id=id, partner_id=partner_id, label="shop", created_at=NOW) for id in ids]
            answer.partners.add(partner_id=partner_id, clients=clients)
        return answer

    async def AuthenticateClient(self, request: Any, _: Any) -> Any:
        secret, partner_id = self.clients.get(request.client_id, ("", ""))
        if not secret or secret != request.secret:
            raise Unauthenticated("No such client.", reason="CLIENT_CREDENTIALS_INVALID")
        client = partners_pb2.ApiClient(id=request.client_id, partner_id=partner_id)
        return partners_pb2.AuthenticateClientResponse(client=client, operator=not partner_id)

    async def OfferAgreement(self, request: Any, _: Any) -> Any:
        agreement = partners_pb2.Agreement(
            id=new_id("agreement"),
            partner_id=request.partner_id,
            unit_value=request.unit_value,
            valid_from=request.valid_from,
        )
        return partners_pb2.OfferAgreementResponse(agreement=agreement)

    async def AcceptAgreement(self, request: Any, _: Any) -> Any:
        agreement = partners_pb2.Agreement(id=request.agreement_id, partner_id=current_caller().partner_id)
        return partners_pb2.AcceptAgreementResponse(agreement=agreement)

    async def BatchListAgreements(self, request: Any, _: Any) -> Any:
        answer = partners_pb2.BatchListAgreementsResponse()
        for id in request.partner_ids:
            answer.partners.add(partner_id=id).agreements.add(id=f"agreement of {id}", partner_id=id)
        return answer

    async def OrderPrepaidBlock(self, request: Any, _: Any) -> Any:
        block = partners_pb2.PrepaidBlock(
            id=new_id("block"), partner_id=current_caller().partner_id, points=request.points
        )
        return partners_pb2.OrderPrepaidBlockResponse(block=block)

    async def ConfirmPrepaidBlock(self, request: Any, _: Any) -> Any:
        block = partners_pb2.PrepaidBlock(id=request.block_id, paid_at=NOW)
        return partners_pb2.ConfirmPrepaidBlockResponse(block=block, allotted=True)

    async def BatchListPrepaidBlocks(self, request: Any, _: Any) -> Any:
        answer = partners_pb2.BatchListPrepaidBlocksResponse()
        for id in request.partner_ids:
            answer.partners.add(partner_id=id).blocks.add(id=f"block of {id}", partner_id=id)
        return answer

    async def CreateEarnRule(self, request: Any, _: Any) -> Any:
        rule = partners_pb2.EarnRule(id=new_id("rule"), partner_id=current_caller().partner_id, kind=request.kind)
        return partners_pb2.CreateEarnRuleResponse(rule=rule)

    async def CreateCampaign(self, request: Any, _: Any) -> Any:
        campaign = partners_pb2.Campaign(id=new_id("campaign"), partner_id=current_caller().partner_id)
        return partners_pb2.CreateCampaignResponse(campaign=campaign)

    async def BatchListEarnRules(self, request: Any, _: Any) -> Any:
        answer = partners_pb2.BatchListEarnRulesResponse()
        for id in request.partner_ids:
            row = answer.partners.add(partner_id=id)
            row.rules.add(id=f"rule_{id}", partner_id=id)
            row.campaigns.add(id=f"campaign_{id}", partner_id=id)
        return answer

    async def BatchGetEarnRules(self, request: Any, _: Any) -> Any:
        answer = partners_pb2.BatchGetEarnRulesResponse()
        for id in request.rule_ids:
            answer.rules.add(
                id=id, partner_id=id.removeprefix("rule_"), kind=6, version=3, points=10, per_quantity=3, valid_from=NOW
            )
        for id in request.campaign_ids:
            answer.campaigns.add(
                id=id,
                partner_id=id.removeprefix("campaign_"),
                name="Spring",
                kind=6,
                extra_percent=50,
                budget_points=99,
            )
        return answer


class Logistics(logistics_pb2_grpc.LogisticsServiceServicer):
    def __init__(self) -> None:
        # Batches, each at the place of its number.
        self.accepted: list[logistics_pb2.AcceptedDropOffs] = []
        self.acceptances = Stream()
        self.points: dict[str, logistics_pb2.RecyclingPoint] = {}
        self.machines: dict[str, logistics_pb2.Machine] = {}
        self.drop_offs: dict[str, logistics_pb2.DropOff] = {}

    def accept(self, member_id: str, partner_id: str, *grams: int) -> None:
        """A batch with drop-offs of these weights."""
        batch = logistics_pb2.AcceptedDropOffs(
            place=len(self.accepted) + 1,
            drop_offs=[
                logistics_pb2.DropOff(
                    id=new_id("dropoff"), member_id=member_id, partner_id=partner_id, weight_grams=each, material=1
                )
                for each in grams
            ],
        )
        self.accepted.append(batch)
        self.acceptances.tell(logistics_pb2.WatchDropOffsResponse(accepted=batch))

    async def WatchDropOffs(self, request: Any, _: Any) -> AsyncIterator[Any]:
        place = request.after if request.HasField("after") else len(self.accepted)
        begin = [logistics_pb2.AcceptedDropOffs(place=place), *self.accepted[place:]]
        first = [logistics_pb2.WatchDropOffsResponse(accepted=batch) for batch in begin]
        async for message in self.acceptances.messages(first):
            yield message

    async def ListMissedDropOffs(self, request: Any, _: Any) -> Any:
        if request.after < len(self.accepted) - 1_000:
            raise FailedPrecondition("Too long ago.", reason="CURSOR_TOO_OLD")
        page = self.accepted[request.after : request.after + 2]
        last = len(self.accepted)
        return logistics_pb2.ListMissedDropOffsResponse(
            accepted=page, until=max(min(request.after + 2, last), 0), last=last
        )

    async def CreateRecyclingPoint(self, request: Any, _: Any) -> Any:
        point = logistics_pb2.RecyclingPoint(
            id=new_id("point"), name=request.name, location=request.location, materials=request.materials
        )
        return logistics_pb2.CreateRecyclingPointResponse(recycling_point=point)

    async def BatchGetRecyclingPoints(self, request: Any, _: Any) -> Any:
        return logistics_pb2.BatchGetRecyclingPointsResponse(recycling_points=_found(self.points, request.ids))

    async def ListRecyclingPoints(self, request: Any, _: Any) -> Any:
        rows, info = page_of(list(self.points.values()), request.page)
        return logistics_pb2.ListRecyclingPointsResponse(recycling_points=rows, page_info=info)

    async def RegisterMachine(self, request: Any, _: Any) -> Any:
        machine = logistics_pb2.Machine(id=new_id("machine"), public_key=request.public_key)
        return logistics_pb2.RegisterMachineResponse(machine=machine)

    async def RetireMachine(self, request: Any, _: Any) -> Any:
        machine = logistics_pb2.Machine(id=request.machine_id, retired=True)
        return logistics_pb2.RetireMachineResponse(machine=machine)

    async def BatchGetMachines(self, request: Any, _: Any) -> Any:
        return logistics_pb2.BatchGetMachinesResponse(machines=_found(self.machines, request.ids))

    async def BatchListMachines(self, request: Any, _: Any) -> Any:
        answer = logistics_pb2.BatchListMachinesResponse()
        for id in request.recycling_point_ids:
            machines = [row for row in self.machines.values() if row.recycling_point_id == id]
            answer.points.add(recycling_point_id=id, machines=machines)
        return answer

    async def BatchGetDropOffs(self, request: Any, _: Any) -> Any:
        return logistics_pb2.BatchGetDropOffsResponse(drop_offs=_found(self.drop_offs, request.ids))

    async def BatchListDropOffs(self, request: Any, _: Any) -> Any:
        answer = logistics_pb2.BatchListDropOffsResponse()
        for id in request.member_ids:
            rows, info = page_of([row for row in self.drop_offs.values() if row.member_id == id], request.page)
            answer.members.add(member_id=id, drop_offs=rows, page_info=info)
        return answer

    async def SummarizeDropOffs(self, request: Any, _: Any) -> Any:
        return logistics_pb2.SummarizeDropOffsResponse(accepted=len(self.drop_offs))


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
        return rewards_pb2.BatchGetEarningsResponse(earnings=_found(self.earnings, request.claim_ids))

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
        return rewards_pb2.BatchGetRewardsResponse(rewards=_found(self.rewards, request.ids))

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
        return rewards_pb2.BatchGetRedemptionsResponse(redemptions=_found(self.redemptions, request.ids))

    async def BatchListRedemptions(self, request: Any, _: Any) -> Any:
        answer = rewards_pb2.BatchListRedemptionsResponse()
        for id in request.member_ids:
            rows, info = page_of([row for row in self.redemptions.values() if row.member_id == id], request.page)
            answer.members.add(member_id=id, redemptions=rows, page_info=info)
        return answer

    async def RunSettlement(self, request: Any, _: Any) -> Any:
        return rewards_pb2.RunSettlementResponse(settlement=rewards_pb2.Settlement(id=new_id("settlement"), number=1))

    async def BatchGetSettlements(self, request: Any, _: Any) -> Any:
        return rewards_pb2.BatchGetSettlementsResponse(settlements=_found(self.settlements, request.ids))

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


class FakeServer:
    """A servicer on a port of its own, that can be stopped and started again."""

    def __init__(self, servicer: Any, add: Any, verifier: Verifier, recorder: Recorder) -> None:
        self.target = f"127.0.0.1:{free_port()}"
        self._servicer = servicer
        self._add = add
        self._verifier = verifier
        self._recorder = recorder
        self._server: aio.Server | None = None

    async def start(self) -> None:
        guard = Guard(self._verifier, lambda: None)
        self._server = aio.server(interceptors=[guard, self._recorder], options=[("grpc.so_reuseport", 0)])
        self._add(self._servicer, self._server)
        checks = health.aio.HealthServicer()
        await checks.set("", health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(checks, self._server)
        self._server.add_insecure_port(self.target)
        await self._server.start()

    async def stop(self) -> None:
        assert self._server is not None
        await self._server.stop(0)


class FakeAlliance:
    """The four services together."""

    def __init__(self, verifier: Verifier) -> None:
        self.recorder = Recorder()
        self.accounts, self.partners, self.logistics, self.rewards = Accounts(), Partners(), Logistics(), Rewards()
        self.servers = {
            name: FakeServer(servicer, add, verifier, self.recorder)
            for name, servicer, add in (
                ("accounts", self.accounts, accounts_pb2_grpc.add_AccountsServiceServicer_to_server),
                ("partners", self.partners, partners_pb2_grpc.add_PartnersServiceServicer_to_server),
                ("logistics", self.logistics, logistics_pb2_grpc.add_LogisticsServiceServicer_to_server),
                ("rewards", self.rewards, rewards_pb2_grpc.add_RewardsServiceServicer_to_server),
            )
        }

    async def start(self) -> None:
        for server in self.servers.values():
            await server.start()

    async def stop(self) -> None:
        for server in self.servers.values():
            await server.stop()

    @property
    def calls(self) -> list[Call]:
        return self.recorder.calls

    def methods(self) -> list[str]:
        """The methods called, in order."""
        return [call.method for call in self.recorder.calls]

    def fail(self, method: str, error: DomainError | Exception) -> None:
        self.recorder.failures[method] = error

    def reset(self) -> None:
        """Forgets the calls so far, and lets everything succeed again."""
        self.recorder.calls.clear()
        self.recorder.failures.clear()
        self.recorder.delays.clear()
        self.recorder.waits.clear()
        for stream in (self.accounts.impacts, self.logistics.acceptances, self.rewards.changes):
            stream.opened = 0


def _found(rows: dict[str, Any], ids: Iterable[str]) -> list[Any]:
    return [rows[id] for id in ids if id in rows]
