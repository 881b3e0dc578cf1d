"""The Kaggle layout, that of FSDKaggle2018 in its competition.

DATA/train.csv               fname,label[,manually_verified][, any other columns]
DATA/audio_train/FNAME
DATA/sample_submission.csv   fname[,label]; its rows are the test clips. Without it there are none.
DATA/audio_test/FNAME

The labels of sample_submission.csv are an example of a submission, so they are not read.
"""

from cache.storage import Storage
from featurize.datasets.listing import Layout, Listing, check_folder, clips_of, read_csv


def read_kaggle(folder: Storage) -> Listing:
    """The clips of train.csv, then those of sample_submission.csv; the recordings are not looked at."""
    train = read_csv(folder, "train.csv", ["fname", "label"])
    check_folder(folder, "audio_train", "train.csv")
    tables = [clips_of(f"{folder}/train.csv", train, "audio_train/" + train["fname"])]
    if folder.look("sample_submission.csv"):
        test = read_csv(folder, "sample_submission.csv", ["fname"])[["fname"]]
        check_folder(folder, "audio_test", "sample_submission.csv")
        where, files = f"{folder}/sample_submission.csv", "audio_test/" + test["fname"]
        tables.append(clips_of(where, test, files, label=None, split="test"))
    return Listing(tables)


KAGGLE = Layout("train.csv, audio_train/", read_kaggle, marks=("train.csv", "audio_train"))
