"""The list of the nets: what each is called, reads, is trained with by default, and where its predictions lie.

A new net is one function in a file of this folder, from its input and the number of labels to its output, and one
entry here. The list does not import Keras, which takes seconds, so that a command line is checked before that.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["raw", "mfcc", "logmel"]


@dataclass(frozen=True)
class Net:
    """One net."""

    builder: str  # the function that builds it, "module.function" in this folder
    kinds: tuple[Kind, ...]  # of feature that it reads, the first unless told otherwise
    folder: str  # of its predictions, under WORK
    min_length: int  # the shortest window that its poolings allow, in samples (raw) or frames
    min_width: int = 1  # the fewest coefficients or bands that they allow
    epochs: int = 400  # of the default recipe for one training clip; n clips get epochs / n ** 0.25
    learning_rate: float = 1e-3  # of the default recipe, the highest step size


NETS: dict[str, Net] = {
    "conv1d": Net("notebook.conv1d", ("raw",), "predictions_1d_conv", min_length=1616, epochs=600),
    "conv2d": Net("notebook.conv2d", ("mfcc", "logmel"), "predictions_2d_conv", min_length=16, min_width=16),
    "mobilenet": Net(
        "mobilenet.mobilenet",
        ("logmel", "mfcc"),
        "predictions_mobilenet",
        min_length=32,
        min_width=32,
        learning_rate=3e-3,  # at 1e-3 it learns too slowly
    ),
}
NetName = Literal[tuple(NETS)]
