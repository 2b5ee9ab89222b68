"""What the gateway reads from rewards."""

from alliance.rewards.v1 import rewards_pb2
from gateway.engine.source import source

REWARDS = rewards_pb2.DESCRIPTOR.services_by_name["RewardsService"]

earnings = source(REWARDS, "BatchGetEarnings", keys="claim_ids", rows="earnings", by="claim_id")
earnings_of_lot = source(
    REWARDS, "BatchListLotEarnings", keys="lot_ids", rows="lots", by="lot_id", nodes="earnings", paged=True, most=200
)
wallets = source(REWARDS, "BatchGetWallets", keys="member_ids", rows="wallets", by="member_id")
entries_of_member = source(
    REWARDS,
    "BatchListEntries",
    keys="member_ids",
    rows="members",
    by="member_id",
    nodes="entries",
    paged=True,
    most=200,
)
rewards = source(REWARDS, "BatchGetRewards", keys="ids", rows="rewards", by="id")
all_rewards = source(REWARDS, "ListRewards", nodes="rewards", paged=True)
redemptions = source(REWARDS, "BatchGetRedemptions", keys="ids", rows="redemptions", by="id")
redemptions_of_member = source(
    REWARDS,
    "BatchListRedemptions",
    keys="member_ids",
    rows="members",
    by="member_id",
    nodes="redemptions",
    paged=True,
    most=200,
)
redemptions_of_partner = source(
    REWARDS,
    "BatchListPartnerRedemptions",
    keys="partner_ids",
    rows="partners",
    by="partner_id",
    nodes="redemptions",
    paged=True,
    most=200,
)
found_redemptions = source(
    REWARDS, "BatchFindRedemptions", keys="keys", rows="found", by=("partner_id", "voucher_code"), most=200
)
gifts = source(REWARDS, "BatchGetGifts", keys="ids", rows="gifts", by="id")
settlements = source(REWARDS, "BatchGetSettlements", keys="ids", rows="settlements", by="id")
all_settlements = source(REWARDS, "ListSettlements", nodes="settlements", paged=True)
lines_of_settlement = source(
    REWARDS,
    "BatchListSettlementLines",
    keys="settlement_ids",
    rows="settlements",
    by="settlement_id",
    nodes="lines",
    paged=True,
    most=100,
)
partner_points = source(REWARDS, "BatchGetPartnerPoints", keys="partner_ids", rows="partners", by="partner_id")
all_partner_points = source(REWARDS, "BatchGetPartnerPoints", nodes="partners", as_viewer=True)
earning_summary = source(REWARDS, "SummarizeEarnings", as_viewer=True)
ledger_check = source(REWARDS, "VerifyLedger", as_viewer=True)
