import numpy as np
import pytest

from tag.timeline import Timeline, segments, window_starts


@pytest.mark.parametrize("seconds", [0.0, 0.1, 3.9, 4.0, 4.1, 9.7, 60.0])
@pytest.mark.parametrize("hop_s", [0.5, 2.0, 4.0])
def test_windows_cover_a_recording_and_none_is_needless(seconds, hop_s):
    starts = window_starts(seconds, 4.0, hop_s)
    assert starts[0] == 0 and np.allclose(np.diff(starts), hop_s)
    assert starts[-1] + 4 >= seconds - 1e-9
    assert len(starts) == 1 or starts[-2] + 4 < seconds


def _segments(first, **settings):
    probabilities = np.array([first, 1 - np.array(first)]).T
    starts = np.arange(len(first)) * 1.0
    return segments(probabilities, ["a", "b"], starts, len(first) + 1.0, 2.0, 1.0, Timeline(**settings))


def test_windows_of_one_label_that_touch_are_one_segment():
    found = _segments([0.9, 0.7, 0.1, 0.2, 0.8])
    assert found[["begin", "end", "label"]].to_numpy().tolist() == [
        [0.0, 2.5, "a"],
        [2.5, 4.5, "b"],
        [4.5, 6.0, "a"],
    ]
    assert found["probability"].round(3).tolist() == [0.8, 0.85, 0.8]


def test_gaps_are_closed_up_to_merge_s():
    assert len(_segments([0.9, 0.1, 0.9], merge_s=0.9).query("label == 'a'")) == 2
    assert len(_segments([0.9, 0.1, 0.9], merge_s=1.0).query("label == 'a'")) == 1


def test_nothing_above_the_threshold_gives_no_segments():
    found = _segments([0.6, 0.5], threshold=0.95)
    assert found.empty and found.columns.tolist() == ["begin", "end", "label", "probability"]
