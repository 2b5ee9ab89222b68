"""proto <-> domain for the logistics service, and nothing else."""

from collections.abc import AsyncIterator
from typing import Any

from alliance.logistics.v1 import logistics_pb2 as pb
from alliance.logistics.v1.logistics_pb2_grpc import LogisticsServiceServicer
from services.logistics import messages
from services.logistics.domain.points import Machine
from services.logistics.service.capture import Capture
from services.logistics.service.feed import Feed
from services.logistics.service.points import Points
from services.shared import checks
from services.shared.idempotency import Idempotency
from services.shared.identity import acting_partner, current_caller
from services.shared.mongo import Transaction
from services.shared.pages import PageQuery, between_times

Context = Any


class LogisticsRpc(LogisticsServiceServicer):
    """The methods, as the proto describes them."""

    def __init__(self, points: Points, capture: Capture, feed: Feed, idempotency: Idempotency) -> None:
        self._points = points
        self._capture = capture
        self._feed = feed
        self._once = idempotency.once

    async def CreateRecyclingPoint(
        self, request: pb.CreateRecyclingPointRequest, context: Context
    ) -> pb.CreateRecyclingPointResponse:
        async def effect(tx: Transaction) -> pb.CreateRecyclingPointResponse:
            point = await self._points.create(
                tx,
                partner_id=acting_partner(request.partner_id),
                name=request.name,
                location=messages.to_location(request),
                address=request.address,
                materials=messages.to_materials(request.materials),
            )
            return pb.CreateRecyclingPointResponse(recycling_point=messages.recycling_point(point))

        return (await self._once(request, pb.CreateRecyclingPointResponse, effect)).response

    async def BatchGetRecyclingPoints(
        self, request: pb.BatchGetRecyclingPointsRequest, context: Context
    ) -> pb.BatchGetRecyclingPointsResponse:
        checks.batch(request.ids)
        found = await self._points.points(request.ids)
        return pb.BatchGetRecyclingPointsResponse(recycling_points=map(messages.recycling_point, found))

    async def ListRecyclingPoints(
        self, request: pb.ListRecyclingPointsRequest, context: Context
    ) -> pb.ListRecyclingPointsResponse:
        page = await self._points.page(PageQuery.of(request.page))
        return pb.ListRecyclingPointsResponse(
            recycling_points=map(messages.recycling_point, page.rows), page_info=page.info()
        )

    async def RegisterMachine(self, request: pb.RegisterMachineRequest, context: Context) -> pb.RegisterMachineResponse:
        async def effect(tx: Transaction) -> pb.RegisterMachineResponse:
            machine = await self._points.register(
                tx,
                partner_id=current_caller().partner_id,
                point_id=request.recycling_point_id,
                public_key=request.public_key,
            )
            return pb.RegisterMachineResponse(machine=messages.machine(machine))

        return (await self._once(request, pb.RegisterMachineResponse, effect)).response

    async def RetireMachine(self, request: pb.RetireMachineRequest, context: Context) -> pb.RetireMachineResponse:
        async def effect(tx: Transaction) -> pb.RetireMachineResponse:
            machine = await self._points.retire(tx, request.machine_id, owner_id=acting_partner(""))
            return pb.RetireMachineResponse(machine=messages.machine(machine))

        return (await self._once(request, pb.RetireMachineResponse, effect)).response

    async def BatchGetMachines(
        self, request: pb.BatchGetMachinesRequest, context: Context
    ) -> pb.BatchGetMachinesResponse:
        checks.batch(request.ids)
        return pb.BatchGetMachinesResponse(machines=map(messages.machine, await self._points.machines(request.ids)))

    async def BatchListMachines(
        self, request: pb.BatchListMachinesRequest, context: Context
    ) -> pb.BatchListMachinesResponse:
        checks.batch(request.recycling_point_ids)
        groups: dict[str, list[Machine]] = {}
        for machine in await self._points.machines_at(request.recycling_point_ids):
            groups.setdefault(machine.recycling_point_id, []).append(machine)
        answer = pb.BatchListMachinesResponse()
        for point_id, machines in groups.items():
            answer.points.add(recycling_point_id=point_id, machines=map(messages.machine, machines))
        return answer

    async def CaptureItems(self, request: pb.CaptureItemsRequest, context: Context) -> pb.CaptureItemsResponse:
        messages.check_size(request.batch)
        sender = await self._capture.sender(request.machine_id, request.batch, request.signature)
        # What is parsed has been signed: an unproven sender's bytes are not looked into.
        answer = await self._capture.capture(messages.to_batch(request.batch, sender))
        return pb.CaptureItemsResponse(results=map(messages.item_result, answer.results), handed_on=answer.handed_on)

    async def BatchGetDropOffs(
        self, request: pb.BatchGetDropOffsRequest, context: Context
    ) -> pb.BatchGetDropOffsResponse:
        checks.batch(request.ids)
        return pb.BatchGetDropOffsResponse(drop_offs=map(messages.drop_off, await self._capture.get(request.ids)))

    async def BatchListDropOffs(
        self, request: pb.BatchListDropOffsRequest, context: Context
    ) -> pb.BatchListDropOffsResponse:
        pages = await self._capture.pages(request.member_ids, PageQuery.of(request.page), between_times(request.period))
        answer = pb.BatchListDropOffsResponse()
        for member_id, page in pages.items():
            answer.members.add(member_id=member_id, drop_offs=map(messages.drop_off, page.rows), page_info=page.info())
        return answer

    async def BatchListPartnerDropOffs(
        self, request: pb.BatchListPartnerDropOffsRequest, context: Context
    ) -> pb.BatchListPartnerDropOffsResponse:
        pages = await self._capture.partner_pages(
            request.partner_ids, request.machine_id, PageQuery.of(request.page), between_times(request.period)
        )
        answer = pb.BatchListPartnerDropOffsResponse()
        for partner_id, page in pages.items():
            answer.partners.add(
                partner_id=partner_id, drop_offs=map(messages.drop_off, page.rows), page_info=page.info()
            )
        return answer

    async def WatchDropOffs(
        self, request: pb.WatchDropOffsRequest, context: Context
    ) -> AsyncIterator[pb.WatchDropOffsResponse]:
        async for accepted in self._feed.watch(request.after if request.HasField("after") else None):
            yield pb.WatchDropOffsResponse(accepted=messages.accepted(accepted))

    async def ListMissedDropOffs(
        self, request: pb.ListMissedDropOffsRequest, context: Context
    ) -> pb.ListMissedDropOffsResponse:
        missed = await self._feed.missed(request.after, member_id=request.member_id, partner_id=request.partner_id)
        return pb.ListMissedDropOffsResponse(
            accepted=map(messages.accepted, missed.accepted), until=missed.until, last=missed.last
        )

    async def SummarizeDropOffs(
        self, request: pb.SummarizeDropOffsRequest, context: Context
    ) -> pb.SummarizeDropOffsResponse:
        summary = await self._capture.summary()
        return pb.SummarizeDropOffsResponse(
            accepted=summary.accepted,
            duplicates=summary.duplicates,
            invalid=summary.invalid,
            batches_refused=summary.batches_refused,
        )
