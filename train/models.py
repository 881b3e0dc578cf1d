"""The nets by name: the kind of feature that each reads, where its predictions lie, what its poolings need.

What a net is made of stands in `nets`; this list is apart so that a command line can be checked before Keras,
which takes seconds to import.
"""

from dataclasses import dataclass
from typing import Literal

ModelName = Literal["conv1d", "conv2d"]


@dataclass(frozen=True)
class Model:
    """A net as the command line knows it.

    kind: of store. folder: of predictions, under WORK. min_length: the shortest window that its poolings take,
    in samples (raw) or frames (mfcc). min_mfcc: the fewest coefficients that they take.
    """

    kind: Literal["raw", "mfcc"]
    folder: str
    min_length: int
    min_mfcc: int = 1


MODELS: dict[str, Model] = {
    "conv1d": Model("raw", "predictions_1d_conv", min_length=1616),
    "conv2d": Model("mfcc", "predictions_2d_conv", min_length=16, min_mfcc=16),
}
