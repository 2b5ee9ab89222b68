"""proto <-> domain for the partners service, and nothing else."""

from collections.abc import Iterable
from typing import Any, Protocol, TypeVar

from alliance.partners.v1 import partners_pb2 as pb
from alliance.partners.v1.partners_pb2_grpc import PartnersServiceServicer
from services.partners import messages
from services.partners.service.agreements import Agreements
from services.partners.service.clients import ApiClients
from services.partners.service.earning import Earning
from services.partners.service.partners import Partners
from services.shared import checks
from services.shared.idempotency import Idempotency
from services.shared.identity import acting_partner, current_caller
from services.shared.mongo import Transaction
from services.shared.pages import PageQuery

Context = Any
_CLAIMS = 500


class PartnersRpc(PartnersServiceServicer):
    """The methods, as the proto describes them."""

    def __init__(
        self,
        partners: Partners,
        clients: ApiClients,
        agreements: Agreements,
        earning: Earning,
        idempotency: Idempotency,
    ) -> None:
        self._partners = partners
        self._clients = clients
        self._agreements = agreements
        self._earning = earning
        self._once = idempotency.once

    async def ApplyPartner(self, request: pb.ApplyPartnerRequest, context: Context) -> pb.ApplyPartnerResponse:
        async def effect(tx: Transaction) -> pb.ApplyPartnerResponse:
            partner = await self._partners.apply(
                tx, name=request.name, trade=request.trade, country=request.country, logo_url=request.logo_url
            )
            return pb.ApplyPartnerResponse(partner=messages.partner(partner))

        return (await self._once(request, pb.ApplyPartnerResponse, effect)).response

    async def SetPartnerStatus(
        self, request: pb.SetPartnerStatusRequest, context: Context
    ) -> pb.SetPartnerStatusResponse:
        async def effect(tx: Transaction) -> pb.SetPartnerStatusResponse:
            status = messages.to_status(request.status)
            partner = await self._partners.set_status(tx, request.partner_id, status)
            return pb.SetPartnerStatusResponse(partner=messages.partner(partner))

        return (await self._once(request, pb.SetPartnerStatusResponse, effect)).response

    async def BatchGetPartners(
        self, request: pb.BatchGetPartnersRequest, context: Context
    ) -> pb.BatchGetPartnersResponse:
        checks.batch(request.ids)
        return pb.BatchGetPartnersResponse(partners=map(messages.partner, await self._partners.get(request.ids)))

    async def ListPartners(self, request: pb.ListPartnersRequest, context: Context) -> pb.ListPartnersResponse:
        status = messages.to_status(request.status) if request.status else None
        page = await self._partners.page(status, PageQuery.of(request.page))
        return pb.ListPartnersResponse(partners=map(messages.partner, page.rows), page_info=page.info())

    async def CreateApiClient(self, request: pb.CreateApiClientRequest, context: Context) -> pb.CreateApiClientResponse:
        async def effect(tx: Transaction) -> pb.CreateApiClientResponse:
            client, secret = await self._clients.create(tx, acting_partner(request.partner_id), request.label)
            return pb.CreateApiClientResponse(client=messages.api_client(client), secret=secret)

        def without_secret(response: pb.CreateApiClientResponse) -> pb.CreateApiClientResponse:
            return pb.CreateApiClientResponse(client=response.client)

        return (await self._once(request, pb.CreateApiClientResponse, effect, stored=without_secret)).response

    async def RevokeApiClient(self, request: pb.RevokeApiClientRequest, context: Context) -> pb.RevokeApiClientResponse:
        async def effect(tx: Transaction) -> pb.RevokeApiClientResponse:
            client = await self._clients.revoke(tx, request.client_id, owner_id=acting_partner(""))
            return pb.RevokeApiClientResponse(client=messages.api_client(client))

        return (await self._once(request, pb.RevokeApiClientResponse, effect)).response

    async def BatchListApiClients(
        self, request: pb.BatchListApiClientsRequest, context: Context
    ) -> pb.BatchListApiClientsResponse:
        checks.batch(request.partner_ids)
        groups = _by_partner(await self._clients.in_use(request.partner_ids))
        return pb.BatchListApiClientsResponse(
            partners=[
                pb.BatchListApiClientsResponse.PartnerClients(
                    partner_id=partner_id, clients=map(messages.api_client, clients)
                )
                for partner_id, clients in groups.items()
            ]
        )

    async def AuthenticateClient(
        self, request: pb.AuthenticateClientRequest, context: Context
    ) -> pb.AuthenticateClientResponse:
        client = await self._clients.authenticate(request.client_id, request.secret)
        return pb.AuthenticateClientResponse(client=messages.api_client(client), operator=client.operator)

    async def OfferAgreement(self, request: pb.OfferAgreementRequest, context: Context) -> pb.OfferAgreementResponse:
        async def effect(tx: Transaction) -> pb.OfferAgreementResponse:
            agreement = await self._agreements.offer(
                tx,
                request.partner_id,
                messages.to_money(request.unit_value),
                checks.moment(request.valid_from, "valid_from"),
            )
            return pb.OfferAgreementResponse(agreement=messages.agreement(agreement))

        return (await self._once(request, pb.OfferAgreementResponse, effect)).response

    async def AcceptAgreement(self, request: pb.AcceptAgreementRequest, context: Context) -> pb.AcceptAgreementResponse:
        async def effect(tx: Transaction) -> pb.AcceptAgreementResponse:
            agreement = await self._agreements.accept(tx, request.agreement_id, _own_partner())
            return pb.AcceptAgreementResponse(agreement=messages.agreement(agreement))

        return (await self._once(request, pb.AcceptAgreementResponse, effect)).response

    async def BatchListAgreements(
        self, request: pb.BatchListAgreementsRequest, context: Context
    ) -> pb.BatchListAgreementsResponse:
        checks.batch(request.partner_ids)
        groups = _by_partner(await self._agreements.agreements_of(request.partner_ids))
        return pb.BatchListAgreementsResponse(
            partners=[
                pb.BatchListAgreementsResponse.PartnerAgreements(
                    partner_id=partner_id, agreements=map(messages.agreement, agreements)
                )
                for partner_id, agreements in groups.items()
            ]
        )

    async def OrderPrepaidBlock(
        self, request: pb.OrderPrepaidBlockRequest, context: Context
    ) -> pb.OrderPrepaidBlockResponse:
        async def effect(tx: Transaction) -> pb.OrderPrepaidBlockResponse:
            block = await self._agreements.order_block(tx, _own_partner(), request.points)
            return pb.OrderPrepaidBlockResponse(block=messages.block(block))

        return (await self._once(request, pb.OrderPrepaidBlockResponse, effect)).response

    async def ConfirmPrepaidBlock(
        self, request: pb.ConfirmPrepaidBlockRequest, context: Context
    ) -> pb.ConfirmPrepaidBlockResponse:
        async def effect(tx: Transaction) -> pb.ConfirmPrepaidBlockResponse:
            block = await self._agreements.confirm_block(tx, request.block_id)
            return pb.ConfirmPrepaidBlockResponse(block=messages.block(block))

        done = await self._once(request, pb.ConfirmPrepaidBlockResponse, effect)
        # Asked for anew, since another request may have confirmed the block and its event be on its way still.
        done.response.allotted = done.settled and await self._agreements.allotted(done.response.block.id)
        return done.response

    async def BatchListPrepaidBlocks(
        self, request: pb.BatchListPrepaidBlocksRequest, context: Context
    ) -> pb.BatchListPrepaidBlocksResponse:
        checks.batch(request.partner_ids)
        groups = _by_partner(await self._agreements.blocks_of(request.partner_ids))
        return pb.BatchListPrepaidBlocksResponse(
            partners=[
                pb.BatchListPrepaidBlocksResponse.PartnerBlocks(
                    partner_id=partner_id, blocks=map(messages.block, blocks)
                )
                for partner_id, blocks in groups.items()
            ]
        )

    async def CreateEarnRule(self, request: pb.CreateEarnRuleRequest, context: Context) -> pb.CreateEarnRuleResponse:
        async def effect(tx: Transaction) -> pb.CreateEarnRuleResponse:
            rule = await self._earning.create_rule(
                tx,
                _own_partner(),
                kind=messages.to_kind(request.kind),
                points=request.points,
                per_quantity=request.per_quantity,
                valid_from=checks.moment(request.valid_from, "valid_from"),
                points_valid_months=request.points_valid_months,
                return_window_days=request.return_window_days,
            )
            return pb.CreateEarnRuleResponse(rule=messages.rule(rule))

        return (await self._once(request, pb.CreateEarnRuleResponse, effect)).response

    async def CreateCampaign(self, request: pb.CreateCampaignRequest, context: Context) -> pb.CreateCampaignResponse:
        async def effect(tx: Transaction) -> pb.CreateCampaignResponse:
            campaign = await self._earning.create_campaign(
                tx,
                _own_partner(),
                name=request.name,
                kind=messages.to_kind(request.kind),
                extra_percent=request.extra_percent,
                valid_from=checks.moment(request.valid_from, "valid_from"),
                valid_until=checks.moment(request.valid_until, "valid_until"),
                budget_points=request.budget_points,
                member_cap_points=request.member_cap_points,
                points_expire_at=checks.moment(request.points_expire_at, "points_expire_at"),
            )
            return pb.CreateCampaignResponse(campaign=messages.campaign(campaign))

        return (await self._once(request, pb.CreateCampaignResponse, effect)).response

    async def BatchListEarnRules(
        self, request: pb.BatchListEarnRulesRequest, context: Context
    ) -> pb.BatchListEarnRulesResponse:
        checks.batch(request.partner_ids)
        all_rules, all_campaigns = await self._earning.of_partners(request.partner_ids)
        rules, campaigns = _by_partner(all_rules), _by_partner(all_campaigns)
        return pb.BatchListEarnRulesResponse(
            partners=[
                pb.BatchListEarnRulesResponse.PartnerRules(
                    partner_id=partner_id,
                    rules=map(messages.rule, rules.get(partner_id, ())),
                    campaigns=map(messages.campaign, campaigns.get(partner_id, ())),
                )
                for partner_id in {**rules, **campaigns}
            ]
        )

    async def BatchGetEarnRules(
        self, request: pb.BatchGetEarnRulesRequest, context: Context
    ) -> pb.BatchGetEarnRulesResponse:
        checks.batch([*request.rule_ids, *request.campaign_ids])
        rules, campaigns = await self._earning.get(request.rule_ids, request.campaign_ids)
        return pb.BatchGetEarnRulesResponse(
            rules=map(messages.rule, rules), campaigns=map(messages.campaign, campaigns)
        )

    async def BatchEvaluateEarns(
        self, request: pb.BatchEvaluateEarnsRequest, context: Context
    ) -> pb.BatchEvaluateEarnsResponse:
        checks.batch(request.questions, _CLAIMS)
        questions = [messages.to_question(one, f"questions[{at}]") for at, one in enumerate(request.questions)]
        return pb.BatchEvaluateEarnsResponse(decisions=map(messages.decision, await self._earning.evaluate(questions)))

    async def BatchReleaseEarns(
        self, request: pb.BatchReleaseEarnsRequest, context: Context
    ) -> pb.BatchReleaseEarnsResponse:
        checks.batch(request.claim_ids, _CLAIMS)
        await self._earning.release(request.claim_ids)
        return pb.BatchReleaseEarnsResponse()


class _OfPartner(Protocol):
    @property
    def partner_id(self) -> str: ...


Row = TypeVar("Row", bound=_OfPartner)


def _by_partner(rows: Iterable[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.partner_id, []).append(row)
    return groups


def _own_partner() -> str:
    """For methods that partners alone may call."""
    return current_caller().partner_id
