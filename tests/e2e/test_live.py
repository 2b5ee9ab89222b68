"""Subscriptions, through real processes: what a machine uploads shows at once, over both transports."""

from tests.support.alliance import World, item
from tests.support.live import events, socket

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
