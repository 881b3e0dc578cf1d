"""What the command line of featurize asks for, checked."""

from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import arg

from cache.places import place
from cache.specification import LogmelSpecification, MfccSpecification, RawSpecification, Specification
from featurize.engine import Engine, default_jobs
from featurize.run import Options

if TYPE_CHECKING:
    from cache.places import Place

_MAX_RATE = 768_000  # Hz
_LIMITS = {
    "sr": (1, _MAX_RATE),
    "mfcc": (1, 128),
    "mfcc_sr": (1, _MAX_RATE),
    "logmel": (1, 512),
    "trim_db": (1, 200),
    "jobs": (1, 4096),
    "limit": (1, 10**9),
}


class SettingsError(ValueError):
    """A setting that no dataset can make right; the message is one line for the user."""


@dataclass(frozen=True)
class Settings:
    """Decode every recording of a dataset once, into a cache of features that training maps into memory.

    Reads the Kaggle layout: DATA/train.csv (fname,label[,manually_verified]), DATA/audio_train/,
    DATA/sample_submission.csv, DATA/audio_test/; wav, flac, ogg and mp3. A run that was stopped, or killed, goes
    on where it was; a run on a dataset that changed computes what is new. Exit codes: 0 done, 1 done but some
    clips failed, 2 wrong input or usage, 130 stopped by Ctrl-C.
    """

    data: Annotated[str, arg(metavar="PATH")] = "data"
    """Folder of the dataset, or s3://BUCKET/PREFIX."""
    work: Path = Path("work")
    """Folder of everything that is generated."""
    cache: Annotated[str | None, arg(metavar="PATH", help_behavior_hint="(default: WORK/cache)")] = None
    """Folder of the cache, or s3://BUCKET/PREFIX."""
    sr: int = 16000
    """Sample rate of the raw waveforms, in Hz."""
    mfcc: int = 40
    """MFCC coefficients, 1 to 128. A store of more coefficients serves a request for fewer."""
    mfcc_sr: int = 44100
    """Sample rate that MFCCs are computed at, in Hz."""
    features: tuple[Literal["raw", "mfcc"], ...] = ("raw", "mfcc")
    """Kinds to cache; --logmel adds its own."""
    logmel: Annotated[int | None, arg(metavar="INT", help_behavior_hint="(default: none)")] = None
    """Also cache log-mel frames of so many bands, 1 to 512, at the MFCCs' sample rate."""
    raw_dtype: Literal["int16", "float32"] = "int16"
    """Raw samples: int16 with a scale per clip (full 16 bits for each clip), or float32 at twice the size."""
    trim_db: Annotated[float | None, arg(metavar="DB", help_behavior_hint="(default: none)")] = None
    """Leave out silence at both ends of each clip: what is more than so many dB below its loudest frame."""
    jobs: Annotated[int | None, arg(metavar="INT", help_behavior_hint="(default: one a processor)")] = None
    """Jobs at a time."""
    engine: Engine = "threads"
    """What jobs run in. Threads have no start-up to pay; processes may be faster on many cores; dask is a cluster,
    whose workers see data and cache under the same paths (needs: pip install "earmark[dask]")."""
    scheduler: Annotated[str | None, arg(metavar="ADDRESS", help_behavior_hint="(with --engine dask)")] = None
    """Address of the cluster's scheduler, such as tcp://127.0.0.1:8786."""
    limit: Annotated[int | None, arg(metavar="INT", help_behavior_hint="(default: all)")] = None
    """Take only the first so many clips of train.csv, and of sample_submission.csv; clips in the cache stay."""
    prune: bool = False
    """Remove clips from the clip table that the dataset does not list any more."""
    force: bool = False
    """Compute the features asked for again, although they are there."""
    fsync: bool = False
    """Wait for the disk at every write, so that what counts as done outlives a loss of power."""
    dry_run: bool = False
    """Print the plan and stop; nothing is written."""
    on_error: Literal["skip", "stop"] = "skip"
    """When a clip cannot be decoded: note its reason and go on, or stop."""
    demo: bool = False
    """First make a small synthetic dataset in DATA, where nothing may be yet."""

    @cached_property
    def data_path(self) -> "Place":
        """The dataset's folder."""
        return place(self.data)

    @cached_property
    def cache_path(self) -> "Place":
        """The cache's folder."""
        return place(self.cache or self.work / "cache")

    @property
    def specifications(self) -> tuple[Specification, ...]:
        """The features asked for."""
        asked = {
            "raw": RawSpecification(self.sr, self.raw_dtype, trim_db=self.trim_db),
            "mfcc": MfccSpecification(self.mfcc, self.mfcc_sr, trim_db=self.trim_db),
        }
        chosen = tuple(specification for kind, specification in asked.items() if kind in self.features)
        if self.logmel is None:
            return chosen
        return (*chosen, LogmelSpecification(self.logmel, self.mfcc_sr, trim_db=self.trim_db))

    @property
    def options(self) -> Options:
        """How the run goes about it."""
        return Options(
            n_jobs=self.jobs or default_jobs(),
            engine=self.engine,
            scheduler=self.scheduler,
            prune=self.prune,
            force=self.force,
            stop_on_error=self.on_error == "stop",
            fsync=self.fsync,
        )


def check(settings: Settings) -> None:
    """Refuse numbers that are out of their range, and nothing to do.

    Raises:
        SettingsError: names the flag, what it must be and what was given.
    """
    if settings.demo and settings.dry_run:
        raise SettingsError("--demo: must be without --dry-run, which writes nothing; give one of them")
    if not settings.specifications:
        raise SettingsError("--features: must name a kind, got none; name raw or mfcc, or give --logmel")
    _check_engine(settings)
    for name, (low, high) in _LIMITS.items():
        value = getattr(settings, name)
        if value is not None and not low <= value <= high:
            flag = f"--{name.replace('_', '-')}"
            raise SettingsError(f"{flag}: must be from {low} to {high}, got {value}; give one in that range")


def _check_engine(settings: Settings) -> None:
    dask = settings.engine == "dask"
    if dask and not settings.scheduler:
        raise SettingsError(
            "--scheduler: must be the address of a Dask scheduler with --engine dask, got none; "
            "give one, such as tcp://127.0.0.1:8786"
        )
    if settings.scheduler and not dask:
        raise SettingsError(
            f"--scheduler: must be with --engine dask, got --engine {settings.engine}; give both or neither"
        )
    if dask and settings.jobs is not None:
        raise SettingsError(
            f"--jobs: must be without --engine dask, whose worker threads take a job each, got {settings.jobs}; "
            "leave it out"
        )
    if dask and not find_spec("distributed"):
        raise SettingsError(
            '--engine dask: must have dask.distributed, got none installed; pip install "earmark[dask]"'
        )
