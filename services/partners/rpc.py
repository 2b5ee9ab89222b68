"""proto <-> domain for the partners service, and nothing else."""

from typing import Any

from alliance.partners.v1 import partners_pb2 as pb
from alliance.partners.v1.partners_pb2_grpc import PartnersServiceServicer
from services.partners.domain import Partner, PartnerStatus
from services.partners.service import Partners
from services.shared import checks
from services.shared.idempotency import Idempotency
from services.shared.mongo import Transaction
from services.shared.pages import PageQuery
from services.shared.proto import enum_name, enum_number, timestamp

Context = Any


class PartnersRpc(PartnersServiceServicer):  # type: ignore
    """The methods, as the proto describes them."""

    def __init__(self, partners: Partners, idempotency: Idempotency) -> None:
        self._partners = partners
        self._once = idempotency.once

    async def ApplyPartner(self, request: pb.ApplyPartnerRequest, context: Context) -> pb.ApplyPartnerResponse:
        async def effect(tx: Transaction) -> pb.ApplyPartnerResponse:
            partner = await self._partners.apply(
                tx, name=request.name, trade=request.trade, country=request.country, logo_url=request.logo_url
            )
            return pb.ApplyPartnerResponse(partner=_partner(partner))

        return (await self._once(request, pb.ApplyPartnerResponse, effect)).response

    async def SetPartnerStatus(
        self, request: pb.SetPartnerStatusRequest, context: Context
    ) -> pb.SetPartnerStatusResponse:
        async def effect(tx: Transaction) -> pb.SetPartnerStatusResponse:
            name = enum_name(pb.PartnerStatus, request.status, "PARTNER_STATUS_")
            if not name:
                raise checks.FieldInvalid("status", "needs one of the known values.")
            partner = await self._partners.set_status(tx, request.partner_id, PartnerStatus(name))
            return pb.SetPartnerStatusResponse(partner=_partner(partner))

        return (await self._once(request, pb.SetPartnerStatusResponse, effect)).response

    async def BatchGetPartners(
        self, request: pb.BatchGetPartnersRequest, context: Context
    ) -> pb.BatchGetPartnersResponse:
        checks.batch(request.ids)
        return pb.BatchGetPartnersResponse(partners=map(_partner, await self._partners.get(request.ids)))

    async def ListPartners(self, request: pb.ListPartnersRequest, context: Context) -> pb.ListPartnersResponse:
        page = await self._partners.page(PageQuery.of(request.page))
        return pb.ListPartnersResponse(partners=map(_partner, page.rows), page_info=page.info())


def _partner(partner: Partner) -> pb.Partner:
    return pb.Partner(
        id=partner.id,
        name=partner.name,
        trade=partner.trade,
        country=partner.country,
        status=enum_number(pb.PartnerStatus, partner.status, "PARTNER_STATUS_"),
        applied_at=timestamp(partner.applied_at),
        status_changed_at=timestamp(partner.status_changed_at),
        logo_url=partner.logo_url,
    )
