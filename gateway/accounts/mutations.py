"""What brands and members change in accounts."""

import strawberry

from alliance.accounts.v1 import accounts_pb2 as pb
from gateway.access import INHERITED
from gateway.accounts.sources import ACCOUNTS
from gateway.accounts.types import Act, ActKind, Consent, Identity, Member
from gateway.engine.declare import federated, given, request_input, value
from gateway.mutations import LIMIT, MISSING, REQUEST_ID, mutation
from gateway.scalars import DateTime, Long


@request_input(pb.EnrolMemberRequest, "A new member.")
class EnrolMemberInput:
    request_id: str = given(REQUEST_ID)
    display_name: str = given("How the member wants to be called, 1 to 80 characters.")
    customer_number: str = given("The brand's own number for the member, 1 to 64 characters.")


@federated(pb.EnrolMemberResponse, "The member is enrolled.", rule=INHERITED)
class EnrolMemberPayload:
    # The brand has just said all of this itself; what lies behind it is asked for with the member's consent only.
    member: Member | None = value("The new member; more than its own fields needs its consent.", entry=INHERITED)


@request_input(pb.CreateLinkCodeRequest, "A wish for a link code.")
class CreateLinkCodeInput:
    request_id: str = given(REQUEST_ID)


@federated(pb.CreateLinkCodeResponse, "A code that links the member to a further brand.", rule=INHERITED)
class CreateLinkCodePayload:
    code: str = value("To be typed or scanned at the other brand; works once.")
    expires_at: DateTime | None = value("Until when it works.")


@request_input(pb.LinkIdentityRequest, "A customer number to be linked to the member who made the code.")
class LinkIdentityInput:
    request_id: str = given(REQUEST_ID)
    code: str = given("The member's code.")
    customer_number: str = given("The brand's own number for the member, 1 to 64 characters.")


@federated(pb.LinkIdentityResponse, "The number is linked.", rule=INHERITED)
class LinkIdentityPayload:
    identity: Identity | None = value("The brand's number and the member that it belongs to.")


@request_input(pb.SetConsentRequest, "A member's word on whether a brand may see its data.")
class SetConsentInput:
    request_id: str = given(REQUEST_ID)
    partner_id: strawberry.ID = given("The brand.")
    granted: bool = given("Whether it may.")


@federated(pb.SetConsentResponse, "The member's word is taken.", rule=INHERITED)
class SetConsentPayload:
    consent: Consent | None = value("What holds now.")


@request_input(pb.ActReport, "What a brand says a member did; name the member by id or by customer number.")
class ActReportInput:
    member_id: strawberry.ID | None = given("The member.", default=None)
    customer_number: str | None = given("The brand's own number for the member.", default=None)
    kind: ActKind = given("What was done.")
    quantity: Long = given("How much, in the unit of the kind; 1 to 1,000,000.")
    occurred_at: DateTime = given("When it was done.")
    reference: str | None = given(
        "The number of the ticket, receipt or bill; the same one makes it the same act, whoever reports it. "
        "Required for trips. Of a box its own number: a machine that takes it in on that day reports the same act.",
        default=None,
    )


@request_input(pb.ReportActsRequest, "Acts that the brand saw members do.")
class ReportActsInput:
    request_id: str = given(REQUEST_ID)
    reports: list[ActReportInput] = given("1 to 100 acts.")


@federated(pb.ReportActsResponse, "Each act has an outcome of its own.", rule=INHERITED)
class ReportActsPayload:
    acts: list[Act] = value("In the order of the reports.", size=100)


@strawberry.type
class AccountsMutation:
    """Mutations of accounts."""

    enrol_member = mutation(
        ACCOUNTS,
        "EnrolMember",
        EnrolMemberInput,
        EnrolMemberPayload,
        description="Makes a new member known, by the brand's own customer number. For partners.",
    )
    create_link_code = mutation(
        ACCOUNTS,
        "CreateLinkCode",
        CreateLinkCodeInput,
        CreateLinkCodePayload,
        MISSING,
        LIMIT,
        description="Makes a code with which a further brand can link its customer number to the member. For members.",
    )
    link_identity = mutation(
        ACCOUNTS,
        "LinkIdentity",
        LinkIdentityInput,
        LinkIdentityPayload,
        MISSING,
        description="Links the brand's customer number to the member who made the code. For partners.",
    )
    set_consent = mutation(
        ACCOUNTS,
        "SetConsent",
        SetConsentInput,
        SetConsentPayload,
        MISSING,
        LIMIT,
        description="Gives or takes back the consent that a brand sees the member's data, at once. For members.",
    )
    report_acts = mutation(
        ACCOUNTS,
        "ReportActs",
        ReportActsInput,
        ReportActsPayload,
        description="Reports acts that the brand saw members do; one refused does not hold back the others. "
        "For partners.",
    )
