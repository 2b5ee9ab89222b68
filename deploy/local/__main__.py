"""`python -m deploy.local up|demo`: the alliance on one machine, with or without its day."""

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console

from deploy.local.alliance import OPERATOR_CLIENT_ID, Alliance, CannotStart
from deploy.local.day.run import DayFailed, Size, figures, play_day
from deploy.local.options import Options
from deploy.local.processes import Process
from deploy.local.terminal import Terminal

_INTERRUPTED = 130
_WRONG_OPTION = 2
_FILE_WIDTH = 120


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0; 1 if something went wrong; 2 for a wrong option; 130 if interrupted before it was done."""
    parsed = _parser().parse_args(arguments)
    chosen = {name: value for name, value in vars(parsed).items() if name in Options.model_fields and value is not None}
    try:
        options = Options(**chosen)
    except ValidationError as error:
        for problem in error.errors():
            print(f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}", file=sys.stderr)
        return _WRONG_OPTION
    day = Size(parsed.seed, parsed.members, parsed.acts) if parsed.command == "demo" else None
    return asyncio.run(Run(options, day, leave=day is not None and parsed.exit).run())


class Run:
    """One run of the launcher: start, play the day if there is one, serve unless told to leave, stop everything."""

    def __init__(self, options: Options, day: Size | None, *, leave: bool) -> None:
        self._alliance = Alliance(options)
        self._day = day
        self._leave = leave
        # What goes to a file is read later, in a window of any width.
        self._console = Console(highlight=False, width=None if sys.stdout.isatty() else _FILE_WIDTH)
        # The last line of standard output belongs to the day's figures; what comes later goes here.
        self._aside = Console(stderr=True, highlight=False)
        self._terminal = Terminal(self._console)
        self._interrupted = False

    async def run(self) -> int:
        """The exit status."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  we are in one
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(signum, self._interrupt, task)
        status = _INTERRUPTED
        watch = None
        try:
            await self._start()
            watch = asyncio.create_task(self._alliance.watch(self._died, self._back))
            status = await self._play() if self._day else 0
            if not self._leave:
                self._advise()
                await watch
        except CannotStart as error:
            # Nothing runs that would have to be stopped.
            self._aside.print(f"[red]The alliance cannot start.[/red] {error}", soft_wrap=True)
            return 1
        except asyncio.CancelledError:
            task.uncancel()
        self._interrupted = True
        if watch is not None:
            watch.cancel()
        self._aside.print("stopping ...")
        await self._alliance.stop()
        self._aside.print("stopped")
        return status

    async def _start(self) -> None:
        self._console.print(f"starting the alliance; its data and logs are in {self._alliance.data}", soft_wrap=True)
        await self._alliance.start(lambda name, seconds: self._terminal.done(f"{name} healthy", "", seconds))
        self._console.print(f"healthy after {self._alliance.startup_seconds:.1f} s")

    async def _play(self) -> int:
        assert self._day is not None  # noqa: S101
        try:
            result = await play_day(self._alliance, self._day, self._terminal)
        except DayFailed as error:
            self._aside.print(f"[red]The day could not be played.[/red] {error}", soft_wrap=True)
            return 1
        print(json.dumps(figures(result)), flush=True)
        return 1 if result.unmet else 0

    def _advise(self) -> None:
        url = self._alliance.url
        secret = self._alliance.data / "keys" / "operator.secret"
        credentials = f'{OPERATOR_CLIENT_ID}:"$(cat {secret})"'
        self._aside.print(f"\nserving: GraphQL at {url}/graphql; Ctrl-C stops everything", soft_wrap=True)
        self._aside.print("a token for the operator:", soft_wrap=True)
        self._aside.print(
            f"  curl -s -u {credentials} -d grant_type=client_credentials {url}/oauth/token", soft_wrap=True
        )

    def _interrupt(self, task: "asyncio.Task[int]") -> None:
        if self._interrupted:
            # Somebody is in a hurry.
            self._alliance.kill()
            os._exit(_INTERRUPTED)
        self._interrupted = True
        task.cancel()

    def _died(self, process: Process) -> None:
        self._aside.print(f"[red]{process.epitaph()}[/red]", soft_wrap=True)

    def _back(self, process: Process) -> None:
        self._aside.print(f"{process.name} was started again (pid {process.pid})")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description="Runs the whole alliance locally.")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start and serve until Ctrl-C")
    demo = commands.add_parser("demo", help="start, play the day, report, and serve until Ctrl-C")
    for command in (up, demo):
        _add_options(command)
    usual = Size()
    demo.add_argument("--exit", action="store_true", help="stop everything after the day")
    demo.add_argument("--seed", type=int, default=usual.seed, help="what the day is made from (default %(default)s)")
    demo.add_argument("--members", type=_at_least(40), default=usual.members, help="at least 40 (default %(default)s)")
    demo.add_argument("--acts", type=_at_least(200), default=usual.acts, help="at least 200 (default %(default)s)")
    return parser


def _add_options(parser: argparse.ArgumentParser) -> None:
    """Each option of the launcher; what is left out comes from the environment, or is the default."""
    for name, field in Options.model_fields.items():
        if name != "mongodb_uri":  # It may hold a password; the environment shows it to fewer eyes.
            option, text = f"--{name.replace('_', '-')}", f"{field.description} (default {field.default})"
            if field.annotation is bool:
                parser.add_argument(option, action="store_const", const=True, default=None, help=text)
                continue
            kind = Path if field.annotation is Path else int if field.annotation is int else str
            parser.add_argument(option, type=kind, default=None, help=text)


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"needs {least} or more")
        return int(text)

    return number


if __name__ == "__main__":
    sys.exit(main())
