"""What an operator does with events that were refused for good: `python -m services.<name>.parked list`, and then
`again ID` (the reason has passed: it is delivered once more) or `settle ID --why "who decided, and what was done"`.

Settings are those of the service, from the same environment; keys are not needed.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from services.shared.config import ServiceSettings
from services.shared.mongo import Database
from services.shared.outbox import Outbox

_SHOWN = 100


async def run(outbox: Outbox, arguments: Sequence[str]) -> int:
    """The exit status: 0, or 1 if no parked event has that id."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="show them, oldest first")
    actions.add_parser("again", help="deliver it once more").add_argument("id")
    settle = actions.add_parser("settle", help="note that it was dealt with")
    settle.add_argument("id")
    settle.add_argument("--why", required=True, help="who decided, and what was done instead; it is kept")
    options = parser.parse_args(arguments)
    if options.action == "list":
        events = await outbox.parked(_SHOWN)
        for event in events:
            print(f"{event.id}  {event.topic}  {event.at:%Y-%m-%dT%H:%M:%SZ}  {event.error}")
        print(f"{len(events)} parked" + (", or more" if len(events) == _SHOWN else ""))
        return 0
    done = await (outbox.unpark(options.id) if options.action == "again" else outbox.settle(options.id, options.why))
    print(f"{options.id}: " + ("done" if done else "there is no parked event of that id"))
    return 0 if done else 1


def main(settings: ServiceSettings) -> None:
    """Runs it as a process."""

    async def with_database() -> int:
        database = Database(settings.mongodb_uri.get_secret_value(), settings.mongodb_database)
        try:
            return await run(Outbox(database), sys.argv[1:])
        finally:
            database.close()

    sys.exit(asyncio.run(with_database()))
