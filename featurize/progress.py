"""Progress of a run: a bar on a terminal, a line now and then elsewhere; always on standard error."""

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_LINE_EVERY_S = 10


class FeaturizeProgress:
    """Counts clips and seconds of audio; a context manager that shows nothing before `begin`."""

    def __init__(self, console: Console | None = None):
        self._console = console or Console(stderr=True)
        columns = (TextColumn("featurize"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
        self._bar = Progress(
            *columns, TimeRemainingColumn(), console=self._console, disable=not self._console.is_terminal
        )

    def __enter__(self) -> "FeaturizeProgress":
        return self

    def __exit__(self, *_) -> None:
        self._bar.stop()

    def begin(self, n_clips: int) -> None:
        """Start the clock and, if there is anything to do, the bar."""
        self._n_clips, self._clips, self._audio_s = n_clips, 0, 0.0
        self._started = self._line_at = time.monotonic()
        if n_clips:
            self._task = self._bar.add_task("featurize", total=n_clips, rate="")
            self._bar.start()

    def advance(self, n_clips: int, audio_s: float) -> None:
        """Count clips that are done, and their seconds of audio."""
        self._clips, self._audio_s = self._clips + n_clips, self._audio_s + audio_s
        self._bar.update(self._task, completed=self._clips, rate=self._rate())
        if not self._console.is_terminal and time.monotonic() - self._line_at > _LINE_EVERY_S:
            self._line_at = time.monotonic()
            left = (self._line_at - self._started) * (self._n_clips / self._clips - 1)
            line = f"{self._clips} of {self._n_clips} clips, {self._rate()}, {left:.0f} s left"
            print(f"featurize: {line}", file=sys.stderr, flush=True)

    def _rate(self) -> str:
        seconds = max(time.monotonic() - self._started, 1e-9)
        return f"{self._clips / seconds:,.0f} clips/s, {self._audio_s / seconds:,.0f} s of audio/s"
