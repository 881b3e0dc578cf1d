"""The clips of a run, their labels as label ids, and windows of one kind of feature.

Clips are numbered in the dataset's order, training clips first, then test clips. Labels stand in the order of
their first appearance among the training clips, as in the notebook; a label id is a label's number in that order.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cache import Cache, Status, Store
from cache.download import local_store
from cache.windows.cut import FrameWindows, RawWindows, Windows, window_length, window_seconds
from train.settings import Settings, SettingsError, resolve

_UNUSABLE = {Status.EMPTY: "empty", Status.FAILED: "failed"}


@dataclass(frozen=True)
class Dataset:
    """The clips that take part in a run."""

    train: pd.DataFrame  # clip tables, [n_train] and [n_test]
    test: pd.DataFrame
    labels: list[str]
    label_ids: np.ndarray  # int64 [n_train]
    verified: np.ndarray  # bool [n_train], as `verified_clips` says
    reasons: pd.Series  # text [n_train], why a clip is left out of the folds, "" where it is not
    silent_tests: list[str]  # test clips that are empty or failed
    windows: Windows  # of all clips
    settings: Settings  # of the run, with the store that `resolve` chose

    @property
    def usable(self) -> np.ndarray:
        """Training clips that can be in a fold; bool [n_train]."""
        return (self.reasons == "").to_numpy(bool)


def open_dataset(cache: Cache, settings: Settings) -> Dataset:
    """Choose the clips and the store that the settings ask for; of a cache in a bucket the store is copied here.

    Raises:
        CacheError: no store fits, several do, or it is incomplete.
        SettingsError: the window is too short for the net, or the table lacks what the settings need.
    """
    clips = cache.clips
    every, test = (clips[clips["split"] == split].reset_index(drop=True) for split in ("train", "test"))
    if every.empty:
        raise SettingsError(
            f"{cache.storage}: must have training clips, which have labels, got {len(test):,} test clips alone; "
            "featurize a dataset with labels (docs/datasets.md shows how they are laid out)"
        )
    verified = verified_clips(every["manually_verified"])[: settings.limit]  # --limit changes no clip's state
    train, test = every[: settings.limit], test[: settings.limit]
    settings, store = resolve(settings, cache)
    if not cache.storage.is_local:
        store = local_store(cache, store, settings.work / "cache-copy")
    slots = np.concatenate([train["slot"], test["slot"]]).astype(np.int64)
    label_ids, labels = pd.factorize(train["label"])
    reasons = _reasons(store, train)
    if settings.verified_only:
        if every["manually_verified"].isna().all():
            raise SettingsError(
                "--verified-only needs the column manually_verified in the dataset, which says nothing about any "
                "clip; leave --verified-only out, or fill the column in and run featurize again"
            )
        reasons = reasons.mask((reasons == "") & ~verified, "unverified")
    return Dataset(
        train=train,
        test=test,
        labels=list(labels),
        label_ids=label_ids,
        verified=verified,
        reasons=reasons,
        silent_tests=test["clip"][_reasons(store, test) != ""].tolist(),
        windows=_windows(store, slots, settings),
        settings=settings,
    )


def verified_clips(manually_verified: pd.Series) -> np.ndarray:
    """Which training clips count as verified; bool [n_train].

    A clip is verified if its manually_verified is 1. A blank or any other value is unverified. Where the dataset
    says nothing about any clip (no such column, or only blanks), every clip counts as verified. Weights,
    validation, strata and --verified-only all follow this one rule.

    >>> verified_clips(pd.Series([1, 0, 2, None], dtype="Int8")).tolist()
    [True, False, False, False]
    >>> verified_clips(pd.Series([None, None], dtype="Int8")).tolist()
    [True, True]
    """
    if manually_verified.isna().all():
        return np.ones(len(manually_verified), bool)
    return (manually_verified == 1).fillna(False).to_numpy(bool)


def _windows(store: Store, slots: np.ndarray, settings: Settings) -> Windows:
    specification, net, seconds = store.specification, settings.net, settings.seconds
    length = window_length(specification, seconds)
    shortest = 1 if settings.quick else net.min_length
    if length < shortest:
        raise SettingsError(
            f"--seconds must be at least {window_seconds(specification, shortest)} for the poolings of "
            f"{settings.model} on {store.name}, got {seconds}"
        )
    if settings.kind == "raw":
        return RawWindows(store, slots, length)
    flag, width = ("mfcc", settings.n_mfcc) if settings.kind == "mfcc" else ("n-mels", specification.n_mels)
    if not settings.quick and width < net.min_width:
        raise SettingsError(
            f"--{flag} must be at least {net.min_width} for the poolings of {settings.model}, got {width}"
        )
    return FrameWindows(store, slots, length, width)


def _reasons(store: Store, clips: pd.DataFrame) -> pd.Series:
    """Why each clip has nothing to train on; text [clips], "" where it has."""
    reasons = pd.Series([_UNUSABLE.get(status, "") for status in Status], dtype="str")
    return reasons.take(store.status[clips["slot"]]).reset_index(drop=True)
