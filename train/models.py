"""The nets by name: the kinds of feature that each reads, where its predictions lie, what its poolings need.

What a net is made of stands in `nets`; this list is apart so that a command line can be checked before Keras,
which takes seconds to import.
"""

from dataclasses import dataclass
from typing import Literal

ModelName = Literal["conv1d", "conv2d", "mobilenet"]
Kind = Literal["raw", "mfcc", "logmel"]


@dataclass(frozen=True)
class Model:
    """A net as the command line knows it.

    kinds: of feature that it reads, the first unless told otherwise. folder: of predictions, under WORK.
    min_length: the shortest window that it takes, in samples (raw) or frames. min_width: the fewest coefficients
    or bands that it takes.
    """

    kinds: tuple[Kind, ...]
    folder: str
    min_length: int
    min_width: int = 1


MODELS: dict[str, Model] = {
    "conv1d": Model(("raw",), "predictions_1d_conv", min_length=1616),
    "conv2d": Model(("mfcc", "logmel"), "predictions_2d_conv", min_length=16, min_width=16),
    "mobilenet": Model(("logmel", "mfcc"), "predictions_mobilenet", min_length=32, min_width=32),
}
