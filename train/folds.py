"""Which fold each training clip belongs to: a stratified split, or what a column of train.csv says.

The split is that of scikit-learn's `StratifiedKFold` without shuffling, over the clips that take part, in the order
of train.csv, as in the notebook; `StratifiedGroupKFold`, likewise, where clips of one group must share a fold.
"""

import re
import warnings

import numpy as np
import pandas as pd

from train.dataset import Dataset
from train.settings import Settings, SettingsError


def assign_folds(dataset: Dataset, settings: Settings) -> np.ndarray:
    """The fold of each training clip; int64 [n_train], -1 for a clip that takes no part.

    Raises:
        SettingsError: one label only, a label with fewer clips than folds, or a column that gives no folds.
    """
    if len(dataset.labels) < 2:
        found = f"only {dataset.labels[0]!r}" if dataset.labels else "none"
        raise SettingsError(f"train.csv: labels must be at least 2, got {found}; add clips of another")
    used = np.flatnonzero(dataset.usable)
    folds = np.full(len(dataset.train), -1)
    if settings.fold_column is None:
        folds[used] = _stratified(dataset, used, settings)
    else:
        folds[used] = _by_column(dataset, used, settings.fold_column)
    return folds


def chosen_folds(settings: Settings, folds: np.ndarray) -> list[int]:
    """The folds that this run is to train, in ascending order.

    Args:
        folds: int64 [n_train], from `assign_folds`.
    Raises:
        SettingsError: --fold names one that does not exist.
    """
    n_folds = int(folds.max()) + 1
    wrong = [fold for fold in settings.fold if fold >= n_folds]
    if wrong:
        raise SettingsError(f"--fold must be 0 to {n_folds - 1}, as there are {n_folds} folds, got {wrong[0]}")
    return sorted(set(settings.fold)) if settings.fold else list(range(n_folds))


def missing_labels(dataset: Dataset, folds: np.ndarray) -> list[tuple[int, str, int]]:
    """Labels that a fold's net never hears: fold, label, and how many clips of it the fold holds out."""
    counts = np.zeros((int(folds.max()) + 1, len(dataset.labels)), np.int64)
    used = folds >= 0
    np.add.at(counts, (folds[used], dataset.targets[used]), 1)
    alone = (counts > 0) & (counts == counts.sum(axis=0))
    return [(int(fold), dataset.labels[label], int(counts[fold, label])) for fold, label in np.argwhere(alone)]


def _stratified(dataset: Dataset, used: np.ndarray, settings: Settings) -> np.ndarray:
    n_folds, targets = settings.n_folds, dataset.targets[used]
    counts = np.bincount(targets, minlength=len(dataset.labels))
    fewest = int(counts.argmin())
    if counts[fewest] < n_folds:
        raise SettingsError(
            f"label {dataset.labels[fewest]!r}: clips that take part must be at least {n_folds}, one for each "
            f"fold, got {counts[fewest]}; lower --folds, or add clips"
        )
    strata = targets
    if settings.recipe.strata == "label-verified":
        strata = 2 * targets + dataset.verified[used]
    if settings.group_by is None:
        return _dealt(strata, n_folds)
    return _dealt_in_groups(strata, _groups(dataset, used, settings), n_folds)


def _dealt(strata: np.ndarray, n_folds: int) -> np.ndarray:
    """The folds of `StratifiedKFold`, without the second that its import and its checks of a million clips take.

    Strata are numbered by their first appearance and sorted; the clips that this gives are dealt to the folds like
    cards, which says how many of a stratum each fold gets. The first fold gets the first of them, and so on.
    """
    numbers, distinct = pd.factorize(strata)
    few = np.min_scalar_type(len(distinct))  # NumPy sorts short integers several times as fast
    by_stratum = np.argsort(numbers.astype(few), kind="stable")
    dealt = np.arange(len(numbers)) % n_folds
    folds = np.empty(len(numbers), np.int64)
    folds[by_stratum] = np.sort(n_folds * numbers[by_stratum] + dealt) % n_folds
    return folds


def _dealt_in_groups(strata: np.ndarray, groups: np.ndarray, n_folds: int) -> np.ndarray:
    from sklearn.model_selection import StratifiedGroupKFold  # imported here, as few runs need it

    folds = np.empty(len(strata), np.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # a stratum may be small, a label is not
        for fold, (_, held_out) in enumerate(StratifiedGroupKFold(n_folds).split(strata, strata, groups)):
            folds[held_out] = fold
    return folds


def _groups(dataset: Dataset, used: np.ndarray, settings: Settings) -> np.ndarray:
    """A number for each clip's group; a clip without a value is a group of its own."""
    values = _column(dataset, used, settings.group_by, "--group-by")
    names = values.where(values != "", "\n" + dataset.train["clip"].iloc[used])
    groups = names.factorize()[0]
    if (found := int(groups.max()) + 1) < settings.n_folds:
        raise SettingsError(
            f"--group-by {settings.group_by}: groups must be at least {settings.n_folds}, one for each fold, "
            f"got {found}; lower --folds"
        )
    return groups


def _by_column(dataset: Dataset, used: np.ndarray, column: str) -> np.ndarray:
    values = _column(dataset, used, column, "--fold-column")
    empty = values == ""
    if empty.any():
        clip = dataset.train["clip"][empty.index[empty][0]]
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
    number = {value: fold for fold, value in enumerate(distinct)}
    return values.map(number).to_numpy(np.int64)


def _column(dataset: Dataset, used: np.ndarray, column: str, flag: str) -> pd.Series:
    """A column's values as text, "" where there is none."""
    if column not in dataset.train:
        there = ", ".join(name for name in dataset.train if name not in ("clip", "slot"))
        raise SettingsError(f"{flag} must be a column of train.csv ({there}), got {column!r}")
    return dataset.train[column].astype("string").fillna("").str.strip().iloc[used]


def _natural(value: str) -> list[tuple[int, int, str]]:
    """Sort key that puts fold2 before fold10."""
    parts = re.findall(r"\d+|\D+", value)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
