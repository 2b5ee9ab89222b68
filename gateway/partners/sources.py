"""What the gateway reads from partners."""

from alliance.partners.v1 import partners_pb2
from gateway.engine.source import source

PARTNERS = partners_pb2.DESCRIPTOR.services_by_name["PartnersService"]

partners = source(PARTNERS, "BatchGetPartners", keys="ids", rows="partners", by="id")
all_partners = source(PARTNERS, "ListPartners", nodes="partners", paged=True)
agreements_of_partner = source(
    PARTNERS, "BatchListAgreements", keys="partner_ids", rows="partners", by="partner_id", nodes="agreements"
)
clients_of_partner = source(
    PARTNERS, "BatchListApiClients", keys="partner_ids", rows="partners", by="partner_id", nodes="clients"
)
blocks_of_partner = source(
    PARTNERS, "BatchListPrepaidBlocks", keys="partner_ids", rows="partners", by="partner_id", nodes="blocks"
)
rules_of_partner = source(
    PARTNERS, "BatchListEarnRules", keys="partner_ids", rows="partners", by="partner_id", nodes="rules", shared=True
)
campaigns_of_partner = source(
    PARTNERS, "BatchListEarnRules", keys="partner_ids", rows="partners", by="partner_id", nodes="campaigns", shared=True
)
rules = source(PARTNERS, "BatchGetEarnRules", keys="rule_ids", rows="rules", by="id", shared=True)
campaigns = source(PARTNERS, "BatchGetEarnRules", keys="campaign_ids", rows="campaigns", by="id", shared=True)
