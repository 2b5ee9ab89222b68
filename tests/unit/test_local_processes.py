"""Processes of a local alliance: started, watched, ended, and never left behind."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local.embedded import tail_of
from deploy.local.processes import Process, Program, describe

GUARD = Path(__file__).parents[2] / "deploy" / "local" / "guard.py"
SLEEPER = (sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)")
STUBBORN = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)",
)


def program(*command: str, says: str = "up", log: Path | None = None, **environment: str) -> Program:
    async def healthy() -> bool:
        return log is not None and says in tail_of(log, 1)

    return Program("thing", command, environment, 0, healthy)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    made: list[Process] = []

    def one(*command: str, **environment: str) -> Process:
        log = tmp_path / "thing.log"
        made.append(Process(program(*command, log=log, **environment), tmp_path, tmp_path))
        return made[-1]

    yield one
    for process in made:
        process.kill()


def popen(*command: str, **pipes: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command, **pipes)  # type: ignore[call-overload,no-any-return]


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "it did not come to that within 60 s"
        time.sleep(0.02)


async def test_a_process_is_started_with_its_environment_and_logs_to_its_file(make: Callable[..., Process]):
    process = make(
        sys.executable,
        "-c",
        "import os, time; print('up', os.environ['COLOUR'], flush=True); time.sleep(600)",
        COLOUR="green",
    )
    process.start()
    await process.wait_until_healthy(60)
    assert process.log.read_text() == "up green\n"
    assert alive(process.pid or 0)


async def test_stop_asks_first(make: Callable[..., Process]):
    process = make(*SLEEPER)
    process.start()
    await process.wait_until_healthy(60)
    await process.stop(60)
    assert process.exit_status == -signal.SIGTERM
    assert process.pid is None


async def test_what_does_not_listen_is_ended_after_the_grace(make: Callable[..., Process]):
    process = make(*STUBBORN)
    process.start()
    await process.wait_until_healthy(60)
    await process.stop(0.2)
    assert process.exit_status == -signal.SIGKILL


async def test_a_process_that_ends_while_it_starts_is_told_with_its_last_words(make: Callable[..., Process]):
    process = make(sys.executable, "-c", "import sys; sys.exit('no such database')")
    process.start()
    with pytest.raises(RuntimeError, match=r"thing ended: with exit status 1[\s\S]*no such database"):
        await process.wait_until_healthy(60)


async def test_a_process_that_is_never_well_is_told(make: Callable[..., Process]):
    process = make(sys.executable, "-c", "import time; time.sleep(600)")
    process.start()
    with pytest.raises(RuntimeError, match="thing was not healthy within 0 s"):
        await process.wait_until_healthy(0.2)


async def test_after_a_kill_the_script_starts_it_again_just_so_and_stop_ends_that_too(make: Callable[..., Process]):
    process = make(
        sys.executable,
        "-c",
        "import os, time; print('up', os.environ['COLOUR'], flush=True); time.sleep(600)",
        COLOUR="dark green's",
    )
    process.start()
    await process.wait_until_healthy(60)
    first = process.pid
    os.kill(first or 0, signal.SIGKILL)
    wait_until(lambda: process.pid is None)
    assert "by signal 9 (SIGKILL)" in process.epitaph()
    assert str(process.script) in process.epitaph()

    by_hand = popen(str(process.script), stdout=subprocess.PIPE)
    assert by_hand.stdout is not None
    assert by_hand.stdout.readline() == b"up dark green's\n"
    assert process.pid == by_hand.pid

    stopping = asyncio.create_task(process.stop(60))
    assert await asyncio.to_thread(by_hand.wait, 60) == -signal.SIGTERM
    await stopping
    by_hand.stdout.close()


async def test_a_stranger_with_an_old_number_is_left_alone(make: Callable[..., Process], tmp_path: Path):
    process = make(*SLEEPER)
    with popen(sys.executable, "-c", "input()", stdin=subprocess.PIPE) as stranger:
        (tmp_path / "thing.pid").write_text(str(stranger.pid))
        assert process.pid is None
        await process.stop(0)
        assert stranger.poll() is None
        stranger.communicate(b"\n")


def test_the_script_is_for_its_owner_only(make: Callable[..., Process]):
    process = make(*SLEEPER, SECRET="s")
    process.start()
    assert process.script.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_nothing_outlives_a_launcher_that_is_killed(tmp_path: Path):
    launcher = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, subprocess, sys, time\n"
            f"child = subprocess.Popen([sys.executable, '-IS', {str(GUARD)!r}, str(os.getpid()), 'sleep', '600'])\n"
            "print(child.pid, flush=True)\n"
            "time.sleep(600)",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert launcher.stdout is not None
    child = int(launcher.stdout.readline())
    wait_until(lambda: Path(f"/proc/{child}/comm").read_text() == "sleep\n")
    launcher.kill()
    launcher.wait()
    launcher.stdout.close()
    wait_until(lambda: not alive(child))


def test_the_guard_starts_nothing_for_a_launcher_that_has_gone(tmp_path: Path):
    gone = subprocess.Popen(["true"])  # noqa: S607
    gone.wait()
    mark = tmp_path / "mark"
    ended = subprocess.run(
        [sys.executable, "-IS", str(GUARD), str(gone.pid), "touch", str(mark)], capture_output=True, check=False
    )
    assert ended.returncode == 1
    assert not mark.exists()


@pytest.mark.parametrize(
    ("status", "words"), [(0, "with exit status 0"), (3, "with exit status 3"), (-15, "by signal 15 (SIGTERM)")]
)
def test_an_exit_status_in_words(status: int, words: str):
    assert describe(status) == words
