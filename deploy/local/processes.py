"""One process of the alliance: how it is started, how it is known to be well, and how it is ended."""

import asyncio
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deploy.local.embedded import tail_of
from deploy.local.guard import guarded

_ROOT = Path(__file__).parents[2]
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Program:
    """What a process runs. `environment` is added to that of the launcher."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    port: int
    healthy: Callable[[], Awaitable[bool]]


class Process:
    """A program at work. Its output goes to a log; a script is written by which anybody can start it again."""

    def __init__(self, program: Program, run: Path, logs: Path) -> None:
        self.program = program
        self.name = program.name
        self.log = logs / f"{program.name}.log"
        self.script = run / f"{program.name}.sh"
        self._pid_file = run / f"{program.name}.pid"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Of whoever runs the program now: the launcher's child, or one that was started by the script."""
        if self._child is not None and self._child.poll() is None:
            return self._child.pid
        return self._started_by_hand()

    @property
    def exit_status(self) -> int | None:
        """Of the launcher's own child, negative for a signal; None while it runs or if there is none."""
        return None if self._child is None else self._child.poll()

    def start(self) -> None:
        """Starts the program. It ends when the calling thread's process does, however that comes about."""
        self._write_script()
        with self.log.open("ab") as out:
            self._child = subprocess.Popen(
                guarded(*self.program.command),
                cwd=_ROOT,
                env={**os.environ, **self.program.environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the launcher, which stops everything in order.
            )
        self._pid_file.write_text(f"{self._child.pid}\n")

    async def wait_until_healthy(self, within_seconds: float) -> None:
        """RuntimeError, with the end of the log, if the program ends or is not well in time."""
        until = time.monotonic() + within_seconds
        while not await self.program.healthy():
            if self.exit_status is not None:
                raise RuntimeError(f"{self.name} ended: {describe(self.exit_status)}.\n{self._log_end()}")
            if time.monotonic() > until:
                raise RuntimeError(f"{self.name} was not healthy within {within_seconds:.0f} s.\n{self._log_end()}")
            await asyncio.sleep(_POLL_SECONDS)

    async def stop(self, grace_seconds: float) -> None:
        """Asks the program to end, and ends it after the grace."""
        self._signal(signal.SIGTERM)
        until = time.monotonic() + grace_seconds
        while self.pid is not None and time.monotonic() < until:  # noqa: ASYNC110  nothing tells of it but the kernel
            await asyncio.sleep(_POLL_SECONDS)
        self.kill()
        self._pid_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """Ends the program at once, as `kill -9` does."""
        self._signal(signal.SIGKILL)
        if self._child is not None:
            self._child.wait()

    def epitaph(self) -> str:
        """For a person: how the program ended, the last lines of its log, and how to start it again."""
        how = describe(self.exit_status)
        return f"{self.name} ended: {how}. Start it again with {self.script}\n{self._log_end(lines=6)}"

    def _signal(self, signum: signal.Signals) -> None:
        pid = self.pid
        if pid is None:
            return
        with suppress(ProcessLookupError):
            if self._child is not None and pid == self._child.pid:
                os.killpg(pid, signum)  # It leads a session of its own.
            else:
                os.kill(pid, signum)

    def _started_by_hand(self) -> int | None:
        try:
            pid = int(self._pid_file.read_text())
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
        except (OSError, ValueError):
            return None
        # The number may have gone to a stranger since.
        expected = [argument.encode() for argument in self.program.command]
        return pid if arguments[-len(expected) :] == expected else None

    def _log_end(self, lines: int = 15) -> str:
        return f"The end of {self.log}:\n{tail_of(self.log, lines)}"

    def _write_script(self) -> None:
        exports = [f"export {name}={shlex.quote(value)}" for name, value in self.program.environment.items()]
        text = "\n".join(
            [
                "#!/bin/sh",
                f"# Starts {self.name} by hand, just as the launcher started it. Ctrl-C stops it.",
                "# With arguments, Python runs them with the same settings, as in: -m services.rewards.invariants",
                f"cd {shlex.quote(str(_ROOT))} || exit 1",
                *exports,
                f'if [ $# -gt 0 ]; then exec {shlex.quote(sys.executable)} "$@"; fi',
                f"echo $$ > {shlex.quote(str(self._pid_file.resolve()))}",
                f"exec {shlex.join(self.program.command)}",
                "",
            ]
        )
        self.script.touch(0o700)
        self.script.chmod(0o700)  # It may hold a secret.
        self.script.write_text(text)


def describe(status: int | None) -> str:
    """An exit status in words."""
    if status is None:
        return "still running"
    if status < 0:
        return f"by signal {-status} ({signal.Signals(-status).name})"
    return f"with exit status {status}"
