"""ESC-50, and what is laid out like it.

DATA/meta/esc50.csv   filename,fold,target,category,...
DATA/audio/FILENAME

Every clip is a training clip; the folds of the dataset's authors, 1 to 5, are the column fold.

Source: https://github.com/karolpiczak/ESC-50
"""

from cache.storage import Storage
from featurize.datasets.listing import OWN_FOLDS, Layout, Listing, check_folder, clips_of, read_csv

_CSV = "meta/esc50.csv"


def read_esc50(folder: Storage) -> Listing:
    """The clips of the CSV; the recordings are not looked at."""
    rows = read_csv(folder, _CSV, ["filename", "category", "fold"])
    check_folder(folder, "audio", _CSV)
    files = "audio/" + rows["filename"]
    return Listing([clips_of(f"{folder}/{_CSV}", rows, files, "filename", "category")], [OWN_FOLDS])


ESC50 = Layout(f"{_CSV}, audio/", read_esc50, marks=(_CSV,))
