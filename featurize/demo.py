"""A small labelled dataset made by synthesis, for trying the commands without recordings, as FSDKaggle2018 lies:

    train.csv               fname,label,manually_verified
    sample_submission.csv   fname,label (the same three labels in every row)
    audio_train/*.wav       44.1 kHz, mono, 16-bit PCM
    audio_test/*.wav        the same; one has a header and no samples, as three of FSDKaggle2018's have

As there, a part of the training clips is not verified by hand, and some of those have a wrong label.
"""

import os
import secrets
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile as sf

from featurize.datasets import DatasetError
from featurize.sounds import SAMPLE_RATE, SOUNDS, clip

N_TRAIN_PER_SOUND = 20
N_TEST_PER_SOUND = 5
UNVERIFIED = 0.4  # of the training clips
MISLABELLED = 0.1  # of the training clips, all of them unverified

# train.csv is put in place last: a folder without it is no dataset.
PIECES = ("audio_train", "audio_test", "sample_submission.csv", "train.csv")


def plan_demo(seed: int = 1001) -> pd.DataFrame:
    """The demo's clips, sorted by split and by name as in FSDKaggle2018's own files.

    Returns:
        a row a clip: fname, split, sound (what it is), label (what train.csv says it is, "" in test),
        manually_verified (0 or 1), empty (bool).
    """
    rng = np.random.default_rng(seed)
    train, test = (np.repeat(list(SOUNDS), n) for n in (N_TRAIN_PER_SOUND, N_TEST_PER_SOUND))
    n_train, n_test = len(train), len(test)
    names = [f"{number:08x}.wav" for number in rng.choice(2**32, n_train + n_test, replace=False)]
    order = rng.permutation(n_train)
    verified, mislabelled = np.ones(n_train, int), np.zeros(n_train, bool)
    verified[order[: round(UNVERIFIED * n_train)]] = 0
    mislabelled[order[: round(MISLABELLED * n_train)]] = True
    labels = [_other(sound, rng) if wrong else sound for sound, wrong in zip(train, mislabelled, strict=True)]
    clips = pd.DataFrame(
        {
            "fname": names,
            "split": ["train"] * n_train + ["test"] * n_test,
            "sound": [*train, *test],
            "label": [*labels, *[""] * n_test],
            "manually_verified": [*verified, *[0] * n_test],
            "empty": np.arange(n_train + n_test) == n_train,
        }
    )
    return clips.sort_values(["split", "fname"], ascending=[False, True], ignore_index=True)


def write_demo(folder: Path, seed: int = 1001) -> int:
    """Synthesise the demo's dataset into a folder, which is made where it is missing.

    Everything is written into a temporary folder there first and moved into place at the end, train.csv last, so
    that a run that was stopped leaves nothing that looks like a dataset.

    Args:
        seed: the same seed gives the same bytes, on one platform and set of versions.
    Returns:
        the number of clips, training and test.
    Raises:
        DatasetError: one of the files or folders to write is there already.
    """
    for path in [folder / piece for piece in PIECES] + [folder] * (folder.exists() and not folder.is_dir()):
        if os.path.lexists(path):
            raise DatasetError(
                f"{path}: there is something already, which --demo does not overwrite; move it away or choose "
                "another folder with --data"
            )
    clips = plan_demo(seed)
    temporary = folder / f".earmark-{secrets.token_hex(4)}-demo"
    temporary.mkdir(parents=True)
    try:
        _write(temporary, clips, seed)
        for piece in PIECES:
            os.rename(temporary / piece, folder / piece)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return len(clips)


def _other(sound: str, rng: np.random.Generator) -> str:
    return rng.choice([other for other in SOUNDS if other != sound])


def _write(folder: Path, clips: pd.DataFrame, seed: int) -> None:
    for split in ("train", "test"):
        (folder / f"audio_{split}").mkdir()
    for planned in clips.itertuples():
        # A generator for each clip, by its name: a clip does not depend on those before it.
        rng = np.random.default_rng([seed, int(Path(planned.fname).stem, 16)])
        samples = np.zeros(0, np.int16) if planned.empty else clip(planned.sound, rng)
        sf.write(folder / f"audio_{planned.split}" / planned.fname, samples, SAMPLE_RATE, subtype="PCM_16")
    train, test = (clips[clips["split"] == split] for split in ("train", "test"))
    train[["fname", "label", "manually_verified"]].to_csv(folder / "train.csv", index=False)
    test[["fname"]].assign(label=" ".join(list(SOUNDS)[:3])).to_csv(folder / "sample_submission.csv", index=False)
