"""Subscriptions, through real processes: what a machine uploads shows at once, over both transports."""

from tests.e2e.test_logistics import credited
from tests.support.alliance import World, item
from tests.support.live import Events, Socket, events, socket

WALLET = """
subscription Wallet($after: String) {
  walletChanged(after: $after) { cursor wallet { balance lots { issuer { name } points } } member { displayName } }
}
"""


async def test_g5_an_earn_shows_over_websocket_and_as_an_event(world: World):
    grocer = await world.brand(earns={"PET_RECYCLING": 2})
    machine, ada = await grocer.machine(), await grocer.enrol("Ada")
    token = await world.doors.token(ada.person)
    url = world.alliance.url
    async with socket(url, token) as over_socket, events(url, token, WALLET) as over_events:
        await over_socket.subscribe(WALLET)
        for client in (over_socket, over_events):
            first = (await client.next())["walletChanged"]
            assert (first["wallet"]["balance"], first["member"]["displayName"]) == (0, "Ada")
        await machine.capture(item(ada, grams=24))
        seen = [(await client.next())["walletChanged"] for client in (over_socket, over_events)]
    assert seen[0] == seen[1]
    assert (seen[0]["wallet"]["balance"], seen[0]["wallet"]["lots"][0]["points"]) == (48, 48)
    async with events(url, token, WALLET, last_id=over_events.last_id) as resumed:
        await machine.capture(item(ada, grams=1))
        assert (await resumed.next())["walletChanged"]["wallet"]["balance"] == 50, (
            "the state that was seen comes no more"
        )


ACCEPTED = """
subscription Accepted($after: String) {
  dropOffAccepted(after: $after) { cursor dropOff { weightGrams partner { id } } }
}
"""


async def test_g5_a_brand_follows_its_machines_and_misses_nothing_while_it_is_away(world: World):
    grocer = await world.brand()
    machine, ada = await grocer.machine(), await grocer.enrol()
    other = await (await world.brand()).machine()
    token = await world.doors.token(grocer.person)
    url = world.alliance.url

    async def weights(client: Events | Socket, count: int) -> list[int]:
        rows = [(await client.next())["dropOffAccepted"]["dropOff"] for _ in range(count)]
        return [row["weightGrams"] for row in rows]

    async with events(url, token, ACCEPTED) as present:
        await machine.capture(item(ada, grams=11), item(ada, grams=12))
        await other.capture(item(ada, grams=99))
        await machine.capture(item(ada, grams=13))
        assert await weights(present, 1) == [11]
        seen = present.last_id
        assert await weights(present, 2) == [12, 13]
    await machine.capture(item(ada, grams=14))
    async with events(url, token, ACCEPTED, last_id=seen) as resumed, socket(url, token) as over_socket:
        await over_socket.subscribe(ACCEPTED, after=seen)
        await machine.capture(item(ada, grams=15))
        for client in (resumed, over_socket):
            assert await weights(client, 4) == [12, 13, 14, 15]
    # Whoever counts what everybody did next finds nothing of this on its way.
    await credited(world, ada, 6)


IMPACT = "subscription { allianceImpact { impact { claims co2eMg kinds { kind claims } } } }"


async def test_g5_everybody_sees_what_the_alliance_avoids_as_it_does(world: World):
    grocer = await world.brand()
    machine, ada = await grocer.machine(), await grocer.enrol()
    url = world.alliance.url
    async with events(url, None, IMPACT, get=True) as over_events, socket(url) as over_socket:
        await over_socket.subscribe(IMPACT)
        first = [(await client.next())["allianceImpact"]["impact"] for client in (over_events, over_socket)]
        assert first[0] == first[1]
        await machine.capture(item(ada, grams=24))
        for client in (over_events, over_socket):
            seen = (await client.next())["allianceImpact"]["impact"]
            assert seen["claims"] == first[0]["claims"] + 1
            assert seen["co2eMg"] == first[0]["co2eMg"] + 24 * 1_650
            assert sum(each["claims"] for each in seen["kinds"]) == seen["claims"]
    report = (await world.report())["acts"]
    assert (report["claims"], report["co2eMg"]) == (seen["claims"], seen["co2eMg"])
