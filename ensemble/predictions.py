"""The predictions folder: what the trainer writes, fold by fold, and the ensembler reads.

    labels.json       list of labels, in the order of their first appearance in train.csv
    clips_train.csv   fname,label in the order of train.csv
    clips_test.csv    fname in the order of sample_submission.csv; fname,label,usage where any test label is known
    folds.csv         fname,fold,reason; a clip in no fold has an empty fold, and the reason
    config.json       model, n_parameters, n_folds, settings, seed, stores, versions, ...; written last of these
    train_predictions_{i}.npy   float64 [n_train, n_labels], fold i's model on every clip of train.csv
    test_predictions_{i}.npy    float64 [n_test, n_labels], on every clip of sample_submission.csv
    predictions_{i}.csv         fold i's own submission
    oof_predictions.npy         float64 [n_train, n_labels], each clip by the model of its fold, or NaN
    finished_{i}.json           the marker of a finished fold: fold, n_clips, accuracy, map3, ...; written last
    .fold_{i}.lock, .holder     held while fold i is trained, and by whom; .lock: held for moments by who writes

Rows stand in the order of the dataset's CSV files, columns in that of labels.json. A fold is there when its marker
is. Several trainers may write different folds of one folder at the same time, under the settings that the folder
was begun with. Models, checkpoints, histories and logs lie beside these files; they are the trainer's.

Source: the .npy files and predictions_{i}.csv are those of the notebook "Beginner's Guide to Audio Data"
(https://www.kaggle.com/code/fizzbuzz/beginner-s-guide-to-audio-data).
"""

import os
import platform
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count, zip_longest
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from msgspec import Meta, Struct

from common.files import is_temporary, sweep
from common.text import listed
from ensemble import files
from ensemble.files import NOTHING, PredictionsError, number, require, require_equal, require_fields, short
from ensemble.metrics import accuracy, map3
from ensemble.submission import submission

FORMAT_VERSION = 1
IN_NO_FOLD = -1
_TEST_LABELS = ["label", "usage"]  # columns of clips_test.csv where any label is known
_LEAST_WAIT_S = 1  # `_at_work` takes a lock for a moment
_GONE = "another process moved this folder aside (--force); rerun the command"
_ASIDE = "another --name, or --force, which moves this folder aside"
_OTHER_VERSION = "use the version of earmark that wrote the folder, or train again with another --name"


_Plain = dict[str, str | bool | int | float | None]
_Count, _Score = number(int, 0, 10**10), number(float, 0, 1)


class _Store(Struct):
    name: str


class _Config(Struct):
    """What readers use of config.json beside its version; what else it holds is for information."""

    model: Annotated[str, Meta(description="a text")]
    n_parameters: number(int, 0, 10**15)
    n_folds: number(int, 1, 10**6)
    settings: Annotated[_Plain, Meta(description="a JSON object of texts, numbers, true, false and null")] = {}
    stores: Annotated[list[_Store], Meta(description="a list of JSON objects with a name")] = []


class _Marker(Struct):
    """What readers use of finished_{i}.json beside its fold and number of clips."""

    accuracy: _Score
    map3: _Score
    epochs: _Count
    kept_epoch: _Count
    seconds: number(float, 0, 10**10)
    verified_accuracy: _Score = 0
    verified_map3: _Score = 0


@dataclass(frozen=True, eq=False)
class PredictionsFolder:
    """One model's predictions: what they are about, and each finished fold's.

    labels: [n_labels]; clips_train: fname and label, [n_train]; clips_test: fname, [n_test], and where any test
    label is known label ("" for unknown) and usage ("Public", "Private", "Ignored" or ""); folds: int64 [n_train],
    -1 in no fold; reasons: text [n_train], "" in a fold; config: what config.json holds.

    Made by `create_predictions` and `open_predictions`. What reads a file raises a PredictionsError where it is
    missing, damaged or odd.
    """

    path: Path
    labels: list[str]
    clips_train: pd.DataFrame
    clips_test: pd.DataFrame
    folds: np.ndarray
    reasons: pd.Series
    config: dict[str, Any]

    def __repr__(self) -> str:
        folds = f"{self.config['model']}, {len(self.finished)} of {self.n_folds} folds finished"
        n_clips = f"{len(self.clips_train):,} training and {len(self.clips_test):,} test clips"
        return f"PredictionsFolder({self.path}: {folds}; {n_clips}, {len(self.labels)} labels)"

    @property
    def n_folds(self) -> int:
        """How many folds the folder is to have."""
        return self.config["n_folds"]

    @cached_property
    def labels_index(self) -> np.ndarray:
        """int64 [n_train], the label id of each training clip."""
        return pd.Index(self.labels).get_indexer(self.clips_train["label"]).astype(np.int64)

    @property
    def finished(self) -> list[int]:
        """The numbers of the folds that are finished, ascending, as the folder says now."""
        return _numbers(self.path, r"finished_(0|[1-9][0-9]*)\.json")

    @property
    def missing(self) -> list[int]:
        """The numbers of the folds that are not finished, ascending."""
        return sorted(set(range(self.n_folds)) - set(self.finished))

    @property
    def scored(self) -> np.ndarray:
        """bool [n_train], the clips that have an out-of-fold prediction now."""
        return np.isin(self.folds, self.finished)

    def result(self, fold: int) -> dict[str, Any]:
        """What a finished fold's marker says: fold, n_clips, accuracy, map3, epochs, kept_epoch, seconds, ..."""
        return self._checked_result(files.read_json(self._marker(fold), _again(fold)), fold)

    def train_predictions(self, fold: int) -> np.ndarray:
        """A fold's predictions for every training clip, float64 [n_train, n_labels]."""
        return self._predictions("train", fold)

    def test_predictions(self, fold: int) -> np.ndarray:
        """A fold's predictions for every test clip, float64 [n_test, n_labels]."""
        return self._predictions("test", fold)

    def oof(self, folds: Iterable[int] | None = None) -> np.ndarray:
        """Each training clip's prediction by the model of its fold, of the finished folds or of some.

        float64 [n_train, n_labels]; rows of clips in none of these folds are NaN.
        """
        oof = np.full((len(self.clips_train), len(self.labels)), np.nan)
        for fold in self.finished if folds is None else folds:
            oof[self.folds == fold] = self.train_predictions(fold)[self.folds == fold]
        return oof

    @contextmanager
    def holding(self, fold: int, wait_s: float = 0) -> Iterator[None]:
        """Hold a fold while it is trained, so that no other process trains it or moves the folder aside.

        Waits up to wait_s seconds for a process that holds it. Raises a PredictionsError if it still does then, or
        if another process moved the folder aside or gave it other settings.
        """
        here, holder = _identity(self.path), self.path / f".fold_{fold}.holder"
        try:
            lock = FileLock(self.path / f".fold_{fold}.lock").acquire(timeout=max(wait_s, _LEAST_WAIT_S))
        except Timeout as error:
            raise _in_training(self.path, fold) from error
        with lock:
            with _writing(self.path, here):
                if binding_differences(read_description(self.path), self):
                    raise PredictionsError(
                        f"{self.path}: another run began here with other settings at the same time; "
                        "rerun the command with another --name"
                    )
                files.write_json(holder, {"pid": os.getpid(), "host": platform.node()})
            try:
                yield
            finally:
                holder.unlink(missing_ok=True)

    def write_fold(
        self, fold: int, train_predictions: np.ndarray, test_predictions: np.ndarray, result: dict[str, Any]
    ) -> dict[str, Any]:
        """Write a fold's predictions, its submission, the out-of-fold predictions so far, and last its marker.

        Args:
            train_predictions, test_predictions: probabilities, float [n_train, n_labels] and [n_test, n_labels].
            result: what else the marker is to say: epochs, kept_epoch, seconds, and whatever else.
        Returns:
            What the marker says: fold, n_clips, accuracy and map3 on the fold's own clips, and the result.
        Raises:
            PredictionsError: not probabilities, of another shape, or a bad result; nothing is written.
        """
        train = self._predictions("train", fold, train_predictions)
        test = self._predictions("test", fold, test_predictions)
        own = self.folds == fold
        scored = train[own], self.labels_index[own]
        values = {"fold": fold, "n_clips": int(own.sum()), "accuracy": accuracy(*scored), "map3": map3(*scored)}
        written = self._checked_result(files.plain(values | result), fold)
        table = submission(self.clips_test["fname"], test, self.labels)
        with _writing(self.path):
            self._marker(fold).unlink(missing_ok=True)
            files.write_array(self.path / f"train_predictions_{fold}.npy", train)
            files.write_array(self.path / f"test_predictions_{fold}.npy", test)
            files.write_csv(self.path / f"predictions_{fold}.csv", table)
            files.write_array(self.path / "oof_predictions.npy", self.oof([*self.finished, fold]))
            files.write_json(self._marker(fold), written)
        return written

    def _marker(self, fold: int) -> Path:
        return self.path / f"finished_{fold}.json"

    def _checked_result(self, result: dict[str, Any], fold: int) -> dict[str, Any]:
        """What a marker says, with NaN for scores of no clips, which are null in the file."""
        path, advice, n_clips = self._marker(fold), _again(fold), int((self.folds == fold).sum())
        require_equal(path, result, "fold", fold, advice)
        require_equal(path, result, "n_clips", n_clips, advice)
        may_be_null = ("verified_accuracy", "verified_map3", *(() if n_clips else ("accuracy", "map3")))
        null = [name for name in may_be_null if result.get(name, NOTHING) is None]
        require_fields(path, result | dict.fromkeys(null, 0), _Marker, advice)
        return result | dict.fromkeys(null, float("nan"))

    def _predictions(self, part: str, fold: int, given: np.ndarray | None = None) -> np.ndarray:
        """Checked predictions, from a fold's file or as they are given."""
        path, clips = self.path / f"{part}_predictions_{fold}.npy", getattr(self, f"clips_{part}")
        advice = _again(fold) if given is None else "nothing was written"
        array = files.read_array(path, advice) if given is None else given
        return checked_probabilities(path, array, clips["fname"], len(self.labels), advice)


def checked_probabilities(
    path: Path, array: np.ndarray, fnames: pd.Series, n_labels: int, advice: str
) -> np.ndarray:
    """Predictions for the clips fnames as float64 [n_clips, n_labels].

    Raises a PredictionsError for another shape or type, and for a row with NaN, infinity or a number below 0, or of
    zeros alone.
    """
    shape = (len(fnames), n_labels)
    if array.shape != shape or array.dtype.kind != "f":
        found, rule = f"{array.dtype} of shape {array.shape}", f"floats of shape {shape} [clips, labels]"
        raise PredictionsError(f"{path}: predictions must be {rule}, got {found}; {advice}")
    array = np.array(array, dtype=np.float64)
    wrong = ~np.isfinite(array) | (array < 0)
    for row in np.flatnonzero(wrong.any(axis=1) | ~array.any(axis=1)):
        found = f"{array[row][wrong[row]][0]:g}" if wrong[row].any() else "nothing but zeros"
        raise PredictionsError(f"{path}: row {row} ({fnames[row]}) must be probabilities, got {found}; {advice}")
    return array


def create_predictions(
    path: Path | str,
    labels: Sequence[str],
    clips_train: pd.DataFrame,
    clips_test: pd.DataFrame,
    folds: np.ndarray,
    reasons: Sequence[str] | pd.Series,
    config: dict[str, Any],
) -> PredictionsFolder:
    """Make a predictions folder, or open the one there if its labels, clips and settings are the same.

    Test labels play no part in training: if they are given, they replace those of the folder that is there.

    Args:
        labels, clips_train, clips_test, folds, reasons: see `PredictionsFolder`; other columns are left out.
        config: model, n_parameters (trainable), n_folds, settings (those that must stay the same while folds are
            added), seed, stores; and for information versions, git_revision and whatever else.
    Raises:
        PredictionsError: the folder is for something else (says what differs), not ours, or damaged.
    """
    path = Path(path)
    wanted = PredictionsFolder(
        path,
        [str(label) for label in labels],
        clips_train[["fname", "label"]].astype(str).reset_index(drop=True),
        _clips_test(clips_test),
        np.asarray(folds, dtype=np.int64),
        pd.Series(reasons, dtype=str).reset_index(drop=True),
        _checked_config(path, {"format_version": FORMAT_VERSION, **files.plain(config)}),
    )
    path.mkdir(parents=True, exist_ok=True)
    with _writing(path):
        _refuse_foreign(path, f"use {_ASIDE}")
        at_work = _at_work(path)
        if not at_work:
            sweep(path)
        if not (at_work or any(path.glob("finished_*.json")) or any(path.glob("checkpoint_*"))):
            _write_description(wanted)
            return wanted
        there = read_description(path)
    if differing := binding_differences(there, wanted):
        raise PredictionsError(
            f"{path}: this folder was begun with other settings or clips: {' and '.join(differing)}; "
            f"use the same ones, {_ASIDE}"
        )
    if "label" in wanted.clips_test and not there.clips_test.equals(wanted.clips_test):
        files.write_csv(path / "clips_test.csv", wanted.clips_test)
        there = replace(there, clips_test=wanted.clips_test)
    return there


def open_predictions(path: Path | str) -> PredictionsFolder:
    """Open a folder that has at least one finished fold; a PredictionsError says what else there is."""
    path = Path(path)
    if not path.is_dir():
        raise PredictionsError(f"{path}: there is no predictions folder here; run train first")
    _refuse_foreign(path, "make the folder with train")
    if not (path / "config.json").exists():
        if inside := sorted(config.parent.name for config in path.glob("predictions_*/config.json")):
            raise PredictionsError(
                f"{path}: must be a predictions folder, got one that holds {listed(inside)}; name those"
            )
        raise PredictionsError(f"{path}: this folder holds no predictions; run train first")
    folder = read_description(path)
    if not (finished := folder.finished):
        raise PredictionsError(f"{path}: no fold is finished yet; run train to its end")
    last = folder.n_folds - 1
    for fold in finished:
        require(fold <= last, path / f"finished_{fold}.json", "fold", f"0 to {last}", fold, "remove the file")
        folder.result(fold)
    return folder


def folder_of(work: Path, name: str) -> Path:
    """Where the runs of a name lie: WORK/NAME, or WORK where the name is empty.

    Raises a PredictionsError unless the name is one plain folder name.

    >>> folder_of(Path("work"), "trial").as_posix()
    'work/trial'
    """
    if name and (name in (".", "..") or Path(name).name != name):
        raise PredictionsError(f"--name must be one plain folder name, got {name!r}; see --help")
    return work / name


def predictions_folders(base: Path) -> list[Path]:
    """The predictions folders in a folder, by name, but for those that were moved aside.

    Raises a PredictionsError if there is none.
    """
    found = sorted(path for path in base.glob("predictions_*") if path.is_dir())
    if not (paths := [path for path in found if not re.search(r"\.old-\d+$", path.name)]):
        itself = (base / "config.json").exists()
        advice = f"it is itself one, give {base.parent}" if itself else "run train first"
        raise PredictionsError(f"{base}: there are no folders predictions_* here; {advice}")
    return paths


def move_aside(path: Path | str) -> Path:
    """Rename a folder to the first of PATH.old-1, PATH.old-2, ... that is free, and give the new path.

    Raises a PredictionsError if a process trains a fold into it, or moved it first.
    """
    path = Path(path)
    with _writing(path):
        if at_work := _at_work(path):
            raise _in_training(path, at_work[0])
        aside = (path.with_name(f"{path.name}.old-{i}") for i in count(1))
        return path.rename(next(new for new in aside if not os.path.lexists(new)))


def read_description(path: Path) -> PredictionsFolder:
    """Open a folder that may have no finished fold, its files checked one by one and against each other."""
    config = _checked_config(path, files.read_json(path / "config.json"))
    rule, n_folds = "a list of different labels", config["n_folds"]
    labels = files.read_json(path / "labels.json", kind=list, rule=rule)
    right = labels and all(isinstance(label, str) for label in labels) and len(set(labels)) == len(labels)
    require(right, path / "labels.json", "the file", rule, labels)
    clips_train = files.read_csv(path / "clips_train.csv", ["fname", "label"])
    clips_test = _clips_test(files.read_csv(path / "clips_test.csv", ["fname"], more=True))
    table = files.read_csv(path / "folds.csv", ["fname", "fold", "reason"])
    fnames = (list(clips["fname"]) for clips in (clips_train, table))
    if differing := _row_difference("fname", *fnames):
        raise PredictionsError(f"{path / 'folds.csv'}: {differing}, unlike clips_train.csv; {files.AGAIN}")
    ids = {"": IN_NO_FOLD, **{str(fold): fold for fold in range(n_folds)}}
    for name, values, allowed, rule in (
        ("clips_train.csv", clips_train["label"], labels, "one of labels.json"),
        ("folds.csv", table["fold"], list(ids), f"0 to {n_folds - 1} or empty"),
    ):
        for row in np.flatnonzero(~values.isin(allowed)):
            require(False, path / name, f"{values.name}, row {row},", rule, values[row])
    folds = table["fold"].map(ids).to_numpy(np.int64)
    return PredictionsFolder(path, labels, clips_train, clips_test, folds, table["reason"], config)


def _clips_test(clips: pd.DataFrame) -> pd.DataFrame:
    """Test clips as text: fname, and label and usage where any label is known."""
    clips = clips.reindex(columns=["fname", *_TEST_LABELS], fill_value="").astype(str).reset_index(drop=True)
    return clips if clips["label"].any() else clips[["fname"]]


def _checked_config(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    require_equal(path / "config.json", config, "format_version", FORMAT_VERSION, _OTHER_VERSION)
    require_fields(path / "config.json", config, _Config)
    return config


def _write_description(folder: PredictionsFolder) -> None:
    """Write what a folder is about, config.json last: where it is, all of it is."""
    path, clips = folder.path, folder.clips_train
    files.write_json(path / "labels.json", folder.labels)
    files.write_csv(path / "clips_train.csv", clips)
    files.write_csv(path / "clips_test.csv", folder.clips_test)
    files.write_csv(path / "folds.csv", clips[["fname"]].assign(fold=_fold_words(folder), reason=folder.reasons))
    files.write_json(path / "config.json", folder.config)


def _fold_words(folder: PredictionsFolder) -> list[str]:
    """Each training clip's fold as folds.csv has it."""
    return ["" if fold == IN_NO_FOLD else str(fold) for fold in folder.folds]


def dataset_difference(expected: PredictionsFolder, found: PredictionsFolder) -> str:
    """The first difference in labels or clips, in name, number or order; "" where there is none.

    Labels and usages of test clips may differ in that only one of the folders has them.
    """
    pair = expected, found
    columns = _TEST_LABELS if all("label" in folder.clips_test for folder in pair) else []
    parts = [
        _dataset(folder) | {f"{name} of clips_test.csv": list(folder.clips_test[name]) for name in columns}
        for folder in pair
    ]
    return next(iter(_differences(*parts)), "")


def binding_differences(expected: PredictionsFolder, found: PredictionsFolder) -> list[str]:
    """Why folds of two folders do not belong together; empty where they do.

    Causes come before what follows from them, and only the first kind that differs is given: settings, model
    and seed, then the number of folds, then labels and clips, then each clip's fold, then parameters and stores.
    Everything else in a configuration (versions, revision, times) is for information and may differ; so may test
    labels.
    """
    return _differences(_binding(expected), _binding(found))


def _dataset(folder: PredictionsFolder) -> dict[str, list[str]]:
    return {
        "labels.json": folder.labels,
        "fname of clips_train.csv": list(folder.clips_train["fname"]),
        "label of clips_train.csv": list(folder.clips_train["label"]),
        "fname of clips_test.csv": list(folder.clips_test["fname"]),
    }


def _binding(folder: PredictionsFolder) -> dict[str, dict[str, Any] | list[str]]:
    config = folder.config
    return {
        "run": config.get("settings", {}) | {name: config.get(name) for name in ("model", "seed")},
        "folds": {"n_folds": config.get("n_folds")},
        **_dataset(folder),
        "fold of folds.csv": _fold_words(folder),
        "input": {name: config.get(name) for name in ("n_parameters", "stores")},
    }


def _differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """How two folders differ in the first part in which they do: the first row, or every setting."""
    name = next((name for name in expected if expected[name] != found[name]), None)
    if name is None:
        return []
    if isinstance(expected[name], list):
        return [_row_difference(name, expected[name], found[name])]
    old, new = dict(_flat(expected[name])), dict(_flat(found[name]))
    pairs = {name: (old.get(name, NOTHING), new.get(name, NOTHING)) for name in {**old, **new}}
    words = {"net_file_checksum": "the file of the net was changed since"}  # its checksums tell nobody anything
    return [
        words.get(name, f"{name} must be {short(a)}, got {short(b)}") for name, (a, b) in pairs.items() if a != b
    ]


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The values inside a value, named with dots, `stores.0.name`."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    nested = [pair for key, item in items for pair in _flat(item, f"{name}.{key}" if name else str(key))]
    yield from nested if nested or not name else [(name, value)]


def _row_difference(name: str, expected: list[str], found: list[str]) -> str:
    """The first row in which two lists differ, and where that is all, that their order does."""
    if expected == found:
        return ""
    pairs = enumerate(zip_longest(expected, found, fillvalue=NOTHING))
    row, old, new = next((row, short(old), short(new)) for row, (old, new) in pairs if old != new)
    if len(expected) != len(found):
        old, new = f"{old} (of {len(expected):,})", f"{new} (of {len(found):,})"
    order = "order of " if sorted(expected) == sorted(found) else ""
    return f"{order}{name}, row {row}, must be {old}, got {new}"


def _numbers(path: Path, pattern: str) -> list[int]:
    """The numbers in the names of some files in a folder, ascending."""
    matches = (re.fullmatch(pattern, name) for name in os.listdir(path))
    return sorted(int(match[1]) for match in matches if match)


def _at_work(path: Path) -> list[int]:
    """The folds that are being trained, ascending."""
    held = []
    for fold in _numbers(path, r"\.fold_(0|[1-9][0-9]*)\.lock"):
        try:
            with FileLock(path / f".fold_{fold}.lock", timeout=0):
                pass
        except Timeout:
            held.append(fold)
    return held


def _in_training(path: Path, fold: int) -> PredictionsError:
    """What to say of a fold whose lock somebody holds; who, is in a file beside the lock."""
    who = "another process"
    with suppress(ValueError, TypeError, KeyError):  # it is not written yet, or not by us
        holder = files.read_json(path / f".fold_{fold}.holder")
        who += f" (pid {int(holder['pid'])} on host {str(holder['host'])[:64]})"
    return PredictionsError(f"{path}: fold {fold} is being trained by {who}; wait for it, or use --name")


@contextmanager
def _writing(path: Path, here: tuple[int, int] | None = None) -> Iterator[None]:
    """Hold the lock under which a folder is changed; refuse if it is no longer the folder that it was before."""
    here = here or _identity(path)
    with FileLock(path / ".lock"):
        if _identity(path) != here:
            raise PredictionsError(f"{path}: {_GONE}")
        yield


def _identity(path: Path) -> tuple[int, int]:
    """What stays the same of a folder whatever is written in it, and differs after it was moved aside."""
    try:
        status = os.stat(path)
    except FileNotFoundError as error:
        raise PredictionsError(f"{path}: {_GONE}") from error
    return status.st_dev, status.st_ino


def _again(fold: int) -> str:
    return f"remove finished_{fold}.json if it is there, and train fold {fold} again"


def _refuse_foreign(path: Path, advice: str) -> None:
    """Refuse a folder of arrays that is none of ours."""
    arrays = sorted(entry.name for entry in path.glob("*.npy") if not is_temporary(entry.name))
    if arrays and not (path / "config.json").exists():
        raise PredictionsError(
            f"{path}: {arrays[0]} is here without labels.json and config.json (did the notebook itself write this "
            f"folder?); {advice}"
        )
