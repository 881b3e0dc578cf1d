import numpy as np
import pandas as pd
import pytest

from cache import CacheError, open_cache
from cache.windows.cut import plain_plan
from train.input.dataset import open_dataset, verified_clips
from train.settings import SettingsError, settings_for


def test_labels_stand_in_the_order_of_their_first_appearance(dataset):
    opened = dataset()
    assert opened.labels == ["Hum", "None", "Rain drops"]
    assert [opened.labels[label_id] for label_id in opened.label_ids] == opened.train["label"].tolist()


def test_clips_are_numbered_training_clips_first(dataset):
    opened = dataset()
    assert opened.train["clip"].tolist() == [f"clip {number:02}.wav" for number in range(20)]
    assert opened.test["clip"].tolist() == [f"test {number}.wav" for number in range(4)]
    assert len(opened.windows.lengths) == 24
    assert opened.windows.lengths[:18].min() > 0


def test_empty_and_failed_clips_are_left_out_and_said(dataset):
    opened = dataset()
    assert opened.reasons.tolist() == [""] * 18 + ["empty", "failed"]
    assert np.flatnonzero(~opened.usable).tolist() == [18, 19]
    assert opened.silent_tests == ["test 3.wav"]


def test_empty_and_failed_clips_are_silence(dataset):
    assert (dataset().windows.cut(plain_plan(np.array([18, 19, 23]), np.zeros(3, int))) == -0.5).all()
    windows = dataset("conv2d", mfcc=20).windows.cut(plain_plan(np.array([18, 19, 23]), np.zeros(3, int)))
    assert np.allclose(windows[..., 0], -100 * np.sqrt(128))
    assert (windows[..., 1:] == 0).all()


def test_unverified_clips_are_left_out_when_asked(dataset):
    assert dataset().reasons[4] == ""
    opened = dataset(verified_only=True)
    assert opened.reasons.tolist() == [""] * 4 + ["unverified"] + [""] * 13 + ["empty", "failed"]
    assert np.flatnonzero(~opened.usable).tolist() == [4, 18, 19]


def test_verified_only_needs_the_column(other_work):
    settings = settings_for("conv1d", verified_only=True, seconds=0.5)
    message = (
        r"--verified-only needs the column manually_verified in the dataset, which says nothing about any clip"
    )
    with pytest.raises(SettingsError, match=message):
        open_dataset(open_cache(other_work / "cache"), settings)


def test_test_clips_alone_are_refused(dataset):
    cache = open_cache(dataset().settings.cache_path)
    cache.clips = cache.clips[cache.clips["split"] == "test"]
    message = (
        r"cache: must have training clips, which have labels, got 4 test clips alone; featurize a dataset with"
    )
    with pytest.raises(SettingsError, match=message):
        open_dataset(cache, dataset().settings)


def test_labels_of_test_clips_are_none_to_learn(dataset):
    cache = open_cache(dataset().settings.cache_path)
    is_test = cache.clips["split"] == "test"
    cache.clips = cache.clips.assign(label=cache.clips["label"].mask(is_test, "Whistle"))
    assert open_dataset(cache, dataset().settings).labels == ["Hum", "None", "Rain drops"]


def test_a_limit_takes_the_first_clips_of_both_kinds(dataset):
    opened = dataset(limit=2)
    assert opened.train["clip"].tolist() == ["clip 00.wav", "clip 01.wav"]
    assert opened.test["clip"].tolist() == ["test 0.wav", "test 1.wav"]
    assert opened.labels == ["Hum", "None"]


def test_a_table_in_which_both_kinds_are_mixed_gives_the_same_clips(work):
    cache, settings = open_cache(work / "cache"), settings_for("conv1d", seconds=0.5)
    expected = open_dataset(cache, settings)
    train, test = np.split(np.arange(24), [20])
    cache.clips = cache.clips.iloc[np.insert(train, [3, 7, 7, 20], test)]
    mixed = open_dataset(cache, settings)
    assert mixed.train.equals(expected.train) and mixed.test.equals(expected.test)
    assert mixed.reasons.equals(expected.reasons) and mixed.silent_tests == expected.silent_tests
    assert np.array_equal(mixed.windows.lengths, expected.windows.lengths)


def test_windows_have_the_shape_of_the_settings(dataset):
    assert dataset(seconds=0.5).windows.shape == (2000, 1)
    assert dataset("conv2d", mfcc=18).windows.shape == (24, 18)


def test_a_window_too_short_for_the_poolings_is_refused(dataset):
    message = r"--seconds must be at least 0.404 for the poolings of conv1d on raw-4000.zarr, got 0.4"
    with pytest.raises(SettingsError, match=message):
        dataset(seconds=0.4)
    assert dataset(seconds=0.404).windows.shape == (1616, 1)


def test_a_window_of_too_few_frames_is_refused(dataset):
    message = r"--seconds must be at least 1.92 for the poolings of conv2d on mfcc-20-4000.zarr, got 1.9"
    with pytest.raises(SettingsError, match=message):
        dataset("conv2d", mfcc=20, seconds=1.9)
    assert dataset("conv2d", mfcc=20, seconds=1.92).windows.shape == (16, 20)


def test_too_few_coefficients_are_refused(dataset):
    with pytest.raises(SettingsError, match=r"--mfcc must be at least 16 for the poolings of conv2d, got 15"):
        dataset("conv2d", mfcc=15)


def test_dummies_take_any_window(dataset):
    assert dataset(seconds=0.001, quick=True).windows.shape == (4, 1)
    assert dataset("conv2d", mfcc=2, seconds=0.001, quick=True).windows.shape == (1, 2)


def test_a_store_that_is_not_there_is_asked_for(dataset):
    with pytest.raises(CacheError, match=r"must hold raw features for --sr 16000, got .*raw-4000.zarr"):
        dataset(sr=16000)
    with pytest.raises(CacheError, match=r"must hold .*mfcc.*--mfcc 40"):
        dataset("conv2d")


@pytest.mark.parametrize(
    ("stated", "verified"),
    [
        ([1, 0, 1], [True, False, True]),
        ([1, None, 0], [True, False, False]),  # a blank beside others is unverified
        ([2, 1, -1], [False, True, False]),
        ([0, 0, 0], [False, False, False]),
        ([None, None, None], [True, True, True]),  # the dataset says nothing
        ([], []),
    ],
)
def test_a_clip_is_verified_where_the_dataset_says_1_or_nothing_of_any_clip(stated, verified):
    assert verified_clips(pd.Series(stated, dtype="Int8")).tolist() == verified


def test_weights_validation_and_verified_only_follow_one_rule_of_verified(work):
    cache = open_cache(work / "cache")
    clips = cache.clips
    clips.loc[clips["clip"].isin(["clip 01.wav", "clip 02.wav"]), "manually_verified"] = [2, None]
    opened = open_dataset(cache, settings_for("conv1d", seconds=0.5))
    chosen = open_dataset(cache, settings_for("conv1d", seconds=0.5, verified_only=True))
    assert np.flatnonzero(~opened.verified).tolist() == [1, 2, 4]
    assert np.flatnonzero(chosen.reasons == "unverified").tolist() == [1, 2, 4]


def test_a_limit_changes_no_clips_verification(work):
    cache = open_cache(work / "cache")
    cache.clips.loc[cache.clips["clip"] < "clip 04.wav", "manually_verified"] = None
    opened = open_dataset(cache, settings_for("conv1d", seconds=0.5, limit=3))
    assert opened.verified.tolist() == [False] * 3
