"""Submissions: for each clip its three most probable labels, as the Kaggle competition wants them.

A row is `fname,label`, the labels separated by spaces, the best first. With fewer than three labels there are
as many as there are.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ensemble.files import PredictionsError, read_csv
from ensemble.metrics import best_labels


def submission(fnames: Sequence[str], probabilities: np.ndarray, labels: Sequence[str]) -> pd.DataFrame:
    """The table of a submission, fname and label, for [n_clips] names and float [n_clips, n_labels].

    >>> submission(["a.wav"], np.array([[0.1, 0.2, 0.3, 0.4]]), ["Bark", "Bell", "Rain", "Saw"]).to_numpy()[0]
    array(['a.wav', 'Saw Rain Bell'], dtype=object)
    """
    names = np.array(labels, dtype=object)[best_labels(probabilities)]
    return pd.DataFrame({"fname": list(fnames), "label": [" ".join(row) for row in names]}, dtype=str)


def refuse_output(path: Path, fnames: Sequence[str], labels: Sequence[str]) -> None:
    """Raise a PredictionsError if a submission at a path would replace anything but an earlier one like it."""
    elsewhere = "give --output another name"
    if path.exists() and not path.is_file():
        raise PredictionsError(f"{path}: this is a folder or a device, not a file; {elsewhere}")
    if {path.name.lower(), path.resolve().name.lower()} & {"train.csv", "sample_submission.csv"}:
        raise PredictionsError(f"{path}: a submission must not replace the dataset's own table; {elsewhere}")
    for folder in path.resolve().parents:
        if (folder / "config.json").exists() and (folder / "labels.json").exists():
            raise PredictionsError(f"{path}: {folder} is a predictions folder, which is only read; {elsewhere}")
    if path.exists() and path.stat().st_size and not _is_submission(path, fnames, labels):
        raise PredictionsError(
            f"{path}: the file there is not an earlier submission for these clips; {elsewhere}, or remove the file"
        )


def _is_submission(path: Path, fnames: Sequence[str], labels: Sequence[str]) -> bool:
    try:
        table = read_csv(path, ["fname", "label"])
    except PredictionsError:
        return False
    one_each = len(labels) > 1 and table["label"].isin(labels).any()  # a table of right labels, for example
    return table["fname"].tolist() == list(fnames) and not one_each
