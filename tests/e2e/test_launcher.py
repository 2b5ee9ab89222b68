"""The launcher from outside: it serves, tells of what dies, and leaves nothing behind however it ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import options

NAMES = {"database", "accounts", "partners", "logistics", "rewards", "gateway"}


class Launcher:
    """`python -m deploy.local up` on free ports."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self._output = data / "launcher.out"
        ports = [f"--{name}-port=0" for name in sorted(NAMES)]
        prefix = f"--database-prefix={options(data).database_prefix}"
        with self._output.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deploy.local", "up", "--data", str(data), prefix, *ports],
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def pids(self) -> dict[str, int]:
        return {path.stem: int(path.read_text()) for path in (self.data / "run").glob("*.pid")}


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "it did not come to that within 60 s"
        time.sleep(0.05)


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    launcher = Launcher(tmp_path)
    wait_until(lambda: "serving" in launcher.output or launcher.process.poll() is not None)
    assert launcher.process.poll() is None, launcher.output
    yield launcher
    launcher.process.kill()
    launcher.process.wait()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_behind(launcher: Launcher, signum: signal.Signals):
    pids = launcher.pids
    assert set(pids) >= NAMES - {"database"}
    launcher.process.send_signal(signum)
    launcher.process.wait(60)
    wait_until(lambda: not any(map(alive, pids.values())))
    if signum is not signal.SIGKILL:
        assert launcher.process.returncode == 0
        assert launcher.pids == {}


def test_a_service_that_dies_is_told_and_the_others_go_on_until_it_is_started_again(launcher: Launcher):
    pids = launcher.pids
    os.kill(pids["rewards"], signal.SIGKILL)
    wait_until(lambda: "rewards ended: by signal 9 (SIGKILL). Start it again with" in launcher.output)
    assert all(alive(pid) for name, pid in pids.items() if name != "rewards")

    script = launcher.data / "run" / "rewards.sh"
    by_hand = subprocess.Popen([str(script)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: f"rewards was started again (pid {by_hand.pid})" in launcher.output)

    # Ctrl-C ends that one too.
    launcher.process.send_signal(signal.SIGINT)
    assert launcher.process.wait(60) == 0
    assert by_hand.wait(60) in (0, -signal.SIGTERM)
    assert not any(map(alive, pids.values()))
