"""How a net is trained and predicts: everything that a practitioner would tune, each part a value of its own.

Two recipes have names. `default` is made for sounds: what each part is worth is measured by
`benchmarks/recipe.py`, the default with one field replaced. `notebook` is the procedure of "Beginner's Guide to
Audio Data" as closely as cached features allow; docs/training.md lists every departure.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, get_args

from tyro.conf import arg

from train.nets import NETS, net_of

RecipeName = Literal["default", "notebook"]
RECIPES: tuple[RecipeName, ...] = get_args(RecipeName)


def shown(metavar: str, default: str) -> Any:
    """How the help shows a flag that may be left open: its metavar, and in words what it is then."""
    hint = lambda value: f"(default: {default if value in ('None', '()', '') else value})"  # noqa: E731
    return arg(metavar=metavar, help_behavior_hint=hint)


_EPOCHS = "400, of conv1d 600, / n ** 0.25 for n training clips; with --quick 1"


@dataclass(frozen=True)
class ScheduleFlags:
    """How long and in which steps a net is trained, and which weights are kept."""

    epochs: Annotated[int | None, shown("INT", _EPOCHS)] = None
    """Epochs of a fold; with --patience the most."""
    batch_size: int = 16
    """Windows in a batch."""
    learning_rate: float = 1e-3
    """Step size of Adam; with --schedule cosine the highest. In mobilenet's default recipe 0.003."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """cosine: the step size rises during --warmup, then falls to 0 at the last step."""
    warmup: float = 0.05
    """Share of all steps in which the step size of --schedule cosine rises from 0."""
    averaging: float = 0.98
    """Predict with an EMA of the weights, which keeps this share of itself at each step; 0 for none."""
    label_smoothing: float = 0.1
    """Share of each target that is spread evenly over all labels."""
    unverified_weight: float = 0.5
    """Weight in the loss of a clip that is not verified, where a verified one has 1."""
    validate_every: int = 10
    """Epochs from one validation to the next. The last epoch always ends with one."""
    validate_on: Literal["verified", "all"] = "verified"
    """The held-out clips that validation scores: the verified ones (all, where none is), or all."""
    patience: Annotated[int | None, shown("INT", "none: train to the end")] = None
    """Stop a fold after so many validations in a row without a lower loss."""
    keep: Literal["last", "best"] = "last"
    """The weights that predict: those of the last epoch, or those of the lowest validation loss."""


@dataclass(frozen=True)
class AugmentationFlags:
    """What a training window shows of its clip."""

    seconds: float = 3.0
    """Length of a window, seconds."""
    windows: Literal["each-epoch", "once"] = "each-epoch"
    """Draw the offset of a clip's training window anew each epoch, or once for all epochs."""
    standardise: Literal["coefficient", "position"] = "coefficient"
    """Standardise frames by the mean and deviation of each coefficient or band, or of each at each position of a
    window, over the training windows."""
    mixup: float = 0.3
    """Mix each window with one of another clip, in shares drawn from Beta(MIXUP, MIXUP); 0 for none."""
    time_mask: float = 0.0
    """Mask two stretches of each window, each of at most this share of it; 0 for none."""
    band_mask: float = 0.15
    """Mask two ranges of bands of each log-mel window, each of at most this share of them; 0 for none."""
    gain: float = 6.0
    """Change the level of each window by up to so many dB, up or down; 0 for none."""
    polarity: bool = True
    """Turn half of the raw windows upside down."""


@dataclass(frozen=True)
class PredictionFlags:
    """How a clip is predicted, in validation too."""

    crops: int = 5
    """Evenly spaced windows of a clip whose predictions are averaged."""
    crop_mean: Literal["geometric", "arithmetic"] = "geometric"
    """How the predictions of a clip's crops are averaged."""


@dataclass(frozen=True)
class StrataFlags:
    """What the folds are stratified by."""

    strata: Literal["label-verified", "label"] = "label-verified"
    """What is spread evenly over the folds: the verified and the unverified clips of each label, or its clips."""


@dataclass(frozen=True)
class Recipe(StrataFlags, PredictionFlags, AugmentationFlags, ScheduleFlags):
    """One way to train and predict; the values of its fields are those of the default recipe."""

    def n_epochs(self, net: str, n_clips: int) -> int:
        """Epochs of a net for so many training clips: few clips make short epochs, so they get more of them."""
        length = net_of(net).epochs
        return max(1, round(length / max(n_clips, 1) ** 0.25)) if self.epochs is None else self.epochs


DEFAULT = Recipe()
NOTEBOOK = Recipe(
    epochs=50,
    batch_size=64,
    schedule="constant",
    warmup=0.0,
    averaging=0.0,
    label_smoothing=0.0,
    unverified_weight=1.0,
    validate_every=1,
    validate_on="all",
    patience=5,
    keep="best",
    seconds=2.0,
    standardise="position",
    mixup=0.0,
    time_mask=0.0,
    band_mask=0.0,
    gain=0.0,
    polarity=False,
    crops=1,
    crop_mean="arithmetic",
    strata="label",
)


def recipe_for(name: RecipeName, net: str) -> Recipe:
    """A named recipe for a net of the list. The notebook cuts MFCC windows once, and raw ones anew each epoch."""
    if name == "notebook":
        return NOTEBOOK if net == "conv1d" else replace(NOTEBOOK, windows="once")
    return replace(DEFAULT, learning_rate=NETS[net].learning_rate) if net in NETS else DEFAULT
