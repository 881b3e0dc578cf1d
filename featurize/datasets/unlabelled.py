"""A folder of recordings, flat or with folders in it, and no labels: to tag, to look at and to listen to.

The clips are test clips, as nothing can be learned from them. A clip is named by its path below DATA; clips are in
the order of these names.
"""

import pandas as pd

from cache.storage import Storage
from common.text import listed
from featurize.datasets.folders import are_labels
from featurize.datasets.listing import Layout, Listing
from featurize.datasets.walk import find_recordings


def read_unlabelled(folder: Storage) -> Listing:
    """The recordings below the folder."""
    found = find_recordings(folder)
    clips = pd.DataFrame(
        {"clip": found.recordings, "split": "test", "label": "", "file": found.recordings}, dtype="str"
    )
    remarks = ["no labels: the clips are to be tagged and looked at, not trained on", *found.remarks]
    if found.csvs:
        remarks.append(f"not read: {listed(found.csvs)}; give --csv FILE if one lists labels")
    return Listing([clips], remarks)


UNLABELLED = Layout("any recordings", read_unlabelled, fits=lambda recordings: not are_labels(recordings))
