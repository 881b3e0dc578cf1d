from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from ensemble import PredictionsError, open_predictions
from ensemble.combine import combined_test_predictions
from tag.recordings import RecordingsError
from tag.tagger import Tagger
from tag.timeline import Timeline

OWN = f"{Path(__file__).with_name('own_net.py')}:own_net"
TESTS = ["short.wav", "long.wav", "empty.wav", "stereo.flac", "cut.wav"]


def _as_the_run_does(path, recordings):
    tagger, folder = Tagger.open(runs=[path], calibrated=False), open_predictions(path)
    found = tagger.tagged(recordings / "audio_test" / name for name in folder.clips_test["fname"])
    expected = combined_test_predictions([folder], [1.0])
    expected /= expected.sum(axis=1, keepdims=True)
    assert np.abs(found.probabilities - expected).max() < 1e-6
    assert found.recordings["problem"].tolist() == ["", "", "empty", "", "truncated"]


@pytest.mark.parametrize(
    ("model", "changes"),
    [("conv1d", {}), ("conv2d", {"features": "mfcc", "mfcc": 12, "name": "mfcc"}), ("conv2d", {})],
)
def test_test_clips_get_the_runs_own_test_predictions(train_net, recordings, model, changes):
    _as_the_run_does(train_net(model, **changes), recordings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "changes"),
    [
        ("conv1d", {}),
        ("conv1d", {"preset": "notebook"}),
        ("conv2d", {"features": "mfcc", "preset": "notebook"}),
        ("conv2d", {"features": "logmel"}),
        ("mobilenet", {"features": "logmel"}),
        pytest.param(OWN, {"features": "raw"}, marks=pytest.mark.long),
        pytest.param(OWN, {"features": "logmel"}, marks=pytest.mark.long),
    ],
)
def test_every_net_gives_the_runs_own_test_predictions(train_net, recordings, model, changes):
    name = "_".join(["whole", *changes.values()])
    _as_the_run_does(train_net(model, quick=False, name=name, seconds=3.0, **changes), recordings)


def test_neither_dataset_nor_cache_is_needed(trained, recordings, tmp_path):
    for folder in ("predictions_1d_conv", "predictions_2d_conv"):
        (tmp_path / folder).symlink_to(trained / folder)
    (tmp_path / "long.wav").write_bytes((recordings / "audio_test" / "long.wav").read_bytes())
    table = Tagger.open(tmp_path).files([tmp_path / "long.wav"])
    assert table.columns.tolist() == [
        "recording", "seconds", "label_1", "probability_1", "label_2", "probability_2", "label_3", "probability_3",
        "right", "problem",
    ]  # fmt: skip
    probabilities = table.filter(like="probability").to_numpy()
    assert probabilities.sum() == pytest.approx(1) and (np.diff(probabilities) <= 0).all()
    assert table["seconds"].tolist() == [5.0]


def test_samples_are_tagged_as_their_file_is(trained, noise, tmp_path):
    samples, rate = noise(1.5, 8000, 9)
    samples = samples.astype(np.float32)
    sf.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    tagger = Tagger.open(trained)
    assert tagger(samples, rate).equals(tagger.files([tmp_path / "a.wav"]).drop(columns="recording"))


def test_recordings_that_fail_are_named_and_the_others_tagged(trained, sound, tmp_path):
    (tmp_path / "text.wav").write_text("no sound")
    table = Tagger.open(trained).files([tmp_path / "text.wav", sound, tmp_path / "gone.wav"])
    assert (table["label_1"] == "").tolist() == [True, False, True]
    assert "not a recording" in table["problem"][0] and table["problem"][1] == ""
    assert "No such file" in table["problem"][2]
    assert table["probability_1"].isna().tolist() == [True, False, True]


def test_weights_choose_between_nets(trained, sound):
    alone = Tagger.open(runs=[trained / "predictions_1d_conv"], calibrated=False).tagged([sound])
    weighted = Tagger.open(trained, weights=[1, 0], calibrated=False).tagged([sound])
    assert np.allclose(alone.probabilities, weighted.probabilities)


@pytest.mark.parametrize("weights", [[1], [1, -1], [0, 0], [float("nan"), 1]])
def test_wrong_weights_are_refused(trained, weights):
    with pytest.raises(PredictionsError, match=r"--weights must be 2 numbers, 0 or more and not all 0"):
        Tagger.open(trained, weights=weights)


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(PredictionsError, match="there are no folders predictions_"):
        Tagger.open(tmp_path)


def test_calibrated_probabilities_keep_their_order(trained, sound):
    plain, calibrated = (Tagger.open(trained, calibrated=on).tagged([sound]).probabilities for on in (False, True))
    assert (plain.argsort() == calibrated.argsort()).all()
    assert Tagger.open(trained, calibrated=False).temperature == 1


def test_how_often_a_guess_was_right_is_a_share_of_the_scored_clips(trained):
    tagger = Tagger.open(trained)
    shares = tagger.right(np.array([0.05, 0.35, 0.4, 1.0, np.nan]))
    assert np.isnan(shares[-1])
    assert ((shares[:-1] >= 0) & (shares[:-1] <= 1) | np.isnan(shares[:-1])).all()


def test_a_timeline_covers_a_recording_without_overlap(trained, sound):
    segments = Tagger.open(trained).timeline(sound, Timeline(threshold=0.0, window_s=1.0, hop_s=0.5))
    of_label = segments.groupby("label")
    assert (of_label["begin"].min() == 0).all() and (of_label["end"].max() == 10).all() and len(of_label) == 3
    assert (of_label["probability"].mean().sum()) == pytest.approx(1, abs=0.01)


def test_a_window_is_shown_by_as_many_windows_of_the_net_as_cover_it(trained):
    net = Tagger.open(runs=[trained / "predictions_1d_conv"]).nets[0]  # windows of 3 s at 4000 Hz
    assert net.offsets(np.array([0.0, 10.0]), 3.0).tolist() == [[0], [40_000]]
    assert net.offsets(np.array([10.0]), 8.0).tolist() == [[40_000, 50_000, 60_000]]
    assert net.offsets(np.array([10.0]), 1.0).tolist() == [[36_000]]  # the middle of both is the same


def test_windows_of_the_timeline_are_judged_as_recordings_are(trained, noise, tmp_path):
    samples, rate = noise(9.0, 4000, 5)
    sf.write(tmp_path / "nine.wav", samples, rate, subtype="FLOAT")
    sf.write(tmp_path / "middle.wav", samples[3 * rate : 6 * rate], rate, subtype="FLOAT")
    tagger = Tagger.open(runs=[trained / "predictions_1d_conv"])
    found = tagger.timeline(tmp_path / "nine.wav", Timeline(threshold=0, hop_s=3.0))
    alone = tagger.tagged([tmp_path / "middle.wav"]).probabilities[0]
    assert len(found) == 3 and found["end"].eq(9).all()
    parts = tagger.timeline(tmp_path / "middle.wav", Timeline(threshold=0)).set_index("label")["probability"]
    assert np.allclose(parts[tagger.labels], alone, atol=1e-6)


def test_a_recording_that_fails_has_no_timeline(trained, tmp_path):
    with pytest.raises(RecordingsError, match="No such file"):
        Tagger.open(trained).timeline(tmp_path / "gone.wav")


def test_progress_is_shown_of_decoding_and_of_predicting(trained, recordings):
    steps = []

    @contextmanager
    def begin(step, total):
        done = []
        yield done.append
        steps.append((step, total, sum(done)))

    tagger, path = Tagger.open(trained), recordings / "audio_test" / "long.wav"
    tagger.timeline(path, begin=begin)
    tagger.tagged([path], begin)
    assert [step for step, *_ in steps] == ["decode", "tag"] * 2
    assert all(done == pytest.approx(total) for _, total, done in steps)


@pytest.mark.parametrize(
    ("samples", "sample_rate", "says"),
    [
        (np.zeros(9, np.int16), 16000, r"floats of full scale 1, .* got int16 of shape \(9,\); divide int16"),
        (np.zeros((2, 44100)), 16000, r"got float64 of shape \(2, 44100\); .* put channels last"),
        (np.zeros(9), 0, "sample_rate must be a whole number of Hz, 1 or more, got 0"),
        (np.zeros(9), 44100.5, r"sample_rate must be a whole number of Hz, 1 or more, got 44100\.5"),
    ],
)
def test_samples_that_are_no_waveform_are_refused(trained, samples, sample_rate, says):
    with pytest.raises(RecordingsError, match=says):
        Tagger.open(trained)(samples, sample_rate)


def test_a_path_that_is_in_no_list_is_refused(trained):
    with pytest.raises(RecordingsError, match=r"paths must be a list of paths, got 'a\.wav'; put it in brackets"):
        Tagger.open(trained).files("a.wav")
    with pytest.raises(RecordingsError, match="runs must be a list of paths, got 'work'; put it in brackets"):
        Tagger.open(runs="work")


def test_a_tagger_shows_its_folders(trained):
    assert (
        repr(Tagger.open(trained)) == "Tagger(3 labels; folds of predictions_1d_conv (2), predictions_2d_conv (2))"
    )
