"""The alliance's day on real processes: it comes out as reckoned, twice, and whatever is killed meanwhile."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy.local.alliance import Alliance
from deploy.local.day.checks import checks, summary
from deploy.local.day.play import Outcome
from deploy.local.day.reckoning import reckon
from deploy.local.day.run import Size, play_outcome
from tests.e2e.conftest import options, running

SMALL = Size(members=40, acts=200)
# What does not follow from the plan.
MEASURED = ("startup_seconds", "seconds", "operations", "operations_per_second")


class Quiet:
    """Shows nothing."""

    @contextmanager
    def step(self, title: str, total: int) -> Iterator[Callable[[], None]]:
        yield lambda: None


class Saboteur:
    """Kills processes in the middle of steps of the day, and has each started again by hand a moment later."""

    def __init__(self, alliance: Alliance, targets: dict[str, str]) -> None:
        self._alliance = alliance
        self._targets = targets
        self.by_hand: list[subprocess.Popen[bytes]] = []

    @contextmanager
    def step(self, title: str, total: int) -> Iterator[Callable[[], None]]:
        done = 0

        def advance() -> None:
            nonlocal done
            done += 1
            if done == (total + 1) // 2 and title in self._targets:
                self._kill(self._targets[title])

        yield advance

    def _kill(self, name: str) -> None:
        process = self._alliance.processes[name]
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        asyncio.get_running_loop().call_later(0.3, self._start, process.script)

    def _start(self, script: Path) -> None:
        self.by_hand.append(subprocess.Popen([str(script)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))


def totals(outcome: Outcome) -> dict[str, Any]:
    return {name: value for name, value in summary(outcome).items() if name not in MEASURED}


def unmet(outcome: Outcome) -> list[str]:
    return [
        f"{c.what}: expected {c.expected}, actual {c.actual}"
        for c in checks(outcome, reckon(outcome.plan))
        if not c.met
    ]


def demo(data: Path, prefix: str) -> dict[str, Any]:
    """The figures that `make demo ARGS=--exit` prints as its last line."""
    ports = [f"--{name}-port=0" for name in ("gateway", "accounts", "partners", "logistics", "rewards", "database")]
    size = [f"--members={SMALL.members}", f"--acts={SMALL.acts}"]
    done = subprocess.run(
        [sys.executable, "-m", "deploy.local", "demo", "--exit", "--data", str(data), *ports, *size],
        env={**os.environ, "ALLIANCE_LOCAL_DATABASE_PREFIX": prefix},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


async def test_the_day_comes_out_as_reckoned_and_a_second_run_credits_nothing_again(tmp_path: Path):
    """First by the command, which leaves figures and a page; then on the data that it left."""
    chosen = options(tmp_path)
    figures = await asyncio.to_thread(demo, tmp_path, chosen.database_prefix)
    assert figures["points_issued"] == (
        figures["points_spent"] + figures["points_expired"] + figures["points_outstanding"]
    )
    assert (figures["net_sum"], figures["forged_refused"], figures["unmet"]) == (0, 1, [])
    assert {"claims", "claimed_mg", "duplicates_refused", "startup_seconds", "seconds"} <= set(figures)
    assert "<svg" in (tmp_path / "report.html").read_text()
    assert not list((tmp_path / "run").glob("*.pid"))

    async with running(chosen) as alliance:
        second = await play_outcome(alliance, SMALL, Quiet())
    assert unmet(second) == []
    assert totals(second).items() <= figures.items()


async def test_the_day_comes_out_the_same_whichever_service_is_killed_meanwhile(tmp_path: Path):
    targets = {
        "agreements and prepaid blocks": "partners",
        "members enrol": "accounts",
        "further brands linked": "gateway",
        "acts reported": "logistics",
        "acts reported again": "rewards",
        "members spend at other brands": "rewards",
    }
    async with running(options(tmp_path)) as alliance:
        saboteur = Saboteur(alliance, targets)
        outcome = await play_outcome(alliance, SMALL, saboteur)
    assert len(saboteur.by_hand) == len(targets)
    assert unmet(outcome) == []
    assert outcome.traffic.retried > 0
    for process in saboteur.by_hand:
        assert await asyncio.to_thread(process.wait, 30) is not None
