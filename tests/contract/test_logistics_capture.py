"""The logistics service over gRPC: what machines sign and send, and what becomes of it."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

from alliance.accounts.v1 import accounts_pb2
from alliance.accounts.v1.accounts_pb2_grpc import AccountsServiceServicer, add_AccountsServiceServicer_to_server
from alliance.logistics.v1 import logistics_pb2 as pb
from alliance.logistics.v1.logistics_pb2_grpc import LogisticsServiceStub
from services.shared.errors import (
    AlreadyExists,
    DomainError,
    InvalidArgument,
    PermissionDenied,
    Unauthenticated,
)
from services.shared.ids import new_id
from services.shared.proto import timestamp
from services.shared.rpc_errors import from_rpc
from tests.support.errors import refused
from tests.support.machines import Key, LogisticsClient, batch_of, item, opened, registered, signed
from tests.support.partners import ago, ahead
from tests.support.service import OPERATOR, PATIENCE_SECONDS, ServiceProcess, partner, request_id

Status = pb.CaptureItemsResponse
ACCEPTED, DUPLICATE = Status.ITEM_STATUS_ACCEPTED, Status.ITEM_STATUS_DUPLICATE
INVALID, ROLLED_BACK = Status.ITEM_STATUS_INVALID, Status.ITEM_STATUS_ROLLED_BACK
GROCER = new_id("partner")


class Accounts(AccountsServiceServicer):
    """The other service, as far as it matters here: remembers the drop-offs it was told of, while it is up."""

    def __init__(self) -> None:
        self.target = ""
        self.up = True
        self.told: list[accounts_pb2.DropOffRecorded] = []

    async def RecordDropOffs(self, request: Any, context: Any) -> accounts_pb2.RecordDropOffsResponse:  # noqa: N802
        if not self.up:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "down")
        self.told += request.events
        return accounts_pb2.RecordDropOffsResponse()

    async def of(self, member_id: str, count: int) -> list[accounts_pb2.DropOffRecorded]:
        """The member's events, as soon as there are so many: who sent the batch may have been answered before. Each
        once, though a delivery whose answer was lost is made again.
        """
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(events := {one.event_id: one for one in self.told if one.member_id == member_id}) < count:
                await asyncio.sleep(0.02)
        return list(events.values())


@pytest.fixture(scope="module")
async def accounts() -> AsyncIterator[Accounts]:
    accounts = Accounts()
    server = aio.server()
    add_AccountsServiceServicer_to_server(accounts, server)
    accounts.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield accounts
    await server.stop(0)


@pytest.fixture(scope="module")
def process(accounts: Accounts, mongodb_uri: str, keys: Path, workspace: Path) -> Iterator[ServiceProcess]:
    process = ServiceProcess(
        "logistics", mongodb_uri, keys, workspace / "capture.log", ALLIANCE_ACCOUNTS_TARGET=accounts.target
    )
    process.start()
    yield process
    assert process.stop() == 0


@pytest.fixture
async def logistics(process: ServiceProcess) -> LogisticsClient:
    return process.client(LogisticsServiceStub)


@pytest.fixture
async def machines(process: ServiceProcess) -> AsyncIterator["Door"]:
    async with aio.insecure_channel(process.target) as channel:
        yield Door(channel)


@pytest.fixture
async def key() -> Key:
    return Key()


@pytest.fixture
async def machine(logistics: LogisticsClient, key: Key) -> pb.Machine:
    return await registered(logistics, GROCER, (await opened(logistics, GROCER)).id, key.public)


class Door:
    """Where machines call: without a token, the signature is the credential."""

    def __init__(self, channel: aio.Channel) -> None:
        self._stub = LogisticsServiceStub(channel)

    async def send(self, request: pb.CaptureItemsRequest) -> pb.CaptureItemsResponse:
        try:
            return await self._stub.CaptureItems(request, timeout=PATIENCE_SECONDS)
        except aio.AioRpcError as error:
            raise from_rpc(error) from error


def statuses(answer: pb.CaptureItemsResponse) -> list[Any]:
    return [result.status for result in answer.results]


async def summary(logistics: LogisticsClient) -> pb.SummarizeDropOffsResponse:
    return await logistics.call(logistics.stub.SummarizeDropOffs, pb.SummarizeDropOffsRequest(), caller=OPERATOR)


async def drop_offs_of(
    logistics: LogisticsClient, *member_ids: str, first: int = 20, after: str = ""
) -> dict[str, list[pb.DropOff]]:
    request = pb.BatchListDropOffsRequest(member_ids=member_ids, page={"first": first, "after": after})
    answer = await logistics.call(logistics.stub.BatchListDropOffs, request)
    return {group.member_id: list(group.drop_offs) for group in answer.members}


async def drop_off(logistics: LogisticsClient, id: str) -> pb.DropOff:
    answer = await logistics.call(logistics.stub.BatchGetDropOffs, pb.BatchGetDropOffsRequest(ids=[id]))
    return answer.drop_offs[0]


# Who may send (L2)


async def test_l2_a_signed_batch_is_stored_and_handed_on(
    logistics: LogisticsClient, machines: Door, machine: pb.Machine, key: Key, accounts: Accounts
):
    ann = new_id("member")
    bottle = item(member_id=ann, weight_grams=31, code="8712345678906")
    paper = item(member_id=ann, material=pb.MATERIAL_CARDBOARD, weight_grams=420)
    box = item(member_id=ann, material=pb.MATERIAL_REUSABLE_BOX, weight_grams=0, code="BOX-17")
    answer = await machines.send(signed(batch_of(machine, bottle, paper, box), key))
    assert statuses(answer) == [ACCEPTED] * 3

    stored = await drop_off(logistics, answer.results[0].drop_off_id)
    assert (stored.member_id, stored.machine_id, stored.partner_id) == (ann, machine.id, GROCER)
    assert (stored.recycling_point_id, stored.material) == (machine.recycling_point_id, pb.MATERIAL_PET)
    assert (stored.weight_grams, stored.code) == (31, "8712345678906")
    assert stored.occurred_at == bottle.occurred_at

    told = {event.drop_off_id: event for event in await accounts.of(ann, 3)}
    assert set(told) == {result.drop_off_id for result in answer.results}
    assert [(told[r.drop_off_id].kind, told[r.drop_off_id].quantity) for r in answer.results] == [
        (accounts_pb2.ACT_KIND_PET_RECYCLING, 31),
        (accounts_pb2.ACT_KIND_CARDBOARD_RECYCLING, 420),
        (accounts_pb2.ACT_KIND_BOX_REUSE, 1),
    ]
    event = told[stored.id]
    assert (event.partner_id, event.event_hash, event.occurred_at) == (GROCER, stored.event_hash, stored.occurred_at)
    assert [told[r.drop_off_id].box_number for r in answer.results] == ["", "", "BOX-17"]


async def test_l2_who_is_not_a_machine_in_service_is_refused_without_a_trace(
    logistics: LogisticsClient, machines: Door, machine: pb.Machine, key: Key
):
    before = await summary(logistics)
    batch = batch_of(machine, item(), item())
    good = signed(batch, key)
    stranger = batch_of(pb.Machine(id=new_id("machine")), item())
    gone_key = Key()
    gone = await registered(logistics, GROCER, machine.recycling_point_id, gone_key.public)
    request = pb.RetireMachineRequest(request_id=request_id(), machine_id=gone.id)
    await logistics.call(logistics.stub.RetireMachine, request, caller=partner(GROCER))
    forged = [
        signed(stranger, key),
        signed(batch_of(gone, item()), gone_key),
        signed(batch_of(machine, item()), Key()),
        # The right key, but for other bytes: without the prefix, or one byte changed.
        pb.CaptureItemsRequest(machine_id=machine.id, batch=good.batch + b"\x00", signature=good.signature),
        pb.CaptureItemsRequest(machine_id=machine.id, batch=b"", signature=good.signature),
        pb.CaptureItemsRequest(machine_id=gone.id, batch=good.batch, signature=good.signature),
        pb.CaptureItemsRequest(machine_id='{"$gt": ""}', batch=good.batch, signature=good.signature),
        pb.CaptureItemsRequest(machine_id="", batch=good.batch, signature=good.signature),
        pb.CaptureItemsRequest(machine_id="x" * 10_000, batch=good.batch, signature=good.signature),
    ]
    errors = [await refused(Unauthenticated, machines.send(request)) for request in forged]
    assert {(error.reason, error.message, str(error.metadata)) for error in errors} == {
        ("SIGNATURE_INVALID", errors[0].message, "{}")
    }
    after = await summary(logistics)
    assert (after.accepted, after.invalid, after.duplicates) == (before.accepted, before.invalid, before.duplicates)
    assert after.batches_refused - before.batches_refused == len(forged)
    # What was forged in a machine's name does not stand in the machine's way.
    assert statuses(await machines.send(good)) == [ACCEPTED] * 2


async def test_l2_a_signature_fits_every_bit_of_what_was_signed(machines: Door, machine: pb.Machine, key: Key):
    good = signed(batch_of(machine, item()), key)

    def with_a_bit_changed(content: bytes, bit: int) -> bytes:
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        return bytes(changed)

    forged = [
        pb.CaptureItemsRequest(
            machine_id=machine.id, batch=with_a_bit_changed(good.batch, bit), signature=good.signature
        )
        for bit in range(0, len(good.batch) * 8, 37)
    ] + [
        pb.CaptureItemsRequest(
            machine_id=machine.id, batch=good.batch, signature=with_a_bit_changed(good.signature, bit)
        )
        for bit in range(0, 512, 37)
    ]
    answers = await asyncio.gather(*map(machines.send, forged), return_exceptions=True)
    assert {getattr(answer, "reason", answer) for answer in answers} == {"SIGNATURE_INVALID"}


@pytest.mark.parametrize("size", [0, 1, 63, 65, 10_000])
async def test_l2_a_signature_has_64_bytes(machines: Door, machine: pb.Machine, key: Key, size: int):
    request = signed(batch_of(machine, item()), key)
    request.signature = (request.signature * 200)[:size]
    error = await refused(Unauthenticated, machines.send(request))
    assert error.reason == "SIGNATURE_INVALID"


async def test_l2_the_same_forgery_is_counted_once_however_often_it_is_sent(
    logistics: LogisticsClient, machines: Door, machine: pb.Machine
):
    before = (await summary(logistics)).batches_refused
    same = batch_of(machine, item())
    others = [batch_of(machine, item()) for _ in range(30)]
    forged = [signed(batch, Key()) for batch in [same] * 30 + others]
    answers = await asyncio.gather(*map(machines.send, forged), return_exceptions=True)
    assert all(isinstance(answer, Unauthenticated) for answer in answers)
    assert (await summary(logistics)).batches_refused - before == 31


async def test_l2_nobody_sends_in_a_machine_s_place(
    process: ServiceProcess, logistics: LogisticsClient, machine: pb.Machine, key: Key
):
    request = signed(batch_of(machine, item()), key)
    for caller in (None, OPERATOR, partner(GROCER)):
        error = await refused(PermissionDenied, logistics.call(logistics.stub.CaptureItems, request, caller=caller))
        assert error.reason == "CALLER_NOT_ALLOWED"


# What is sent


async def test_l2_a_batch_that_is_sent_again_is_answered_again_and_credited_once(
    logistics: LogisticsClient, machines: Door, machine: pb.Machine, key: Key, accounts: Accounts
):
    ann = new_id("member")
    before = await summary(logistics)
    batch = batch_of(machine, item(member_id=ann), item(member_id=ann, weight_grams=0))
    first = await machines.send(signed(batch, key))
    again = await machines.send(signed(batch, key))
    assert again.results == first.results
    assert statuses(first) == [ACCEPTED, INVALID]
    assert len(await accounts.of(ann, 1)) == 1
    after = await summary(logistics)
    assert (after.accepted - before.accepted, after.invalid - before.invalid) == (1, 1)
    assert after.duplicates == before.duplicates

    other = pb.ItemBatch()
    other.CopyFrom(batch)
    other.items[0].weight_grams += 1
    error = await refused(AlreadyExists, machines.send(signed(other, key)))
    assert (error.reason, error.metadata) == ("REQUEST_ID_REUSED", {"batch_id": batch.batch_id})
    assert await summary(logistics) == after


async def test_l2_the_same_batch_ten_times_at_once_is_one(
    logistics: LogisticsClient, machines: Door, machine: pb.Machine, key: Key, accounts: Accounts
):
    ann = new_id("member")
    before = await summary(logistics)
    twice = item(member_id=ann)
    request = signed(batch_of(machine, twice, item(member_id=ann), twice, item(member_id="x")), key)
    answers = await asyncio.gather(*(machines.send(request) for _ in range(10)))
    assert all(answer.results == answers[0].results for answer in answers)
    assert statuses(answers[0]) == [ACCEPTED, ACCEPTED, DUPLICATE, INVALID]
    assert len((await drop_offs_of(logistics, ann))[ann]) == 2
    assert sorted(event.drop_off_id for event in await accounts.of(ann, 2)) == sorted(
        answers[0].results[n].drop_off_id for n in (0, 1)
    )
    after = await summary(logistics)
    assert (
        after.accepted - before.accepted,
        after.duplicates - before.duplicates,
        after.invalid - before.invalid,
    ) == (2, 1, 1)


async def test_batch_ids_are_a_machine_s_own(logistics: LogisticsClient, machines: Door, machine: pb.Machine, key: Key):
    other_key = Key()
    other = await registered(logistics, GROCER, machine.recycling_point_id, other_key.public)
    same = uuid4().hex
    for one, its_key in ((machine, key), (other, other_key)):
        answer = await machines.send(signed(batch_of(one, item(), batch_id=same), its_key))
        assert statuses(answer) == [ACCEPTED]


async def test_l3_rollback_stores_none_of_a_batch_with_a_bad_item(
    logistics: LogisticsClient, machines: Door, machine: pb.Machine, key: Key, accounts: Accounts
):
    ann = new_id("member")
    good, bad = item(member_id=ann), item(member_id=ann, weight_grams=-5)
    rolled_back = batch_of(machine, good, bad, mode=pb.CAPTURE_MODE_ROLLBACK)
    first = await machines.send(signed(rolled_back, key))
    assert (statuses(first), first.handed_on) == ([ROLLED_BACK, INVALID], True)
    assert first.results[1].reason == "WEIGHT_OUT_OF_RANGE"
    assert (first.results[0].drop_off_id, await drop_offs_of(logistics, ann)) == ("", {ann: []})
    # Its answer is final; the good item is free for another batch.
    rolled_back.mode = pb.CAPTURE_MODE_PROCEED
    assert await machines.send(signed(rolled_back, key)) == first
    retried = batch_of(machine, good, mode=pb.CAPTURE_MODE_ROLLBACK)
    assert statuses(await machines.send(signed(retried, key))) == [ACCEPTED]
    assert len(await accounts.of(ann, 1)) == 1


async def test_l3_proceed_stores_the_good_ones_and_names_the_bad(
    logistics: LogisticsClient, machines: Door, machine: pb.Machine, key: Key
):
    ann = new_id("member")
    good = item(member_id=ann)
    cases = {
        "MEMBER_ID_MALFORMED": item(member_id='{"$gt": ""}'),
        "MATERIAL_UNKNOWN": item(member_id=ann, material=99),
        "WEIGHT_OUT_OF_RANGE": item(member_id=ann, weight_grams=2**63 - 1),
        "CODE_MALFORMED": item(member_id=ann, code="x" * 65),
        "OCCURRED_IN_FUTURE": item(member_id=ann, at=ahead(minutes=10)),
        "OCCURRED_TOO_LONG_AGO": item(member_id=ann, at=ago(days=401)),
        "OCCURRED_AT_MALFORMED": pb.Item(
            member_id=ann, material=pb.MATERIAL_PET, weight_grams=1, occurred_at=Timestamp(seconds=2**62)
        ),
    }
    answer = await machines.send(signed(batch_of(machine, good, *cases.values(), item(member_id=ann)), key))
    assert statuses(answer) == [ACCEPTED, *[INVALID] * len(cases), ACCEPTED]
    assert [result.reason for result in answer.results[1:-1]] == list(cases)
    assert all(result.message for result in answer.results[1:-1])
    assert len((await drop_offs_of(logistics, ann))[ann]) == 2


async def test_l4_the_same_event_in_another_order_and_spelling_is_a_duplicate(
    logistics: LogisticsClient, machines: Door, machine: pb.Machine, key: Key, accounts: Accounts
):
    ann, at = new_id("member"), ago(hours=2)

    def box(code: str) -> pb.Item:
        return item(member_id=ann, material=pb.MATERIAL_REUSABLE_BOX, weight_grams=0, code=code, at=at)

    first = await machines.send(signed(batch_of(machine, box("Straße-17"), box("straße-18")), key))
    assert statuses(first) == [ACCEPTED, ACCEPTED]
    reordered = batch_of(machine, box(" STRASSE - 18"), item(member_id=ann), box("ＳＴＲＡＳＳＥ-17"))
    # Below the millisecond nothing counts.
    reordered.items[0].occurred_at.nanos += 999_999
    second = await machines.send(signed(reordered, key))
    assert statuses(second) == [DUPLICATE, ACCEPTED, DUPLICATE]
    assert [second.results[n].drop_off_id for n in (2, 0)] == [result.drop_off_id for result in first.results]
    assert len(await accounts.of(ann, 3)) == 3
    # Another order of the fields on the wire: still the same items.
    content = reordered.items[0].SerializeToString()
    backwards = b"".join(reversed(_fields(content)))
    assert backwards != content
    assert pb.Item.FromString(backwards) == reordered.items[0]
    wire = batch_of(machine).SerializeToString() + b"\x22" + bytes([len(backwards)]) + backwards
    sent = pb.CaptureItemsRequest(machine_id=machine.id, batch=wire, signature=key.sign(wire))
    assert statuses(await machines.send(sent)) == [DUPLICATE]


async def test_l4_of_batches_with_the_same_event_at_once_one_stores_it(
    logistics: LogisticsClient, machines: Door, machine: pb.Machine, key: Key, accounts: Accounts
):
    ann = new_id("member")
    before = await summary(logistics)
    shared = item(member_id=ann)
    requests = [signed(batch_of(machine, item(member_id=ann), shared), key) for _ in range(10)]
    answers = await asyncio.gather(*map(machines.send, requests))
    assert sorted(answer.results[1].status for answer in answers) == [ACCEPTED] + [DUPLICATE] * 9
    assert len({answer.results[1].drop_off_id for answer in answers}) == 1
    assert all(answer.results[0].status == ACCEPTED for answer in answers)
    told = await accounts.of(ann, 11)
    assert len({event.drop_off_id for event in told}) == len(told) == 11
    after = await summary(logistics)
    assert (after.accepted - before.accepted, after.duplicates - before.duplicates) == (11, 9)


async def test_l10_a_late_upload_counts_once_and_with_its_own_time(
    logistics: LogisticsClient, machines: Door, machine: pb.Machine, key: Key, accounts: Accounts
):
    ann, at = new_id("member"), ago(days=399)
    late = item(member_id=ann, at=at)
    first = await machines.send(signed(batch_of(machine, late), key))
    again = await machines.send(signed(batch_of(machine, late), key))
    assert (statuses(first), statuses(again)) == ([ACCEPTED], [DUPLICATE])
    (event,) = await accounts.of(ann, 1)
    assert event.occurred_at == late.occurred_at
    stored = await drop_off(logistics, first.results[0].drop_off_id)
    assert stored.occurred_at == late.occurred_at
    assert stored.recorded_at.seconds > at.timestamp() + 398 * 86_400


async def test_l10_drop_offs_are_listed_by_when_they_happened(
    logistics: LogisticsClient, machines: Door, machine: pb.Machine, key: Key
):
    ann, bob = new_id("member"), new_id("member")
    days = [5, 300, 1, 40]
    for day in days:
        sent = batch_of(machine, *(item(member_id=who, at=ago(days=day)) for who in (ann, bob)))
        await machines.send(signed(sent, key))
    request = pb.BatchListDropOffsRequest(member_ids=[ann, bob, ann, "nobody"], page={"first": 3})
    pages = (await logistics.call(logistics.stub.BatchListDropOffs, request)).members
    assert [page.member_id for page in pages] == [ann, bob, "nobody"]
    times = [[row.occurred_at.ToDatetime() for row in page.drop_offs] for page in pages]
    assert times[0] == sorted(times[0], reverse=True)
    assert [len(rows) for rows in times] == [3, 3, 0]
    assert pages[0].page_info.has_next_page
    rest = await drop_offs_of(logistics, ann, after=pages[0].page_info.cursors[-1])
    assert [(ago() - row.occurred_at.ToDatetime(tzinfo=ago().tzinfo)).days for row in rest[ann]] == [300]


async def test_a_partner_s_drop_offs_are_listed_by_period_and_machine(
    logistics: LogisticsClient, machines: Door, machine: pb.Machine, key: Key
):
    brand, other = new_id("partner"), new_id("partner")
    keys = [Key(), Key(), Key()]
    point = await opened(logistics, brand)
    one, two = [await registered(logistics, brand, point.id, each.public) for each in keys[:2]]
    foreign = await registered(logistics, other, point.id, keys[2].public)
    for at, of, whose in ((5, one, keys[0]), (3, two, keys[1]), (1, one, keys[0]), (2, foreign, keys[2])):
        await machines.send(signed(batch_of(of, item(at=ago(days=at), weight_grams=at)), whose))

    async def grams(*partner_ids: str, **wanted: Any) -> dict[str, list[int]]:
        request = pb.BatchListPartnerDropOffsRequest(partner_ids=partner_ids, **wanted)
        answer = await logistics.call(logistics.stub.BatchListPartnerDropOffs, request)
        return {group.partner_id: [row.weight_grams for row in group.drop_offs] for group in answer.partners}

    assert await grams(brand, other, "nobody") == {brand: [1, 3, 5], other: [2], "nobody": []}
    assert await grams(brand, machine_id=one.id) == {brand: [1, 5]}
    assert await grams(brand, machine_id=foreign.id) == {brand: []}, "a machine does not lead to another's"
    four, two_days = timestamp(ago(days=4)), timestamp(ago(days=2))
    assert await grams(brand, period={"since": four}) == {brand: [1, 3]}
    assert await grams(brand, period={"until": two_days}) == {brand: [3, 5]}
    assert await grams(brand, period={"since": four, "until": two_days}) == {brand: [3]}
    page = {"first": 1}
    request = pb.BatchListPartnerDropOffsRequest(partner_ids=[brand], page=page, period={"until": two_days})
    (first,) = (await logistics.call(logistics.stub.BatchListPartnerDropOffs, request)).partners
    assert first.page_info.has_next_page
    assert await grams(brand, page={"after": first.page_info.cursors[0]}, period={"until": two_days}) == {brand: [5]}
    turned = grams(brand, period={"since": two_days, "until": four})
    assert (await refused(InvalidArgument, turned)).reason == "PERIOD_EMPTY"
    assert (await refused(InvalidArgument, grams(brand, machine_id="m"))).reason == "FIELD_INVALID"


async def test_a_period_begins_with_its_first_moment_and_ends_before_its_last(
    logistics: LogisticsClient, machines: Door, machine: pb.Machine, key: Key
):
    ann, at = new_id("member"), ago(days=2).replace(microsecond=500_000)
    await machines.send(signed(batch_of(machine, item(member_id=ann, at=at)), key))
    tick = timedelta(milliseconds=1)
    for since, until, found in ((at, at + tick, 1), (at - tick, at, 0), (at + tick, at + 2 * tick, 0)):
        request = pb.BatchListDropOffsRequest(
            member_ids=[ann], period={"since": timestamp(since), "until": timestamp(until)}
        )
        (page,) = (await logistics.call(logistics.stub.BatchListDropOffs, request)).members
        assert len(page.drop_offs) == found, (since, until)


async def test_while_accounts_is_down_what_was_stored_follows_later(
    logistics: LogisticsClient, machines: Door, machine: pb.Machine, key: Key, accounts: Accounts
):
    ann = new_id("member")
    request = signed(batch_of(machine, item(member_id=ann), item(member_id=ann)), key)
    accounts.up = False
    first = await machines.send(request)  # no machine has to wait until accounts is back
    assert (statuses(first), first.handed_on) == ([ACCEPTED] * 2, False)
    assert not (await machines.send(request)).handed_on
    accounts.up = True
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (await machines.send(request)).handed_on:
            await asyncio.sleep(0.05)
    assert len(await accounts.of(ann, 2)) == 2


# What cannot be a batch


async def test_five_hundred_items_are_one_batch_and_more_are_too_many(machines: Door, machine: pb.Machine, key: Key):
    items = [item() for _ in range(500)]
    answer = await machines.send(signed(batch_of(machine, *items), key))
    assert statuses(answer) == [ACCEPTED] * 500
    short = pb.Item()
    for count in (501, 10_001):
        error = await refused(InvalidArgument, machines.send(signed(batch_of(machine, *[short] * count), key)))
        assert error.reason == "BATCH_TOO_LARGE"
    long = batch_of(machine, *(item(code="x" * 2_000) for _ in range(200)))
    error = await refused(InvalidArgument, machines.send(signed(long, key)))
    assert error.reason == "BATCH_TOO_LARGE"
    error = await refused(InvalidArgument, machines.send(signed(batch_of(machine), key)))
    assert error.reason == "BATCH_EMPTY"


async def test_what_is_signed_but_is_no_batch_is_refused(
    logistics: LogisticsClient, machines: Door, machine: pb.Machine, key: Key
):
    before = await summary(logistics)
    other = await registered(logistics, GROCER, machine.recycling_point_id, Key().public)
    good = item()
    named: Sequence[tuple[bytes, str]] = [
        (b"\xff\xff\xff", "batch"),
        (batch_of(other, good).SerializeToString(), "batch.machine_id"),
        (
            pb.ItemBatch(batch_id="1", mode=pb.CAPTURE_MODE_PROCEED, items=[good]).SerializeToString(),
            "batch.machine_id",
        ),
        (batch_of(machine, good, batch_id="a b").SerializeToString(), "batch.batch_id"),
        (batch_of(machine, good, batch_id="x" * 65).SerializeToString(), "batch.batch_id"),
        (batch_of(machine, good, mode=pb.CAPTURE_MODE_UNSPECIFIED).SerializeToString(), "batch.mode"),
        (batch_of(machine, good, mode=7).SerializeToString(), "batch.mode"),
    ]
    for content, field in named:
        request = pb.CaptureItemsRequest(machine_id=machine.id, batch=content, signature=key.sign(content))
        error: DomainError = await refused(InvalidArgument, machines.send(request))
        assert (error.reason, error.metadata) == ("BATCH_MALFORMED", {"field": field})
    assert await summary(logistics) == before


def _fields(content: bytes) -> list[bytes]:
    """The fields of a message on the wire, each with its tag; for short fields alone."""
    found = []
    while content:
        if content[0] & 7 == 2:
            end = 2 + content[1]
        else:
            end = next(at for at, byte in enumerate(content) if at and byte < 0x80) + 1
        found.append(content[:end])
        content = content[end:]
    return found
