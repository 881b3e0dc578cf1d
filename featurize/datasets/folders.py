"""One folder a class.

DATA/LABEL/*.wav, or
DATA/train/LABEL/*.wav
DATA/val/LABEL/*.wav      clips to train on as well; the column part says which they are
DATA/test/LABEL/*.wav, or DATA/test/*.wav where the labels are not known

A clip is named by its path below DATA; clips are in the order of these names. Folders below that of a label are
looked through as well. What counts as train and test is in `listing.SPLITS`.
"""

import posixpath

import pandas as pd

from cache.storage import Storage
from featurize.datasets.listing import SPLITS, DatasetError, Layout, Listing, first
from featurize.datasets.walk import find_recordings


def read_folders(folder: Storage) -> Listing:
    """The recordings below the folder, with the names of their folders as labels."""
    found = find_recordings(folder)
    clips = table_of(found.recordings)
    for row in first((clips["label"].str.strip() == "") & (clips["split"] == "train")):
        raise DatasetError(
            f"{folder}: {clips['clip'].iloc[row]} must lie in a folder named as its label, got none; move it into "
            "one, or take all clips without labels with --layout unlabelled"
        )
    tables = [clips[clips["split"] == split] for split in ("train", "test")]
    if tables[0]["part"].nunique() < 2:
        tables = [table.drop(columns="part") for table in tables]
    return Listing(tables, found.remarks)


def table_of(recordings: list[str]) -> pd.DataFrame:
    """A row a recording: clip, split, label ("" where no folder says it), file, and part, the split's folder.

    >>> table_of(["train/Bell/1.wav", "test/2.wav"])[["split", "label", "part"]].to_numpy().tolist()
    [['train', 'Bell', 'train'], ['test', '', 'test']]
    """
    folders = [name.split("/")[:-1] for name in recordings]
    tops = {names[0] if names else "" for names in folders}
    splits = {top: SPLITS.get(top.lower()) for top in tops}
    has_splits = None not in splits.values() and "train" in splits.values()
    parts = [names[0] if has_splits else "" for names in folders]
    labels = ["".join(names[has_splits : has_splits + 1]) for names in folders]
    columns = {"split": [splits[part] if has_splits else "train" for part in parts], "label": labels}
    columns = {"clip": recordings, **columns, "file": recordings, "part": parts}
    return pd.DataFrame(columns, dtype="str")


def could_be_labels(recordings: list[str]) -> bool:
    """Whether there are folders of two labels at least."""
    return len(_labels(table_of(recordings))) > 1


def are_labels(recordings: list[str]) -> bool:
    """Whether folders can only be labels: there are two, and each training clip lies directly in that of its own.

    >>> are_labels(["Bell/1.wav", "Rain/2.wav"]), are_labels(["may/1/a.wav", "may/2/b.wav", "june/1/c.wav"])
    (True, False)
    """
    clips = table_of(recordings)
    train = clips[clips["split"] == "train"]
    depth = 1 + (train["part"] != "")
    is_direct = (train["label"] != "") & (train["clip"].str.count("/") == depth)
    return len(_labels(clips)) > 1 and bool(is_direct.all())


def folder_of_labels(recordings: list[str]) -> str:
    """The folder that holds all recordings, where folders in it are labels; "" if there is none.

    >>> folder_of_labels(["birds/Bell/1.wav", "birds/Rain/2.wav"]), folder_of_labels(["may/1.wav", "may/2.wav"])
    ('birds', '')
    """
    inside = posixpath.commonpath(map(posixpath.dirname, recordings))
    return inside if inside and are_labels([name[len(inside) + 1 :] for name in recordings]) else ""


def _labels(clips: pd.DataFrame) -> set[str]:
    return set(clips["label"][clips["split"] == "train"]) - {""}


FOLDERS = Layout("LABEL/*.wav, or train/LABEL/*.wav", read_folders, fits=could_be_labels)
