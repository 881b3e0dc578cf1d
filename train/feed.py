"""Training batches as Keras reads them."""

import time
from threading import Lock
from types import TracebackType

import keras
import numpy as np

from train.ahead import ReadAhead
from train.batches import TrainingBatches

_QUIET_S = 0.02  # without a call, until the feed counts as left alone


class Epochs(keras.utils.PyDataset):
    """One endless row of batches through all epochs, so that no callback of Keras decides what comes next.

    A context manager: to be entered around `fit`.

    Keras fetches some batches twice (for their shapes) and more than it needs (ahead); a batch depends on its
    number alone, so that changes nothing. Reading ahead is ours: Keras's own workers would begin again at batch 0
    after each epoch of a dataset with an end, and its PyTorch and JAX feeds do not read ahead without them.
    """

    num_batches = None  # endless

    def __init__(self, batches: TrainingBatches, workers: int = 1, depth: int = 3, first: int = 0):
        """workers: threads, 0 for none. depth: batches to have ready beyond the one in use. first: of them all."""
        super().__init__()
        self._first = first
        self._read = ReadAhead(batches, workers=workers, depth=depth)
        self._error: Exception | None = None
        self._closed = False
        self._calls = self._running = 0
        self._lock = Lock()

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        """Batch number index, counted from the first that is wanted."""
        with self._lock:
            self._calls, self._running = self._calls + 1, self._running + 1
        try:
            if self._closed:
                raise ClosedError
            return self._read(self._first + index)
        except Exception as error:
            self._error = self._error or error
            raise
        finally:
            with self._lock:
                self._running -= 1

    def __enter__(self) -> "Epochs":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of what was read ahead, as TensorFlow never lets go of the feed; raise a batch's own error."""
        cause = self._error
        self._closed = True
        self._read.close()
        self._settle()
        if error is not None and cause is not None:
            raise cause from None  # what TensorFlow makes of it is a page of text

    def _settle(self) -> None:
        """Wait until nobody asks any more.

        TensorFlow's thread asks for batches beyond the last until it gets an error. Were its iterator collected by
        Python meanwhile, with the interpreter's lock held, each would wait for the other for ever.
        """
        calls = -1
        while self._running or calls != self._calls:
            calls = self._calls
            time.sleep(_QUIET_S)


class ClosedError(Exception):
    """A batch that was asked for after the fit."""
