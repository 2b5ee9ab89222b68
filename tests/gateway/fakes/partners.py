# ruff: noqa: N802 - methods are named as in the proto
"""The stand-in of partners."""

from typing import Any

from alliance.partners.v1 import partners_pb2, partners_pb2_grpc
from services.shared.errors import Unauthenticated
from services.shared.identity import current_caller
from services.shared.ids import new_id
from tests.gateway.fakes.recording import NOW, found, page_of


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
        return partners_pb2.BatchGetPartnersResponse(partners=found(self.partners, request.ids))

    async def ListPartners(self, request: Any, _: Any) -> Any:
        rows, info = page_of([row for row in self.partners.values() if request.status in (0, row.status)], request.page)
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
