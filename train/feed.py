"""Training batches as Keras reads them."""

import keras
import numpy as np

from train.ahead import ReadAhead
from train.batches import TrainingBatches


class Epochs(keras.utils.PyDataset):
    """One endless row of batches through all epochs, so that no callback of Keras decides what comes next.

    Keras fetches some batches twice (for their shapes) and more than it needs (ahead); a batch depends on its
    number alone, so that changes nothing. Reading ahead is ours: Keras's own workers would begin again at batch 0
    after each epoch of a dataset with an end, and its PyTorch and JAX feeds do not read ahead without them.
    """

    num_batches = None  # endless

    def __init__(self, batches: TrainingBatches, workers: int = 1, depth: int = 3):
        """workers: threads, 0 for none. depth: batches to have ready beyond the one in use."""
        super().__init__()
        self._read = ReadAhead(batches, workers=workers, depth=depth)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Batch number index."""
        return self._read(index)

    def close(self) -> None:
        """Let go of what was read ahead; TensorFlow holds on to the feed itself, and so to all it holds."""
        self._read.close()
