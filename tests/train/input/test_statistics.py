import numpy as np

from train import moments
from train.moments import measure_moments
from train.windows import FrameWindows


def _windows(mfcc_store, clips):
    return FrameWindows(mfcc_store(clips, [0] * len(clips)), np.arange(len(clips)), 10, clips[0].shape[1])


def test_moments_are_those_of_all_frames_of_the_clips(mfcc_store):
    random = np.random.default_rng(0)
    clips = [random.normal(-500, [1, 20, 300], (n, 3)).astype(np.float32) for n in (9000, 3, 40)]
    measured = measure_moments(_windows(mfcc_store, clips), np.array([0, 2]))
    frames = np.concatenate([clips[0], clips[2]]).astype(np.float64)
    assert np.allclose(measured.mean, frames.mean(axis=0), rtol=1e-12)
    assert np.allclose(measured.variance, frames.var(axis=0), rtol=1e-9)


def test_of_many_frames_a_sample_of_clips_is_measured(mfcc_store, monkeypatch):
    monkeypatch.setattr(moments, "_FRAMES", 400)
    random = np.random.default_rng(0)
    clips = [np.full((30, 2), number, np.float32) + random.normal(size=(30, 2)) for number in range(1000)]
    windows, chosen = _windows(mfcc_store, clips), np.arange(100, 1000)
    measured = measure_moments(windows, chosen)
    reads = windows.store.reads
    assert len(reads) == 13 and reads == sorted(reads)
    first = np.array([begin // 30 for begin, _ in reads])
    assert first.min() >= 100 and len(set(np.diff(first))) > 5  # drawn: labels may repeat at even distances
    frames = np.concatenate([clips[clip] for clip in first]).astype(np.float32)
    assert np.allclose(measured.mean, frames.mean(axis=0)) and np.allclose(measured.variance, frames.var(axis=0))
    assert np.array_equal(measured.mean, measure_moments(windows, chosen).mean)


def test_of_very_many_clips_so_many_are_measured(mfcc_store, monkeypatch):
    monkeypatch.setattr(moments, "_FRAMES", 40)
    monkeypatch.setattr(moments, "_CLIPS", 20)
    windows = _windows(mfcc_store, [np.ones((1, 2))] * 50)
    measure_moments(windows, np.arange(50))
    assert len(windows.store.reads) == 20


def test_of_clips_that_are_all_too_long_one_is_measured(mfcc_store, monkeypatch):
    monkeypatch.setattr(moments, "_FRAMES", 20)
    windows = _windows(mfcc_store, [np.ones((30, 2)), np.zeros((30, 2))])
    assert measure_moments(windows, np.arange(2)).mean[0] in (0, 1)


def test_other_clips_do_not_matter(mfcc_store):
    random = np.random.default_rng(0)
    clips = [random.normal(size=(20, 2)).astype(np.float32) for _ in range(3)]
    alone = measure_moments(_windows(mfcc_store, clips[:1]), np.array([0]))
    among = measure_moments(_windows(mfcc_store, [clips[0], 1e6 * clips[1], clips[2]]), np.array([0]))
    assert np.array_equal(alone.mean, among.mean)
    assert np.array_equal(alone.variance, among.variance)


def test_a_coefficient_that_never_changes_standardises_to_zero(mfcc_store):
    frames = np.full((30, 2), -1131.3708, np.float32)
    frames[:, 1] = np.arange(30)
    measured = measure_moments(_windows(mfcc_store, [frames]), np.array([0]))
    standardised = (frames - measured.mean) / np.sqrt(measured.variance)
    assert np.abs(standardised[:, 0]).max() < 1e-3
    assert abs(standardised[:, 1].std() - 1) < 1e-6


def test_moments_of_the_whole_are_those_of_all_numbers_together(mfcc_store):
    frames = np.random.default_rng(0).normal(-50, [1, 20, 300], (500, 3)).astype(np.float32)
    whole = measure_moments(_windows(mfcc_store, [frames]), np.array([0])).whole
    assert np.allclose(whole.mean, frames.mean(dtype=np.float64))
    assert np.allclose(whole.variance, frames.var(dtype=np.float64))
    assert whole.mean.shape == whole.variance.shape == (3,)


def test_no_frames_leave_windows_as_they_are(mfcc_store):
    measured = measure_moments(_windows(mfcc_store, [np.zeros((0, 2))]), np.array([0]))
    assert (measured.mean.tolist(), measured.variance.tolist()) == ([0, 0], [1, 1])
