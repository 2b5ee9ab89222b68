"""What brands and operators change in partners."""

import strawberry

from alliance.common.v1 import money_pb2
from alliance.partners.v1 import partners_pb2 as pb
from gateway.access import INHERITED
from gateway.accounts.types import ActKind
from gateway.engine.declare import federated, given, request_input, value
from gateway.mutations import LIMIT, MISSING, REFUSED, REQUEST_ID, mutation
from gateway.partners.sources import PARTNERS
from gateway.partners.types import Agreement, ApiClient, Campaign, EarnRule, Partner, PartnerStatus, PrepaidBlock
from gateway.scalars import DateTime, Long, Points


@request_input(money_pb2.Money, "An amount of money.")
class MoneyInput:
    currency: str = given("ISO 4217, for example EUR.")
    micros: Long = given("Millionths of the currency's unit.")


@request_input(pb.ApplyPartnerRequest, "A brand that wants to join.")
class ApplyPartnerInput:
    request_id: str = given(REQUEST_ID)
    name: str = given("2 to 80 characters; no other partner may have it, case and spaces aside.")
    trade: str = given("What it does, 2 to 40 characters, for example grocer.")
    country: str = given("ISO 3166-1 alpha-2.")
    logo_url: str | None = given("https URL of its logo.", default=None)


@federated(pb.ApplyPartnerResponse, "The brand has applied; an operator decides.", rule=INHERITED)
class ApplyPartnerPayload:
    partner: Partner | None = value("The new partner.")


@request_input(pb.SetPartnerStatusRequest, "Where a partner shall be in its life.")
class SetPartnerStatusInput:
    request_id: str = given(REQUEST_ID)
    partner_id: strawberry.ID = given("The partner.")
    status: PartnerStatus = given("APPROVED, SUSPENDED or CLOSED.")


@federated(pb.SetPartnerStatusResponse, "The partner has moved.", rule=INHERITED)
class SetPartnerStatusPayload:
    partner: Partner | None = value("The partner, as it is now.")


@request_input(pb.CreateApiClientRequest, "For whom to make credentials.")
class CreateApiClientInput:
    request_id: str = given(REQUEST_ID)
    partner_id: strawberry.ID | None = given("The partner; a partner may leave it out: itself.", default=None)
    label: str = given("What to call them, 1 to 80 characters.")


@federated(pb.CreateApiClientResponse, "Credentials for a partner's backend.", rule=INHERITED)
class CreateApiClientPayload:
    client: ApiClient | None = value("The credentials; its id is the client_id.")
    secret: str = value("The client_secret, in this answer alone; empty when the request is repeated.")


@request_input(pb.RevokeApiClientRequest, "Which credentials to end.")
class RevokeApiClientInput:
    request_id: str = given(REQUEST_ID)
    client_id: strawberry.ID = given("The credentials.")


@federated(pb.RevokeApiClientResponse, "The credentials are ended.", rule=INHERITED)
class RevokeApiClientPayload:
    client: ApiClient | None = value("The credentials, as they are now.")


@request_input(pb.OfferAgreementRequest, "What a point shall cost a partner.")
class OfferAgreementInput:
    request_id: str = given(REQUEST_ID)
    partner_id: strawberry.ID = given("The partner.")
    unit_value: MoneyInput = given("The value of one point; positive, at most 1,000 units of the currency.")
    valid_from: DateTime = given("In force from here on, once accepted.")


@federated(pb.OfferAgreementResponse, "The agreement has been offered.", rule=INHERITED)
class OfferAgreementPayload:
    agreement: Agreement | None = value("The offer.")


@request_input(pb.AcceptAgreementRequest, "Which offer to accept.")
class AcceptAgreementInput:
    request_id: str = given(REQUEST_ID)
    agreement_id: strawberry.ID = given("The offer.")


@federated(pb.AcceptAgreementResponse, "The agreement is accepted.", rule=INHERITED)
class AcceptAgreementPayload:
    agreement: Agreement | None = value("The agreement.")


@request_input(pb.OrderPrepaidBlockRequest, "How many points to buy ahead.")
class OrderPrepaidBlockInput:
    request_id: str = given(REQUEST_ID)
    points: Points = given("1 to 1,000,000,000.")


@federated(pb.OrderPrepaidBlockResponse, "The block is ordered.", rule=INHERITED)
class OrderPrepaidBlockPayload:
    block: PrepaidBlock | None = value("The block, to be paid.")


@request_input(pb.ConfirmPrepaidBlockRequest, "Which block has been paid.")
class ConfirmPrepaidBlockInput:
    request_id: str = given(REQUEST_ID)
    block_id: strawberry.ID = given("The block.")


@federated(pb.ConfirmPrepaidBlockResponse, "The block is paid.", rule=INHERITED)
class ConfirmPrepaidBlockPayload:
    block: PrepaidBlock | None = value("The block.")
    allotted: bool = value("Whether the ledger has its points already; if not, they follow by themselves.")


@request_input(pb.CreateEarnRuleRequest, "By what rule members shall earn for a kind of act.")
class CreateEarnRuleInput:
    request_id: str = given(REQUEST_ID)
    kind: ActKind = given("The kind of act.")
    points: Points = given("This many points, 0 to 1,000,000 ...")
    per_quantity: Long = given("... for this much of the act, in the unit of its kind, 1 to 1,000,000.")
    valid_from: DateTime = given("In force for acts from here on; at most 400 days ago.")
    points_valid_months: int = given("The points are good until the end of the month this many months after the act.")
    return_window_days: int = given(
        "For so many days after the act, 0 to 365, the points are pending and can be taken back whole. It has to end "
        "before the points do: at most 27 days for points that are good for 1 month, 364 for 12 months.",
        default=0,
    )


@federated(pb.CreateEarnRuleResponse, "The rule is set.", rule=INHERITED)
class CreateEarnRulePayload:
    rule: EarnRule | None = value("The rule.")


@request_input(pb.CreateCampaignRequest, "Extra points for a kind of act, for a while.")
class CreateCampaignInput:
    request_id: str = given(REQUEST_ID)
    name: str = given("1 to 80 characters.")
    kind: ActKind = given("The kind of act.")
    extra_percent: int = given("Extra points in percent of what the rule gives, 1 to 1,000.")
    valid_from: DateTime = given("In force for acts from here on ...")
    valid_until: DateTime = given("... and before this moment.")
    budget_points: Points = given("All that it may give, 1 to 1,000,000,000.")
    member_cap_points: Points = given("All that one member may get from it, 1 to 1,000,000,000.")
    points_expire_at: DateTime = given("The extra points are good until this moment.")


@federated(pb.CreateCampaignResponse, "The campaign is set.", rule=INHERITED)
class CreateCampaignPayload:
    campaign: Campaign | None = value("The campaign.")


@strawberry.type
class PartnersMutation:
    """Mutations of partners."""

    apply_partner = mutation(
        PARTNERS,
        "ApplyPartner",
        ApplyPartnerInput,
        ApplyPartnerPayload,
        LIMIT,
        description="Applies to join the alliance; open to everybody, an operator decides.",
    )
    set_partner_status = mutation(
        PARTNERS,
        "SetPartnerStatus",
        SetPartnerStatusInput,
        SetPartnerStatusPayload,
        MISSING,
        REFUSED,
        description="Approves, suspends, resumes or closes a partner. For operators.",
    )
    create_api_client = mutation(
        PARTNERS,
        "CreateApiClient",
        CreateApiClientInput,
        CreateApiClientPayload,
        MISSING,
        REFUSED,
        LIMIT,
        description="Makes credentials for a partner's backend; the secret is shown once. For operators and partners.",
    )
    revoke_api_client = mutation(
        PARTNERS,
        "RevokeApiClient",
        RevokeApiClientInput,
        RevokeApiClientPayload,
        MISSING,
        description="Ends credentials at once; tokens made from them run out of themselves. For operators, partners.",
    )
    offer_agreement = mutation(
        PARTNERS,
        "OfferAgreement",
        OfferAgreementInput,
        OfferAgreementPayload,
        MISSING,
        REFUSED,
        LIMIT,
        description="Offers a partner an agreement on what one of its points costs it. For operators.",
    )
    accept_agreement = mutation(
        PARTNERS,
        "AcceptAgreement",
        AcceptAgreementInput,
        AcceptAgreementPayload,
        MISSING,
        REFUSED,
        description="Accepts an offer. For the partner it was made to.",
    )
    order_prepaid_block = mutation(
        PARTNERS,
        "OrderPrepaidBlock",
        OrderPrepaidBlockInput,
        OrderPrepaidBlockPayload,
        REFUSED,
        LIMIT,
        description="Orders points that the partner may issue once they are paid. For partners.",
    )
    confirm_prepaid_block = mutation(
        PARTNERS,
        "ConfirmPrepaidBlock",
        ConfirmPrepaidBlockInput,
        ConfirmPrepaidBlockPayload,
        MISSING,
        REFUSED,
        description="Says that a block has been paid. For operators.",
    )
    create_earn_rule = mutation(
        PARTNERS,
        "CreateEarnRule",
        CreateEarnRuleInput,
        CreateEarnRulePayload,
        REFUSED,
        LIMIT,
        description="Sets by what rule the partner's members earn for a kind of act. For partners.",
    )
    create_campaign = mutation(
        PARTNERS,
        "CreateCampaign",
        CreateCampaignInput,
        CreateCampaignPayload,
        REFUSED,
        LIMIT,
        description="Starts extra points for a kind of act, within a budget and a cap per member. For partners.",
    )
