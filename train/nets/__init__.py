"""The list of the nets: what each is called, reads, is trained with by default, and where its predictions lie.

A new net is one function in a file of this folder, from its input and the number of labels to its output, and one
entry here. A user's own net is such a function in a file of theirs, and has its entry from `net_of`. The list does
not import Keras, which takes seconds, so that a command line is checked before that.
"""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from common import EarmarkError

Kind = Literal["raw", "mfcc", "logmel"]


class NetError(EarmarkError):
    """A net that cannot be trained: not in the list, or a user's own that is wrong; one line, which says where."""


@dataclass(frozen=True)
class Net:
    """One net."""

    builder: str  # the function that builds it, "module.function" in this folder; of a user's own FILE.py:FUNCTION
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


def net_of(name: str) -> Net:
    """The entry of a net of the list, or the one that a user's own net has.

    Raises:
        NetError: neither a net of the list nor FILE.py:FUNCTION, or a function that is called like a net of ours.

    >>> net_of("nets/my_nets.py:my_net").folder
    'predictions_my_net'
    """
    if name in NETS:
        return NETS[name]
    own = re.fullmatch(r"(?P<file>.+\.py):(?P<function>[^\W\d]\w*)", name)
    if own is None:
        close = get_close_matches(name, NETS, 1)
        hint = f"; did you mean {close[0]}?" if close else "; see python -m train --help"
        raise NetError(f"the net must be {', '.join(NETS)} or FILE.py:FUNCTION, got {name!r}{hint}")
    folder = f"predictions_{own['function']}"
    if own["function"] in NETS or folder in {net.folder for net in NETS.values()}:
        raise NetError(
            f"{own['file']}: the function must not be called like a net of ours, got {own['function']!r}; rename it"
        )
    return Net(name, ("mfcc", "raw", "logmel"), folder, min_length=1)


def is_own(name: str) -> bool:
    """Whether the name is that of a user's own net."""
    return name not in NETS


def short_name(name: str) -> str:
    """What tables and config.json call a net: that of a user's own without the folder that its file lies in.

    >>> short_name("nets/my_nets.py:my_net")
    'my_nets.py:my_net'
    """
    return name.rpartition("/")[2]
