"""Scores on the test clips whose labels are known, as a competition's leaderboard gives them.

A test clip is scored if its label is one that the nets know, unless its usage is "Ignored". The clips whose usage
is "Public" or "Private" are scored apart too; upper and lower case are the same. A clip without sound counts like
any other.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from common.text import table
from ensemble.combine import combined_test_predictions
from ensemble.predictions import PredictionsFolder
from ensemble.table import folder_names, score_cells

_APART = ("public", "private")
_HEADER = ("test", "model", "clips", "accuracy", "MAP@3", "predictions")


def leaderboard(folder: PredictionsFolder, probabilities: np.ndarray) -> list[tuple[str, ...]]:
    """A row for all scored test clips, and one each for the public and the private ones where there are any.

    Args:
        folder: knows the labels of test clips. probabilities: float [n_test, n_labels], whoever made them.
    Returns:
        rows of part, clips, accuracy and MAP@3, as text; none where no test clip is scored.
    """
    if (ids := _label_ids(folder)) is None:
        return []
    usages = _usages(folder)
    scored = (ids >= 0) & (usages != "ignored")
    parts = {"all": scored} | {usage: scored & (usages == usage) for usage in _APART}
    return [(part, *score_cells(probabilities[own], ids[own])) for part, own in parts.items() if own.any()]


def leaderboard_table(folders: Sequence[PredictionsFolder], ensembles: Mapping[str, Sequence[float]]) -> list[str]:
    """The lines of a table with a row for each folder and each ensemble of all of them, all clips first, and a
    note on clips that are not scored; nothing where no label is known.

    ensembles: the folders' weights, by what the column "predictions" is to say.
    """
    knowing = next((folder for folder in folders if "label" in folder.clips_test), None)
    if knowing is None:
        return []
    names = zip(folders, folder_names(folders), strict=True)
    made = [(folder.config["model"], name, [folder], [1.0]) for folder, name in names]
    made += [("ensemble", name, folders, weights) for name, weights in ensembles.items()]
    found = [
        (part, model, *scores, name)
        for model, name, members, weights in made
        for part, *scores in leaderboard(knowing, combined_test_predictions(members, weights))
    ]
    rows = [row for part in ("all", *_APART) for row in found if row[0] == part]
    return [*(table(_HEADER, rows, right=range(2, 5)) if rows else []), *not_scored(knowing)]


def not_scored(folder: PredictionsFolder) -> list[str]:
    """A line that counts the test clips which are not scored, if there are any beside labels that are known."""
    if (ids := _label_ids(folder)) is None:
        return []
    ignored, unlabelled = _usages(folder) == "ignored", (folder.clips_test["label"] == "").to_numpy()
    counts = {
        "ignored": ignored,
        "unlabelled": unlabelled & ~ignored,
        "of labels that no net knows": (ids < 0) & ~unlabelled & ~ignored,
    }
    words = ", ".join(f"{clips.sum():,} {why}" for why, clips in counts.items() if clips.any())
    return [f"test clips that are not scored: {words}"] if words else []


def _label_ids(folder: PredictionsFolder) -> np.ndarray | None:
    """The label id of each test clip, -1 for a label that is unknown; None where all are."""
    if "label" not in folder.clips_test:
        return None
    labels = folder.clips_test["label"]
    return np.where(labels == "", -1, pd.Index(folder.labels).get_indexer(labels))


def _usages(folder: PredictionsFolder) -> np.ndarray:
    return folder.clips_test["usage"].str.strip().str.lower().to_numpy(str)
