"""What the gateway reads from logistics."""

from alliance.logistics.v1 import logistics_pb2
from gateway.engine.source import source

LOGISTICS = logistics_pb2.DESCRIPTOR.services_by_name["LogisticsService"]

recycling_points = source(LOGISTICS, "BatchGetRecyclingPoints", keys="ids", rows="recycling_points", by="id")
all_recycling_points = source(LOGISTICS, "ListRecyclingPoints", nodes="recycling_points", paged=True)
machines = source(LOGISTICS, "BatchGetMachines", keys="ids", rows="machines", by="id")
machines_of_point = source(
    LOGISTICS,
    "BatchListMachines",
    keys="recycling_point_ids",
    rows="points",
    by="recycling_point_id",
    nodes="machines",
)
drop_offs = source(LOGISTICS, "BatchGetDropOffs", keys="ids", rows="drop_offs", by="id")
drop_offs_of_member = source(
    LOGISTICS,
    "BatchListDropOffs",
    keys="member_ids",
    rows="members",
    by="member_id",
    nodes="drop_offs",
    paged=True,
    most=200,
)
drop_offs_of_partner = source(
    LOGISTICS,
    "BatchListPartnerDropOffs",
    keys="partner_ids",
    rows="partners",
    by="partner_id",
    nodes="drop_offs",
    paged=True,
    most=200,
)
drop_off_summary = source(LOGISTICS, "SummarizeDropOffs", as_viewer=True)
