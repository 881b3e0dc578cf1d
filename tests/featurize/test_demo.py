"""The demo's dataset: its layout, its bytes from the seed, and sounds that can be told apart, not too easily."""

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cache.storage import open_storage
from featurize.datasets import DatasetError, read_dataset
from featurize.demo import SAMPLE_RATE, SOUNDS, clip, plan_demo, write_demo
from featurize.features.mfcc import mfcc


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The whole demo, as --demo makes it."""
    folder = tmp_path_factory.mktemp("demo") / "data"
    assert write_demo(folder) == len(plan_demo()) == 450
    return folder


@pytest.fixture
def few(monkeypatch):
    """A tenth of the clips from here on."""
    monkeypatch.setattr("featurize.demo.N_TRAIN_PER_SOUND", 2)
    monkeypatch.setattr("featurize.demo.N_TEST_PER_SOUND", 1)


@pytest.fixture
def small(few, tmp_path):
    write_demo(tmp_path / "small")
    return tmp_path / "small"


@pytest.mark.slow
def test_it_is_a_dataset_in_the_kaggle_layout(demo):
    clips = read_dataset(open_storage(demo)).clips
    train, test = clips[clips["split"] == "train"], clips[clips["split"] == "test"]
    assert len(train) == 400 and len(test) == 50 and set(train["label"]) == set(SOUNDS) and len(SOUNDS) >= 8
    assert (train["label"].value_counts() >= 10).all()
    assert all((demo / file).is_file() for file in clips["file"])
    assert sorted(path.name for path in demo.iterdir()) == [
        "audio_test",
        "audio_train",
        "sample_submission.csv",
        "train.csv",
        "wrong_labels.csv",
    ]


def test_clips_are_44100_hz_16_bit_mono_of_0_3_to_4_s_and_one_test_clip_is_empty(small):
    infos = {path: sf.info(path) for path in small.glob("audio_*/*.wav")}
    assert {(info.samplerate, info.channels, info.subtype) for info in infos.values()} == {(44100, 1, "PCM_16")}
    empty, *seconds = sorted(info.duration for info in infos.values())
    assert len(infos) == 30 and empty == 0 and 0.3 <= min(seconds) <= max(seconds) <= 4
    assert [path.parent.name for path, info in infos.items() if not info.frames] == ["audio_test"]


def test_wrong_labels_are_unverified():
    clips = plan_demo().query("split == 'train'")
    wrong = clips[clips["label"] != clips["sound"]]
    assert len(wrong) == 20 and not wrong["manually_verified"].any()
    assert 0 < clips["manually_verified"].sum() < len(clips) - len(wrong)


def test_the_wrong_labels_are_told_in_a_file_of_their_own(small, tmp_path, monkeypatch):
    assert pd.read_csv(small / "wrong_labels.csv").columns.tolist() == ["fname", "label", "sound"]
    monkeypatch.setattr("featurize.demo.MISLABELLED", 0.2)
    write_demo(tmp_path / "more")
    wrong, train = (pd.read_csv(tmp_path / "more" / name) for name in ("wrong_labels.csv", "train.csv"))
    given = wrong.merge(train, on=["fname", "label"])
    assert len(wrong) == len(given) == 4 and not given["manually_verified"].any()
    assert (wrong["label"] != wrong["sound"]).all()


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(small, tmp_path):
    write_demo(tmp_path / "again")
    for path in (path for path in small.rglob("*") if path.is_file()):
        assert (tmp_path / "again" / path.relative_to(small)).read_bytes() == path.read_bytes()
    assert plan_demo(seed=2)["fname"].tolist() != plan_demo()["fname"].tolist()


@pytest.mark.parametrize(
    "piece", ["train.csv", "audio_train", "audio_test", "sample_submission.csv", "wrong_labels.csv"]
)
def test_it_is_never_written_over_anything(tmp_path, piece):
    (tmp_path / piece).write_text("mine")
    with pytest.raises(
        DatasetError, match=rf"{piece}: there is something already, which --demo does not overwrite"
    ):
        write_demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [piece] and (tmp_path / piece).read_text() == "mine"


def test_a_run_that_breaks_off_leaves_nothing(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("featurize.demo.sf.write", full)
    with pytest.raises(OSError, match="No space left"):
        write_demo(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sound", SOUNDS)
def test_clips_of_one_sound_differ_in_level_and_length(sound):
    clips = [clip(SOUNDS[sound], np.random.default_rng(seed)) for seed in range(3)]
    assert all(samples.dtype == np.int16 and samples.any() for samples in clips)
    assert len({len(samples) for samples in clips}) == 3
    assert len({int(np.abs(samples.astype(int)).max()) for samples in clips}) > 1


@pytest.mark.slow
def test_sounds_can_be_told_apart_but_not_by_a_trifle(demo):
    table = pd.read_csv(demo / "train.csv")
    table = table[table["manually_verified"] == 1]
    means = []
    for name in table["fname"]:
        samples, _ = sf.read(demo / "audio_train" / name, dtype="float32")
        means.append(mfcc(samples, SAMPLE_RATE).mean(axis=0))
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    accuracy = cross_val_score(model, np.array(means), table["label"], cv=3).mean()
    assert 0.4 < accuracy < 0.97
