"""What the gateway reads from accounts."""

from alliance.accounts.v1 import accounts_pb2
from gateway.engine.source import source

ACCOUNTS = accounts_pb2.DESCRIPTOR.services_by_name["AccountsService"]

members = source(ACCOUNTS, "BatchGetMembers", keys="ids", rows="members", by="id")
all_members = source(ACCOUNTS, "ListMembers", nodes="members", paged=True)
members_of_partner = source(
    ACCOUNTS,
    "BatchListPartnerMembers",
    keys="partner_ids",
    rows="partners",
    by="partner_id",
    nodes="members",
    paged=True,
    most=200,
)
found_identities = source(
    ACCOUNTS, "BatchFindIdentities", keys="keys", rows="identities", by=("partner_id", "customer_number")
)
identities_of_member = source(
    ACCOUNTS, "BatchListIdentities", keys="member_ids", rows="members", by="member_id", nodes="identities"
)
consents_of_member = source(
    ACCOUNTS, "BatchListConsents", keys="member_ids", rows="members", by="member_id", nodes="consents"
)
standing_consents = source(ACCOUNTS, "BatchCheckConsents", keys="pairs", rows="granted", by=("partner_id", "member_id"))
acts = source(ACCOUNTS, "BatchGetActs", keys="ids", rows="acts", by="id")
acts_by_drop_off = source(ACCOUNTS, "BatchGetActsByDropOff", keys="drop_off_ids", rows="acts", by="drop_off_id")
acts_of_member = source(
    ACCOUNTS, "BatchListActs", keys="member_ids", rows="members", by="member_id", nodes="acts", paged=True, most=200
)
acts_of_partner = source(
    ACCOUNTS,
    "BatchListPartnerActs",
    keys="partner_ids",
    rows="partners",
    by="partner_id",
    nodes="acts",
    paged=True,
    most=200,
)
claims = source(ACCOUNTS, "BatchGetClaims", keys="ids", rows="claims", by="id")
claims_of_member = source(
    ACCOUNTS, "BatchListClaims", keys="member_ids", rows="members", by="member_id", nodes="claims", paged=True, most=200
)
claims_of_partner = source(
    ACCOUNTS,
    "BatchListPartnerClaims",
    keys="partner_ids",
    rows="partners",
    by="partner_id",
    nodes="claims",
    paged=True,
    most=200,
)
carbon_totals = source(ACCOUNTS, "BatchGetCarbonTotals", keys="member_ids", rows="totals", by="member_id")
factors = source(ACCOUNTS, "BatchGetFactors", keys="ids", rows="factors", by="id")
all_factors = source(ACCOUNTS, "ListFactors", nodes="factors")
act_summary = source(ACCOUNTS, "SummarizeActs", as_viewer=True)
