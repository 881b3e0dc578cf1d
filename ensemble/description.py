"""What the predictions in a folder are about: labels, clips, folds and settings, and the files that say so.

    labels.json       list of labels, in the order of their first appearance in train.csv
    clips_train.csv   fname,label in the order of train.csv
    clips_test.csv    fname in the order of sample_submission.csv
    folds.csv         fname,fold,reason; a clip in no fold has an empty fold, and the reason
    config.json       model, n_parameters, n_folds, settings, seed, stores, versions, ...; written last

Rows are counted from 0, as in the .npy files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ensemble.differences import Difference, list_difference, settings_differences
from ensemble.errors import PredictionsError
from ensemble.files import plain, read_csv, read_json, write_csv, write_json

CONFIG = "config.json"
FORMAT_VERSION = 1
_IN_NO_FOLD = -1
_AGAIN = "train into a new folder (--force moves this one aside)"


@dataclass(frozen=True, eq=False)
class Description:
    """Labels, clips, folds and settings of one predictions folder.

    labels: [n_labels]; clips_train: fname and label, [n_train]; clips_test: fname, [n_test];
    folds: int64 [n_train], -1 in no fold; reasons: text [n_train], "" in a fold; config: what config.json holds.
    """

    labels: list[str]
    clips_train: pd.DataFrame
    clips_test: pd.DataFrame
    folds: np.ndarray
    reasons: pd.Series
    config: dict[str, Any]


def describe(
    labels: Sequence[str],
    clips_train: pd.DataFrame,
    clips_test: pd.DataFrame,
    folds: np.ndarray,
    reasons: Sequence[str] | pd.Series,
    config: dict[str, Any],
) -> Description:
    """Bring a description into the form in which it is read back."""
    return Description(
        [str(label) for label in labels],
        clips_train[["fname", "label"]].astype(str).reset_index(drop=True),
        clips_test[["fname"]].astype(str).reset_index(drop=True),
        np.asarray(folds, dtype=np.int64),
        pd.Series(reasons, dtype=str).reset_index(drop=True),
        {"format_version": FORMAT_VERSION, **plain(config)},
    )


def write_description(path: Path, description: Description) -> None:
    """Write the descriptive files into a folder, config.json last: where it is, all of them are."""
    words = np.array([*map(str, range(description.folds.max(initial=0) + 1)), ""], object)
    fold = words[description.folds]  # the last where it is _IN_NO_FOLD, -1
    columns = {"fname": description.clips_train["fname"], "fold": fold, "reason": description.reasons}
    write_json(path / "labels.json", description.labels)
    write_csv(path / "clips_train.csv", description.clips_train)
    write_csv(path / "clips_test.csv", description.clips_test)
    write_csv(path / "folds.csv", pd.DataFrame(columns))
    write_json(path / CONFIG, description.config)


def read_description(path: Path) -> Description:
    """Read and check the descriptive files of a folder.

    Raises:
        PredictionsError: a file is missing, broken, or does not fit the others.
    """
    config = _read_config(path / CONFIG)
    labels = _read_labels(path / "labels.json")
    clips_train = read_csv(path / "clips_train.csv", ["fname", "label"])
    _check_rows(path / "clips_train.csv", clips_train["label"], labels, "one of labels.json")
    clips_test = read_csv(path / "clips_test.csv", ["fname"])
    folds, reasons = _read_folds(path / "folds.csv", clips_train["fname"], config["n_folds"])
    return Description(labels, clips_train, clips_test, folds, reasons, config)


def dataset_difference(expected: Description, found: Description) -> Difference | None:
    """The first difference in labels or clips, in name, number or order; None where there is none."""
    old, new = expected.clips_train, found.clips_train
    return (
        list_difference("labels.json", expected.labels, found.labels)
        or _rows_difference("fname of clips_train.csv", old[["fname"]], new[["fname"]])
        or _rows_difference("clip of clips_train.csv", old, new)
        or _rows_difference("fname of clips_test.csv", expected.clips_test, found.clips_test)
    )


def binding_differences(expected: Description, found: Description) -> list[Difference]:
    """What makes folds of two descriptions not belong together; empty where they do.

    Causes come before what follows from them, and only the first kind that differs is given: settings, then
    model, folds and seed, then labels and clips, then each clip's fold, then parameters and stores. Versions,
    revision, times and whatever else a configuration says are for information and may differ.
    """
    old, new = expected.config, found.config
    kinds = [
        settings_differences(old.get("settings"), new.get("settings")),
        settings_differences(*(_only(config, "model", "n_folds", "seed") for config in (old, new))),
        [difference] if (difference := dataset_difference(expected, found)) else [],
        [difference] if (difference := _fold_difference(expected, found)) else [],
        settings_differences(*(_only(config, "n_parameters", "stores") for config in (old, new))),
    ]
    return next(filter(None, kinds), [])


def belong_together(config: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether folds of two configurations do, as far as these say."""
    keys = "settings", "model", "n_folds", "seed", "n_parameters", "stores"
    return _only(config, *keys) == _only(other, *keys)


def _only(config: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: config.get(key) for key in keys}


def _fold_difference(expected: Description, found: Description) -> Difference | None:
    if np.array_equal(expected.folds, found.folds):
        return None
    old, new = (d.clips_train[["fname"]].assign(fold=_fold_words(d)) for d in (expected, found))
    return _rows_difference("clip of folds.csv", old, new)


def _fold_words(description: Description) -> list[str]:
    return ["no fold" if fold == _IN_NO_FOLD else f"fold {fold}" for fold in description.folds]


def _rows_difference(name: str, old: pd.DataFrame, new: pd.DataFrame) -> Difference | None:
    """The first row in which two tables of clips differ; a look at whole columns tells that none does."""
    return None if old.equals(new) else list_difference(name, _rows(old), _rows(new))


def _rows(clips: pd.DataFrame) -> list[str]:
    """fname, with the other column in brackets where there is one."""
    fnames, *others = (clips[column].tolist() for column in clips)
    return [f"{fname} ({value})" for fname, value in zip(fnames, *others, strict=True)] if others else fnames


def _read_config(path: Path) -> dict[str, Any]:
    config = read_json(path)
    if not isinstance(config, dict):
        raise PredictionsError(f"{path}: file must hold a JSON object, got {_kind(config)}; {_AGAIN}")
    if (version := config.get("format_version")) != FORMAT_VERSION:
        raise PredictionsError(
            f"{path}: format_version must be {FORMAT_VERSION}, got {version!r}; "
            "use the version of the program that wrote the folder, or train into a new one"
        )
    if not isinstance(config.get("model"), str):
        raise PredictionsError(f"{path}: model must be a text, got {config.get('model')!r}; {_AGAIN}")
    for key, least in (("n_parameters", 0), ("n_folds", 1)):
        if type(config.get(key)) is not int or config[key] < least:
            rule = f"a whole number, at least {least}"
            raise PredictionsError(f"{path}: {key} must be {rule}, got {config.get(key)!r}; {_AGAIN}")
    return config


def _read_labels(path: Path) -> list[str]:
    labels = read_json(path)
    if not isinstance(labels, list) or not labels or not all(isinstance(label, str) for label in labels):
        raise PredictionsError(f"{path}: file must hold a list of labels, got {_kind(labels)}; {_AGAIN}")
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise PredictionsError(f"{path}: labels must be different, got {twice!r} twice; {_AGAIN}")
    return labels


def _read_folds(path: Path, fnames: pd.Series, n_folds: int) -> tuple[np.ndarray, pd.Series]:
    table = read_csv(path, ["fname", "fold", "reason"])
    if differing := _rows_difference("fname", fnames.to_frame(), table[["fname"]]):
        raise PredictionsError(f"{path}: {differing}, unlike clips_train.csv; {_AGAIN}")
    names = {"": _IN_NO_FOLD, **{str(fold): fold for fold in range(n_folds)}}
    _check_rows(path, table["fold"], list(names), f"0 to {n_folds - 1} or empty")
    numbers, words = table["fold"].factorize()
    return np.array([names[word] for word in words], np.int64)[numbers], table["reason"]


def _check_rows(path: Path, values: pd.Series, allowed: list[str], rule: str) -> None:
    bad = np.flatnonzero(~values.isin(allowed))
    if len(bad):
        found = values[bad[0]]
        raise PredictionsError(f"{path}: {values.name}, row {bad[0]}, must be {rule}, got {found!r}; {_AGAIN}")


def _kind(value: Any) -> str:
    return {dict: "an object", list: "a list without them"}.get(type(value), repr(value)[:40])
