"""What the command line of featurize asks for, checked."""

from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from cache.specification import LogmelSpecification, MfccSpecification, RawSpecification, Specification
from cache.storage import Storage, open_storage
from common import EarmarkError
from common.config_file import config_text, flags_of
from featurize.datasets import LAYOUTS
from featurize.datasets.any_csv import AUDIO_COLUMNS, LABEL_COLUMNS
from featurize.datasets.listing import SPLITS

Engine = Literal["threads", "processes", "dask"]
Kind = Literal["raw", "mfcc", "logmel"]
LayoutName = Literal[*LAYOUTS]
_ENGINES = (
    "What jobs run in. Threads start at once; processes may be faster on many cores; dask is a cluster whose "
    'workers see data and cache under the same paths (needs: pip install "earmark[dask]").'
)
_LAYOUTS = f"How the dataset is laid out: {', '.join(LAYOUTS)}; docs/datasets.md shows each."
_RECOGNISED = "(default: recognised)"
_MOST_HZ = 768_000
_SPLITS = f"Column that says train or test. Words known: {', '.join(SPLITS)}; those of val and dev are train."
_SPLIT = "(default: split, if there; else all train)"


def _first_of(columns: tuple[str, ...]) -> str:
    return f"(default: the first there is of {', '.join(columns)})"


class SettingsError(EarmarkError):
    """A setting that no dataset can make right; the message is one line for the user."""


@dataclass(frozen=True)
class Data:
    """Where recordings and features lie. Besides folders: s3://BUCKET/PREFIX, gs://... and az://..."""

    data: Annotated[str, arg(metavar="PATH")] = "data"
    """Folder of the dataset."""
    work: Annotated[Path, arg(metavar="PATH")] = Path("work")
    """Folder of everything that is generated."""
    cache: Annotated[str | None, arg(metavar="PATH", help_behavior_hint="(default: WORK/cache)")] = None
    """Folder of the cache."""
    config: Annotated[Path | None, arg(metavar="FILE.toml", help_behavior_hint="(default: none)")] = None
    """Take flags from this file, by their names: n-mels = 64, or features = ["raw"]. The command line wins. A run
    writes settings.toml into the cache at its end, which repeats it."""
    limit: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: all)")] = None
    """Take only N training clips and N test clips; clips in the cache stay."""
    layout: Annotated[LayoutName | None, arg(metavar="NAME", help=_LAYOUTS, help_behavior_hint=_RECOGNISED)] = None
    demo: bool = False
    """First make a small synthetic dataset in the folder of the dataset, which must not hold one yet."""

    @property
    def folder(self) -> Storage:
        """The dataset's folder."""
        return open_storage(self.data)

    @property
    def cache_folder(self) -> Storage:
        """The cache's folder."""
        return open_storage(self.cache or self.work / "cache")


@dataclass(frozen=True)
class Table:
    """A CSV of your own that lists the recordings; these flags are those of the layout csv."""

    csv: Annotated[str | None, arg(metavar="FILE", help_behavior_hint="(default: none)")] = None
    """The CSV: its path, or its path below the dataset's folder."""
    audio_column: Annotated[str | None, arg(metavar="C", help_behavior_hint=_first_of(AUDIO_COLUMNS))] = None
    """Column of the recordings' paths."""
    label_column: Annotated[str | None, arg(metavar="C", help_behavior_hint=_first_of(LABEL_COLUMNS))] = None
    """Column of the labels; it may be empty for test clips."""
    split_column: Annotated[str | None, arg(metavar="C", help=_SPLITS, help_behavior_hint=_SPLIT)] = None
    audio_dir: Annotated[str | None, arg(metavar="DIR", help_behavior_hint="(default: the dataset's folder)")] = (
        None
    )
    """Folder that the paths are relative to, below the dataset's folder."""

    @property
    def given(self) -> dict[str, str]:
        """The flags that are given."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Features:
    """What is computed of each clip. Stores of other features in the cache stay, and get new clips as well."""

    kinds: Annotated[tuple[Kind, ...], arg(name="features", metavar="KIND [KIND ...]")] = ("raw", "mfcc", "logmel")
    """Any of raw (waveform), mfcc and logmel (log-mel frames)."""
    sample_rate: Annotated[int, arg(name="sr", metavar="HZ")] = 16000
    """Sample rate of raw."""
    raw_dtype: Literal["int16", "float32"] = "int16"
    """Samples of raw: int16 with one scale per clip (all 16 bits are used), or float32 at twice the size."""
    n_mfcc: Annotated[int, arg(name="mfcc", metavar="N")] = 40
    """MFCC coefficients, 1 to 128. A store of more coefficients serves a request for fewer."""
    n_mels: Annotated[int, arg(metavar="N")] = 64
    """Bands of log-mel frames, 1 to 512."""
    mel_sample_rate: Annotated[int, arg(name="mfcc-sr", metavar="HZ")] = 44100
    """Sample rate that MFCCs and log-mel frames are computed at."""
    trim_db: Annotated[float | None, arg(metavar="DB", help_behavior_hint="(default: no trimming)")] = None
    """Leave out silence at both ends of each clip: all that is more than so many dB below its loudest frame."""

    @property
    def specifications(self) -> tuple[Specification, ...]:
        """The features asked for."""
        every = (
            RawSpecification(self.sample_rate, self.raw_dtype, trim_db=self.trim_db),
            MfccSpecification(self.n_mfcc, self.mel_sample_rate, trim_db=self.trim_db),
            LogmelSpecification(self.n_mels, self.mel_sample_rate, trim_db=self.trim_db),
        )
        return tuple(specification for specification in every if specification.kind in self.kinds)


@dataclass(frozen=True)
class Options:
    """How the work is done."""

    engine: Annotated[Engine, arg(help=_ENGINES)] = "threads"
    jobs: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: one a processor)")] = None
    """Jobs at a time."""
    scheduler: Annotated[str | None, arg(metavar="ADDRESS", help_behavior_hint="(with --engine dask)")] = None
    """Address of the cluster's scheduler, such as tcp://127.0.0.1:8786."""
    on_error: Literal["skip", "stop"] = "skip"
    """When a clip cannot be decoded: note the reason and take the next one, or stop."""
    prune: bool = False
    """Remove clips from the clip table that the dataset does not list any more."""
    force: bool = False
    """Compute the features asked for again, even if they are there."""
    fsync: bool = False
    """Wait for the disk at every write, so that finished work survives a loss of power."""
    dry_run: bool = False
    """Print the plan and stop; nothing is written."""


GROUPS = (Data, Table, Features, Options)  # in the order of the fields of Settings
ONCE = ("config", "demo", "dry-run", "force", "prune")  # acts of one run, never from a --config file
HERE = ("engine", "jobs", "scheduler")  # how this machine works, which settings.toml does not repeat


@dataclass(frozen=True)
class Settings:
    """What `python -m featurize` is asked to do."""

    data: Data = field(default_factory=Data)
    table: Annotated[Table, arg(name="csv")] = field(default_factory=Table)
    features: Features = field(default_factory=Features)
    run: Options = field(default_factory=Options)


def config_of(settings: Settings) -> str:
    """The TOML of a --config that repeats a run, but for what `ONCE` and `HERE` name."""
    flags, values = flags_of(*GROUPS), {}
    for group in vars(settings).values():
        values |= asdict(group)
    left_out = {flags[key].field for key in (*ONCE, *HERE)}
    kept = {name: value for name, value in values.items() if name not in left_out and value is not None}
    return config_text("python -m featurize --config THIS_FILE repeats this run", GROUPS, kept)


def check(settings: Settings) -> None:
    """Refuse numbers that are out of their range, and flags that do not go together.

    Raises:
        SettingsError: names the flag, what it must be and what was given.
    """
    data, features, run = settings.data, settings.features, settings.run
    if data.demo and run.dry_run:
        raise SettingsError("--demo writes a dataset and --dry-run writes nothing; give one of them")
    if settings.table.given and (data.layout or "csv") != "csv":
        flag = next(iter(settings.table.given)).replace("_", "-")
        raise SettingsError(f"--{flag} is for --layout csv, got --layout {data.layout}; leave one of them out")
    if settings.table.csv is None and (settings.table.given or data.layout == "csv"):
        raise SettingsError("--csv: must name the CSV that lists the recordings, got none; give --csv FILE")
    if not features.kinds:
        raise SettingsError("--features: must name a kind, got none; name raw, mfcc or logmel")
    for flag, value, most in (
        ("sr", features.sample_rate, _MOST_HZ),
        ("mfcc", features.n_mfcc, 128),
        ("mfcc-sr", features.mel_sample_rate, _MOST_HZ),
        ("n-mels", features.n_mels, 512),
        ("trim-db", features.trim_db, 200),
        ("jobs", run.jobs, 4096),
        ("limit", data.limit, 10**9),
    ):
        if value is not None and not 1 <= value <= most:
            raise SettingsError(f"--{flag}: must be from 1 to {most}, got {value}; give one in that range")
    if run.engine != "dask":
        if run.scheduler:
            what = f"--scheduler is for --engine dask, got --engine {run.engine}"
            raise SettingsError(f"{what}; give both or neither")
        return
    if not run.scheduler:
        what = "the address of a Dask scheduler, such as tcp://127.0.0.1:8786"
        raise SettingsError(f"--engine dask needs --scheduler with {what}")
    if run.jobs is not None:
        what = "where each thread of a worker takes one job"
        raise SettingsError(f"--jobs {run.jobs} is not for --engine dask, {what}; leave it out")
    if not find_spec("distributed"):
        raise SettingsError('--engine dask needs dask.distributed; run pip install "earmark[dask]"')
