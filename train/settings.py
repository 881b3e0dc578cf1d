"""What `python -m train` can be told, and what of it must be the same for all folds of a predictions folder."""

import math
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from cache.places import place
from train.models import MODELS, Kind, Model, ModelName
from train.recipe import DEFAULT, Recipe, RecipeName, recipe_for, unsaid

if TYPE_CHECKING:
    from cache.places import Place


class SettingsError(ValueError):
    """Settings, or data under these settings, that cannot be trained on; the message is one line for the user."""


@dataclass(frozen=True)
class Settings:
    """Train a net on every fold of a cache's clips, and predict all of them with each fold's model.

    Writes WORK/predictions_1d_conv/ (conv1d), WORK/predictions_2d_conv/ (conv2d) or WORK/predictions_mobilenet/.
    The same command again keeps the folds that are finished, goes on with the one that was stopped after its last
    finished epoch, and trains the others; other settings for the same folder are refused. Prints the out-of-fold
    accuracy and MAP@3 of each fold and of all. `python -m train ls` compares the runs that there are. Exit codes:
    0 done, 2 wrong input or usage, 130 stopped by Ctrl-C.
    """

    model: Positional[ModelName]
    """The net: the notebook's conv1d on waveforms or conv2d on frames, or MobileNetV2 on frames."""
    preset: Annotated[RecipeName, arg(name="recipe")] = "default"
    """How to train: default is made for sounds; notebook is the notebook's procedure. Each flag below that is not
    given has the recipe's value; --recipe notebook --help shows the notebook's."""
    work: Path = Path("work")
    """Folder of everything that is generated."""
    cache: Annotated[str | None, unsaid("PATH", "WORK/cache")] = None
    """Folder of the cache that featurize made, or s3://BUCKET/PREFIX: its stores are then copied below WORK."""
    name: Annotated[str | None, unsaid("NAME", "none; with --quick: quick")] = None
    """Keep this run apart: its predictions go to WORK/NAME/."""
    features: Annotated[Kind | None, unsaid("{raw,mfcc,logmel}", "what the net reads, as the cache has it")] = None
    """What the net reads: conv1d raw, the others logmel, or mfcc where the cache has none (with --recipe notebook,
    conv2d mfcc first)."""
    sr: Annotated[int | None, unsaid("INT", "the one that is there")] = None
    """Sample rate of the raw store, Hz."""
    mfcc: Annotated[int | None, unsaid("INT", "40")] = None
    """Coefficients of an MFCC frame; a store that has more serves too. Chooses these features for a net that reads
    them."""
    mfcc_sr: Annotated[int | None, unsaid("INT", "the one that is there")] = None
    """Sample rate that the MFCC or log-mel store was computed at, Hz."""
    logmel: Annotated[int | None, unsaid("INT", "the one that is there")] = None
    """Bands of a log-mel frame; chooses these features for a net that reads them."""
    folds: Annotated[int | None, unsaid("INT", "10; with --quick: 2")] = None
    """Number of stratified folds."""
    group_by: Annotated[str | None, unsaid("COLUMN", "none")] = None
    """Column of train.csv that says what clips share (a source, a speaker): clips of one value share a fold."""
    fold_column: Annotated[str | None, unsaid("COLUMN", "none")] = None
    """Column of train.csv that says each clip's fold, in place of --folds."""
    fold: Annotated[tuple[int, ...], unsaid("I ...", "all")] = ()
    """Train only these folds, counted from 0; another run, on another machine too, can add the others."""
    scheduler: Annotated[str | None, unsaid("ADDRESS", "none: train here")] = None
    """Train folds on the workers of a Dask cluster, which see WORK and the cache under the same paths (needs:
    pip install "earmark[dask]"); such as tcp://127.0.0.1:8786."""
    seed: int = 1001
    """Fixes weights, order, windows, augmentation and dropout."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What a net computes in; bfloat16 pays on machines that have it, and its weights stay float32."""
    resident: Literal["auto", "yes", "no"] = "auto"
    """Keep the fold's features in the accelerator's memory and cut windows there; auto: if there is one, and the
    store takes at most 4 GiB."""
    order: Literal["auto", "random", "blocks"] = "auto"
    """Clips in random order, or in random order within random blocks of chunks, which are then read one after
    another; auto: blocks if the store is larger than the free memory."""
    verified_only: bool = False
    """Leave clips whose manually_verified is not 1 out of training and validation."""
    quick: bool = False
    """A trial: a net of one pooling and one dense layer, one epoch, two folds."""
    limit: Annotated[int | None, unsaid("INT", "all")] = None
    """Use only the first LIMIT training clips and the first LIMIT test clips."""
    force: bool = False
    """Move a predictions folder that is already there aside, and start afresh."""
    recipe: Annotated[Recipe, arg(name="")] = field(default=DEFAULT)

    @property
    def net(self) -> Model:
        """The net's entry in the list."""
        return MODELS[self.model]

    @property
    def kind(self) -> Kind:
        """The kind of feature that the net reads: the one that a flag asks for, or the first that it can."""
        asked = (kind for kind in ("logmel", "mfcc") if getattr(self, kind) is not None and kind in self.net.kinds)
        return self.features or next(asked, self.net.kinds[0])

    @property
    def n_mfcc(self) -> int:
        """Coefficients of an MFCC frame."""
        return 40 if self.mfcc is None else self.mfcc

    @cached_property
    def cache_path(self) -> "Place":
        """Where the cache is."""
        return place(self.cache or self.work / "cache")

    @property
    def copies_path(self) -> Path:
        """Where stores of a cache in a bucket are copied to."""
        return self.work / "cache-copy"

    @property
    def predictions_path(self) -> Path:
        """Where the predictions go."""
        name = ("quick" if self.quick else "") if self.name is None else self.name
        return self.work / name / self.net.folder

    @property
    def n_folds(self) -> int:
        """Folds of a stratified split."""
        return (2 if self.quick else 10) if self.folds is None else self.folds

    def binding(self) -> dict:
        """What all folds of a predictions folder must share, defaults filled in, as plain values for JSON.

        What no number depends on is left out: where things lie, and what other kinds of feature alone would read.
        """
        values = asdict(self)
        recipe = values.pop("recipe")
        values |= {"recipe": values.pop("preset"), "features": self.kind, "mfcc": self.n_mfcc}
        values["folds"] = self.n_folds if self.fold_column is None else None
        elsewhere = ("work", "cache", "name", "fold", "force", "resident", "scheduler")
        skipped = {*elsewhere, *_OF_OTHER_KINDS[self.kind]}
        return {key: value for key, value in (values | recipe).items() if key not in skipped}


_OF_OTHER_KINDS = {
    "raw": ("mfcc", "mfcc_sr", "logmel", "band_mask", "standardise"),
    "mfcc": ("sr", "logmel", "polarity", "band_mask"),
    "logmel": ("sr", "mfcc", "polarity"),
}


def settings_for(model: ModelName, preset: RecipeName = "default", **values: Any) -> Settings:
    """Settings as the command line makes them; values: of fields of Settings and of its recipe, by name."""
    parts = {name: values.pop(name) for name in set(values) & {part.name for part in fields(Recipe)}}
    settings = Settings(model, preset, **values)
    return replace(settings, recipe=replace(defaults(settings), **parts))


def defaults(settings: Settings) -> Recipe:
    """The recipe that flags which are not given take their values from: the preset's, or a trial's."""
    recipe = recipe_for(settings.preset, settings.model)
    return replace(recipe, epochs=1) if settings.quick else recipe


_AT_LEAST = {
    "sr": 1,
    "mfcc": 1,
    "mfcc_sr": 1,
    "logmel": 1,
    "epochs": 1,
    "batch_size": 1,
    "patience": 0,
    "validate_every": 1,
    "mixup": 0,
    "gain": 0,
    "seed": 0,
    "crops": 1,
    "limit": 1,
}
_LOUDEST = 100  # dB, more than hearing has
_ABOVE_ZERO = ("learning_rate", "seconds", "unverified_weight")
_BELOW_ONE = ("warmup", "time_mask", "band_mask", "label_smoothing", "averaging")


def check(settings: Settings) -> None:
    """Refuse settings that no data could make right.

    Raises:
        SettingsError: names the flag, the rule and the value.
    """
    values = asdict(settings) | asdict(settings.recipe)
    for name, value in values.items():
        _require(not isinstance(value, float) or math.isfinite(value), name, "a finite number", value)
    for name, low in _AT_LEAST.items():
        _require(values[name] is None or values[name] >= low, name, f"at least {low}", values[name])
    for name in _ABOVE_ZERO:
        _require(values[name] > 0, name, "above 0", values[name])
    for name in _BELOW_ONE:
        _require(0 <= values[name] < 1, name, "at least 0 and below 1", values[name])
    _require(settings.seed < 2**63, "seed", "below 2**63", settings.seed)
    _require(settings.recipe.gain <= _LOUDEST, "gain", f"at most {_LOUDEST}", settings.recipe.gain)
    _check_features(settings)
    _check_folds(settings)
    _check_recipe(settings.recipe)
    if settings.scheduler is not None and not find_spec("distributed"):
        raise SettingsError(
            '--scheduler must have dask.distributed, got none installed; pip install "earmark[dask]"'
        )
    if settings.name is not None:
        plain = settings.name not in ("", ".", "..") and Path(settings.name).name == settings.name
        _require(plain, "name", "one plain folder name", repr(settings.name))


def _check_features(settings: Settings) -> None:
    readable = f"{' or '.join(settings.net.kinds)}, which is what {settings.model} reads"
    _require(settings.kind in settings.net.kinds, "features", readable, settings.kind)
    for name in ("sr", "mfcc", "mfcc_sr", "logmel"):
        value = getattr(settings, name)
        if value is not None and name in _OF_OTHER_KINDS[settings.kind]:
            raise SettingsError(
                f"--{name.replace('_', '-')} must be left out for {settings.model}, which reads "
                f"{settings.features or ' or '.join(settings.net.kinds)}, got {value}"
            )


def _check_folds(settings: Settings) -> None:
    if settings.fold_column is not None and (settings.folds is not None or settings.group_by is not None):
        name, value = ("folds", settings.folds) if settings.folds is not None else ("group-by", settings.group_by)
        raise SettingsError(
            f"--{name} must be left out with --fold-column, got {value}; "
            f"the values of {settings.fold_column!r} are the folds"
        )
    at_least_two = "at least 2, one part is held out for validation"
    _require(settings.n_folds >= 2, "folds", at_least_two, settings.n_folds)
    _require(all(fold >= 0 for fold in settings.fold), "fold", "at least 0", min(settings.fold, default=0))


def _check_recipe(recipe: Recipe) -> None:
    """A schedule that is to end at the last epoch, and weights that are to be the best, have conditions."""
    if recipe.patience is not None and recipe.schedule == "cosine":
        raise SettingsError(
            f"--patience must be None with --schedule cosine, which runs to its end, got {recipe.patience}; "
            "give --patience None, or --schedule constant"
        )


def _require(right: bool, name: str, rule: str, value: object) -> None:
    if not right:
        raise SettingsError(f"--{name.replace('_', '-')} must be {rule}, got {value}; see python -m train --help")
