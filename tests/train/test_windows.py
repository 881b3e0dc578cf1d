import librosa
import numpy as np
import pytest

from cache import MfccSpecification, RawSpecification
from train.windows import MfccWindows, RawWindows, window_length, window_seconds


def _normalised(waveform):
    low, high = waveform.min(), waveform.max()
    return (waveform - low) / (high - low + np.float32(1e-6)) - np.float32(0.5)


@pytest.fixture
def raw_clips():
    random = np.random.default_rng(0)
    return [random.integers(-32767, 32768, n).astype(np.int16) for n in (500, 60, 100, 0)]


def test_raw_windows_equal_plain_numpy(raw_store, raw_clips):
    store = raw_store(raw_clips, [1e-4, 2e-5, 3e-5, 0])
    windows = RawWindows(store, np.arange(4), 100)
    cut = windows.cut(np.array([0, 0, 0, 2]), np.array([0, 123, 400, 0]))
    assert cut.dtype == np.float32
    assert cut.shape == (4, 100, 1)
    for row, clip, start in zip(cut, (0, 0, 0, 2), (0, 123, 400, 0), strict=True):
        waveform = raw_clips[clip][start : start + 100] * store.scale[clip]
        assert np.array_equal(row[:, 0], _normalised(waveform))


def test_raw_windows_are_padded_first_and_normalised_after(raw_store, raw_clips):
    store = raw_store(raw_clips, [1, 2e-5, 1, 1])
    cut = RawWindows(store, np.arange(4), 100).cut(np.array([1, 1, 1]), np.array([0, -17, -40]))
    for row, before in zip(cut[:, :, 0], (0, 17, 40), strict=True):
        padded = np.pad(raw_clips[1] * store.scale[1], (before, 40 - before))
        assert np.array_equal(row, _normalised(padded))


def test_zeros_around_a_short_clip_take_part_in_its_range(raw_store):
    store = raw_store([np.full(10, 2000, np.int16)], [1e-3])
    row = RawWindows(store, np.arange(1), 20).cut(np.array([0]), np.array([-5]))[0, :, 0]
    assert np.allclose(row[5:15], 0.5)
    assert np.allclose(row[[0, 4, 15, 19]], -0.5)


def test_a_silent_window_is_one_half_below_zero_everywhere(raw_store):
    store = raw_store([np.zeros(50, np.int16), np.zeros(0, np.int16), np.full(30, 9, np.int16)], [0, 0, 0.1])
    windows = RawWindows(store, np.arange(3), 30)
    cut = windows.cut(np.array([0, 1, 2]), np.array([3, -15, 0]))
    assert (cut == -0.5).all()


def test_float_stores_give_the_same_windows(raw_store, raw_clips):
    floats = [(clip * np.float32(2.0**-15)) for clip in raw_clips]
    clips, starts = np.array([0, 1, 3]), np.array([77, -9, -50])
    from_int = RawWindows(raw_store(raw_clips, [2.0**-15] * 4), np.arange(4), 100).cut(clips, starts)
    from_float = RawWindows(raw_store(floats, [1] * 4), np.arange(4), 100).cut(clips, starts)
    assert np.array_equal(from_int, from_float)


def test_windows_read_no_more_than_they_show(raw_store, raw_clips):
    store = raw_store(raw_clips, [1] * 4)
    RawWindows(store, np.arange(4), 100).cut(np.array([0, 1]), np.array([123, -17]))
    assert store.reads == [(123, 223), (500, 560)]


def test_slots_say_where_a_clip_lies(raw_store, raw_clips):
    store = raw_store(raw_clips, [1, 1e-3, 1, 1])
    by_slot = RawWindows(store, np.array([1, 0]), 60)
    assert by_slot.lengths.tolist() == [60, 500]
    cut = by_slot.cut(np.array([0]), np.array([0]))[0, :, 0]
    assert np.array_equal(cut, _normalised(raw_clips[1] * np.float32(1e-3)))


def test_mfcc_windows_are_the_cached_frames(mfcc_store):
    frames = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    windows = MfccWindows(mfcc_store([frames[:20], frames[20:]], [-9, -8]), np.arange(2), 10, 6)
    cut = windows.cut(np.array([1, 0]), np.array([20, 3]))
    assert cut.dtype == np.float32
    assert np.array_equal(cut, [frames[40:50], frames[3:13]])


def test_fewer_coefficients_are_the_first(mfcc_store):
    frames = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    windows = MfccWindows(mfcc_store([frames], [-9]), np.arange(1), 10, 4)
    assert np.array_equal(windows.cut(np.array([0]), np.array([7]))[0], frames[7:17, :4])


def test_a_short_clip_lies_in_its_own_silence(mfcc_store):
    frames = np.ones((4, 3), np.float32)
    windows = MfccWindows(mfcc_store([frames, frames], [-700, -900]), np.arange(2), 10, 3)
    row = windows.cut(np.array([1]), np.array([-5]))[0]
    assert (row[5:9] == 1).all()
    assert (row[[0, 4, 9]] == [-900, 0, 0]).all()


def test_an_empty_clip_is_the_silence_of_a_silent_recording(mfcc_store):
    store = mfcc_store([np.zeros((0, 3)), np.ones((2, 3))], [0, 0])
    row = MfccWindows(store, np.arange(2), 5, 3).cut(np.array([0]), np.array([-2]))[0]
    silent = librosa.feature.mfcc(y=np.zeros(4000, np.float32), sr=4000, n_mfcc=3)[:, 3]
    assert np.allclose(row, silent, atol=1e-3)


def test_padding_cached_frames_equals_padding_the_waveform(dataset):
    """But for one frame before the clip's start and two past its end, where librosa's own padding shows."""
    windows = dataset("conv2d", mfcc=20, seconds=2).windows
    specification, clip = windows.store.specification, 0
    n_frames, before = int(windows.lengths[clip]), 6
    raw = dataset("conv1d").windows
    samples, _ = raw._part(clip, 0)
    after = windows.length - before - n_frames
    pad = (before * specification.hop_length, after * specification.hop_length)
    padded = np.pad(samples * raw._scale[clip], pad)
    expected = librosa.feature.mfcc(y=padded, sr=specification.sample_rate, n_mfcc=20).T[: windows.length]
    row = windows.cut(np.array([clip]), np.array([-before]))[0]
    seam = [before - 1, before + n_frames, before + n_frames + 1]
    elsewhere = np.setdiff1d(np.arange(len(row)), seam)
    assert np.abs(row - expected)[elsewhere].max() < 1e-2


def test_frames_come_in_blocks_that_make_up_the_clip(mfcc_store):
    frames = np.random.default_rng(0).normal(size=(20_000, 3)).astype(np.float32)
    windows = MfccWindows(mfcc_store([frames[:5], frames[5:]], [0, 0]), np.arange(2), 10, 2)
    blocks = list(windows.frames(1))
    assert len(blocks) == 3
    assert np.array_equal(np.concatenate(blocks), frames[5:, :2])


def test_window_lengths_are_the_notebooks():
    assert window_length(RawSpecification(16000), 2) == 32_000
    assert window_length(MfccSpecification(40, 44100), 2) == 173


@pytest.mark.parametrize("specification", [RawSpecification(16000), MfccSpecification(40, 44100)])
@pytest.mark.parametrize("length", [16, 173, 1616])
def test_window_seconds_is_long_enough_and_hardly_longer(specification, length):
    seconds = window_seconds(specification, length)
    assert window_length(specification, seconds) >= length
    assert window_length(specification, seconds - 2e-4) < length
