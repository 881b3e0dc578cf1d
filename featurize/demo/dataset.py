"""The demo's dataset: which clips it has, and their writing as FSDKaggle2018 lays its recordings out.

    train.csv               fname,label,manually_verified
    sample_submission.csv   fname,label (the same three labels in every row)
    audio_train/*.wav       44.1 kHz, mono, 16-bit PCM
    audio_test/*.wav        the same; one has a header and no samples, as three of FSDKaggle2018's have

As there, a part of the training clips is not verified by hand, and some of those have a wrong label.
"""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile as sf

from featurize.dataset import DatasetError
from featurize.demo.sounds import SAMPLE_RATE, SOUNDS, clip

N_TRAIN_PER_SOUND = 20
N_TEST_PER_SOUND = 5
UNVERIFIED = 0.4  # of the training clips
MISLABELLED = 0.1  # of the training clips, all of them unverified

# train.csv is put in place last: a folder without it is no dataset.
PIECES = ("audio_train", "audio_test", "sample_submission.csv", "train.csv")


@dataclass(frozen=True)
class DemoClip:
    """One clip before it is synthesised; `sound` is what it is, `label` what train.csv says it is."""

    fname: str
    split: str
    sound: str
    label: str
    manually_verified: int
    empty: bool


def plan_demo(seed: int = 1001) -> list[DemoClip]:
    """List the demo's clips, sorted by split and by name as in FSDKaggle2018's own files."""
    rng = np.random.default_rng(seed)
    train = np.repeat(list(SOUNDS), N_TRAIN_PER_SOUND)
    test = np.repeat(list(SOUNDS), N_TEST_PER_SOUND)
    names = [f"{number:08x}.wav" for number in rng.choice(2**32, len(train) + len(test), replace=False)]
    shuffled = rng.permutation(len(train))
    unverified = set(shuffled[: round(UNVERIFIED * len(train))])
    mislabelled = set(shuffled[: round(MISLABELLED * len(train))])
    labels = [_other(sound, rng) if i in mislabelled else sound for i, sound in enumerate(train)]
    clips = [
        DemoClip(names[i], "train", str(sound), str(labels[i]), int(i not in unverified), False)
        for i, sound in enumerate(train)
    ]
    clips += [
        DemoClip(name, "test", str(sound), "", 0, i == 0)
        for i, (name, sound) in enumerate(zip(names[len(train) :], test, strict=True))
    ]
    return sorted(clips, key=lambda c: (c.split == "test", c.fname))


def write_demo(folder: Path, seed: int = 1001) -> int:
    """Synthesise the demo's dataset into a folder, which is made where it is missing.

    Everything is written under `folder/demo.partial` first and renamed into place at the end, train.csv
    last, so that a run that was stopped leaves nothing that looks like a dataset.

    Args:
        folder: where `--data` points.
        seed: the same seed gives the same bytes, on one platform and set of versions.
    Returns:
        The number of clips, training and test.
    Raises:
        DatasetError: one of the files or folders to write is there already.
    """
    folder = Path(folder)
    _refuse_occupied(folder)
    clips = plan_demo(seed)
    partial = folder / "demo.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _write_audio(partial, clips, seed)
        _write_tables(partial, clips)
        for piece in PIECES:
            os.rename(partial / piece, folder / piece)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return len(clips)


def _refuse_occupied(folder: Path) -> None:
    for path in [folder / piece for piece in PIECES] + [folder] * (folder.exists() and not folder.is_dir()):
        if os.path.lexists(path):
            raise DatasetError(
                f"{path}: the place of the demo's dataset must be free, got something that is there already; "
                "move it away or choose another folder with --data"
            )


def _other(sound: str, rng: np.random.Generator) -> str:
    return rng.choice([other for other in SOUNDS if other != sound])


def _write_audio(folder: Path, clips: Iterable[DemoClip], seed: int) -> None:
    (folder / "audio_train").mkdir()
    (folder / "audio_test").mkdir()
    for planned in clips:
        # A generator for each clip, by its name: a clip does not depend on those before it.
        rng = np.random.default_rng([seed, int(Path(planned.fname).stem, 16)])
        samples = np.zeros(0, np.int16) if planned.empty else clip(planned.sound, rng)
        sf.write(folder / f"audio_{planned.split}" / planned.fname, samples, SAMPLE_RATE, subtype="PCM_16")


def _write_tables(folder: Path, clips: list[DemoClip]) -> None:
    table = pd.DataFrame(clips)
    train = table[table["split"] == "train"][["fname", "label", "manually_verified"]]
    train.to_csv(folder / "train.csv", index=False)
    test = table[table["split"] == "test"][["fname"]].assign(label=" ".join(list(SOUNDS)[:3]))
    test.to_csv(folder / "sample_submission.csv", index=False)
