"""Probabilities of clips: those of their evenly spaced crops, averaged in float64.

In the geometric mean, which is made to add up to 1 again, a crop that is sure of what a clip is not counts for more
than one that is sure of nothing, such as silence.
"""

from typing import Literal

import keras
import numpy as np

from cache.windows.cut import Windows
from train.input.batches import CropBatches, Prefetch

_LEAST = 1e-7  # of a crop's probability in the geometric mean, as in Keras's cross-entropy


def predict(
    net: keras.Model,
    windows: Windows,
    clips: np.ndarray,
    crops: int,
    batch_size: int,
    mean: Literal["arithmetic", "geometric"] = "arithmetic",
) -> np.ndarray:
    """Predict clips, int64 [n], numbers of the dataset; float64 [n, n_labels]: the mean over each clip's crops."""
    batches = CropBatches(windows, clips, crops, batch_size)
    sums = np.zeros((len(clips), net.output_shape[-1]))
    with Prefetch(batches, stop=len(batches)) as prefetch:
        for index in range(len(batches)):
            rows, cut = prefetch(index)
            # always of one size, or TensorFlow traces the net again for each other one
            full = np.resize(cut, (batch_size, *cut.shape[1:]))
            found = np.asarray(net.predict_on_batch(full)[: len(cut)], np.float64)
            np.add.at(sums, rows, found if mean == "arithmetic" else np.log(np.maximum(found, _LEAST)))
    means = sums / batches.counts[:, None]
    if mean == "arithmetic":
        return means
    means = np.exp(means)
    return means / means.sum(axis=1, keepdims=True)
