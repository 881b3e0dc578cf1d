"""Progress of a long step: a bar with rate and time left on a terminal, a line now and then elsewhere.

Always on standard error.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from common.text import duration, escaped

_LINE_EVERY_S = 10


class Steps:
    """Counts what is done of a step; made by `progress`."""

    def __init__(self, name: str, total: float, unit: str, scale: float, bar: Progress):
        self._name, self._total, self._unit, self._scale, self._bar = name, total, unit, scale, bar
        self._task = bar.add_task(name, total=total, state="")
        self._done, self._started = 0.0, time.monotonic()
        self._line_at = self._started

    def advance(self, amount: float, note: str = "") -> None:
        """So much more is done; note: what else the line says, for example a second rate."""
        self._done += amount
        seconds = max(time.monotonic() - self._started, 1e-9)
        state = f"{self._done / seconds / self._scale:,.0f} {self._unit}/s" + (f", {note}" if note else "")
        self._bar.update(self._task, completed=self._done, state=state)
        if self._bar.disable and time.monotonic() - self._line_at > _LINE_EVERY_S:
            self._line_at = time.monotonic()
            left = duration(seconds * max(0.0, self._total / max(self._done, 1e-9) - 1))
            done = f"{self._done / self._scale:,.0f} of {self._total / self._scale:,.0f} {self._unit}"
            print(f"{self._name}: {done}, {state}, {left} left", file=sys.stderr, flush=True)


@contextmanager
def progress(name: str, total: float, unit: str = "clips", scale: float = 1) -> Iterator[Steps]:
    """Show the progress of a step.

    Args:
        name: what is at work. total: what `advance` adds up to. unit: of what is counted, after division by scale:
            "MB" with 1e6 for bytes.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.percentage:>3.0f}%"),
    )
    columns += (TextColumn("{task.fields[state]}", markup=False), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        yield Steps(escaped(name), total, unit, scale, bar)
        bar.update(bar.task_ids[0], completed=total)  # a total may be an estimate; what is done is 100 %
