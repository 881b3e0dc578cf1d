"""How a net is trained and asked: everything that a practitioner would tune, each part a value of its own.

Two recipes have names. `default` is made for sounds: what each part is worth is measured by
`benchmarks/recipe.py`, the default with one field replaced. `notebook` is the procedure of "Beginner's Guide to
Audio Data" as closely as cached features allow. It departs from the notebook in these:

- validation and prediction look at the middle window of a clip, where the notebook draws one at random;
- frames are cut from those of the whole clip, where the notebook cuts the waveform first: the frames at a window's
  edges differ, and the 80 dB of range are counted from the clip's maximum, not from the window's;
- the mean and variance that frames are standardised by are those of all of the fold's training clips (of a sample
  of them, beyond 6.8 hours), where the notebook takes one window of every clip, and standardises test clips by
  their own.
"""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from tyro.conf import FlagConversionOff, arg

RecipeName = Literal["default", "notebook"]
RECIPES: tuple[RecipeName, ...] = get_args(RecipeName)


def unsaid(metavar: str, default: str) -> Any:
    """How the help shows a flag: default, in words, in place of a value where there is none."""
    return arg(metavar=metavar, help_behavior_hint=lambda value: f"(default: {_said(value) or default})")


def _said(value: str) -> str:
    """A flag's value as tyro writes it; "" where that says nothing: None, or no values at all."""
    return "" if value in ("None", "()") else value


_LENGTHS = {"conv1d": 600}  # of training: epochs of a fold of one clip; nets of frames learn faster
_LENGTH = 400
_EPOCHS = "400, conv1d 600, / n ** 0.25 for n training clips; with --quick: 1"


@dataclass(frozen=True)
class Recipe:
    """One way to train; the values written here are those of the default recipe."""

    epochs: Annotated[int | None, unsaid("INT", _EPOCHS)] = None
    """Epochs of a fold; at most, with --patience."""
    batch_size: int = 16
    """Windows in a batch."""
    learning_rate: float = 1e-3
    """Step size of Adam; with --schedule cosine its highest. Of mobilenet's default recipe 3e-3."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """How the step size goes: cosine rises during --warmup, then falls to 0 with the last step."""
    warmup: float = 0.05
    """Share of all steps over which the step size of --schedule cosine rises from 0."""
    patience: Annotated[int | None, unsaid("INT", "none: train to the end")] = None
    """Stop a fold after so many validations in a row without a better loss."""
    keep: Literal["last", "best"] = "last"
    """The weights that predict: those after the last epoch, or those of the best validation loss."""
    validate_every: int = 10
    """Epochs from one validation to the next; the last epoch always ends with one."""
    seconds: float = 3.0
    """Length of a window, seconds."""
    windows: Literal["each-epoch", "once"] = "each-epoch"
    """Draw where a clip's training window begins anew each epoch, or once for all epochs."""
    mixup: float = 0.3
    """Mix each window with one of another clip, in shares drawn from Beta(MIXUP, MIXUP); 0: do not."""
    time_mask: float = 0.0
    """Hide two stretches of each window, each at most this share of it; 0: do not."""
    band_mask: float = 0.15
    """Hide two ranges of the bands of each log-mel window, each at most this share of them; 0: do not."""
    gain: float = 6.0
    """Change the level of each window by up to so many dB, up or down; 0: do not."""
    polarity: Annotated[bool, FlagConversionOff] = True
    """Turn half of the raw windows upside down."""
    label_smoothing: float = 0.1
    """Share of each answer that is spread evenly over all labels."""
    averaging: float = 0.98
    """Predict with a running mean of the weights, which keeps this share of itself at each step; 0: do not."""
    standardise: Literal["coefficient", "whole"] = "coefficient"
    """Standardise frames by a mean and variance of each coefficient or band, or by one of all."""
    unverified_weight: float = 0.5
    """Weight in training of a clip whose manually_verified is 0, next to 1 of the others."""
    validate_on: Literal["verified", "all"] = "verified"
    """The held-out clips that validation scores: those that were verified (all, where none was), or all."""
    strata: Literal["label-verified", "label"] = "label-verified"
    """What is spread evenly over the folds: the verified and the unverified clips of each label, or its clips."""
    crops: int = 5
    """Evenly spaced windows of a clip whose predictions are averaged, for validation and prediction."""
    crop_mean: Literal["geometric", "arithmetic"] = "geometric"
    """How the predictions of a clip's windows are averaged."""

    def n_epochs(self, model: str, n_clips: int) -> int:
        """Epochs of a net for so many training clips: few clips make short epochs, so they get more of them."""
        length = _LENGTHS.get(model, _LENGTH)
        return max(1, round(length / max(n_clips, 1) ** 0.25)) if self.epochs is None else self.epochs


DEFAULT = Recipe()
NOTEBOOK = Recipe(
    epochs=50,
    batch_size=64,
    seconds=2.0,
    schedule="constant",
    warmup=0.0,
    patience=5,
    keep="best",
    validate_every=1,
    mixup=0.0,
    time_mask=0.0,
    band_mask=0.0,
    gain=0.0,
    polarity=False,
    label_smoothing=0.0,
    averaging=0.0,
    standardise="whole",
    unverified_weight=1.0,
    validate_on="all",
    strata="label",
    crops=1,
    crop_mean="arithmetic",
)


def recipe_for(name: RecipeName, model: str) -> Recipe:
    """A named recipe for a net.

    The notebook cuts its MFCC windows once, and its raw ones anew each epoch. MobileNetV2 learns too slowly at the
    other nets' step size.
    """
    if name == "notebook":
        return NOTEBOOK if model == "conv1d" else dataclasses.replace(NOTEBOOK, windows="once")
    return dataclasses.replace(DEFAULT, learning_rate=3e-3) if model == "mobilenet" else DEFAULT
