"""What machines send over gRPC, and what becomes of it, through real processes."""

import asyncio
from datetime import timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from alliance.logistics.v1 import logistics_pb2
from alliance.logistics.v1.logistics_pb2 import CaptureItemsResponse
from tests.support.alliance import Machine, Member, World, item, now
from tests.support.refusals import reason_of

ACCEPTED = CaptureItemsResponse.ITEM_STATUS_ACCEPTED
DUPLICATE = CaptureItemsResponse.ITEM_STATUS_DUPLICATE
INVALID = CaptureItemsResponse.ITEM_STATUS_INVALID
ROLLED_BACK = CaptureItemsResponse.ITEM_STATUS_ROLLED_BACK
PET_UG_PER_G = 1_650_000  # 3.8639 - 2.2139 g per g, UK DESNZ material use 2025

DROP_OFFS = """
query DropOffs($id: ID!) {
  member(id: $id) {
    carbon { claims co2eMg }
    wallet { balance }
    dropOffs(first: 50) { edges { node {
      weightGrams machine { id } recyclingPoint { name } partner { id }
      act { status claim { co2eMg earning { status points } } }
    } } }
  }
}
"""


async def credited(world: World, member: Member, claims: int) -> dict:
    """The member's drop-offs, once that many of them are credited and their points decided."""
    async with asyncio.timeout(60):
        while True:
            seen = (await world.query(member.person, DROP_OFFS, id=member.id))["member"]
            acts = [edge["node"]["act"] for edge in seen["dropOffs"]["edges"]]
            done = [act for act in acts if act and act["claim"] and act["claim"]["earning"]]
            if len(done) >= claims:
                return seen
            await asyncio.sleep(0.05)


def statuses(answer: CaptureItemsResponse) -> list[int]:
    return [result.status for result in answer.results]


async def test_l2_a_signed_item_is_credited_and_a_replay_credits_once(world: World):
    grocer = await world.brand(earns={"PET_RECYCLING": 2})
    machine, ada = await grocer.machine(), await grocer.enrol()
    bottle = item(ada, grams=24)
    first = await machine.capture(bottle, batch_id="b-1")
    again = await machine.capture(bottle, batch_id="b-1")
    assert statuses(first) == [ACCEPTED]
    assert first.results == again.results
    assert statuses(await machine.capture(bottle)) == [DUPLICATE]
    seen = await credited(world, ada, 1)
    assert (seen["carbon"]["claims"], seen["carbon"]["co2eMg"]) == (1, 24 * PET_UG_PER_G // 1_000)
    assert seen["wallet"]["balance"] == 48
    (edge,) = seen["dropOffs"]["edges"]
    assert edge["node"]["machine"]["id"] == machine.id
    assert edge["node"]["partner"]["id"] == grocer.id


async def test_l2_an_unknown_machine_and_a_forged_signature_are_refused_alike(world: World):
    grocer = await world.brand()
    machine, ada = await grocer.machine(), await grocer.enrol()
    stranger = Machine(world, "machine_01h455vb4pex5vsknk084sn02q", Ed25519PrivateKey.generate())
    assert await reason_of(stranger.capture(item(ada))) == "SIGNATURE_INVALID"
    assert await reason_of(machine.capture(item(ada), key=stranger.key)) == "SIGNATURE_INVALID"
    seen = (await world.query(ada.person, DROP_OFFS, id=ada.id))["member"]
    assert seen["dropOffs"]["edges"] == []


async def test_l3_rollback_stores_none_and_proceed_stores_the_good_ones(world: World):
    grocer = await world.brand()
    machine, ada = await grocer.machine(), await grocer.enrol()
    good, bad = item(ada, grams=20), item(ada, grams=-5)
    undone = await machine.capture(good, bad, mode="ROLLBACK")
    assert statuses(undone) == [ROLLED_BACK, INVALID]
    assert undone.results[1].reason == "WEIGHT_OUT_OF_RANGE"
    assert (await world.query(ada.person, DROP_OFFS, id=ada.id))["member"]["dropOffs"]["edges"] == []
    kept = await machine.capture(good, bad, mode="PROCEED")
    assert statuses(kept) == [ACCEPTED, INVALID]
    assert (await credited(world, ada, 1))["carbon"]["claims"] == 1


async def test_l4_the_same_event_in_another_spelling_is_a_duplicate(world: World):
    grocer = await world.brand()
    machine, ada = await grocer.machine(), await grocer.enrol()
    at = now() - timedelta(minutes=5)
    first = await machine.capture(item(ada, grams=20, code="gtin 8712345", at=at))
    other = await machine.capture(item(ada, "CARDBOARD", 100, at=at), item(ada, grams=20, code="GTIN8712345", at=at))
    assert statuses(other) == [ACCEPTED, DUPLICATE]
    assert other.results[1].drop_off_id == first.results[0].drop_off_id
    assert (await credited(world, ada, 2))["carbon"]["claims"] == 2


async def test_l10_a_late_upload_is_priced_as_of_the_event_and_counts_once(world: World):
    grocer = await world.brand()
    await grocer.rule("PET_RECYCLING", 5, valid_from=now() - timedelta(days=200))
    await grocer.rule("PET_RECYCLING", 1, valid_from=now() - timedelta(days=30))
    machine, ada = await grocer.machine(), await grocer.enrol()
    late = item(ada, grams=10, at=now() - timedelta(days=90))
    await machine.capture(late, item(ada, grams=10))
    await machine.capture(late)
    seen = await credited(world, ada, 2)
    assert seen["wallet"]["balance"] == 10 * 5 + 10 * 1
    assert seen["carbon"]["claims"] == 2
    too_late = await machine.capture(item(ada, at=now() - timedelta(days=401)))
    assert too_late.results[0].reason == "OCCURRED_TOO_LONG_AGO"


async def test_the_same_batch_sent_ten_times_at_once_counts_once(world: World):
    grocer = await world.brand(earns={"PET_RECYCLING": 1})
    machine, ada = await grocer.machine(), await grocer.enrol()
    items = [item(ada, grams=10, at=now() - timedelta(seconds=second)) for second in range(5)]
    answers = await asyncio.gather(*(machine.capture(*items, batch_id="same") for _ in range(10)))
    assert all(answer.results == answers[0].results for answer in answers)
    assert (await credited(world, ada, 5))["wallet"]["balance"] == 50


async def test_an_item_of_nobody_earns_nothing_and_harms_nobody(world: World):
    grocer = await world.brand()
    machine, ada = await grocer.machine(), await grocer.enrol()
    nobody = item(ada)
    nobody.member_id = "member_01h455vb4pex5vsknk084sn02q"
    injected = logistics_pb2.Item()
    injected.CopyFrom(nobody)
    injected.member_id = '{"$gt": ""}'
    answer = await machine.capture(nobody, injected, item(ada))
    assert statuses(answer) == [ACCEPTED, INVALID, ACCEPTED]
    assert (await credited(world, ada, 1))["carbon"]["claims"] == 1
