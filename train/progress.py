"""Progress of a run, always on standard error: a line a validation, and a bar for the whole run on a terminal.

Where there is no terminal, epochs without a validation have a line too. The time left counts every epoch that may
still come, so early stopping shortens it.
"""

import time
from typing import Any, TextIO

from rich.console import Console

from common.progress import display
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
        self._bar = display(self._console)
        self._task = self._bar.add_task("", total=1, state="", visible=False)
        self._n_folds = self._epochs_done = self._epochs_left = self._left_after = 0

    def __enter__(self) -> "RunProgress":
        self._bar.start()
        self._started = time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_) -> None:
        if kind is None and self.fold is not None:
            took = f"done in {duration(time.monotonic() - self._started)}"
            self._bar.update(self._task, completed=self._n_folds, state=took)
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
        self._n_folds = max(self._n_folds, n_folds_left)
        self._folds_done = self._n_folds - n_folds_left
        self._left_after = (n_folds_left - 1) * n_epochs
        self._epochs_left = self._left_after + n_epochs
        self._state = "building and compiling the net"  # until the first batch is done
        self.begin_epoch(0)

    def begin_epoch(self, epoch: int) -> None:
        """An epoch begins, counted from 0."""
        self._epoch, self._epoch_started = epoch, time.monotonic()
        self._show(0)

    def batch(self, n_clips: int, loss: float) -> None:
        """A batch is done; n_clips: of this epoch so far. loss: mean of the epoch so far."""
        self._rate = n_clips / max(time.monotonic() - self._epoch_started, 1e-9)
        self._state = self._speed()
        self._show(n_clips)

    def end_epoch(self, scores: dict[str, float]) -> None:
        """An epoch is done, with its loss, and val_loss, val_accuracy and val_map3 where it was validated."""
        self._epochs_done += 1
        self._epochs_left = self._left_after + self._n_epochs - self._epoch - 1
        self._state = self._speed()
        self._show(self._n_clips)
        here, name = self._console.is_terminal, f"fold {self.fold} epoch {self._epoch + 1}"
        if not here:
            name += f"/{self._n_epochs}"  # on a terminal the bar says it
        line = f"{name}: loss {scores['loss']:.3f}"
        if "val_loss" in scores:  # in 80 columns
            line = (
                f"{name}: validation loss {scores['val_loss']:.3f}, accuracy {scores['val_accuracy']:.3f}, "
                f"MAP@3 {scores['val_map3']:.3f}"
            )
        if not here:
            self.say(f"{line}, {self._speed()}")
        elif "val_loss" in scores:
            self.say(line)

    def end_fold(self, result: dict[str, Any]) -> None:
        """A fold is finished; result: what its marker says."""
        n_epochs, kept = result["epochs"], result["kept_epoch"]
        epochs = f"{n_epochs} epoch{'s' * (n_epochs != 1)}" + (f", kept {kept}" if kept != n_epochs else "")
        self.say(
            f"fold {result['fold']}: {epochs}, accuracy {result['accuracy']:.3f}, "
            f"MAP@3 {result['map3']:.3f}, {duration(result['seconds'])}"
        )

    def refresh(self) -> None:
        """Draw the bar now; it draws itself ten times a second."""
        self._bar.refresh()

    def _show(self, n_clips: int) -> None:
        """Bring the bar up to date; n_clips: of this epoch so far."""
        place = f"fold {self.fold} ({self._folds_done + 1} of {self._n_folds}) epoch {self._epoch + 1}"
        done = self._folds_done + (self._epoch + n_clips / self._n_clips) / self._n_epochs
        self._bar.update(
            self._task,
            total=self._n_folds,
            completed=done,
            description=f"{place}/{self._n_epochs}",
            state=self._state,
            visible=True,
        )

    def _speed(self) -> str:
        if not self._epochs_done:
            return f"{self._rate:.0f} clips/s"
        seconds = (time.monotonic() - self._started) / self._epochs_done * self._epochs_left
        return f"{self._rate:.0f} clips/s, {duration(seconds)} left"
