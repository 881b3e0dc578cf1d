"""Progress of a long step: a bar with rate and time left on a terminal, a line now and then elsewhere.

Always on standard error. A bar is cyan at work and green when all is done; NO_COLOR takes the colours away.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from common.text import duration, escaped

_LINE_EVERY_S = 10


class Steps:
    """Counts what is done of a step; made by `progress`."""

    def __init__(self, name: str, total: float, unit: str, scale: float, bar: Progress):
        self._name, self._total, self._unit, self._scale, self._bar = name, total, unit, scale, bar
        self._task = bar.add_task(name, total=total, state="")
        self._done, self._started = 0.0, time.monotonic()
        self._line_at = self._started
        self._lock = Lock()

    def advance(self, amount: float, note: str = "") -> None:
        """So much more is done; note: what else the line says, for example a second rate. Threads may share it."""
        with self._lock:
            self._done += amount
        rate = self._rate() + (f", {note}" if note else "")
        left = duration(self._seconds() * max(0.0, self._total / max(self._done, 1e-9) - 1))
        self._bar.update(self._task, completed=self._done, state=f"{rate}, {left} left")
        if self._bar.disable and time.monotonic() - self._line_at > _LINE_EVERY_S:
            self._line_at = time.monotonic()
            done = f"{self._done / self._scale:,.0f} of {self._total / self._scale:,.0f} {self._unit}"
            print(f"{self._name}: {done}, {rate}, {left} left", file=sys.stderr, flush=True)

    def finish(self) -> None:
        """All is done, also where the total was an estimate."""
        if self._done:
            state = f"{self._rate()}, {duration(self._seconds())}"
            self._bar.update(self._task, completed=self._total, state=state)
        else:
            self._bar.update(self._task, completed=self._total, state="")

    def _rate(self) -> str:
        return f"{self._done / self._seconds() / self._scale:,.0f} {self._unit}/s"

    def _seconds(self) -> float:
        return max(time.monotonic() - self._started, 1e-9)


@contextmanager
def progress(name: str, total: float, unit: str = "clips", scale: float = 1) -> Iterator[Steps]:
    """Show the progress of a step.

    Args:
        name: what is at work. total: what `advance` adds up to. unit: of what is counted, after division by scale:
            "MB" with 1e6 for bytes.
    """
    with display(Console(stderr=True)) as bar:
        steps = Steps(escaped(name), total, unit, scale, bar)
        yield steps
        steps.finish()


def display(console: Console) -> Progress:
    """A display of bars, each with its description, its share in percent and its field `state`; shows nothing where
    the console is no terminal."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=10, complete_style="cyan", finished_style="green"),
        TextColumn("{task.percentage:>3.0f}%", markup=False),
        TextColumn("{task.fields[state]}", markup=False),
    )
    return Progress(*columns, console=console, disable=not console.is_terminal)
