"""What a run reads: the clips, their labels as numbers, and windows of one kind of feature.

Clips are numbered in the dataset's order, training clips first, then test clips. Labels stand in the order of
their first appearance in train.csv, as in the notebook.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from cache import Cache, Status, Store
from cache.bucket.copy import local_store
from cache.places import on_disk
from train.settings import Settings, SettingsError
from train.windows import FrameWindows, RawWindows, Windows, window_length, window_seconds

_UNUSABLE = {Status.EMPTY: "empty", Status.FAILED: "failed"}


@dataclass(frozen=True)
class Dataset:
    """The clips that take part in a run.

    train, test: clip tables, [n_train] and [n_test]. labels: [n_labels]. targets: int64 [n_train], numbers of
    labels. verified: bool [n_train], False where manually_verified is 0. reasons: text [n_train], why a clip is
    left out of the folds, "" where it is not. silent_tests: test clips that are empty or failed. windows: of all
    clips.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    labels: list[str]
    targets: np.ndarray
    verified: np.ndarray
    reasons: pd.Series
    silent_tests: list[str]
    windows: Windows

    @property
    def usable(self) -> np.ndarray:
        """Training clips that can stand in a fold; bool [n_train]."""
        return (self.reasons == "").to_numpy(bool)


def with_features(settings: Settings, cache: Cache) -> Settings:
    """Settings whose features are decided: those asked for, else the first that the net reads and the cache has.

    Nets of frames learn more from log-mel ones, so these come first, but for the notebook's recipe.
    """
    if settings.features is not None or settings.logmel is not None or settings.mfcc is not None:
        return settings
    kinds = settings.net.kinds
    if settings.preset != "notebook":
        kinds = sorted(kinds, key=lambda kind: kind != "logmel")
    there = [kind for kind in kinds if kind in cache.kinds]
    return replace(settings, features=there[0]) if there else settings


def open_dataset(cache: Cache, settings: Settings) -> Dataset:
    """Choose the clips and the store that the settings ask for.

    Raises:
        CacheError: no store fits, several do, or it is incomplete.
        SettingsError: the window is too short for the net, or the table lacks what the settings need.
    """
    train, test = (_split(cache.clips, name, settings.limit) for name in ("train", "test"))
    store = _open_store(cache, settings)
    slots = np.concatenate([train["slot"], test["slot"]]).astype(np.int64)
    targets, labels = pd.factorize(train["label"])
    reasons = _reasons(store, train)
    if settings.verified_only:
        reasons = reasons.mask((reasons == "") & ~_verified(train), "unverified")
    return Dataset(
        train=train,
        test=test,
        labels=list(labels),
        targets=targets.astype(np.int64),
        verified=(train["manually_verified"] != 0).fillna(True).to_numpy(bool),
        reasons=reasons,
        silent_tests=test["clip"][_reasons(store, test) != ""].tolist(),
        windows=_windows(store, slots, settings),
    )


def _split(clips: pd.DataFrame, split: str, limit: int | None) -> pd.DataFrame:
    rows = np.flatnonzero(clips["split"] == split)[:limit]
    first, end = (rows[0], rows[-1] + 1) if len(rows) else (0, 0)
    together = end - first == len(rows)  # as featurize writes them: a slice is no second copy of a million names
    rows = slice(first, end) if together else rows
    return clips.drop(columns="split").iloc[rows].reset_index(drop=True)


def _open_store(cache: Cache, settings: Settings) -> Store:
    """The store that fits; of a cache in a bucket its copy on this disk, brought up to date."""
    store = _fitting_store(cache, settings)
    return store if on_disk(cache.path) else local_store(cache, store, settings.copies_path)


def _fitting_store(cache: Cache, settings: Settings) -> Store:
    numbers = {
        "raw": {"sample_rate": settings.sr},
        "mfcc": {"sample_rate": settings.mfcc_sr, "n_mfcc": settings.n_mfcc},
        "logmel": {"sample_rate": settings.mfcc_sr, "n_mels": settings.logmel},
    }
    return cache.open_store(settings.kind, **numbers[settings.kind])


def _windows(store: Store, slots: np.ndarray, settings: Settings) -> Windows:
    length = window_length(store.specification, settings.recipe.seconds)
    shortest = 1 if settings.quick else settings.net.min_length
    if length < shortest:
        raise SettingsError(
            f"--seconds must be at least {window_seconds(store.specification, shortest)} for the poolings of "
            f"{settings.model} on {store.name}, got {settings.recipe.seconds}"
        )
    if settings.kind == "raw":
        return RawWindows(store, slots, length)
    width = settings.n_mfcc if settings.kind == "mfcc" else store.specification.n_mels
    if not settings.quick and width < settings.net.min_width:
        raise SettingsError(
            f"--{settings.kind} must be at least {settings.net.min_width} for the poolings of {settings.model}, "
            f"got {width}"
        )
    return FrameWindows(store, slots, length, width)


def _reasons(store: Store, clips: pd.DataFrame) -> pd.Series:
    """Why each clip has nothing to train on; text [clips], "" where it has."""
    reasons = pd.Series([_UNUSABLE.get(status, "") for status in Status], dtype="str")
    return reasons.take(store.status[clips["slot"]]).reset_index(drop=True)


def _verified(train: pd.DataFrame) -> pd.Series:
    flags = train["manually_verified"]
    if flags.isna().all():
        raise SettingsError(
            "--verified-only needs the column manually_verified in train.csv, got none; "
            "leave --verified-only out, or add the column and run featurize again"
        )
    return (flags == 1).fillna(False).astype(bool)
