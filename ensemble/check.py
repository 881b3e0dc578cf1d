"""Would the competition take a file? A submission is compared with the sample submission and the known labels."""

import re
from collections.abc import Iterable, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pandas as pd
from tyro.conf import Positional, arg

from common.text import listed
from ensemble.files import PredictionsError, read_csv, read_json
from ensemble.predictions import folder_of

CHECK_DESCRIPTION = """Check a submission: header fname,label, each clip of the sample submission once and no other,
in any order, and 1 to 3 known and different labels for each clip, separated by spaces.

The known labels are those of DATA/train.csv; without this file, those of the predictions folders in WORK. Prints
one line where the submission is right, else a line for each kind of problem.

Exit codes: 0 the submission is right, 1 it has problems, 2 it or the sample cannot be read, or wrong usage."""
_MOST_LABELS = 3
_NAMED = 5  # clips that a line names


@dataclass(frozen=True)
class CheckSettings:
    """The flags of `python -m ensemble check`."""

    file: Annotated[Positional[Path], arg(metavar="FILE")]
    """The submission to check."""
    sample: Annotated[
        Path | None, arg(metavar="FILE", help_behavior_hint="(default: DATA/sample_submission.csv)")
    ] = None
    """The CSV file whose column fname names the clips."""
    data: Annotated[Path, arg(metavar="DATA")] = Path("data")
    """Folder of the dataset."""
    work: Annotated[Path, arg(metavar="WORK")] = Path("work")
    """Folder of everything that is generated."""
    name: Annotated[str, arg(metavar="NAME", help_behavior_hint="(default: none)")] = ""
    """Name of a run that was kept apart: WORK/NAME takes the place of WORK."""


def check(settings: CheckSettings) -> tuple[list[str], bool]:
    """Lines on a submission, and whether it is right.

    Raises a PredictionsError where the submission, the sample or the labels cannot be read.
    """
    path, sample = settings.file, settings.sample or settings.data / "sample_submission.csv"
    known = known_labels(settings.data, folder_of(settings.work, settings.name))
    fnames = read_csv(sample, ["fname"], more=True, advice="name the sample submission with --sample")["fname"]
    for fname in fnames[fnames.duplicated()][:1]:
        raise PredictionsError(f"{sample}: each clip must be listed once, got {fname!r} twice; remove one row")
    table = read_csv(path, ["fname", "label"], advice="give a CSV file in UTF-8 with the header fname,label")
    places = f"no train.csv in {settings.data} and no predictions folder in {settings.work / settings.name}"
    notes = [] if known else [f"note: labels were not compared, as there is {places}"]
    if found := problems(table, fnames, known):
        return [*(f"{path}: {problem}" for problem in found), *notes], False
    n_labels = sum(map(len, _labels(table["label"], known)))
    order = "the order of" if table["fname"].tolist() == fnames.tolist() else "another order (which is fine) than"
    return [f"{path}: right: {len(table):,} clips with {n_labels:,} labels, in {order} {sample}", *notes], True


def known_labels(data: Path, base: Path) -> set[str]:
    """The labels of a dataset's train.csv; without it, of the predictions folders in base; none without both."""
    if (path := data / "train.csv").exists():
        return set(
            read_csv(path, ["fname", "label"], more=True, advice="correct it, or give another --data")["label"]
        )
    lists = (read_json(path, kind=list, rule="a list") for path in base.glob("predictions_*/labels.json"))
    return {str(label) for labels in lists for label in labels}


def problems(table: pd.DataFrame, fnames: Iterable[str], known: Set[str]) -> list[str]:
    """What is wrong with a submission, a line for each kind of problem with the first clips that have it.

    Args:
        table: text, fname and label. fnames: the clips that are to be there. known: labels; every label is taken
            for known where this is empty.

    >>> table = pd.DataFrame({"fname": ["a.wav", "b.wav"], "label": ["Bark Bell", "Brak"]})
    >>> problems(table, ["a.wav", "c.wav"], {"Bark", "Bell"})  # doctest: +NORMALIZE_WHITESPACE
    ['missing clips: 1 (c.wav)', 'clips that the sample does not have: 1 (b.wav)',
     'rows with unknown labels: 1 (b.wav: Brak)']
    """
    given, wanted = table["fname"], pd.Index(list(fnames))
    rows = list(zip(given, table["label"], _labels(table["label"], known), strict=True))
    kinds = {
        "missing clips": wanted[~wanted.isin(given)],
        "clips that are given more than once": given[given.duplicated()].unique(),
        "clips that the sample does not have": given[~given.isin(wanted)],
        f"rows without 1 to {_MOST_LABELS} labels": [
            f"{fname} has {len(labels)}" for fname, _, labels in rows if not 1 <= len(labels) <= _MOST_LABELS
        ],
        "rows with a label twice": [
            f"{fname}: {next(label for label in labels if labels.count(label) > 1)}"
            for fname, _, labels in rows
            if len({*labels}) < len(labels)
        ],
        "rows with unknown labels": [
            f"{fname}: {next(label for label in labels if label not in known)}"
            for fname, _, labels in rows
            if known and not known >= {*labels}
        ],
        "rows with spaces that are not between labels": [
            fname for fname, text, labels in rows if labels and text != " ".join(labels)
        ],
    }
    return [f"{kind}: {len(found):,} ({listed(found, _NAMED)})" for kind, found in kinds.items() if len(found)]


def _labels(texts: Iterable[str], known: Set[str]) -> list[list[str]]:
    """The labels in each text; "Rain drops" is one label where it is known, "nan" (a missing value) is none."""
    longest_first = sorted(map(re.escape, known), key=len, reverse=True)
    label = re.compile("|".join([*(f"{name}(?![^ ])" for name in longest_first), "[^ ]+"]))
    return [[] if text.lower() == "nan" and text not in known else label.findall(text) for text in texts]
