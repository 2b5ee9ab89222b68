"""Members, identities, link codes and consents over gRPC: a real process on a real database."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from alliance.accounts.v1 import accounts_pb2 as pb
from alliance.accounts.v1.accounts_pb2_grpc import AccountsServiceStub
from services.shared.client import Client
from services.shared.errors import AlreadyExists, InvalidArgument, NotFound, PermissionDenied, ResourceExhausted
from services.shared.ids import new_id
from tests.support.errors import refused
from tests.support.service import ANYONE, OPERATOR, ServiceProcess, member, partner, request_id

AccountsClient = Client[AccountsServiceStub]

GROCER, NOODLES, COURIER = new_id("partner"), new_id("partner"), new_id("partner")


@pytest.fixture(scope="module")
def process(mongodb_uri: str, keys: Path, workspace: Path) -> Iterator[ServiceProcess]:
    process = ServiceProcess("accounts", mongodb_uri, keys, workspace / "accounts_members.log")
    process.start()
    yield process
    assert process.stop() == 0


@pytest.fixture
async def accounts(process: ServiceProcess) -> AccountsClient:
    return process.client(AccountsServiceStub)


def number() -> str:
    """A customer number that nobody has."""
    return f"C-{uuid4().hex[:12]}"


async def enrolled(accounts: AccountsClient, partner_id: str = GROCER, name: str = "Ada", customer: str = "") -> str:
    request = pb.EnrolMemberRequest(request_id=request_id(), display_name=name, customer_number=customer or number())
    return (await accounts.call(accounts.stub.EnrolMember, request, caller=partner(partner_id))).member.id


async def link_code(accounts: AccountsClient, member_id: str) -> str:
    request = pb.CreateLinkCodeRequest(request_id=request_id())
    return (await accounts.call(accounts.stub.CreateLinkCode, request, caller=member(member_id))).code


async def linked(accounts: AccountsClient, partner_id: str, code: str, customer: str) -> pb.Identity:
    request = pb.LinkIdentityRequest(request_id=request_id(), code=code, customer_number=customer)
    return (await accounts.call(accounts.stub.LinkIdentity, request, caller=partner(partner_id))).identity


async def found(accounts: AccountsClient, partner_id: str, customer: str) -> list[pb.Identity]:
    request = pb.BatchFindIdentitiesRequest(keys=[{"partner_id": partner_id, "customer_number": customer}])
    return list((await accounts.call(accounts.stub.BatchFindIdentities, request)).identities)


async def consented(accounts: AccountsClient, member_id: str, partner_id: str, granted: bool) -> pb.Consent:
    request = pb.SetConsentRequest(request_id=request_id(), partner_id=partner_id, granted=granted)
    return (await accounts.call(accounts.stub.SetConsent, request, caller=member(member_id))).consent


async def sees(accounts: AccountsClient, partner_id: str, member_id: str) -> bool:
    request = pb.BatchCheckConsentsRequest(pairs=[{"partner_id": partner_id, "member_id": member_id}])
    return bool((await accounts.call(accounts.stub.BatchCheckConsents, request)).granted)


async def test_a_member_is_enrolled_once_whatever_is_repeated(accounts: AccountsClient):
    customer = number()
    request = pb.EnrolMemberRequest(request_id=request_id(), display_name="  Ada ", customer_number=customer)
    first = await accounts.call(accounts.stub.EnrolMember, request, caller=partner(GROCER))
    again = await accounts.call(accounts.stub.EnrolMember, request, caller=partner(GROCER))
    assert first == again
    assert first.member.id.startswith("member_")
    assert (first.member.display_name, first.member.enrolled_by_partner_id) == ("Ada", GROCER)
    (identity,) = await found(accounts, GROCER, customer)
    assert identity.member_id == first.member.id
    request.display_name = "Eve"
    error = await refused(AlreadyExists, accounts.call(accounts.stub.EnrolMember, request, caller=partner(GROCER)))
    assert error.reason == "REQUEST_ID_REUSED"


async def test_a1_a_customer_number_has_one_member(accounts: AccountsClient):
    customer = number()
    await enrolled(accounts, GROCER, customer=customer)
    error = await refused(AlreadyExists, enrolled(accounts, GROCER, name="Eve", customer=f" {customer} "))
    assert error.reason == "IDENTITY_ALREADY_LINKED"
    assert await enrolled(accounts, NOODLES, customer=customer), "another brand may count its customers alike"


async def test_a1_of_many_that_enrol_one_number_at_once_one_wins(accounts: AccountsClient):
    customer = number()
    outcomes = await asyncio.gather(
        *(enrolled(accounts, GROCER, customer=customer) for _ in range(10)), return_exceptions=True
    )
    assert sum(isinstance(outcome, str) for outcome in outcomes) == 1
    assert {outcome.reason for outcome in outcomes if not isinstance(outcome, str)} == {"IDENTITY_ALREADY_LINKED"}


async def test_a1_a_member_brings_identities_of_many_brands_together(accounts: AccountsClient):
    ada = await enrolled(accounts, GROCER)
    request = pb.LinkIdentityRequest(
        request_id=request_id(), code=await link_code(accounts, ada), customer_number=number()
    )
    first = await accounts.call(accounts.stub.LinkIdentity, request, caller=partner(NOODLES))
    again = await accounts.call(accounts.stub.LinkIdentity, request, caller=partner(NOODLES))
    assert first == again
    assert (first.identity.member_id, first.identity.partner_id) == (ada, NOODLES)
    eve = await enrolled(accounts, COURIER)
    answer = await accounts.call(
        accounts.stub.BatchListIdentities, pb.BatchListIdentitiesRequest(member_ids=[eve, ada, "member_none"])
    )
    assert {row.member_id: {one.partner_id for one in row.identities} for row in answer.members} == {
        ada: {GROCER, NOODLES},
        eve: {COURIER},
    }


async def test_a1_the_same_brand_identity_on_a_second_member_is_refused(accounts: AccountsClient):
    customer = number()
    await enrolled(accounts, NOODLES, customer=customer)
    eve = await enrolled(accounts, GROCER, name="Eve")
    code = await link_code(accounts, eve)
    error = await refused(AlreadyExists, linked(accounts, NOODLES, code, customer))
    assert error.reason == "IDENTITY_ALREADY_LINKED"
    # The code is still good for the right number; and then the member has one at this brand, and gets no second.
    assert (await linked(accounts, NOODLES, code, number())).member_id == eve
    error = await refused(AlreadyExists, linked(accounts, NOODLES, await link_code(accounts, eve), number()))
    assert error.reason == "IDENTITY_ALREADY_LINKED"


async def test_linking_what_is_linked_to_the_same_member_changes_nothing(accounts: AccountsClient):
    ada, customer = await enrolled(accounts, GROCER), number()
    first = await linked(accounts, NOODLES, await link_code(accounts, ada), customer)
    assert await linked(accounts, NOODLES, await link_code(accounts, ada), customer) == first


async def test_a_link_code_works_once_whoever_is_first(accounts: AccountsClient):
    ada = await enrolled(accounts, GROCER)
    code = await link_code(accounts, ada)
    outcomes = await asyncio.gather(
        *(linked(accounts, brand, code, number()) for brand in (NOODLES, COURIER) * 5), return_exceptions=True
    )
    winners = [outcome for outcome in outcomes if isinstance(outcome, pb.Identity)]
    assert len(winners) == 1
    assert {outcome.reason for outcome in outcomes if not isinstance(outcome, pb.Identity)} == {"LINK_CODE_UNKNOWN"}


async def test_a_link_code_is_shown_once_for_ten_minutes_and_read_as_people_type(accounts: AccountsClient):
    ada = await enrolled(accounts, GROCER)
    request = pb.CreateLinkCodeRequest(request_id=request_id())
    first = await accounts.call(accounts.stub.CreateLinkCode, request, caller=member(ada))
    again = await accounts.call(accounts.stub.CreateLinkCode, request, caller=member(ada))
    assert again.code == "", "it is stored nowhere"
    assert again.expires_at == first.expires_at
    expires_in = first.expires_at.ToDatetime(UTC) - datetime.now(UTC)
    assert timedelta(minutes=9) < expires_in <= timedelta(minutes=10)
    assert (await linked(accounts, NOODLES, first.code.lower().replace("-", " "), number())).member_id == ada


async def test_a_member_holds_five_open_codes_and_room_comes_with_use(accounts: AccountsClient):
    ada = await enrolled(accounts, GROCER)
    outcomes = await asyncio.gather(*(link_code(accounts, ada) for _ in range(9)), return_exceptions=True)
    codes = [outcome for outcome in outcomes if isinstance(outcome, str)]
    errors = [outcome for outcome in outcomes if not isinstance(outcome, str)]
    assert len(set(codes)) == 5
    assert {(type(error), error.reason) for error in errors} == {(ResourceExhausted, "TOO_MANY_LINK_CODES")}
    await linked(accounts, NOODLES, codes[2], number())
    assert await link_code(accounts, ada)
    await refused(ResourceExhausted, link_code(accounts, ada))
    assert (await linked(accounts, COURIER, codes[4], number())).member_id == ada


@pytest.mark.parametrize("code", ["", "0000-0000-0000-0000", "nonsense", '{"$gt": ""}', "0" * 5_000])
async def test_a_code_that_is_none_links_nothing(accounts: AccountsClient, code: str):
    customer = number()
    error = await refused(NotFound, linked(accounts, NOODLES, code, customer))
    assert error.reason == "LINK_CODE_UNKNOWN"
    assert await found(accounts, NOODLES, customer) == []


async def test_a2_the_latest_word_on_consent_counts_at_once_and_for_that_brand_alone(accounts: AccountsClient):
    ada, eve = await enrolled(accounts), await enrolled(accounts)
    assert not await sees(accounts, NOODLES, ada), "silence is no consent"
    request = pb.SetConsentRequest(request_id=request_id(), partner_id=NOODLES, granted=True)
    first = await accounts.call(accounts.stub.SetConsent, request, caller=member(ada))
    await consented(accounts, ada, GROCER, True)
    assert await sees(accounts, NOODLES, ada)
    assert not await sees(accounts, NOODLES, eve)
    assert not await sees(accounts, COURIER, ada)
    revoked = await consented(accounts, ada, NOODLES, False)
    assert (revoked.member_id, revoked.partner_id, revoked.granted) == (ada, NOODLES, False)
    assert not await sees(accounts, NOODLES, ada)
    assert await sees(accounts, GROCER, ada)
    again = await accounts.call(accounts.stub.SetConsent, request, caller=member(ada))
    assert again == first
    assert not await sees(accounts, NOODLES, ada), "a repeated old word is not a new one"


async def test_a2_many_pairs_are_checked_in_one_call(accounts: AccountsClient):
    members = [await enrolled(accounts) for _ in range(3)]
    await consented(accounts, members[0], NOODLES, True)
    await consented(accounts, members[2], COURIER, True)
    pairs = [{"partner_id": brand, "member_id": one} for one in members for brand in (NOODLES, COURIER)]
    answer = await accounts.call(accounts.stub.BatchCheckConsents, pb.BatchCheckConsentsRequest(pairs=pairs))
    assert [(pair.member_id, pair.partner_id) for pair in answer.granted] == [
        (members[0], NOODLES),
        (members[2], COURIER),
    ]
    listed = await accounts.call(accounts.stub.BatchListConsents, pb.BatchListConsentsRequest(member_ids=members))
    assert {row.member_id: [one.partner_id for one in row.consents] for row in listed.members} == {
        members[0]: [NOODLES],
        members[2]: [COURIER],
    }


async def test_a2_words_at_the_same_time_leave_one(accounts: AccountsClient):
    ada = await enrolled(accounts)
    await asyncio.gather(*(consented(accounts, ada, NOODLES, bool(turn % 2)) for turn in range(10)))
    listed = await accounts.call(accounts.stub.BatchListConsents, pb.BatchListConsentsRequest(member_ids=[ada]))
    (consent,) = listed.members[0].consents
    assert consent.granted == await sees(accounts, NOODLES, ada)


async def test_a2_a_brand_lists_the_members_that_let_it_see_their_data_now(accounts: AccountsClient):
    brand, other = new_id("partner"), new_id("partner")
    people = [await enrolled(accounts) for _ in range(4)]
    for person in people:
        await consented(accounts, person, brand, person != people[3])
    await consented(accounts, people[0], other, True)

    async def listed(**page: Any) -> dict[str, list[str]]:
        request = pb.BatchListPartnerMembersRequest(partner_ids=[brand, other], page=page)
        answer = await accounts.call(accounts.stub.BatchListPartnerMembers, request)
        return {found.partner_id: [row.id for row in found.members] for found in answer.partners}

    assert await listed() == {brand: people[:3], other: people[:1]}
    request = pb.BatchListPartnerMembersRequest(partner_ids=[brand], page={"first": 2})
    (page,) = (await accounts.call(accounts.stub.BatchListPartnerMembers, request)).partners
    assert ([row.id for row in page.members], page.page_info.has_next_page) == (people[:2], True)
    assert (await listed(after=page.page_info.cursors[-1]))[brand] == people[2:3]
    await consented(accounts, people[1], brand, False)
    assert (await listed())[brand] == [people[0], people[2]]


async def test_who_is_no_member_has_no_word(accounts: AccountsClient):
    nobody = new_id("member")
    error = await refused(NotFound, consented(accounts, nobody, NOODLES, True))
    assert error.reason == "MEMBER_NOT_FOUND"
    assert (await refused(NotFound, link_code(accounts, nobody))).reason == "MEMBER_NOT_FOUND"


async def test_members_are_got_by_id_and_listed_oldest_first(accounts: AccountsClient):
    ids = [await enrolled(accounts, name=f"Member {turn}") for turn in range(3)]
    answer = await accounts.call(
        accounts.stub.BatchGetMembers, pb.BatchGetMembersRequest(ids=[ids[2], "member_none", ids[0], ids[2]])
    )
    assert {row.id: row.display_name for row in answer.members} == {ids[0]: "Member 0", ids[2]: "Member 2"}
    seen: list[str] = []
    request = pb.ListMembersRequest(page={"first": 7})
    while True:
        page = await accounts.call(accounts.stub.ListMembers, request, caller=OPERATOR)
        seen += [row.id for row in page.members]
        if not page.page_info.has_next_page:
            break
        request.page.after = page.page_info.cursors[-1]
    assert seen == sorted(set(seen))
    assert [one for one in seen if one in ids] == ids


@pytest.mark.parametrize(
    ("page", "reason"),
    [({"first": 101}, "PAGE_TOO_LARGE"), ({"first": -1}, "PAGE_TOO_LARGE"), ({"after": "?"}, "CURSOR_MALFORMED")],
)
async def test_a_page_that_cannot_be_is_refused(accounts: AccountsClient, page, reason: str):
    error = await refused(InvalidArgument, accounts.call(accounts.stub.ListMembers, pb.ListMembersRequest(page=page)))
    assert error.reason == reason


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"display_name": ""}, "display_name"),
        ({"display_name": "x" * 81}, "display_name"),
        ({"display_name": "a\x00b"}, "display_name"),
        ({"customer_number": " "}, "customer_number"),
        ({"customer_number": "9" * 65}, "customer_number"),
        ({"customer_number": "12\u200b3"}, "customer_number"),
        ({"customer_number": "\ufeff"}, "customer_number"),
        ({"request_id": ""}, "request_id"),
        ({"request_id": "x" * 65}, "request_id"),
    ],
)
async def test_what_cannot_be_a_member_is_refused_by_field(
    accounts: AccountsClient, change: dict[str, str], field: str
):
    good = {"request_id": request_id(), "display_name": "Ada", "customer_number": number()}
    request = pb.EnrolMemberRequest(**{**good, **change})
    error = await refused(InvalidArgument, accounts.call(accounts.stub.EnrolMember, request, caller=partner(GROCER)))
    assert error.metadata["field"] == field


async def test_an_operator_in_an_input_stays_a_string(accounts: AccountsClient):
    text = '{"$gt": ""}'
    ada = await enrolled(accounts, name=text, customer=text)
    assert [identity.member_id for identity in await found(accounts, GROCER, text)] == [ada]
    assert await found(accounts, NOODLES, text) == []
    request = pb.SetConsentRequest(request_id=request_id(), partner_id=text, granted=True)
    error = await refused(InvalidArgument, accounts.call(accounts.stub.SetConsent, request, caller=member(ada)))
    assert error.metadata["field"] == "partner_id"


async def test_more_than_a_batch_holds_is_refused(accounts: AccountsClient):
    ids = ["member_x"] * 10_001
    stub = accounts.stub
    for method, request in (
        (stub.BatchGetMembers, pb.BatchGetMembersRequest(ids=ids)),
        (stub.BatchListIdentities, pb.BatchListIdentitiesRequest(member_ids=ids)),
        (stub.BatchListConsents, pb.BatchListConsentsRequest(member_ids=ids)),
        (stub.BatchFindIdentities, pb.BatchFindIdentitiesRequest(keys=[{"partner_id": one} for one in ids])),
        (stub.BatchCheckConsents, pb.BatchCheckConsentsRequest(pairs=[{"member_id": one} for one in ids])),
    ):
        assert (await refused(InvalidArgument, accounts.call(method, request))).reason == "BATCH_TOO_LARGE"
        assert await accounts.call(method, type(request)()) is not None, "nothing asked for, nothing found"


async def test_who_may_not_call_is_told_so(process: ServiceProcess, accounts: AccountsClient):
    stub = accounts.stub
    ada = await enrolled(accounts)
    for method, request, callers in (
        (stub.EnrolMember, pb.EnrolMemberRequest(), (ANYONE, OPERATOR, member(ada), None)),
        (stub.CreateLinkCode, pb.CreateLinkCodeRequest(), (partner(GROCER), OPERATOR, None)),
        (stub.LinkIdentity, pb.LinkIdentityRequest(), (member(ada), OPERATOR, None)),
        (stub.SetConsent, pb.SetConsentRequest(), (partner(GROCER), OPERATOR, None)),
        (stub.ListMembers, pb.ListMembersRequest(), (partner(GROCER), member(ada), ANYONE)),
        (stub.BatchFindIdentities, pb.BatchFindIdentitiesRequest(), (partner(GROCER), member(ada), OPERATOR)),
    ):
        for caller in callers:
            error = await refused(PermissionDenied, accounts.call(method, request, caller=caller))
            assert error.reason == "CALLER_NOT_ALLOWED"
    logistics = process.client(AccountsServiceStub, "logistics")
    await refused(PermissionDenied, logistics.call(logistics.stub.BatchGetMembers, pb.BatchGetMembersRequest()))
    rewards = process.client(AccountsServiceStub, "rewards")
    assert await rewards.call(rewards.stub.BatchGetMembers, pb.BatchGetMembersRequest()) is not None
