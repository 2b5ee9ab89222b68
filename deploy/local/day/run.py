"""The day on a running alliance: plan, play, check, report."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from deploy.local.alliance import OPERATOR_CLIENT_ID, Alliance
from deploy.local.day import page, tables
from deploy.local.day.account import Account, account
from deploy.local.day.checks import checks
from deploy.local.day.doors import Doors, Passing, Refused, backend
from deploy.local.day.keepsakes import Keepsakes, OtherDay, scale_of
from deploy.local.day.plan import Scale
from deploy.local.day.planner import make_plan
from deploy.local.day.play import Outcome, play
from deploy.local.day.reckoning import reckon
from deploy.local.day.stage import Show, Stage
from deploy.local.terminal import Terminal

# What happens when secrets that are shown once are in one folder, and the brands in another's database.
_OF_ANOTHER_FOLDER = frozenset({"PARTNER_NAME_TAKEN", "REQUEST_ID_REUSED", "invalid_client"})


class DayFailed(Exception):
    """The day could not be played to its end; the message says why."""


@dataclass(frozen=True)
class Size:
    """What is chosen about a day. Its date is that of the day before the first run."""

    seed: int = 2026
    members: int = 200
    acts: int = 1_500


async def play_day(alliance: Alliance, size: Size, terminal: Terminal) -> Account:
    """Plays the day, prints its report and writes it to `report.html` in the data folder; DayFailed if it cannot."""
    terminal.console.print("\nplaying the day")
    outcome = await play_outcome(alliance, size, terminal)
    result = account(outcome, checks(outcome, reckon(outcome.plan)))
    tables.show(result, terminal.console)
    path = alliance.data / "report.html"
    path.write_text(page.render(result))
    terminal.console.print(f"The same as a page: {path}", soft_wrap=True)
    return result


async def play_outcome(alliance: Alliance, size: Size, show: Show) -> Outcome:
    """Plays the day of the alliance's data folder; DayFailed if it cannot."""
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    try:
        scale = scale_of(alliance.data / "day.json", Scale(size.seed, yesterday, size.members, size.acts))
        async with Doors(alliance.url, alliance.machines_target, authorities=alliance.machines_authorities) as doors:
            stage = Stage(
                make_plan(scale),
                doors,
                Keepsakes(alliance.data / "day.secrets"),
                backend("operator", OPERATOR_CLIENT_ID, alliance.operator_secret),
                show,
            )
            return await play(stage, alliance.startup_seconds)
    except* (OtherDay, Refused, Passing, RuntimeError) as group:
        failure = _say(next(_leaves(group)), alliance.data)
    raise DayFailed(failure)


def _say(error: BaseException, data: Path) -> str:
    if isinstance(error, Refused) and error.reason in _OF_ANOTHER_FOLDER:
        return (
            f"{error}\nThe database and {data} do not belong together: one of them has played a day without the other. "
            "Use the two that do, or an empty folder (--data) with an empty database (--database-prefix)."
        )
    if isinstance(error, Passing):
        return f"Something was out of reach for two minutes: {error}. See {data / 'logs'}."
    return str(error)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error


def figures(result: Account) -> dict[str, Any]:
    """What is printed as the last line."""
    return {**result.summary, "expectations": len(result.checks), "unmet": [check.what for check in result.unmet]}
