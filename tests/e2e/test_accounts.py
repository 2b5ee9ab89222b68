"""Members, consents and acts, through GraphQL and real processes."""

import asyncio
from datetime import timedelta

from deploy.local.day import documents
from tests.support.alliance import World, now
from tests.support.refusals import reason_of

METRO_KM_MG = 139_450  # 167.25 - 27.80 g per passenger kilometre, UK DESNZ 2025


async def test_a1_a_brand_identity_belongs_to_one_member(world: World):
    grocer, cafe = await asyncio.gather(world.brand(), world.brand())
    ada, bob = await grocer.enrol(number="7"), await grocer.enrol(number="8")
    await ada.link(cafe, "C-1")
    assert await reason_of(bob.link(cafe, "C-1")) == "IDENTITY_ALREADY_LINKED"
    assert await reason_of(grocer.enrol(number="7")) == "IDENTITY_ALREADY_LINKED"
    assert await reason_of(ada.link(cafe, "C-2")) == "IDENTITY_ALREADY_LINKED"
    seen = {row["partner"]["id"]: row["customerNumber"] for row in (await ada.look())["identities"]}
    assert seen == {grocer.id: "7", cafe.id: "C-1"}


async def test_a1_a_link_code_works_once(world: World):
    grocer, cafe, courier = await asyncio.gather(world.brand(), world.brand(), world.brand())
    ada = await grocer.enrol()
    code = (await world.mutate(ada.person, documents.CREATE_LINK_CODE))["code"]
    await world.mutate(cafe.person, documents.LINK_IDENTITY, code=code, customerNumber="1")
    again = world.mutate(courier.person, documents.LINK_IDENTITY, code=code, customerNumber="1")
    assert await reason_of(again) == "LINK_CODE_UNKNOWN"


async def test_a2_a_revoked_consent_hides_the_member_from_that_brand_alone_at_once(world: World):
    grocer, cafe = await asyncio.gather(world.brand(), world.brand())
    ada = await grocer.enrol("Ada")
    assert await reason_of(grocer.sees(ada)) == "CONSENT_REQUIRED"
    await ada.consent(grocer)
    await ada.consent(cafe)
    assert (await grocer.sees(ada))["displayName"] == (await cafe.sees(ada))["displayName"] == "Ada"
    await ada.consent(grocer, granted=False)
    assert await reason_of(grocer.sees(ada)) == "CONSENT_REQUIRED"
    assert (await cafe.sees(ada))["displayName"] == "Ada"
    assert (await ada.look())["displayName"] == "Ada"


async def test_a2_a_customer_number_is_for_its_brand_and_the_member_only(world: World):
    grocer, cafe = await asyncio.gather(world.brand(), world.brand())
    ada = await grocer.enrol(number="secret-7")
    await ada.consent(cafe)
    assert [row["customerNumber"] for row in (await cafe.sees(ada))["identities"]] == [None]


async def test_a6_the_sixth_metro_trip_of_a_day_earns_nothing_and_says_why(world: World):
    metro = await world.brand(earns={"METRO_TRIP": 1})
    ada = await metro.enrol()
    yesterday = now() - timedelta(days=1)
    trips = [ada.act(metro, "METRO_TRIP", 1_000, at=yesterday) for _ in range(6)]
    done = await ada.earn(metro, *trips)
    assert [act["status"] for act in done] == ["CREDITED"] * 5 + ["CAPPED"]
    assert (done[-1]["reason"], done[-1]["newCo2eMg"]) == ("DAILY_CAP_REACHED", 0)
    assert [act["newCo2eMg"] for act in done[:5]] == [METRO_KM_MG] * 5
    seen = await ada.look()
    assert (seen["carbon"]["claims"], seen["carbon"]["co2eMg"]) == (5, 5 * METRO_KM_MG)
    assert seen["wallet"]["balance"] == 5_000
    (today,) = await ada.earn(metro, ada.act(metro, "METRO_TRIP", 1_000))
    assert today["status"] == "CREDITED"


async def test_a6_the_cap_holds_when_all_trips_come_at_once(world: World):
    metro = await world.brand()
    ada = await metro.enrol()
    at = now() - timedelta(days=1)
    reports = [metro.report_acts(ada.act(metro, "METRO_TRIP", 1_000, at=at)) for _ in range(12)]
    done = [acts[0]["status"] for acts in await asyncio.gather(*reports)]
    assert sorted(done) == ["CAPPED"] * 7 + ["CREDITED"] * 5


async def test_r14_a_second_programme_gets_the_same_claim_and_no_new_grams(world: World):
    metro, cafe = await asyncio.gather(world.brand(earns={"METRO_TRIP": 1}), world.brand(earns={"METRO_TRIP": 1}))
    ada = await metro.enrol()
    await ada.link(cafe)
    at = now() - timedelta(hours=3)
    (first,) = await ada.earn(metro, ada.act(metro, "METRO_TRIP", 2_000, at=at, ticket="GVB 2026-0001"))
    (second,) = await ada.earn(cafe, ada.act(cafe, "METRO_TRIP", 2_000, at=at, ticket="gvb20260001"))
    assert (second["status"], second["newCo2eMg"]) == ("DUPLICATE", 0)
    seen = await ada.look()
    acts = {edge["node"]["id"]: edge["node"]["claim"] for edge in seen["acts"]["edges"]}
    assert acts[first["id"]]["id"] == acts[second["id"]]["id"]
    assert (seen["carbon"]["claims"], seen["wallet"]["balance"]) == (1, 2_000)


async def test_r15_double_points_leave_grams_unchanged(world: World):
    plain, generous = await asyncio.gather(
        world.brand(earns={"METRO_TRIP": 1}), world.brand(earns={"METRO_TRIP": 1, "OWN_CUP": 10})
    )
    await generous.campaign("METRO_TRIP")
    ada, bob = await plain.enrol(), await generous.enrol()
    at = now() - timedelta(hours=1)
    await ada.earn(plain, ada.act(plain, "METRO_TRIP", 3_000, at=at))
    await bob.earn(generous, bob.act(generous, "METRO_TRIP", 3_000, at=at))
    one, other = await ada.look(), await bob.look()
    assert (one["wallet"]["balance"], other["wallet"]["balance"]) == (3_000, 6_000)
    assert one["carbon"]["co2eMg"] == other["carbon"]["co2eMg"] == 3 * METRO_KM_MG
    await bob.earn(generous, bob.act(generous, "OWN_CUP"))
    after = await bob.look()
    assert (after["wallet"]["balance"], after["carbon"]["co2eMg"]) == (6_010, 3 * METRO_KM_MG)


async def test_r16_a_claim_can_be_worked_out_again_from_its_pinned_factor(world: World):
    metro = await world.brand()
    ada = await metro.enrol()
    for metres in (1, 999, 12_345):
        await metro.report_acts(ada.act(metro, "METRO_TRIP", metres))
    acts = [edge["node"] for edge in (await ada.look())["acts"]["edges"]]
    factors = {act["claim"]["factor"]["id"]: act["claim"]["factor"]["avoidedUgPerUnit"] for act in acts}
    assert factors == {"metro-trip-2025": METRO_KM_MG}
    assert sorted(act["claim"]["co2eMg"] for act in acts) == [m * METRO_KM_MG // 1_000 for m in (1, 999, 12_345)]


async def test_a_brand_cannot_speak_for_strangers_or_make_up_acts(world: World):
    grocer, cafe = await asyncio.gather(world.brand(), world.brand())
    ada = await grocer.enrol()
    stranger = {**ada.act(grocer, "OWN_CUP"), "customerNumber": None, "memberId": ada.id}
    (refused,) = await cafe.report_acts(stranger)
    assert (refused["status"], refused["reason"]) == ("REFUSED", "CUSTOMER_NOT_LINKED")
    (future,) = await grocer.report_acts(ada.act(grocer, "OWN_CUP", at=now() + timedelta(hours=2)))
    assert future["reason"] == "OCCURRED_IN_FUTURE"
    (stale,) = await grocer.report_acts(ada.act(grocer, "OWN_CUP", at=now() - timedelta(days=401)))
    assert stale["reason"] == "OCCURRED_TOO_LONG_AGO"
    for bad in ({"quantity": -1}, {"quantity": 2**53 - 1}, {"quantity": 0}):
        assert await reason_of(grocer.report_acts({**ada.act(grocer, "OWN_CUP"), **bad})) == "FIELD_INVALID"
    assert await reason_of(grocer.report_acts()) == "BATCH_EMPTY"
    assert await reason_of(grocer.report_acts(*[ada.act(grocer, "OWN_CUP")] * 101)) == "BATCH_TOO_LARGE"
    assert (await ada.look())["carbon"]["claims"] == 0
