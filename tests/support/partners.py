"""The partners service with partners in it, as tests need them."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from alliance.accounts.v1 import accounts_pb2
from alliance.common.v1.money_pb2 import Money
from alliance.partners.v1 import partners_pb2 as pb
from alliance.partners.v1.partners_pb2_grpc import PartnersServiceStub
from services.shared.client import Client
from services.shared.proto import timestamp
from tests.support.service import ANYONE, OPERATOR, partner, request_id

PartnersClient = Client[PartnersServiceStub]

CENT = Money(currency="EUR", micros=10_000)


def ago(**duration: float) -> datetime:
    """So long ago, to the millisecond."""
    at = datetime.now(UTC) - timedelta(**duration)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def ahead(**duration: float) -> datetime:
    return ago(**{unit: -amount for unit, amount in duration.items()})


async def applied(partners: PartnersClient, name: str = "") -> pb.Partner:
    request = pb.ApplyPartnerRequest(
        request_id=request_id(), name=name or f"Brand {uuid4().hex[:12]}", trade="grocer", country="NL"
    )
    return (await partners.call(partners.stub.ApplyPartner, request, caller=ANYONE)).partner


async def moved(partners: PartnersClient, partner_id: str, status: pb.PartnerStatus) -> pb.Partner:
    request = pb.SetPartnerStatusRequest(request_id=request_id(), partner_id=partner_id, status=status)
    return (await partners.call(partners.stub.SetPartnerStatus, request, caller=OPERATOR)).partner


async def approved(partners: PartnersClient) -> pb.Partner:
    return await moved(partners, (await applied(partners)).id, pb.PARTNER_STATUS_APPROVED)


async def offered(
    partners: PartnersClient, partner_id: str, unit_value: Money = CENT, valid_from: datetime | None = None
) -> pb.Agreement:
    request = pb.OfferAgreementRequest(
        request_id=request_id(),
        partner_id=partner_id,
        unit_value=unit_value,
        valid_from=timestamp(valid_from or ago(days=399)),
    )
    return (await partners.call(partners.stub.OfferAgreement, request, caller=OPERATOR)).agreement


async def agreed(
    partners: PartnersClient, partner_id: str, unit_value: Money = CENT, valid_from: datetime | None = None
) -> pb.Agreement:
    offer = await offered(partners, partner_id, unit_value, valid_from)
    request = pb.AcceptAgreementRequest(request_id=request_id(), agreement_id=offer.id)
    return (await partners.call(partners.stub.AcceptAgreement, request, caller=partner(partner_id))).agreement


def rule_request(**fields: object) -> pb.CreateEarnRuleRequest:
    """A good request, except for the fields given."""
    values: dict[str, object] = {
        "request_id": request_id(),
        "kind": accounts_pb2.ACT_KIND_OWN_CUP,
        "points": 10,
        "per_quantity": 1,
        "valid_from": timestamp(ago(days=399)),
        "points_valid_months": 12,
    }
    return pb.CreateEarnRuleRequest(**{**values, **fields})  # type: ignore[arg-type]


async def ruled(partners: PartnersClient, partner_id: str, **fields: object) -> pb.EarnRule:
    request = rule_request(**fields)
    return (await partners.call(partners.stub.CreateEarnRule, request, caller=partner(partner_id))).rule


def campaign_request(**fields: object) -> pb.CreateCampaignRequest:
    """A good request, except for the fields given."""
    values: dict[str, object] = {
        "request_id": request_id(),
        "name": "Double points",
        "kind": accounts_pb2.ACT_KIND_OWN_CUP,
        "extra_percent": 100,
        "valid_from": timestamp(ago(days=30)),
        "valid_until": timestamp(ahead(days=30)),
        "budget_points": 1_000_000,
        "member_cap_points": 1_000_000,
        "points_expire_at": timestamp(ahead(days=60)),
    }
    return pb.CreateCampaignRequest(**{**values, **fields})  # type: ignore[arg-type]


async def campaigning(partners: PartnersClient, partner_id: str, **fields: object) -> pb.Campaign:
    request = campaign_request(**fields)
    return (await partners.call(partners.stub.CreateCampaign, request, caller=partner(partner_id))).campaign


async def earning(partners: PartnersClient) -> pb.Partner:
    """An approved partner with an agreement, whose members earn 10 points for a cup."""
    brand = await approved(partners)
    await agreed(partners, brand.id)
    await ruled(partners, brand.id)
    return brand
