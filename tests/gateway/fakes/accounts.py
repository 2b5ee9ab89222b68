# ruff: noqa: N802 - methods are named as in the proto
"""The stand-in of accounts."""

from collections.abc import AsyncIterator
from typing import Any

from alliance.accounts.v1 import accounts_pb2, accounts_pb2_grpc
from services.shared.identity import current_caller
from services.shared.ids import new_id
from tests.gateway.fakes.recording import NOW, Stream, found, page_of, within


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
        return accounts_pb2.BatchGetMembersResponse(members=found(self.members, request.ids))

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
        return accounts_pb2.BatchGetActsResponse(acts=found(self.acts, request.ids))

    async def BatchGetActsByDropOff(self, request: Any, _: Any) -> Any:
        acts = [act for act in self.acts.values() if act.drop_off_id in request.drop_off_ids]
        return accounts_pb2.BatchGetActsByDropOffResponse(acts=acts)

    async def BatchListActs(self, request: Any, _: Any) -> Any:
        answer = accounts_pb2.BatchListActsResponse()
        for id in request.member_ids:
            rows, info = page_of([act for act in self.acts.values() if act.member_id == id], request.page)
            answer.members.add(member_id=id, acts=rows, page_info=info)
        return answer

    async def BatchListPartnerActs(self, request: Any, _: Any) -> Any:
        answer = accounts_pb2.BatchListPartnerActsResponse()
        for id in request.partner_ids:
            owned = [row for row in self.acts.values() if row.partner_id == id and request.status in (0, row.status)]
            rows, info = page_of([row for row in owned if within(request.period, row.recorded_at)], request.page)
            answer.partners.add(partner_id=id, acts=rows, page_info=info)
        return answer

    async def BatchListPartnerClaims(self, request: Any, _: Any) -> Any:
        answer = accounts_pb2.BatchListPartnerClaimsResponse()
        for id in request.partner_ids:
            owned = [row for row in self.claims.values() if row.partner_id == id]
            rows, info = page_of([row for row in owned if within(request.period, row.recorded_at)], request.page)
            answer.partners.add(partner_id=id, claims=rows, page_info=info)
        return answer

    async def BatchListPartnerMembers(self, request: Any, _: Any) -> Any:
        answer = accounts_pb2.BatchListPartnerMembersResponse()
        for id in request.partner_ids:
            granted = [member for (partner, member), given in self.consents.items() if partner == id and given]
            rows, info = page_of(found(self.members, granted), request.page)
            answer.partners.add(partner_id=id, members=rows, page_info=info)
        return answer

    async def BatchGetClaims(self, request: Any, _: Any) -> Any:
        return accounts_pb2.BatchGetClaimsResponse(claims=found(self.claims, request.ids))

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
        return accounts_pb2.BatchGetFactorsResponse(factors=found(self.factors, request.ids))

    async def ListFactors(self, request: Any, _: Any) -> Any:
        return accounts_pb2.ListFactorsResponse(factors=self.factors.values())

    async def SummarizeActs(self, request: Any, _: Any) -> Any:
        answer = accounts_pb2.SummarizeActsResponse(claims=len(self.claims))
        answer.kinds.add(kind=accounts_pb2.ACT_KIND_METRO_TRIP, acts=len(self.acts))
        return answer
