"""What a predictions folder is about, and how its files are written and read.

    labels.json       list of labels, in the order of their first appearance in train.csv
    clips_train.csv   fname,label in the order of train.csv
    clips_test.csv    fname in the order of sample_submission.csv
    folds.csv         fname,fold,reason; a clip in no fold has an empty fold, and the reason
    config.json       model, n_parameters, n_folds, settings, seed, stores, versions, ...; written last

Rows are counted from 0, as in the .npy files. A file is written whole and synced to the disk, or not at all. What
is read is checked like input from outside: every function that reads raises a PredictionsError that names the file
where one is missing, damaged or odd.
"""

import csv
import io
import json
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common import EarmarkError
from common.files import replacing, write_atomic

CONFIG = "config.json"
FORMAT_VERSION = 1
IN_NO_FOLD = -1
_AGAIN = "train again with --force, which moves the folder aside, or with another --name"
_RUN, _INPUT = ("model", "n_folds", "seed"), ("n_parameters", "stores")  # of a configuration, beside its settings
_NOTHING = object()
_MOST_BYTES = {"JSON": 1 << 24, "CSV": 1 << 30}
_DEEPEST = 20  # lists and objects inside each other; files of ours have 4


class PredictionsError(EarmarkError):
    """A predictions folder is missing, damaged or in use, or does not fit the others."""


@dataclass(frozen=True, eq=False)
class Description:
    """What the predictions in a folder are about.

    labels: [n_labels]; clips_train: fname and label, [n_train]; clips_test: fname, [n_test];
    folds: int64 [n_train], -1 in no fold; reasons: text [n_train], "" in a fold; config: what config.json holds.
    """

    labels: list[str]
    clips_train: pd.DataFrame
    clips_test: pd.DataFrame
    folds: np.ndarray
    reasons: pd.Series
    config: dict[str, Any]


def write_description(path: Path, description: Description) -> None:
    """Write the description into a folder, config.json last: where it is, all of them are."""
    table = description.clips_train[["fname"]].assign(fold=_fold_words(description), reason=description.reasons)
    write_json(path / "labels.json", description.labels)
    write_csv(path / "clips_train.csv", description.clips_train)
    write_csv(path / "clips_test.csv", description.clips_test)
    write_csv(path / "folds.csv", table)
    write_json(path / CONFIG, description.config)


def read_description(path: Path) -> Description:
    """Read and check the description in a folder, file by file and against each other."""
    config, labels = _read_config(path / CONFIG), read_json(path / "labels.json")
    right = isinstance(labels, list) and labels and all(isinstance(label, str) for label in labels)
    rule = "a list of different labels"
    require(right and len(set(labels)) == len(labels), path / "labels.json", "the file", rule, labels)
    clips_train = read_csv(path / "clips_train.csv", ["fname", "label"])
    clips_test = read_csv(path / "clips_test.csv", ["fname"])
    _require_each(path / "clips_train.csv", clips_train["label"], labels, "one of labels.json")
    table = read_csv(path / "folds.csv", ["fname", "fold", "reason"])
    if differing := _difference("fname", clips_train["fname"], table["fname"]):
        raise PredictionsError(f"{path / 'folds.csv'}: {differing}, unlike clips_train.csv; {_AGAIN}")
    ids = {"": IN_NO_FOLD, **{str(fold): fold for fold in range(config["n_folds"])}}
    _require_each(path / "folds.csv", table["fold"], ids, f"0 to {config['n_folds'] - 1} or empty")
    folds = table["fold"].map(ids).to_numpy(np.int64)
    return Description(labels, clips_train, clips_test, folds, table["reason"], config)


def _read_config(path: Path) -> dict[str, Any]:
    config = read_json(path)
    require(isinstance(config, dict), path, "the file", "a JSON object", config)
    other = "use the version of earmark that wrote the folder, or train again with another --name"
    require_number(path, config, "format_version", FORMAT_VERSION, FORMAT_VERSION, other)
    require_number(path, config, "n_parameters", 0, 10**15)
    require_number(path, config, "n_folds", 1, 10**6)
    for name, default, kind, rule in (
        ("model", _NOTHING, str, "a text"),
        ("settings", {}, dict, "a JSON object"),
        ("stores", [], list, "a list"),
    ):
        value = config.get(name, default)
        require(isinstance(value, kind), path, name, rule, value)
    return config


def _require_each(path: Path, values: pd.Series, allowed: Iterable[str], rule: str) -> None:
    bad = np.flatnonzero(~values.isin(list(allowed)))
    if len(bad):
        require(False, path, f"{values.name}, row {bad[0]},", rule, values[bad[0]])


def require(right: object, path: Path, name: str, rule: str, value: object, advice: str = _AGAIN) -> None:
    """Raise a PredictionsError that says rule and value, unless the value is right."""
    if not right:
        raise PredictionsError(f"{path}: {name} must be {rule}, got {short(value)}; {advice}")


def require_number(
    path: Path, values: dict, name: str, least: int, most: int, advice: str = _AGAIN, whole: bool = True
) -> None:
    """Require of a value of a JSON object that it is a number in a range, which True and "1" are not."""
    value = values.get(name, _NOTHING)
    rule = str(least) if least == most else f"{'a whole number, ' * whole}{least} to {most:,}"
    require(
        type(value) in ((int,) if whole else (int, float)) and least <= value <= most,
        path,
        name,
        rule,
        value,
        advice,
    )


def short(value: object) -> str:
    """A value from outside as a message shows it."""
    text = "nothing" if value is _NOTHING else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def dataset_difference(expected: Description, found: Description) -> str:
    """The first difference in labels or clips, in name, number or order; "" where there is none."""
    old, new = expected.clips_train, found.clips_train
    return (
        _difference("labels.json", expected.labels, found.labels)
        or _difference("fname of clips_train.csv", old["fname"], new["fname"])
        or _difference("label of clips_train.csv", old["label"], new["label"])
        or _difference("fname of clips_test.csv", expected.clips_test["fname"], found.clips_test["fname"])
    )


def binding_differences(expected: Description, found: Description) -> list[str]:
    """Why folds of two descriptions do not belong together; empty where they do.

    Causes come before what follows from them, and only the first kind that differs is given: settings, then
    model, number of folds and seed, then labels and clips, then each clip's fold, then parameters and stores.
    Everything else in a configuration (versions, revision, times) is for information and may differ.
    """
    old, new = expected.config, found.config
    kinds = [
        _settings_differences(old.get("settings"), new.get("settings")),
        _settings_differences(*({key: config.get(key) for key in _RUN} for config in (old, new))),
        [dataset_difference(expected, found)],
        [_difference("fold of folds.csv", _fold_words(expected), _fold_words(found))],
        _settings_differences(*({key: config.get(key) for key in _INPUT} for config in (old, new))),
    ]
    return next(filter(any, kinds), [])


def belong_together(config: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether folds of two configurations belong together, as far as these say."""
    return all(config.get(key) == other.get(key) for key in ("settings", *_RUN, *_INPUT))


def _fold_words(description: Description) -> pd.Series:
    """Each training clip's fold as folds.csv has it."""
    return pd.Series(description.folds).astype(str).where(description.folds != IN_NO_FOLD, "")


def _difference(name: str, expected: Sequence[str] | pd.Series, found: Sequence[str] | pd.Series) -> str:
    """The first row in which two lists differ, and where that is all, that their order does."""
    expected, found = list(expected), list(found)
    if expected == found:
        return ""
    pairs = enumerate(zip_longest(expected, found, fillvalue=_NOTHING))
    row, old, new = next((row, short(old), short(new)) for row, (old, new) in pairs if old != new)
    if len(expected) != len(found):
        old, new = f"{old} (of {len(expected):,})", f"{new} (of {len(found):,})"
    order = "order of " if sorted(expected) == sorted(found) else ""
    return f"{order}{name}, row {row}, must be {old}, got {new}"


def _settings_differences(expected: Any, found: Any) -> list[str]:
    """Every value in which two configurations differ; one inside others is named with dots, `stores.0.name`."""
    old, new = dict(_flat(expected)), dict(_flat(found))
    pairs = {name: (old.get(name, _NOTHING), new.get(name, _NOTHING)) for name in {**old, **new}}
    return [f"{name} must be {short(a)}, got {short(b)}" for name, (a, b) in pairs.items() if a != b]


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    nested = [pair for key, item in items for pair in _flat(item, f"{name}.{key}" if name else str(key))]
    yield from nested if nested or not name else [(name, value)]


def plain(value: Any) -> Any:
    """A value as JSON gives it back: tuples as lists, NumPy's numbers as numbers, paths as text, NaN as null."""
    text = json.dumps(value, default=lambda v: v.tolist() if isinstance(v, np.ndarray | np.generic) else str(v))
    return json.loads(text, parse_constant=lambda _: None)


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, indented; see `plain` for what else than JSON's own types it may hold."""
    text = json.dumps(plain(value), indent=2, ensure_ascii=False)
    write_atomic(path, f"{text}\n".encode(), durable=True)


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table of text with its header and without its index, quoted where a value needs it."""
    text = table.to_csv(index=False, lineterminator="\n")
    if "\r" in text:  # pandas writes it without quotes, and reads it as the end of a line
        text = table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_ALL)
    write_atomic(path, text.encode(), durable=True)


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an array as .npy."""
    with replacing(path, durable=True) as temporary:
        np.save(temporary, array, allow_pickle=False)


def read_json(path: Path, advice: str = _AGAIN) -> Any:
    """The value in a JSON file; NaN, half a character and deep nesting, which we never write, are damage."""
    content = _content(path, "JSON", advice)
    try:
        value = json.loads(content)
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1)
        text.encode()
        if "\n" + " " * _DEEPEST in text:
            raise ValueError(f"{_DEEPEST} lists and objects inside each other")
    except (ValueError, RecursionError) as error:
        raise _damaged(path, error, advice) from error
    return value


def read_csv(path: Path, columns: list[str], advice: str = _AGAIN) -> pd.DataFrame:
    """A table of text; nothing is taken for a number or for missing, so that a label "None" survives."""
    content = _content(path, "CSV", advice)
    try:
        text = content.decode()
        rows = csv.reader(
            io.StringIO(text, newline=""), strict=True
        )  # pandas puts up with stray quotes, short rows
        if (header := next(rows, [])) != columns:
            raise ValueError(f"columns must be {','.join(columns)}, got {short(','.join(header))}")
        widths = np.array([len(row) for row in rows])
        if (odd := np.flatnonzero(widths != len(columns))).size:
            raise ValueError(f"row {odd[0]} must have {len(columns)} values, got {widths[odd[0]]}")
        table = pd.read_csv(io.StringIO(text, newline=""), dtype=str, na_filter=False, skip_blank_lines=False)
        if len(table) != len(widths) or "\0" in text:
            raise ValueError("odd control characters")
    except (ValueError, csv.Error) as error:
        raise _damaged(path, error, advice) from error
    return table


def read_probabilities(path: Path, fnames: pd.Series, n_labels: int, advice: str) -> np.ndarray:
    """One fold's checked predictions from a .npy file; nothing is unpickled, and no size of a header trusted."""
    _content(path, "", advice)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("an archive of arrays")
    except Exception as error:  # NumPy's parser raises many kinds
        raise _damaged(path, error, advice) from error
    return checked_probabilities(path, array, fnames, n_labels, advice)


def checked_probabilities(
    path: Path, array: np.ndarray, fnames: pd.Series, n_labels: int, advice: str
) -> np.ndarray:
    """Check one fold's predictions.

    Args:
        path: where they lie, for the message; advice: how it ends. fnames: [n_clips], the clips that they are for.
    Returns:
        float64 [n_clips, n_labels]: no NaN, no infinity, nothing below 0, no row of zeros.
    Raises:
        PredictionsError: anything else; names the first bad row, counted from 0, and its clip.
    """
    shape = (len(fnames), n_labels)
    if array.shape != shape or array.dtype.kind != "f":
        found, rule = f"{array.dtype} of shape {array.shape}", f"floats of shape {shape} [clips, labels]"
        raise PredictionsError(f"{path}: predictions must be {rule}, got {found}; {advice}")
    array = np.array(array, dtype=np.float64)
    wrong = ~np.isfinite(array) | (array < 0)
    if (bad := wrong.any(axis=1) | ~array.any(axis=1)).any():
        row = int(bad.argmax())
        found = f"{array[row][wrong[row]][0]:g}" if wrong[row].any() else "nothing but zeros"
        raise PredictionsError(f"{path}: row {row} ({fnames[row]}) must be probabilities, got {found}; {advice}")
    return array


def _content(path: Path, kind: str, advice: str) -> bytes:
    """The bytes of a JSON or CSV file; of another kind none, but the same checks."""
    try:
        # a FIFO would wait for a writer without O_NONBLOCK
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise PredictionsError(f"{path}: this is a FIFO or a device, not a file; {advice}")
            if status.st_size > _MOST_BYTES.get(kind, status.st_size):
                raise PredictionsError(f"{path}: {status.st_size:,} bytes are too many for this file; {advice}")
            return file.read() if kind in _MOST_BYTES else b""
    except FileNotFoundError as error:
        raise PredictionsError(f"{path}: the file is missing; {advice}") from error
    except OSError as error:
        raise PredictionsError(f"{path}: the file cannot be read ({error.strerror}); {advice}") from error


def _damaged(path: Path, error: Exception, advice: str) -> PredictionsError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return PredictionsError(f"{path}: the file is damaged: {reason}; {advice}")
