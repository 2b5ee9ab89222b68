"""What a person sees while the alliance starts and its day is played."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


class Terminal:
    """Shows steps with a bar while they run and leaves one line of each; without a terminal only the lines."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def step(self, title: str, total: int) -> Iterator[Callable[[], None]]:
        """A step of so many parts; the function that is given is called after each."""
        began = monotonic()
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(
            *columns,
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        ) as progress:
            task = progress.add_task(title, total=total)
            yield lambda: progress.advance(task)
        self.done(title, f"{total:,}" if total > 1 else "", monotonic() - began)

    def done(self, title: str, detail: str, seconds: float) -> None:
        """A line for something that has been done."""
        self.console.print(f"  [green]✓[/green] {title:<36} {detail:>9} {seconds:7.2f} s", highlight=False)
