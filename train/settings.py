"""The settings of `python -m train`, what of them all folds of a run share, and the store that they choose.

A settings object is a recipe and more: `settings.epochs`, `settings.limit`. Its fields come from groups of flags,
under which the help lists them.
"""

from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import xxhash
from tyro.conf import Positional, arg

from common import EarmarkError
from common.config_file import config_text
from train.nets import NETS, Kind, Net, is_own, net_of, short_name
from train.nets.own import read_source
from train.recipe import (
    AugmentationFlags,
    PredictionFlags,
    Recipe,
    RecipeName,
    ScheduleFlags,
    StrataFlags,
    recipe_for,
    shown,
)

if TYPE_CHECKING:
    from cache import Cache, Store


class SettingsError(EarmarkError):
    """Settings, or data under these settings, that no net can be trained with."""


@dataclass(frozen=True)
class DataFlags:
    """Which clips, and where things lie."""

    work: Path = Path("work")
    """Folder of everything that is generated."""
    cache: Annotated[str | None, shown("PATH", "WORK/cache")] = None
    """The cache that featurize made: a folder, or a place in a bucket, such as s3://BUCKET/PREFIX, whose stores are
    then copied below WORK."""
    name: Annotated[str | None, shown("NAME", "none; with --quick quick")] = None
    """Keep this run apart: its predictions go to WORK/NAME/."""
    config: Annotated[Path | None, shown("FILE.toml", "none")] = None
    """Take flags from this file, by their names: epochs = 40, or net = "conv2d". The command line wins. Each run
    writes a settings.toml into its predictions folder, which repeats it."""
    force: bool = False
    """Move a predictions folder that is already there aside, and start anew."""
    verified_only: bool = False
    """Leave clips that are not verified out of training and validation."""
    limit: Annotated[int | None, shown("INT", "all")] = None
    """Use only the first LIMIT training clips and the first LIMIT test clips."""


@dataclass(frozen=True)
class FoldFlags:
    """How the training clips are split."""

    folds: Annotated[int | None, shown("INT", "10; with --quick 2")] = None
    """Number of stratified folds."""
    group_by: Annotated[str | None, shown("COLUMN", "none")] = None
    """Column of the dataset that says what clips share (a source, a speaker): clips of one value share a fold."""
    fold_column: Annotated[str | None, shown("COLUMN", "none")] = None
    """Column of the dataset that says each clip's fold, in place of --folds."""
    fold: Annotated[tuple[int, ...], shown("INT ...", "all")] = ()
    """Train only these folds, counted from 0. Another run, on another machine too, can add the others."""


@dataclass(frozen=True)
class NetFlags:
    """The net, the recipe that it is trained by, and the store that it reads."""

    model: Positional[Annotated[str, arg(name="net", metavar="{" + ",".join((*NETS, "FILE.py:NAME", "ls")) + "}")]]
    """The net: the notebook's conv1d on waveforms or conv2d on frames, or MobileNetV2 on frames. FILE.py:NAME is a
    net of your own: NAME(x, n_labels) in FILE.py makes of windows, a Keras tensor [clips, time, width], the
    probability of each label. With ls: compare the runs that there are."""
    preset: Annotated[RecipeName, arg(name="recipe")] = "default"
    """default is made for sounds; notebook is the notebook's procedure. A flag that is not given has the recipe's
    value: --recipe notebook --help shows the notebook's."""
    quick: bool = False
    """A trial: one epoch, two folds, and a net of one pooling and one dense layer in place of ours."""
    seed: int = 1001
    """Decides weights, order, windows, augmentation and dropout."""
    features: Annotated[Kind | None, shown("{raw,mfcc,logmel}", "logmel if the net reads it")] = None
    """What the net reads. conv1d reads raw; the others read logmel, or mfcc where the cache has no logmel (with
    --recipe notebook the other way round). A net of your own reads any."""
    n_mels: Annotated[int | None, shown("INT", "the only one there")] = None
    """Bands of a log-mel frame; chooses logmel for a net that reads it."""
    mfcc: Annotated[int | None, shown("INT", "40")] = None
    """Coefficients of an MFCC frame, also from a store that has more; chooses mfcc for a net that reads it."""
    sr: Annotated[int | None, shown("INT", "the only one there")] = None
    """Sample rate of the raw store, Hz."""
    mfcc_sr: Annotated[int | None, shown("INT", "the only one there")] = None
    """Sample rate that the MFCC or log-mel store was computed at, Hz."""
    store: Annotated[str | None, shown("NAME", "the only one that fits")] = None
    """The store by name, such as raw-16000.zarr, where several fit; `python -m cache ls` lists them."""


@dataclass(frozen=True)
class HardwareFlags:
    """Where and in which numbers a net computes."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """What the net computes in. bfloat16 pays on machines that have it; the weights stay float32."""
    scheduler: Annotated[str | None, shown("ADDRESS", "none: train here")] = None
    """Train folds on the workers of a Dask cluster, such as tcp://127.0.0.1:8786. They need WORK and the cache
    under the same paths, and earmark (pip install "earmark[dask]")."""


GROUPS = (
    DataFlags,
    FoldFlags,
    StrataFlags,
    NetFlags,
    ScheduleFlags,
    AugmentationFlags,
    PredictionFlags,
    HardwareFlags,
)
ONCE = ("config", "force")  # never from a --config file: it would move its own run aside each time
HERE = ("fold", "scheduler")  # the part that one command trains and where, which settings.toml does not repeat


@dataclass(frozen=True)
class Settings(HardwareFlags, FoldFlags, DataFlags, Recipe, NetFlags):
    """All settings of a run; `settings_for` makes them as the command line does."""

    source: bytes | None = None  # of a user's own net's file, as `resolve` read it

    @property
    def net(self) -> Net:
        """The net's entry in the list, or that of a user's own net."""
        return net_of(self.model)

    @property
    def kinds(self) -> list[Kind]:
        """The kinds of feature that the net reads; log-mel comes first, but with the notebook's recipe last."""
        return sorted(self.net.kinds, key=lambda kind: (kind == "logmel") == (self.preset == "notebook"))

    @property
    def kind(self) -> Kind:
        """The kind of feature to read: the one that a flag asks for, or the first."""
        named = (self.store or "").partition("-")[0]
        numbers = {"logmel": self.n_mels, "mfcc": self.mfcc, "raw": self.sr}
        asked = [named, *(kind for kind, number in numbers.items() if number is not None)]
        return self.features or next((kind for kind in asked if kind in self.kinds), self.kinds[0])

    @property
    def n_mfcc(self) -> int:
        """Coefficients of an MFCC frame."""
        return 40 if self.mfcc is None else self.mfcc

    @property
    def cache_path(self) -> str | Path:
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

    def binding(self) -> dict[str, Any]:
        """What all folds of a predictions folder must share, defaults filled in, as plain values for JSON.

        What no number depends on is left out: where things lie, and flags of other kinds of feature. A user's own
        net is bound by the checksum of its file.
        """
        values = asdict(self)
        source = values.pop("source")
        if is_own(self.model):
            values["model"] = short_name(self.model)
            values["net_file_checksum"] = None if source is None else xxhash.xxh3_64_hexdigest(source)
        values |= {"recipe": values.pop("preset"), "features": self.kind, "mfcc": self.n_mfcc}
        values["folds"] = self.n_folds if self.fold_column is None else None
        elsewhere = {"work", "cache", "name", "store", "config", "fold", "force", "scheduler"}
        skipped = elsewhere | {*_OF_OTHER_KINDS[self.kind]}
        return {key: value for key, value in values.items() if key not in skipped}


_OF_OTHER_KINDS = {
    "raw": ("mfcc", "mfcc_sr", "n_mels", "band_mask", "standardise"),
    "mfcc": ("sr", "n_mels", "polarity", "band_mask"),
    "logmel": ("sr", "mfcc", "polarity"),
}


def settings_for(model: str, preset: RecipeName = "default", **values: Any) -> Settings:
    """Settings as the command line makes them; values: of fields of Settings, by name."""
    recipe = default_recipe(NetFlags(model, preset, quick=values.get("quick", False)))
    return Settings(model, preset, **asdict(recipe) | values)


def default_recipe(net: NetFlags) -> Recipe:
    """The recipe that flags which are not given take their values from: the preset's, or a trial's."""
    recipe = recipe_for(net.preset, net.model)
    return replace(recipe, epochs=1) if net.quick else recipe


def config_of(settings: Settings) -> str:
    """The TOML of a --config that repeats a run, but for what `ONCE` and `HERE` name.

    >>> print(*config_of(settings_for("conv2d", folds=2)).splitlines()[:5], sep="\\n")
    # python -m train --config THIS_FILE repeats this run
    <BLANKLINE>
    # Which clips, and where things lie.
    work = "work"
    verified-only = false
    """
    usual = asdict(default_recipe(settings))
    values = {name: value for name, value in asdict(settings).items() if name not in {*ONCE, *HERE}}
    values = {name: value for name, value in values.items() if value is not None or usual.get(name) is not None}
    return config_text("python -m train --config THIS_FILE repeats this run", GROUPS, values)


def resolve(settings: Settings, cache: "Cache") -> "tuple[Settings, Store]":
    """Decide which store of a cache the net reads, for the command and for Python alike.

    Its kind is the one that a flag asks for, else the first that the net reads and the cache has.

    Returns:
        The settings with the store's kind, numbers and name filled in, and the source of a user's own net; and the
        store.
    Raises:
        CacheError: no store fits, several do, or it is incomplete.
        NetError: the file of a user's own net cannot be read.
        SettingsError: --store names one that the net cannot read, or that has other numbers than flags ask for.
    """
    kind = settings.kind
    if is_own(settings.model) and settings.source is None:
        settings = replace(settings, source=read_source(settings.model))
    if settings.features is settings.n_mels is settings.mfcc is settings.sr is settings.store is None:
        kind = next((kind for kind in settings.kinds if kind in cache.kinds), kind)
    if settings.store is not None and not settings.store.startswith(f"{kind}-"):
        raise SettingsError(
            f"--store must name a store of {kind} features for {settings.model}, got {settings.store!r}; see "
            "`python -m cache ls`"
        )
    flags = {"sr" if kind == "raw" else "mfcc_sr": "sample_rate"}
    if kind == "logmel":
        flags["n_mels"] = "n_mels"
    numbers = {number: getattr(settings, flag) for flag, number in flags.items()}
    if kind == "mfcc":
        numbers["n_mfcc"] = settings.n_mfcc  # a store may have more
    store = cache.open_store(kind, store=settings.store, **numbers)
    filled = {flag: getattr(store.specification, number) for flag, number in flags.items()}
    for flag, value in filled.items():
        asked = getattr(settings, flag)
        _require(asked in (None, value), flag, f"{value} for {store.name}", asked)
    if kind == "mfcc":
        most = store.specification.n_mfcc
        _require(settings.n_mfcc <= most, "mfcc", f"at most {most} for {store.name}", settings.n_mfcc)
    return replace(settings, features=kind, store=store.name, **filled), store


_RANGES = {  # lowest and highest value, both allowed
    "sr": (1, 10_000_000),
    "mfcc_sr": (1, 10_000_000),
    "mfcc": (1, 4096),
    "n_mels": (1, 4096),
    "limit": (1, 10**12),
    "folds": (2, 10_000),
    "seed": (0, 2**63 - 1),
    "epochs": (1, 1_000_000),
    "batch_size": (1, 65_536),
    "patience": (0, 1_000_000),
    "validate_every": (1, 1_000_000),
    "crops": (1, 1000),
    "gain": (0, 100),  # dB
    "mixup": (0, 100),
    "seconds": (0.001, 3600),
    "learning_rate": (1e-9, 1000),
    "unverified_weight": (1e-6, 1000),
    **dict.fromkeys(("warmup", "time_mask", "band_mask", "label_smoothing", "averaging"), (0, 0.999999)),
}


def check(settings: Settings) -> None:
    """Refuse settings that no data could make right.

    Raises:
        SettingsError: names the flag, the rule and the value. NetError: there is no such net.
    """
    kinds, kind = " or ".join(settings.net.kinds), settings.kind
    if is_own(settings.model):
        read_source(settings.model)
    values = asdict(settings)
    for name, (low, high) in _RANGES.items():
        if values[name] is not None:
            _require(low <= values[name] <= high, name, f"{low} to {high:,}", values[name])
    for fold in settings.fold:
        _require(0 <= fold < 10_000, "fold", "0 to 9,999", fold)
    _require(kind in settings.net.kinds, "features", f"{kinds}, which {settings.model} reads", kind)
    for name in ("sr", "mfcc", "mfcc_sr", "n_mels"):
        read = name not in _OF_OTHER_KINDS[kind]
        rule = f"left out for {settings.model}, which reads {settings.features or kinds}"
        _require(read or values[name] is None, name, rule, values[name])
    for name in ("folds", "group_by"):
        alone = settings.fold_column is None or values[name] is None
        rule = f"left out with --fold-column, as the values of {settings.fold_column!r} are the folds"
        _require(alone, name, rule, values[name])
    if values["patience"] is not None and values["schedule"] == "cosine":
        raise SettingsError(
            f"--patience must be None with --schedule cosine, which runs to its end, got {values['patience']}; "
            "give --patience None, or --schedule constant"
        )
    if settings.name is not None:
        plain = settings.name not in ("", ".", "..") and Path(settings.name).name == settings.name
        _require(plain, "name", "one plain folder name", repr(settings.name))
    if settings.scheduler is not None and not find_spec("distributed"):
        raise SettingsError('--scheduler needs Dask, which is not installed; pip install "earmark[dask]"')


def _require(right: bool, name: str, rule: str, value: object) -> None:
    if not right:
        flag = name.replace("_", "-")
        raise SettingsError(f"--{flag} must be {rule}, got {value}; see python -m train --help")
