"""Progress of a run: a bar on a terminal, a line an epoch elsewhere, always on standard error.

The loss is that of the training windows, the accuracy that of the validation clips. The time left counts every
epoch that may still come, so early stopping shortens it.
"""

import time
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from common.text import duration, escaped


class RunProgress:
    """Follows a run through folds, epochs and batches; a context manager.

    Attributes:
        fold: that is being trained, None before the first.
        begun: whether the predictions folder is open and folds are trained into it, here or elsewhere.
    """

    def __init__(self, stream: TextIO):
        """stream: where to write; a bar where it is a terminal."""
        self.fold: int | None = None
        self.begun = False
        self._stream, self._console = stream, Console(file=stream)
        columns = TextColumn("{task.description}"), BarColumn(bar_width=10), TextColumn("{task.fields[state]}")
        self._bar = Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal)
        self._task = self._bar.add_task("", total=1, state="", visible=False)
        self._epochs_done = self._epochs_left = self._left_after = 0

    def __enter__(self) -> "RunProgress":
        self._bar.start()
        self._started = time.monotonic()
        return self

    def __exit__(self, *_) -> None:
        self._bar.stop()

    @property
    def place(self) -> str:
        """Where the same command would resume, in words."""
        if self.fold is None:
            return "with the folds that are not finished" if self.begun else "at the beginning"
        return f"with fold {self.fold}" + (f", epoch {self._epoch + 1}" if self._epoch else "")

    def say(self, line: str) -> None:
        """Write a line of its own."""
        if self._console.is_terminal:
            self._console.print(f"train: {escaped(line)}", markup=False, highlight=False, soft_wrap=True)
        else:
            print(f"train: {escaped(line)}", file=self._stream, flush=True)

    def begin_fold(self, fold: int, n_folds_left: int, n_epochs: int, n_clips: int) -> None:
        """A fold begins; n_folds_left counts it too. n_epochs: at most. n_clips: that it trains on."""
        self.fold, self._n_epochs, self._n_clips = fold, n_epochs, n_clips
        self._left_after = (n_folds_left - 1) * n_epochs
        self._epochs_left = self._left_after + n_epochs
        self._accuracy, self._state = "", "building and compiling the net"  # until the first batch is done
        self.begin_epoch(0)

    def begin_epoch(self, epoch: int) -> None:
        """An epoch begins, counted from 0."""
        self._epoch, self._epoch_started = epoch, time.monotonic()
        self._name = f"fold {self.fold} epoch {epoch + 1}/{self._n_epochs}"
        self._bar.reset(self._task, total=self._n_clips, description=self._name, state=self._state, visible=True)

    def batch(self, n_clips: int, loss: float) -> None:
        """A batch is done; n_clips: of this epoch so far. loss: mean of the epoch so far."""
        self._rate = n_clips / max(time.monotonic() - self._epoch_started, 1e-9)
        self._state = f"loss {loss:.2f},{self._accuracy} {self._speed()}"  # short: 80 columns hold it
        self._bar.update(self._task, completed=n_clips, state=self._state)

    def end_epoch(self, scores: dict[str, float]) -> None:
        """An epoch is done, with its loss, and val_loss, val_accuracy and val_map3 where it was validated."""
        self._epochs_done += 1
        self._epochs_left = self._left_after + self._n_epochs - self._epoch - 1
        validation = ""
        if "val_loss" in scores:
            self._accuracy = f" accuracy {scores['val_accuracy']:.2f},"
            validation = (
                f" validation loss {scores['val_loss']:.4f}, accuracy {scores['val_accuracy']:.4f}, "
                f"MAP@3 {scores['val_map3']:.4f},"
            )
        self._state = f"loss {scores['loss']:.2f},{self._accuracy} {self._speed()}"
        if not self._console.is_terminal:
            self.say(f"{self._name}: loss {scores['loss']:.4f},{validation} {self._speed()}")

    def end_fold(self, result: dict[str, Any]) -> None:
        """A fold is finished; result: what its marker says."""
        self.say(
            f"fold {result['fold']}: finished after {result['epochs']} epochs, kept {result['kept_epoch']}, "
            f"accuracy {result['accuracy']:.4f}, MAP@3 {result['map3']:.4f}, {duration(result['seconds'])}"
        )

    def _speed(self) -> str:
        if not self._epochs_done:
            return f"{self._rate:.0f} clips/s"
        seconds = (time.monotonic() - self._started) / self._epochs_done * self._epochs_left
        return f"{self._rate:.0f} clips/s, {duration(seconds)} left"
