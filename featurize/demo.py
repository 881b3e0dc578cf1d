"""A small labelled dataset made by synthesis, laid out as FSDKaggle2018 is, for trying the commands:

    train.csv               fname,label,manually_verified
    sample_submission.csv   fname,label (the same three labels in every row)
    audio_train/*.wav       44.1 kHz, mono, 16-bit PCM, 0.3 to 4 s
    audio_test/*.wav        the same; one has a header and no samples, as three of FSDKaggle2018's have
    wrong_labels.csv        fname,label,sound: the clips whose label is wrong, and what they are

As there, a part of the training clips is not verified by hand, and some of those have a wrong label. No command
reads wrong_labels.csv: it is there to compare the report's suspected labels with. The sounds differ as real ones
do, by decay, pitch, partials and noise; some are alike on purpose, and background noise hides the quiet ones.
"""

import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile as sf
from scipy import signal

from featurize.datasets import DatasetError

SAMPLE_RATE = 44_100
N_TRAIN_PER_SOUND = 40
N_TEST_PER_SOUND = 5
UNVERIFIED = 0.4  # of the training clips
MISLABELLED = 0.05  # of the training clips, all of them unverified

# train.csv is put in place last: a folder without it is no dataset.
PIECES = ("audio_train", "audio_test", "sample_submission.csv", "wrong_labels.csv", "train.csv")


@dataclass(frozen=True)
class Sound:
    """A class of sounds; pairs are ranges that each clip draws from.

    pitch_hz, partials: of the tone; partials are ratios to the pitch. glide: octaves, up or down, in one event.
    decay_s: after which a sound is down to 1/e; high partials are faster. events_hz: events a second, 0 for one.
    noise: its share. band_hz: where its band begins; it is two octaves wide.
    """

    pitch_hz: tuple[float, float] = (200, 800)
    partials: tuple[float, ...] = (1,)
    glide: float = 0
    decay_s: tuple[float, float] = (1e3, 1e4)  # none to hear
    events_hz: tuple[float, float] = (0, 0)
    noise: float = 0
    band_hz: tuple[float, float] = (300, 5000)


SOUNDS = {
    "Bell": Sound((500, 1800), (0.5, 1, 1.2, 1.5, 2, 2.67, 4, 5.33), decay_s=(0.3, 1.2)),
    "Bowed_string": Sound((150, 700), (1, 2, 3, 4, 5, 6, 8), glide=0.15, noise=0.2, band_hz=(1500, 4000)),
    "Chirp": Sound((2000, 6000), glide=1.5, decay_s=(0.1, 0.4), events_hz=(1.5, 5)),
    "Clicks": Sound((1500, 7000), decay_s=(0.0005, 0.004), events_hz=(3, 14)),
    "Drum": Sound((50, 160), glide=0.5, decay_s=(0.06, 0.25), events_hz=(1, 4), noise=0.3, band_hz=(800, 2000)),
    "Hum": Sound((50, 60), (1, 2, 3, 5, 7, 11, 15), noise=0.02),
    "Noise_burst": Sound(decay_s=(0.05, 0.8), noise=1),
    "Plucked_string": Sound((80, 350), (1, 2, 3, 4, 6), decay_s=(0.1, 0.5)),
    "Rain": Sound((800, 5000), decay_s=(0.02, 0.1), events_hz=(30, 100), noise=0.95, band_hz=(1000, 4000)),
    "Whistle": Sound((600, 2000), glide=0.4, noise=0.1, band_hz=(600, 2000)),
}


def clip(sound: Sound, rng: np.random.Generator) -> np.ndarray:
    """Synthesise a clip of random length and level, in background noise; a pure function of the generator's state.

    Returns:
        int16 [n_samples], 0.3 to 4 s at 44.1 kHz, peak between -30 and -1 dB of full scale.
    """
    n_samples = int(rng.uniform(0.3, 4) * SAMPLE_RATE)
    foreground = _events(sound, n_samples, rng)
    # 10 to 40 dB below the sound. A first-order low-pass makes it anything from white to nearly brown.
    background = signal.lfilter([1.0], [1.0, -rng.uniform(0, 0.98)], rng.standard_normal(n_samples))
    background *= _rms(foreground) / _rms(background) * 10 ** (-rng.uniform(10, 40) / 20)
    mixture = foreground + background
    peak = 32_767 * 10 ** (rng.uniform(-30, -1) / 20)
    return np.round(mixture * (peak / np.abs(mixture).max())).astype(np.int16)


def _events(sound: Sound, n_samples: int, rng: np.random.Generator) -> np.ndarray:
    """One event as long as the clip, or a train of them, a little off in time and level."""
    rate_hz = rng.uniform(*sound.events_hz)
    if not rate_hz:
        return _event(sound, n_samples, rng)
    n_events = int(n_samples / SAMPLE_RATE * rate_hz) + 1
    starts = (np.arange(n_events) + rng.uniform(0, 0.15, n_events)) * SAMPLE_RATE / rate_hz
    impulses = np.zeros(n_samples)
    impulses[np.minimum(starts.astype(int), n_samples - 1)] = rng.uniform(0.5, 1, n_events)
    return signal.oaconvolve(impulses, _event(sound, min(n_samples, SAMPLE_RATE // 2), rng))[:n_samples]


def _event(sound: Sound, n_samples: int, rng: np.random.Generator) -> np.ndarray:
    time, decay_s = np.arange(n_samples) / SAMPLE_RATE, _log_uniform(rng, sound.decay_s)
    octaves = sound.glide * rng.choice([-1, 1]) * rng.uniform(0.3, 1)
    pitch = _log_uniform(rng, sound.pitch_hz) * 2 ** (octaves * time / time[-1])
    phase = 2 * np.pi / SAMPLE_RATE * np.cumsum(pitch)
    tone = np.zeros(n_samples)
    for ratio in np.array(sound.partials) * rng.normal(1, 0.003, len(sound.partials)):
        weight = rng.uniform(0.2, 1) / ratio * (pitch.max() * ratio < SAMPLE_RATE / 2)
        tone += weight * np.exp(-time * np.sqrt(ratio) / decay_s) * np.sin(ratio * phase)
    low = _log_uniform(rng, sound.band_hz)
    band = signal.butter(2, [low, min(18_000, 4 * low)], "bandpass", fs=SAMPLE_RATE, output="sos")
    noise = signal.sosfilt(band, rng.standard_normal(n_samples)) * np.exp(-time / decay_s)
    return (1 - sound.noise) * tone / _rms(tone) + sound.noise * noise / _rms(noise)


def _log_uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(bounds))))


def _rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(samples**2)))


def plan_demo(seed: int = 1001) -> pd.DataFrame:
    """The demo's clips, sorted by split and by name as in FSDKaggle2018's own files.

    Returns:
        a row a clip: fname, split, sound (what it is), label (what train.csv says it is, "" in test),
        manually_verified (0 or 1), empty (bool).
    """
    rng, sounds = np.random.default_rng(seed), list(SOUNDS)
    n_train, n_test = len(sounds) * N_TRAIN_PER_SOUND, len(sounds) * N_TEST_PER_SOUND
    clips = pd.DataFrame(
        {"sound": np.resize(sounds, n_train + n_test), "split": ["train"] * n_train + ["test"] * n_test}
    )
    clips["fname"] = [f"{number:08x}.wav" for number in rng.choice(2**32, len(clips), replace=False)]
    clips["label"], clips["manually_verified"] = clips["sound"].where(clips["split"] == "train", ""), 1
    order = rng.permutation(n_train)
    clips.loc[order[: round(UNVERIFIED * n_train)], "manually_verified"] = 0
    for row in order[: round(MISLABELLED * n_train)]:
        clips.loc[row, "label"] = rng.choice([other for other in sounds if other != clips["sound"][row]])
    clips["empty"] = np.arange(len(clips)) == n_train
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


def _write(folder: Path, clips: pd.DataFrame, seed: int) -> None:
    for split in ("train", "test"):
        (folder / f"audio_{split}").mkdir()
    for planned in clips.itertuples():
        # A generator for each clip, by its name: a clip does not depend on those before it.
        rng = np.random.default_rng([seed, int(Path(planned.fname).stem, 16)])
        samples = np.zeros(0, np.int16) if planned.empty else clip(SOUNDS[planned.sound], rng)
        sf.write(folder / f"audio_{planned.split}" / planned.fname, samples, SAMPLE_RATE, subtype="PCM_16")
    train, test = (clips[clips["split"] == split] for split in ("train", "test"))
    wrong = train[train["label"] != train["sound"]]
    wrong[["fname", "label", "sound"]].to_csv(folder / "wrong_labels.csv", index=False)
    train[["fname", "label", "manually_verified"]].to_csv(folder / "train.csv", index=False)
    test[["fname"]].assign(label=" ".join(list(SOUNDS)[:3])).to_csv(folder / "sample_submission.csv", index=False)
