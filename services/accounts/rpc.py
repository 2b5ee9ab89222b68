"""proto <-> domain for the accounts service, and nothing else."""

from collections.abc import AsyncIterator
from itertools import groupby
from typing import Any

from alliance.accounts.v1 import accounts_pb2 as pb
from alliance.accounts.v1.accounts_pb2_grpc import AccountsServiceServicer
from services.accounts import messages
from services.accounts.service.acts import Acts
from services.accounts.service.impact import Impact
from services.accounts.service.members import Members
from services.shared import checks
from services.shared.idempotency import Idempotency
from services.shared.identity import current_caller
from services.shared.mongo import Transaction
from services.shared.pages import PageQuery, between_ids
from services.shared.proto import timestamp

Context = Any


class AccountsRpc(AccountsServiceServicer):
    """The methods, as the proto describes them."""

    def __init__(self, members: Members, acts: Acts, impact: Impact, idempotency: Idempotency) -> None:
        self._members = members
        self._acts = acts
        self._impact = impact
        self._idempotency = idempotency

    async def EnrolMember(self, request: pb.EnrolMemberRequest, context: Context) -> pb.EnrolMemberResponse:
        async def effect(tx: Transaction) -> pb.EnrolMemberResponse:
            member = await self._members.enrol(
                tx,
                partner_id=current_caller().partner_id,
                display_name=request.display_name,
                customer_number=request.customer_number,
            )
            return pb.EnrolMemberResponse(member=messages.member(member))

        return (await self._idempotency.once(request, pb.EnrolMemberResponse, effect)).response

    async def BatchGetMembers(self, request: pb.BatchGetMembersRequest, context: Context) -> pb.BatchGetMembersResponse:
        checks.batch(request.ids)
        return pb.BatchGetMembersResponse(members=map(messages.member, await self._members.get(request.ids)))

    async def ListMembers(self, request: pb.ListMembersRequest, context: Context) -> pb.ListMembersResponse:
        page = await self._members.page(PageQuery.of(request.page))
        return pb.ListMembersResponse(members=map(messages.member, page.rows), page_info=page.info())

    async def BatchListPartnerMembers(
        self, request: pb.BatchListPartnerMembersRequest, context: Context
    ) -> pb.BatchListPartnerMembersResponse:
        pages = await self._members.partner_pages(request.partner_ids, PageQuery.of(request.page))
        answer = pb.BatchListPartnerMembersResponse()
        for partner_id, page in pages.items():
            answer.partners.add(partner_id=partner_id, members=map(messages.member, page.rows), page_info=page.info())
        return answer

    async def CreateLinkCode(self, request: pb.CreateLinkCodeRequest, context: Context) -> pb.CreateLinkCodeResponse:
        async def effect(tx: Transaction) -> pb.CreateLinkCodeResponse:
            code, expires_at = await self._members.create_link_code(tx, current_caller().member_id)
            return pb.CreateLinkCodeResponse(code=code, expires_at=timestamp(expires_at))

        def without_code(response: pb.CreateLinkCodeResponse) -> pb.CreateLinkCodeResponse:
            return pb.CreateLinkCodeResponse(expires_at=response.expires_at)

        return (await self._idempotency.once(request, pb.CreateLinkCodeResponse, effect, stored=without_code)).response

    async def LinkIdentity(self, request: pb.LinkIdentityRequest, context: Context) -> pb.LinkIdentityResponse:
        async def effect(tx: Transaction) -> pb.LinkIdentityResponse:
            identity = await self._members.link_identity(
                tx,
                partner_id=current_caller().partner_id,
                code=request.code,
                customer_number=request.customer_number,
            )
            return pb.LinkIdentityResponse(identity=messages.identity(identity))

        return (await self._idempotency.once(request, pb.LinkIdentityResponse, effect)).response

    async def BatchFindIdentities(
        self, request: pb.BatchFindIdentitiesRequest, context: Context
    ) -> pb.BatchFindIdentitiesResponse:
        checks.batch(request.keys)
        found = await self._members.find_identities([(key.partner_id, key.customer_number) for key in request.keys])
        return pb.BatchFindIdentitiesResponse(identities=map(messages.identity, found))

    async def BatchListIdentities(
        self, request: pb.BatchListIdentitiesRequest, context: Context
    ) -> pb.BatchListIdentitiesResponse:
        checks.batch(request.member_ids)
        found = await self._members.identities_of(request.member_ids)
        answer = pb.BatchListIdentitiesResponse()
        for member_id, identities in groupby(found, key=lambda identity: identity.member_id):
            answer.members.add(member_id=member_id, identities=map(messages.identity, identities))
        return answer

    async def SetConsent(self, request: pb.SetConsentRequest, context: Context) -> pb.SetConsentResponse:
        async def effect(tx: Transaction) -> pb.SetConsentResponse:
            consent = await self._members.set_consent(
                tx, member_id=current_caller().member_id, partner_id=request.partner_id, granted=request.granted
            )
            return pb.SetConsentResponse(consent=messages.consent(consent))

        return (await self._idempotency.once(request, pb.SetConsentResponse, effect)).response

    async def BatchListConsents(
        self, request: pb.BatchListConsentsRequest, context: Context
    ) -> pb.BatchListConsentsResponse:
        checks.batch(request.member_ids)
        found = await self._members.consents_of(request.member_ids)
        answer = pb.BatchListConsentsResponse()
        for member_id, consents in groupby(found, key=lambda consent: consent.member_id):
            answer.members.add(member_id=member_id, consents=map(messages.consent, consents))
        return answer

    async def BatchCheckConsents(
        self, request: pb.BatchCheckConsentsRequest, context: Context
    ) -> pb.BatchCheckConsentsResponse:
        checks.batch(request.pairs)
        granted = await self._members.granted({(pair.member_id, pair.partner_id) for pair in request.pairs})
        return pb.BatchCheckConsentsResponse(
            granted=[pair for pair in request.pairs if (pair.member_id, pair.partner_id) in granted]
        )

    async def ReportActs(self, request: pb.ReportActsRequest, context: Context) -> pb.ReportActsResponse:
        async def effect(tx: Transaction) -> pb.ReportActsResponse:
            reported = [
                messages.reported_act(report, f"reports[{number}].") for number, report in enumerate(request.reports)
            ]
            acts = await self._acts.report(tx, current_caller().partner_id, reported)
            return pb.ReportActsResponse(acts=map(messages.act, acts))

        return (await self._idempotency.once(request, pb.ReportActsResponse, effect)).response

    async def RecordDropOffs(self, request: pb.RecordDropOffsRequest, context: Context) -> pb.RecordDropOffsResponse:
        events = [messages.drop_off(event, f"events[{number}].") for number, event in enumerate(request.events)]
        acts, _ = await self._idempotency.commit(lambda tx: self._acts.record_drop_offs(tx, events))
        return pb.RecordDropOffsResponse(acts=map(messages.act, acts))

    async def BatchGetActs(self, request: pb.BatchGetActsRequest, context: Context) -> pb.BatchGetActsResponse:
        checks.batch(request.ids)
        return pb.BatchGetActsResponse(acts=map(messages.act, await self._acts.acts(request.ids)))

    async def BatchGetActsByDropOff(
        self, request: pb.BatchGetActsByDropOffRequest, context: Context
    ) -> pb.BatchGetActsByDropOffResponse:
        checks.batch(request.drop_off_ids)
        found = await self._acts.acts_of_drop_offs(request.drop_off_ids)
        return pb.BatchGetActsByDropOffResponse(acts=map(messages.act, found))

    async def BatchListActs(self, request: pb.BatchListActsRequest, context: Context) -> pb.BatchListActsResponse:
        pages = await self._acts.act_pages(
            request.member_ids, PageQuery.of(request.page), between_ids(request.period, "act")
        )
        answer = pb.BatchListActsResponse()
        for member_id, page in pages.items():
            answer.members.add(member_id=member_id, acts=map(messages.act, page.rows), page_info=page.info())
        return answer

    async def BatchListPartnerActs(
        self, request: pb.BatchListPartnerActsRequest, context: Context
    ) -> pb.BatchListPartnerActsResponse:
        status = messages.to_status(request.status)
        pages = await self._acts.partner_act_pages(
            request.partner_ids, status, PageQuery.of(request.page), between_ids(request.period, "act")
        )
        answer = pb.BatchListPartnerActsResponse()
        for partner_id, page in pages.items():
            answer.partners.add(partner_id=partner_id, acts=map(messages.act, page.rows), page_info=page.info())
        return answer

    async def BatchGetClaims(self, request: pb.BatchGetClaimsRequest, context: Context) -> pb.BatchGetClaimsResponse:
        checks.batch(request.ids)
        return pb.BatchGetClaimsResponse(claims=map(messages.claim, await self._acts.claims(request.ids)))

    async def BatchListClaims(self, request: pb.BatchListClaimsRequest, context: Context) -> pb.BatchListClaimsResponse:
        pages = await self._acts.claim_pages(
            request.member_ids, PageQuery.of(request.page), between_ids(request.period, "claim")
        )
        answer = pb.BatchListClaimsResponse()
        for member_id, page in pages.items():
            answer.members.add(member_id=member_id, claims=map(messages.claim, page.rows), page_info=page.info())
        return answer

    async def BatchListPartnerClaims(
        self, request: pb.BatchListPartnerClaimsRequest, context: Context
    ) -> pb.BatchListPartnerClaimsResponse:
        pages = await self._acts.partner_claim_pages(
            request.partner_ids, PageQuery.of(request.page), between_ids(request.period, "claim")
        )
        answer = pb.BatchListPartnerClaimsResponse()
        for partner_id, page in pages.items():
            answer.partners.add(partner_id=partner_id, claims=map(messages.claim, page.rows), page_info=page.info())
        return answer

    async def BatchGetCarbonTotals(
        self, request: pb.BatchGetCarbonTotalsRequest, context: Context
    ) -> pb.BatchGetCarbonTotalsResponse:
        checks.batch(request.member_ids)
        totals = await self._acts.totals(request.member_ids)
        return pb.BatchGetCarbonTotalsResponse(totals=map(messages.total, totals))

    async def BatchGetFactors(self, request: pb.BatchGetFactorsRequest, context: Context) -> pb.BatchGetFactorsResponse:
        checks.batch(request.ids)
        return pb.BatchGetFactorsResponse(factors=map(messages.factor, await self._acts.factors(request.ids)))

    async def ListFactors(self, request: pb.ListFactorsRequest, context: Context) -> pb.ListFactorsResponse:
        return pb.ListFactorsResponse(factors=map(messages.factor, await self._acts.catalogue()))

    async def WatchImpact(
        self, request: pb.WatchImpactRequest, context: Context
    ) -> AsyncIterator[pb.WatchImpactResponse]:
        async for total in self._impact.watch():
            yield pb.WatchImpactResponse(impact=messages.impact(total))

    async def SummarizeActs(self, request: pb.SummarizeActsRequest, context: Context) -> pb.SummarizeActsResponse:
        return messages.summary(*await self._acts.summary())
