"""The Kaggle layout, that of FSDKaggle2018.

DATA/train.csv               fname,label[,manually_verified][, any other columns]
DATA/audio_train/FNAME
DATA/sample_submission.csv   fname[,label]; its rows are the test clips. Without it there are none.
DATA/audio_test/FNAME
"""

from collections.abc import Iterator

from cache.storage import Storage
from featurize.datasets.listing import Listing, read_listing


def read_kaggle(folder: Storage) -> Iterator[Listing]:
    """The training clips, then the test clips; raises DatasetError as `read_listing` does."""
    yield read_listing(folder, "train", "train.csv", "audio_train", clip="fname", label="label")
    if folder.look("sample_submission.csv"):
        yield read_listing(folder, "test", "sample_submission.csv", "audio_test", clip="fname", label=None)
