"""What the page is about: a dataset and its runs, which clips have players, and what the page's script reads."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from common.text import escaped
from ensemble.metrics import best_labels
from report.dataset import Dataset, duplicates, examples, extremes, frequent_lengths
from report.runs import Run, ensemble_of
from report.suspects import suspects

N_MISTAKES = 200  # with players
N_SUSPECTS = 100  # listed; suspects.csv has all
HEARD = 3  # clips of a frequent length, or of a duplicate, that have players


class Content:
    """What the page is about; which clips have players is known before a figure is drawn.

    every: the ensemble of all runs, where there are several, and each run; the first is the best known.
    train: the labelled clips. places: int [n_train of the runs], rows of the dataset's clips, -1 for none.
    """

    def __init__(self, dataset: Dataset, runs: Sequence[Run], n_examples: int):
        self.dataset, self.runs, clips = dataset, runs, dataset.clips
        self.every = ([ensemble_of(runs, f"ensemble of {len(runs)}")] if len(runs) > 1 else []) + list(runs)
        self.train = clips[clips["split"] == "train"]
        self.verified = "manually_verified" in clips and clips["manually_verified"].notna().any()
        names = runs[0].folders[0].clips_train["fname"] if runs else []
        self.places = pd.Index(self.train["clip"]).get_indexer(names)
        self.places = np.append(self.train.index, -1)[self.places]
        self.labels = [escaped(label) for label in runs[0].labels] if runs else []
        usable = np.any([dataset.has(kind) for kind in ("raw", "logmel", "mfcc")], axis=0)
        self.examples = examples(clips, usable, n_examples)
        self.extremes, self.lengths, self.duplicates = extremes(clips), frequent_lengths(clips), duplicates(clips)
        self.troubles = clips[clips["status"].isin(["truncated", "empty", "failed"])]

    def rows(self, run: Run) -> np.ndarray:
        """The dataset's row of each clip that a run scored, -1 for none."""
        return self.places[run.scored]

    @cached_property
    def suspects(self) -> pd.DataFrame | None:
        """Suspected labels, with three guesses in words and each clip's row in the dataset; None without runs."""
        if not self.every:
            return None
        run, (probabilities, targets) = self.every[0], self.every[0].own
        names = run.folders[0].clips_train["fname"].to_numpy(object)[run.scored]
        found = suspects(probabilities, targets, names, run.labels)
        own = found["row"].to_numpy(np.int64)
        words = [
            " · ".join(f"{self.labels[label]} {probabilities[row, label]:.0%}" for label in three)
            for row, three in zip(own, best_labels(probabilities[own]), strict=True)
        ]
        return found.assign(guesses=words, row=self.rows(run)[own])

    @cached_property
    def played(self) -> list[int]:
        """Rows of the clips that have players."""
        several = [*self.lengths["rows"], *(rows for rows, _ in self.duplicates)]
        chosen = [row for rows in (*self.examples.values(), *self.extremes.values()) for row in rows]
        chosen += [row for rows in several for row in rows[:HEARD]] + self.troubles.index.tolist()
        if self.every:
            chosen += self.suspects["row"].head(N_SUSPECTS).tolist() + self._mistakes()
        sounding = self.dataset.has("raw")
        return [row for row in dict.fromkeys(chosen) if row >= 0 and sounding[row]]

    def _mistakes(self) -> list[int]:
        """Rows of clips whose first guess is wrong: of each pair of labels its share, the surest first."""
        run, (probabilities, targets) = self.every[0], self.every[0].own
        first, sure = probabilities.argmax(1), probabilities.max(1)
        pair = targets * len(self.labels) + first
        found = pd.DataFrame({"row": self.rows(run), "pair": pair, "sure": sure})[first != targets]
        pairs = found.sort_values("sure", ascending=False, kind="stable").groupby("pair")["row"]
        turn = (pairs.cumcount() + 0.5) / pairs.transform("size")  # Sainte-Laguë's way to share out seats
        found["turn"] = turn
        found = found.sort_values(["turn", "sure"], ascending=[True, False], kind="stable")
        return found["row"].head(N_MISTAKES).tolist()


def data_for_script(content: Content, sounds: dict[int, tuple[str, float, float]]) -> dict[str, Any]:
    """What the page's script reads: all clips, players, and predictions.

    Args:
        sounds: of each row with a player: data: URI, start and stop in seconds.
    Returns:
        clips (columns by name, each [n_clips]), columns (heading, name, kind and digits of those that are shown),
        sounds, and views: labels, and of each scored clip its row, the given label's id, the ids of three guesses
        and their probabilities in percent.
    """
    clips = content.dataset.clips
    found = [
        ("Clip", "name", "text", map(escaped, clips["clip"])),
        ("Split", "split", "text", clips["split"]),
        ("Label", "label", "text", map(escaped, clips["label"])),
        ("Seconds", "seconds", "number", clips["seconds"].round(2), 2),
        ("RMS (dBFS)", "rms", "number", _plain(clips["rms_db"], 1), 1),
        ("Peak (dBFS)", "peak", "number", _plain(clips["peak_db"], 1), 1),
        ("Silence", "silence", "share", _plain(clips["silence"], 3)),
        ("Status", "status", "text", clips["status"]),
    ]
    if content.verified:
        verified = clips["manually_verified"].map({1: "yes", 0: "no"}).astype(object).fillna("")
        found.insert(3, ("Verified", "verified", "text", verified))
    for run in content.every[:1]:
        rows, (probabilities, _) = content.rows(run), run.own
        guess = pd.Series(np.asarray(content.labels, object)[probabilities.argmax(1)], rows)
        sure = pd.Series(probabilities.max(1), rows)
        found.append(("Guess", "guess", "text", guess[rows >= 0].reindex(clips.index, fill_value="")))
        found.append(("Confidence", "sure", "share", _plain(sure[rows >= 0].reindex(clips.index), 3)))
    return {
        "clips": {name: list(values) for _, name, _, values, *_ in found},
        "columns": [(*column[:3], *column[4:]) for column in found],
        "sounds": sounds,
        "views": [_view(content, run) for run in content.every],
    }


def _view(content: Content, run: Run) -> dict[str, Any]:
    """A run's predictions, for the confusion matrix."""
    probabilities, targets = run.own
    three = best_labels(probabilities)
    percent = np.rint(np.take_along_axis(probabilities, three, 1) * 100).astype(int)
    arrays = {"rows": content.rows(run), "given": targets, "guesses": three, "percent": percent}
    return {"labels": content.labels} | {name: array.tolist() for name, array in arrays.items()}


def _plain(values: pd.Series, digits: int) -> list[float | str]:
    """Numbers for JSON: what is not finite is "", which sorts last."""
    return [value if np.isfinite(value) else "" for value in values.round(digits).tolist()]
