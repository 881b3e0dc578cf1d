import dataclasses
import tracemalloc

import librosa
import numpy as np
import pytest

from cache import MfccSpecification, RawSpecification, open_cache
from cache.windows.cut import Buffers, FrameWindows, RawWindows, plain_plan, window_length, window_seconds

ROUNDING = 3e-7  # of values up to 1/2 that come from values up to 1: a few units in the last place


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
    cut = windows.cut(plain_plan(np.array([0, 0, 0, 2]), np.array([0, 123, 400, 0])))
    assert cut.dtype == np.float32
    assert cut.shape == (4, 100, 1)
    for row, clip, offset in zip(cut, (0, 0, 0, 2), (0, 123, 400, 0), strict=True):
        waveform = raw_clips[clip][offset : offset + 100] * store.scale[clip]
        assert np.allclose(row[:, 0], _normalised(waveform), rtol=0, atol=ROUNDING)


def test_raw_windows_are_padded_first_and_normalised_after(raw_store, raw_clips):
    store = raw_store(raw_clips, [1, 2e-5, 1, 1])
    cut = RawWindows(store, np.arange(4), 100).cut(plain_plan(np.array([1, 1, 1]), np.array([0, -17, -40])))
    for row, before in zip(cut[:, :, 0], (0, 17, 40), strict=True):
        padded = np.pad(raw_clips[1] * store.scale[1], (before, 40 - before))
        assert np.allclose(row, _normalised(padded), rtol=0, atol=ROUNDING)


def test_zeros_around_a_short_clip_take_part_in_its_range(raw_store):
    store = raw_store([np.full(10, 2000, np.int16)], [1e-3])
    row = RawWindows(store, np.arange(1), 20).cut(plain_plan(np.array([0]), np.array([-5])))[0, :, 0]
    assert np.allclose(row[5:15], 0.5)
    assert np.allclose(row[[0, 4, 15, 19]], -0.5)


def test_a_silent_window_is_one_half_below_zero_everywhere(raw_store):
    store = raw_store([np.zeros(50, np.int16), np.zeros(0, np.int16), np.full(30, 9, np.int16)], [0, 0, 0.1])
    windows = RawWindows(store, np.arange(3), 30)
    cut = windows.cut(plain_plan(np.array([0, 1, 2]), np.array([3, -15, 0])))
    assert (cut == -0.5).all()


def test_float_stores_give_the_same_windows(raw_store, raw_clips):
    floats = [(clip * np.float32(2.0**-15)) for clip in raw_clips]
    clips, offsets = np.array([0, 1, 3]), np.array([77, -9, -50])
    from_int = RawWindows(raw_store(raw_clips, [2.0**-15] * 4), np.arange(4), 100).cut(plain_plan(clips, offsets))
    from_float = RawWindows(raw_store(floats, [1] * 4), np.arange(4), 100).cut(plain_plan(clips, offsets))
    assert np.array_equal(from_int, from_float)


@pytest.mark.parametrize("shift", [-3, 0, 3])
@pytest.mark.parametrize("share", [1, 0.5])
def test_float_windows_of_any_sign_are_normalised(raw_store, shift, share):
    clip = np.random.default_rng(0).normal(shift, 0.5, 1000).astype(np.float32)
    plan = _plan([0], [70], [0], [70], shares=[share])
    row = RawWindows(raw_store([clip], [1]), np.arange(1), 333).cut(plan)[0, :, 0]
    assert np.allclose(row, _normalised(clip[70:403]), rtol=0, atol=10 * ROUNDING)


def test_a_window_at_a_constant_level_is_as_if_silent(raw_store):
    row = RawWindows(raw_store([np.full(50, 32767, np.int16)], [1]), np.arange(1), 30).cut(_plan([0], [5]))
    assert (row == -0.5).all()


def test_windows_read_no_more_than_they_show(raw_store, raw_clips):
    store = raw_store(raw_clips, [1] * 4)
    RawWindows(store, np.arange(4), 100).cut(plain_plan(np.array([0, 1]), np.array([123, -17])))
    assert store.reads == [(123, 223), (500, 560)]


def test_partners_are_read_only_where_they_are_mixed_in(raw_store, raw_clips):
    store = raw_store(raw_clips, [1] * 4)
    RawWindows(store, np.arange(4), 100).cut(_plan([0, 0], [1, 2], [0, 2], [300, 0], shares=[1, 0.9]))
    assert store.reads == [(1, 101), (2, 102), (560, 660)]


def test_slots_say_where_a_clip_lies(raw_store, raw_clips):
    store = raw_store(raw_clips, [1, 1e-3, 1, 1])
    by_slot = RawWindows(store, np.array([1, 0]), 60)
    assert by_slot.lengths.tolist() == [60, 500]
    cut = by_slot.cut(plain_plan(np.array([0]), np.array([0])))[0, :, 0]
    assert np.allclose(cut, _normalised(raw_clips[1] * np.float32(1e-3)), rtol=0, atol=ROUNDING)


def test_mfcc_windows_are_the_cached_frames(mfcc_store):
    frames = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    windows = FrameWindows(mfcc_store([frames[:20], frames[20:]], [-9, -8]), np.arange(2), 10, 6)
    cut = windows.cut(plain_plan(np.array([1, 0]), np.array([20, 3])))
    assert cut.dtype == np.float32
    assert np.array_equal(cut, [frames[40:50], frames[3:13]])


def test_fewer_coefficients_are_the_first(mfcc_store):
    frames = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    windows = FrameWindows(mfcc_store([frames], [-9]), np.arange(1), 10, 4)
    assert np.array_equal(windows.cut(plain_plan(np.array([0]), np.array([7])))[0], frames[7:17, :4])


def test_a_short_clip_lies_in_its_own_silence(mfcc_store):
    frames = np.ones((4, 3), np.float32)
    windows = FrameWindows(mfcc_store([frames, frames], [-700, -900]), np.arange(2), 10, 3)
    row = windows.cut(plain_plan(np.array([1]), np.array([-5])))[0]
    assert (row[5:9] == 1).all()
    assert (row[[0, 4, 9]] == [-900, 0, 0]).all()


def test_an_empty_clip_is_the_silence_of_a_silent_recording(mfcc_store):
    store = mfcc_store([np.zeros((0, 3)), np.ones((2, 3))], [0, 0])
    row = FrameWindows(store, np.arange(2), 5, 3).cut(plain_plan(np.array([0]), np.array([-2])))[0]
    silent = librosa.feature.mfcc(y=np.zeros(4000, np.float32), sr=4000, n_mfcc=3)[:, 3]
    assert np.allclose(row, silent, atol=1e-3)


@pytest.fixture
def raw_and_mfcc(tmp_path, write_dataset, noise, featurize):
    """Windows of 2 s of one recording of 0.6 s: of its waveform, and of its MFCCs."""
    specifications = RawSpecification(4000), MfccSpecification(20, 4000)
    data = write_dataset(tmp_path / "data", {"a.wav": noise(0.6, 4000)})
    featurize(data, tmp_path / "cache", specifications)
    raw, mfcc = (open_cache(tmp_path / "cache").open_store(kind) for kind in ("raw", "mfcc"))
    slots, lengths = np.arange(1), [window_length(each, 2) for each in specifications]
    return RawWindows(raw, slots, lengths[0]), FrameWindows(mfcc, slots, lengths[1], 20)


def test_padding_cached_frames_equals_padding_the_waveform(raw_and_mfcc):
    """But for one frame before the clip's offset and two past its end, where librosa's own padding shows."""
    raw, windows = raw_and_mfcc
    specification = windows.store.specification
    n_frames, before = int(windows.lengths[0]), 6
    samples = np.concatenate(list(raw.blocks(0)))
    after = windows.length - before - n_frames
    pad = (before * specification.hop_length, after * specification.hop_length)
    padded = np.pad(samples * raw.scales[0], pad)
    expected = librosa.feature.mfcc(y=padded, sr=specification.sample_rate, n_mfcc=20).T[: windows.length]
    row = windows.cut(plain_plan(np.array([0]), np.array([-before])))[0]
    seam = [before - 1, before + n_frames, before + n_frames + 1]
    elsewhere = np.setdiff1d(np.arange(len(row)), seam)
    assert np.abs(row - expected)[elsewhere].max() < 1e-2


def test_frames_come_in_blocks_that_make_up_the_clip(mfcc_store):
    frames = np.random.default_rng(0).normal(size=(20_000, 3)).astype(np.float32)
    windows = FrameWindows(mfcc_store([frames[:5], frames[5:]], [0, 0]), np.arange(2), 10, 2)
    blocks = list(windows.blocks(1))
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


def _plan(clips, offsets, partners=None, partner_offsets=None, **changes):
    plain = plain_plan(np.array(clips), np.array(offsets))
    if partners is not None:
        changes |= {"partners": np.array(partners), "partner_offsets": np.array(partner_offsets)}
    if "shares" in changes:
        changes["shares"] = np.array(changes["shares"], np.float32)
    return dataclasses.replace(plain, **changes)


def test_waveforms_are_mixed_at_equal_range_and_normalised_after(raw_store, raw_clips):
    store = raw_store(raw_clips, [1e-4, 2e-5, 3e-4, 1])
    plan = _plan([0, 1, 0], [9, -20, 300], [2, 0, 3], [0, 55, -100], shares=[0.7, 0.6, 0.5])
    cut = RawWindows(store, np.arange(4), 100).cut(plan)[:, :, 0]
    own = raw_clips[0][9:109].astype(np.float64), np.pad(raw_clips[1] * 1.0, (20, 20)), raw_clips[0][300:400] * 1.0
    other = raw_clips[2] * 1.0, raw_clips[0][55:155] * 1.0, np.zeros(100)
    for row, a, b, share in zip(cut, own, other, (0.7, 0.6, 0.5), strict=True):
        mixture = share * a / np.ptp(a) + (1 - share) * b / max(np.ptp(b), 1)
        expected = (mixture - mixture.min()) / np.ptp(mixture) - 0.5
        assert np.allclose(row, expected, atol=1e-4)


def test_gain_and_polarity_scale_normalised_waveforms(raw_store, raw_clips):
    windows = RawWindows(raw_store(raw_clips, [1] * 4), np.arange(4), 100)
    gains, flipped = np.array([0, 6, -3], np.float32), np.array([True, False, True])
    plain = windows.cut(_plan([0, 0, 1], [5, 6, -9]))
    changed = windows.cut(_plan([0, 0, 1], [5, 6, -9], gains=gains, flipped=flipped))
    factors = 10 ** (gains / 20) * np.where(flipped, -1, 1)
    assert np.allclose(changed, plain * factors[:, None, None], rtol=1e-5)


@pytest.mark.parametrize("shares", [[1.0], [0.8]])
def test_what_a_mask_hides_of_a_waveform_is_silent(raw_store, shares):
    clip = np.concatenate([np.full(5, 3000), np.zeros(5), np.full(90, -1000)]).astype(np.int16)
    masks = np.array([[[0, 3], [50, 60]]])
    plan = _plan([0], [0], [0], [0], shares=shares, time_masks=masks)
    row = RawWindows(raw_store([clip], [1]), np.arange(1), 100).cut(plan)[0, :, 0]
    silence = row[5]
    assert (row[:3] == silence).all() and (row[50:60] == silence).all()
    assert np.allclose(row[[3, 49, 60]], [0.5, -0.5, -0.5], atol=1e-3)


def test_frames_are_mixed_padding_and_all(mfcc_store):
    frames = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    windows = FrameWindows(mfcc_store([frames[:25], frames[25:]], [-700, -900]), np.arange(2), 10, 3)
    a, b = windows.cut(_plan([0, 1], [4, -3]))
    mixed = windows.cut(_plan([0], [4], [1], [-3], shares=[0.75]))[0]
    assert np.allclose(mixed, 0.75 * a + 0.25 * b, rtol=1e-5)


def test_gain_raises_what_a_louder_recording_raises(raw_and_mfcc):
    raw, windows = raw_and_mfcc
    louder = 6.0
    samples = np.concatenate(list(raw.blocks(0))) * raw.scales[0]
    rate = windows.store.specification.sample_rate
    expected = librosa.feature.mfcc(y=samples * 10 ** (louder / 20), sr=rate, n_mfcc=20).T
    row = windows.cut(_plan([0], [0], gains=np.array([louder], np.float32)))[0]
    n_frames = len(expected) - 3  # but for the last, where the padding shows
    assert np.abs(row[:n_frames] - expected[:n_frames]).max() < 1e-2


def test_masks_put_the_frame_given_in(mfcc_store):
    frames = np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32)
    windows = FrameWindows(mfcc_store([frames], [0]), np.arange(1), 10, 6)
    masks = {"time_masks": np.array([[[2, 5], [9, 9]]]), "band_masks": np.array([[[0, 1], [4, 6]]])}
    fill = np.arange(6, dtype=np.float32)
    row = windows.cut(_plan([0], [3], **masks), fill)[0]
    expected = frames[3:13].copy()
    expected[2:5] = fill
    expected[:, [0, 4, 5]] = fill[[0, 4, 5]]
    assert np.array_equal(row, expected)


def test_log_mel_windows_lie_in_silence_of_every_band(logmel_store):
    frames = np.ones((4, 3), np.float32)
    windows = FrameWindows(logmel_store([frames, frames[:0]], [-40, 0]), np.arange(2), 10, 3)
    first, empty = windows.cut(_plan([0, 1], [-5, -5], gains=np.array([2, 0], np.float32)))
    assert (first[5:9] == 3).all()
    assert (first[[0, 4, 9]] == -38).all()
    assert (empty == -100).all()


def _place(array):
    return array.ctypes.data


def test_an_array_is_used_again_when_nobody_holds_it():
    buffers = Buffers()
    places = {_place(buffers.take((4, 1000))) for _ in range(10)}
    assert len(places) == 1


@pytest.mark.parametrize(
    "keep",
    [
        lambda a: a,
        lambda a: a[1:2],
        lambda a: a[:, :, None][2:],
        lambda a: a.T,
        lambda a: memoryview(a),
        lambda a: [a],
    ],
)
def test_an_array_that_somebody_holds_is_not(keep):
    buffers = Buffers()
    first = buffers.take((4, 1000))
    place, held = _place(first), keep(first)
    del first
    assert all(_place(buffers.take((4, 1000))) != place for _ in range(10))
    del held
    assert _place(buffers.take((4, 1000))) == place


def test_arrays_have_the_shape_asked_for_and_begin_where_they_need_no_copy():
    buffers = Buffers()
    held = [buffers.take(shape) for shape in [(3, 7, 2), (1,), (0, 5), (50, 3), (3, 7, 2)]]
    assert [array.shape for array in held] == [(3, 7, 2), (1,), (0, 5), (50, 3), (3, 7, 2)]
    assert all(array.dtype == np.float32 and array.flags.writeable for array in held)
    assert all(_place(array) % 64 == 0 for array in held if array.size)
    held[0][:], held[4][:] = 1, 2
    assert (held[0] == 1).all()


def test_many_arrays_can_be_held_at_once():
    buffers = Buffers()
    held = [buffers.take((10,)) for _ in range(100)]
    assert len({_place(array) for array in held}) == 100
    del held
    again = [buffers.take((10,)) for _ in range(100)]
    assert len({_place(array) for array in again}) == 100


def test_free_arrays_of_other_sizes_are_not_kept():
    buffers = Buffers()
    tracemalloc.start()
    for size in (1_000_000, 1_000_001, 1_000_002, 1):
        buffers.take((size,))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 1_000_000
