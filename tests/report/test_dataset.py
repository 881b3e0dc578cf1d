"""What is said of the data, on small tables."""

import numpy as np
import pandas as pd

from report.dataset import duplicates, examples, extremes, frequent_lengths, read_dataset
from tests.report.conftest import LABELS, make_cache


def test_clips_have_status_reason_and_levels(tmp_path, caches):
    caches[str(tmp_path)] = make_cache()
    clips = read_dataset(str(tmp_path)).clips
    assert clips["status"].value_counts().to_dict() == {"ok": 33, "truncated": 1, "empty": 1, "failed": 1}
    assert clips["reason"].iloc[-1] == "no RIFF header"
    assert clips.loc[clips["status"].isin(["empty", "failed"]), "rms_db"].isna().all()
    assert clips["rms_db"].iloc[3] == -np.inf and clips["clipped"].iloc[4] == 50


def test_waveform_is_scaled_and_may_not_be_written(tmp_path, caches):
    caches[str(tmp_path)] = make_cache()
    dataset = read_dataset(str(tmp_path))
    assert np.abs(dataset.samples(0)).max() < 1
    assert not dataset.features("raw", 0).flags.writeable


def test_kind_that_is_not_there_is_needed(tmp_path, caches):
    caches[str(tmp_path)] = make_cache(kinds=("raw",))
    needs = dict(read_dataset(str(tmp_path)).needs)
    assert set(needs.values()) == {"python -m featurize --features mfcc", "python -m featurize --features logmel"}


def test_duplicates_tell_a_leak_from_two_labels():
    clips = pd.DataFrame(
        {
            "digest": ["a", "b", "a", "c", "b", "", ""],
            "split": ["train"] * 4 + ["test"] + ["train"] * 2,
            "label": ["Bark", "Bark", "Flute", "Bark", "", "Bark", "Bark"],
            "size": 100,
        }
    )
    found = duplicates(clips)
    assert found == [([0, 2], "under 2 labels: Bark, Flute"), ([1, 4], "in train and in test")]


def test_labels_of_test_clips_are_compared_where_they_are_known():
    clips = pd.DataFrame({"digest": ["a", "a", "b", "b"], "split": ["train", "test", "test", "test"], "size": 100})
    clips["label"] = ["Bark", "Flute", "", ""]
    leak = "under 2 labels: Bark, Flute; in train and in test"
    assert duplicates(clips) == [([0, 1], leak), ([2, 3], "without a label")]


def test_empty_recordings_are_no_duplicates():
    clips = pd.DataFrame({"digest": ["a", "a"], "split": "test", "label": "", "size": [0, 0]})
    assert duplicates(clips) == []


def _lengths(lengths):
    return pd.DataFrame({"native_samples": lengths, "native_rate": 44100, "label": "Bark"})


def test_exact_length_of_many_clips_is_suspicious():
    lengths = np.random.default_rng(0).integers(20_000, 200_000, 500)
    lengths[:12] = 88_200
    found = frequent_lengths(_lengths(lengths))
    assert found.loc[0, ["seconds", "samples", "clips"]].tolist() == [2.0, 88_200, 12]
    assert set(found.loc[0, "rows"]) >= set(range(12))


def test_lengths_that_repeat_by_chance_are_not():
    lengths = np.random.default_rng(0).integers(100, 300, 5000)
    assert frequent_lengths(_lengths(lengths)).empty


def test_examples_are_verified_ones_spread_over_the_lengths():
    clips = pd.DataFrame({"label": "Bark", "split": "train", "seconds": np.arange(12.0)})
    clips["manually_verified"] = pd.array([1, 0] * 6, "Int8")
    assert examples(clips, np.ones(12, bool), 3) == {"Bark": [2, 6, 10]}
    assert examples(clips, np.arange(12) < 2, 3) == {"Bark": [0, 1]}


def test_examples_are_of_test_clips_where_there_are_no_others():
    clips = pd.DataFrame({"label": ["", "", "Bark"], "split": "test", "seconds": [1.0, 2.0, 3.0]})
    assert examples(clips, np.ones(3, bool), 3) == {"": [0, 1], "Bark": [2]}


def test_extremes_are_sorted_and_leave_silence_out_of_nothing(tmp_path, caches):
    caches[str(tmp_path)] = make_cache()
    found = extremes(read_dataset(str(tmp_path)).clips)
    assert found["The quietest clips, by RMS"][0] == 3
    assert found["The most silent clips"][0] == 3
    assert found["Clips with the most samples at or beyond full scale"] == [4]
    assert all(len(rows) <= 10 for rows in found.values())


def test_labels_keep_their_case_and_order(tmp_path, caches):
    caches[str(tmp_path)] = make_cache()
    dataset = read_dataset(str(tmp_path))
    assert set(dataset.clips.loc[dataset.clips["split"] == "train", "label"]) == set(LABELS)


def test_features_in_a_bucket_are_said_to_need_a_copy(tmp_path, caches, monkeypatch):
    caches[str(tmp_path)] = cache = make_cache()
    monkeypatch.setattr(cache.storage, "is_local", False)
    dataset = read_dataset(str(tmp_path))
    assert "lie in a bucket" in dataset.needs[0][0] and dataset.stores == {}
    assert (dataset.clips["status"] == "ok").sum() == 33
