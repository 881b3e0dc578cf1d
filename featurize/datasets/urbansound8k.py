"""UrbanSound8K.

DATA/metadata/UrbanSound8K.csv   slice_file_name,fsID,start,end,salience,fold,classID,class
DATA/audio/foldN/SLICE_FILE_NAME

Every clip is a training clip; the folds of the dataset's authors, 1 to 10, are the column fold. Other folds would
train on pieces of the recordings that they validate on.

Source: https://urbansounddataset.weebly.com/urbansound8k.html
"""

from cache.storage import Storage
from featurize.datasets.listing import (
    OWN_FOLDS,
    DatasetError,
    Layout,
    Listing,
    check_folder,
    clips_of,
    first,
    read_csv,
)

_CSV = "metadata/UrbanSound8K.csv"


def read_urbansound8k(folder: Storage) -> Listing:
    """The clips of the CSV; the recordings are not looked at."""
    rows, where = read_csv(folder, _CSV, ["slice_file_name", "class", "fold"]), f"{folder}/{_CSV}"
    check_folder(folder, "audio", _CSV)
    for row in first(~rows["fold"].str.fullmatch("[0-9]+")):
        name, fold = rows[["slice_file_name", "fold"]].iloc[row]
        raise DatasetError(f"{where}: fold of {name} must be a number, got {fold!r}; correct it")
    files = "audio/fold" + rows["fold"] + "/" + rows["slice_file_name"]
    return Listing([clips_of(where, rows, files, "slice_file_name", "class")], [OWN_FOLDS])


URBANSOUND8K = Layout(f"{_CSV}, audio/", read_urbansound8k, marks=(_CSV,))
