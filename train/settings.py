"""What `python -m train` can be told, and what of it must be the same for all folds of a predictions folder."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from train.models import MODELS, Model, ModelName


class SettingsError(ValueError):
    """Settings, or data under these settings, that cannot be trained on; the message is one line for the user."""


def _unsaid(metavar: str, default: str):
    """How the help shows a flag whose default is not a plain value."""
    return arg(metavar=metavar, help_behavior_hint=f"(default: {default})")


@dataclass(frozen=True)
class Settings:
    """Train a net on every fold of a cache's clips, and predict all of them with each fold's best weights.

    Writes WORK/predictions_1d_conv/ (conv1d) or WORK/predictions_2d_conv/ (conv2d). The same command again keeps
    the folds that are finished and trains the others; other settings for the same folder are refused. Prints the
    out-of-fold accuracy and MAP@3 of each fold and of all. Exit codes: 0 done, 2 wrong input or usage, 130 stopped
    by Ctrl-C.
    """

    model: Positional[ModelName]
    """The net: conv1d reads the raw waveform, conv2d the MFCCs."""
    work: Path = Path("work")
    """Folder of everything that is generated."""
    cache: Annotated[Path | None, _unsaid("PATH", "WORK/cache")] = None
    """Folder of the cache that featurize made."""
    name: Annotated[str | None, _unsaid("NAME", "none; with --quick: quick")] = None
    """Keep this run apart: its predictions go to WORK/NAME/."""
    sr: Annotated[int | None, _unsaid("INT", "the one that is there")] = None
    """Sample rate of the raw store, Hz (conv1d)."""
    mfcc: int = 40
    """Coefficients of an MFCC frame; a store that has more serves too (conv2d)."""
    mfcc_sr: Annotated[int | None, _unsaid("INT", "the one that is there")] = None
    """Sample rate that the MFCC store was computed at, Hz (conv2d)."""
    folds: Annotated[int | None, _unsaid("INT", "10; with --quick: 2")] = None
    """Number of stratified folds."""
    fold_column: Annotated[str | None, _unsaid("COLUMN", "none")] = None
    """Column of train.csv that says each clip's fold, in place of --folds."""
    epochs: Annotated[int | None, _unsaid("INT", "50; with --quick: 1")] = None
    """Most epochs to train a fold."""
    batch_size: int = 64
    """Windows in a batch."""
    learning_rate: float = 1e-3
    """Step size of Adam."""
    seconds: float = 2.0
    """Length of a window, seconds."""
    patience: int = 5
    """Stop a fold after so many epochs in a row without a better validation loss."""
    seed: int = 1001
    """Fixes weights, order, windows and dropout."""
    verified_only: bool = False
    """Leave clips whose manually_verified is not 1 out of training and validation."""
    fold: Annotated[tuple[int, ...], _unsaid("I ...", "all")] = ()
    """Train only these folds, counted from 0; another run can add the others."""
    crops: int = 5
    """Evenly spaced windows of a clip whose predictions are averaged, for validation and prediction."""
    quick: bool = False
    """A trial: a net of one pooling and one dense layer, one epoch, two folds."""
    limit: Annotated[int | None, _unsaid("INT", "all")] = None
    """Use only the first LIMIT training clips and the first LIMIT test clips."""
    force: bool = False
    """Move a predictions folder that is already there aside, and start afresh."""

    @property
    def net(self) -> Model:
        """The net's entry in the list."""
        return MODELS[self.model]

    @property
    def cache_path(self) -> Path:
        """Where the cache is."""
        return self.work / "cache" if self.cache is None else self.cache

    @property
    def predictions_path(self) -> Path:
        """Where the predictions go."""
        name = ("quick" if self.quick else "") if self.name is None else self.name
        return self.work / name / self.net.folder

    @property
    def n_folds(self) -> int:
        """Folds of a stratified split."""
        return (2 if self.quick else 10) if self.folds is None else self.folds

    @property
    def n_epochs(self) -> int:
        """Most epochs of a fold."""
        return (1 if self.quick else 50) if self.epochs is None else self.epochs

    def binding(self) -> dict:
        """What all folds of a predictions folder must share, defaults filled in, as plain values for JSON."""
        values = asdict(self) | {"folds": self.n_folds, "epochs": self.n_epochs}
        if self.fold_column is not None:
            values["folds"] = None
        elsewhere = ("work", "cache", "name", "fold", "force")
        of_other_kind = {"raw": ("mfcc", "mfcc_sr"), "mfcc": ("sr",)}[self.net.kind]
        return {key: value for key, value in values.items() if key not in (*elsewhere, *of_other_kind)}


_AT_LEAST = {
    "sr": 1,
    "mfcc": 1,
    "mfcc_sr": 1,
    "epochs": 1,
    "batch_size": 1,
    "patience": 0,
    "seed": 0,
    "crops": 1,
    "limit": 1,
}


def check(settings: Settings) -> None:
    """Refuse settings that no data could make right.

    Raises:
        SettingsError: names the flag, the rule and the value.
    """
    for field, low in _AT_LEAST.items():
        value = getattr(settings, field)
        _require(value is None or value >= low, field, f"at least {low}", value)
    for field in ("learning_rate", "seconds"):
        value = getattr(settings, field)
        _require(math.isfinite(value) and value > 0, field, "a finite number above 0", value)
    _require(settings.seed < 2**63, "seed", "below 2**63", settings.seed)
    _check_folds(settings)
    if settings.name is not None:
        plain = settings.name not in ("", ".", "..") and Path(settings.name).name == settings.name
        _require(plain, "name", "one plain folder name", repr(settings.name))


def _check_folds(settings: Settings) -> None:
    if settings.fold_column is not None and settings.folds is not None:
        raise SettingsError(
            f"--folds must be left out with --fold-column, got {settings.folds}; "
            f"the values of {settings.fold_column!r} are the folds"
        )
    at_least_two = "at least 2, one part is held out for validation"
    _require(settings.n_folds >= 2, "folds", at_least_two, settings.n_folds)
    _require(all(fold >= 0 for fold in settings.fold), "fold", "at least 0", min(settings.fold, default=0))


def _require(right: bool, field: str, rule: str, value: object) -> None:
    if not right:
        raise SettingsError(f"--{field.replace('_', '-')} must be {rule}, got {value}; see python -m train --help")
