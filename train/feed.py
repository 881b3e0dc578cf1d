"""Training batches as Keras reads them."""

from types import TracebackType

import keras
import numpy as np

from train.ahead import ReadAhead
from train.batches import TrainingBatches


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

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        """Batch number index, counted from the first that is wanted."""
        try:
            return self._read(self._first + index)
        except Exception as error:
            self._error = error
            raise

    def __enter__(self) -> "Epochs":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of what was read ahead, as TensorFlow never lets go of the feed; raise a batch's own error."""
        self._read.close()
        if error is not None and self._error is not None:
            raise self._error from None  # what TensorFlow makes of it is a page of text
