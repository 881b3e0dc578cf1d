"""Which fold each training clip belongs to: scikit-learn's stratified split, or what a column of the dataset says.

`StratifiedKFold` without shuffling, over the clips that take part, in the dataset's order, as in the notebook;
`StratifiedGroupKFold` where clips of one group must share a fold.
"""

import re
import warnings

import numpy as np
import pandas as pd

from common.text import listed
from train.input.dataset import Dataset
from train.settings import Settings, SettingsError

_OURS = ("clip", "slot", "split")  # columns that are none of the dataset


def assign_folds(dataset: Dataset, settings: Settings) -> np.ndarray:
    """The fold of each training clip; int64 [n_train], -1 for a clip that takes no part.

    Raises:
        SettingsError: one label only, a label with fewer clips than folds, or a column that gives no folds.
    """
    if len(dataset.labels) < 2:
        found = f"only {dataset.labels[0]!r}" if dataset.labels else "none"
        limited = "raise or leave out --limit, or " if settings.limit is not None else ""
        raise SettingsError(f"the dataset: labels must be at least 2, got {found}; {limited}add clips of another")
    used, folds = np.flatnonzero(dataset.usable), np.full(len(dataset.train), -1)
    by_column = settings.fold_column is not None
    folds[used] = _by_column(dataset, used, settings) if by_column else _stratified(dataset, used, settings)
    return folds


def chosen_folds(settings: Settings, folds: np.ndarray) -> list[int]:
    """The folds that this run is to train, in ascending order; folds: int64 [n_train], from `assign_folds`.

    Raises:
        SettingsError: --fold names one that does not exist.
    """
    n_folds = int(folds.max()) + 1
    if wrong := [fold for fold in settings.fold if fold >= n_folds]:
        raise SettingsError(f"--fold must be 0 to {n_folds - 1}, as there are {n_folds} folds, got {wrong[0]}")
    return sorted(set(settings.fold)) or list(range(n_folds))


def missing_labels(dataset: Dataset, folds: np.ndarray) -> list[tuple[int, str, int]]:
    """Labels that a fold's net is never trained on: fold, label, and how many clips of it the fold holds out."""
    counts = np.zeros((int(folds.max()) + 1, len(dataset.labels)), np.int64)
    used = folds >= 0
    np.add.at(counts, (folds[used], dataset.label_ids[used]), 1)
    alone = (counts > 0) & (counts == counts.sum(axis=0))
    return [(int(fold), dataset.labels[label], int(counts[fold, label])) for fold, label in np.argwhere(alone)]


def _stratified(dataset: Dataset, used: np.ndarray, settings: Settings) -> np.ndarray:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # imported here: it takes a second

    n_folds, label_ids = settings.n_folds, dataset.label_ids[used]
    counts = np.bincount(label_ids, minlength=len(dataset.labels))
    if counts.min() < n_folds:
        raise SettingsError(
            f"label {dataset.labels[counts.argmin()]!r}: clips that take part must be at least {n_folds}, one for "
            f"each fold, got {counts.min()}; {_advice(settings)}add clips of it"
        )
    strata = label_ids
    if settings.strata == "label-verified":
        by_verified = 2 * label_ids + dataset.verified[used]
        if np.bincount(by_verified).max() >= n_folds:  # or scikit-learn would refuse them
            strata = by_verified
    split, groups = StratifiedKFold(n_folds), None
    if settings.group_by is not None:
        split, groups = StratifiedGroupKFold(n_folds), _groups(dataset, used, settings)
    folds = np.empty(len(used), np.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # a stratum may be small, a label is not
        for fold, (_, held_out) in enumerate(split.split(strata, strata, groups)):
            folds[held_out] = fold
    return folds


def _groups(dataset: Dataset, used: np.ndarray, settings: Settings) -> np.ndarray:
    """A number for each clip's group; a clip without a value is a group of its own."""
    values = _column(dataset, used, settings.group_by, "--group-by")
    groups = values.where(values != "", "\n" + dataset.train["clip"].iloc[used]).factorize()[0]
    if (found := int(groups.max()) + 1) < settings.n_folds:
        raise SettingsError(
            f"--group-by {settings.group_by}: groups must be at least {settings.n_folds}, one for each fold, "
            f"got {found}; {_advice(settings)}add clips of other groups"
        )
    return groups


def _advice(settings: Settings) -> str:
    """What to change where there are too few clips for the folds; only what can be changed."""
    ways = ["raise or leave out --limit, or "] if settings.limit is not None else []
    ways += ["leave out --verified-only, or "] if settings.verified_only else []
    ways += ["lower --folds, or "] if settings.n_folds > 2 else []
    return "".join(ways)


def _by_column(dataset: Dataset, used: np.ndarray, settings: Settings) -> np.ndarray:
    column = settings.fold_column
    values = _column(dataset, used, column, "--fold-column")
    if (empty := values == "").any():
        clip = dataset.train["clip"][empty.idxmax()]
        raise SettingsError(
            f"{clip}: column {column!r} must name a fold, got nothing; fill it in and run featurize again"
        )
    distinct = sorted(values.unique(), key=_natural)
    if len(distinct) < 2:
        found = f"only {distinct[0]!r}" if distinct else "none"
        raise SettingsError(
            f"--fold-column {column}: values must be at least 2, one for each fold, got {found}; "
            "name another column"
        )
    return values.map({value: fold for fold, value in enumerate(distinct)}).to_numpy(np.int64)


def _column(dataset: Dataset, used: np.ndarray, column: str, flag: str) -> pd.Series:
    """A column's values as text, "" where there is none."""
    if column not in dataset.train or column in _OURS:
        there = listed((name for name in dataset.train if name not in _OURS), 20)
        raise SettingsError(f"{flag} must be a column of the dataset ({there}), got {column!r}")
    return dataset.train[column].astype("string").fillna("").str.strip().iloc[used]


def _natural(value: str) -> list[tuple[int, int, str]]:
    """Sort key that puts fold2 before fold10."""
    parts = re.findall(r"\d+|\D+", value)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
