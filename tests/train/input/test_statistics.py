import numpy as np
import pytest

from cache.windows.cut import FrameWindows, plain_plan
from train.input.statistics import Statistics, measure_statistics


def _windows(mfcc_store, clips, length=10):
    store = mfcc_store(clips, np.linspace(-900, -600, len(clips)))
    return FrameWindows(store, np.arange(len(clips)), length, clips[0].shape[1])


def test_statistics_are_those_of_all_frames_of_the_clips(mfcc_store):
    random = np.random.default_rng(0)
    clips = [random.normal(-500, [1, 20, 300], (n, 3)).astype(np.float32) for n in (9000, 3, 40)]
    measured = measure_statistics(_windows(mfcc_store, clips), np.array([0, 2]))
    frames = np.concatenate([clips[0], clips[2]]).astype(np.float64)
    assert np.allclose(measured.mean, frames.mean(axis=0), rtol=1e-12)
    assert np.allclose(measured.variance, frames.var(axis=0), rtol=1e-9)


def test_of_many_frames_a_sample_of_clips_is_measured(mfcc_store):
    clips = [np.full((1000, 1), number % 7, np.float32) for number in range(3000)]
    windows, chosen = _windows(mfcc_store, clips), np.arange(100, 3000)
    measured = measure_statistics(windows, chosen)
    reads = windows.store.reads
    assert len(reads) == 2097 and reads == sorted(reads)
    first = np.array([begin // 1000 for begin, _ in reads])
    assert first.min() >= 100 and len(set(np.diff(first))) > 5  # drawn: labels may repeat at even distances
    assert np.allclose(measured.mean, (first % 7).mean())
    assert np.array_equal(measured.mean, measure_statistics(windows, chosen).mean)


def test_of_clips_that_are_all_too_long_one_is_measured(mfcc_store):
    windows = _windows(mfcc_store, [np.ones((2_100_000, 1)), np.zeros((2_100_000, 1))])
    assert measure_statistics(windows, np.arange(2)).mean[0] in (0, 1)


def test_other_clips_do_not_matter(mfcc_store):
    random = np.random.default_rng(0)
    clips = [random.normal(size=(20, 2)).astype(np.float32) for _ in range(3)]
    alone = measure_statistics(_windows(mfcc_store, clips[:1]), np.array([0]))
    among = measure_statistics(_windows(mfcc_store, [clips[0], 1e6 * clips[1], clips[2]]), np.array([0]))
    assert np.array_equal(alone.mean, among.mean)
    assert np.array_equal(alone.variance, among.variance)


def test_a_coefficient_that_never_changes_standardises_to_zero(mfcc_store):
    frames = np.full((30, 2), -1131.3708, np.float32)
    frames[:, 1] = np.arange(30)
    measured = measure_statistics(_windows(mfcc_store, [frames]), np.array([0]))
    standardised = (frames - measured.mean) / np.sqrt(measured.variance)
    assert np.abs(standardised[:, 0]).max() < 1e-3
    assert abs(standardised[:, 1].std() - 1) < 1e-6


def test_no_frames_leave_windows_as_they_are(mfcc_store):
    measured = measure_statistics(_windows(mfcc_store, [np.zeros((0, 2))]), np.array([0]))
    assert (measured.mean.tolist(), measured.variance.tolist()) == ([0, 0], [1, 1])


def test_statistics_by_position_are_numpys_mean_and_deviation_of_the_windows(mfcc_store):
    random = np.random.default_rng(0)
    clips = [random.normal(-500, [1, 20, 300], (n, 3)).astype(np.float32) for n in (40, 10, 4, 90, 25)]
    windows, chosen, offsets = _windows(mfcc_store, clips), np.array([0, 1, 2, 4]), np.array([30, 0, -5, 7])
    measured = measure_statistics(windows, chosen, offsets)
    cut = windows.cut(plain_plan(chosen, offsets)).astype(np.float64)  # silence around the short clip included
    assert measured.mean.shape == measured.variance.shape == (10, 3)
    assert np.allclose(measured.mean, np.mean(cut, axis=0), rtol=1e-12)
    assert np.allclose(np.sqrt(measured.variance), np.std(cut, axis=0), rtol=1e-6)


def test_statistics_by_position_take_every_window_of_many(mfcc_store):
    clips = [np.full((12, 2), number, np.float32) for number in range(300)]
    windows = _windows(mfcc_store, clips)
    measured = measure_statistics(windows, np.arange(300), np.arange(300) % 3)
    assert np.allclose(measured.mean, np.arange(300).mean())
    assert np.allclose(measured.variance, np.arange(300).var())


def test_of_very_many_windows_a_sample_is_measured(mfcc_store):
    windows = _windows(mfcc_store, [np.ones((1000, 1))] * 3000, length=900)
    measure_statistics(windows, np.arange(3000), np.arange(3000) % 100)
    assert len(windows.store.reads) == 2_097_152 // 900


def test_a_position_that_never_changes_standardises_to_zero(mfcc_store):
    clips = [np.ones((3, 2)), np.full((3, 2), 5.0)]
    measured = measure_statistics(_windows(mfcc_store, clips), np.arange(2), np.array([-7, -7]))
    assert (measured.variance[:7, 1] == 1).all() and (measured.mean[:7, 1] == 0).all()
    assert (measured.variance[7:] == 4).all()


@pytest.mark.parametrize("shape", [(3,), (10, 3)])
def test_masks_put_in_the_mean_frame(shape):
    mean = np.random.default_rng(0).normal(size=shape)
    fill = Statistics(mean, np.ones(shape)).fill
    assert fill.dtype == np.float32
    assert np.allclose(fill, mean if mean.ndim == 1 else mean.mean(axis=0))
