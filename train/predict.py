"""Probabilities of clips: those of their evenly spaced crops, averaged in float64."""

import keras
import numpy as np

from train.ahead import ReadAhead
from train.batches import CropBatches
from train.windows import Windows


def predict(net: keras.Model, windows: Windows, clips: np.ndarray, crops: int, batch_size: int) -> np.ndarray:
    """Predict some clips.

    Args:
        windows: of the dataset. clips: int64 [n], numbers of the clips. crops: windows of a clip.
    Returns:
        float64 [n, n_labels], in the order of clips.
    """
    batches = CropBatches(windows, clips, crops, batch_size)
    read = ReadAhead(batches, stop=len(batches))
    sums = np.zeros((len(clips), net.output_shape[-1]))
    for index in range(len(batches)):
        rows, cut = read(index)
        # always of one size, or TensorFlow traces the net again for each other one
        full = np.resize(cut, (batch_size, *cut.shape[1:]))
        np.add.at(sums, rows, net.predict_on_batch(full)[: len(cut)])
    return sums / batches.counts[:, None]
