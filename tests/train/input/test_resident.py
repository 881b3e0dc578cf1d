import dataclasses

import keras
import numpy as np
import pytest

from train.input.augment import Augmentation
from train.input.batches import TrainingBatches
from train.input.randomness import clip_keys
from train.input.resident import CutWindows, is_resident, resident
from train.input.windows import FrameWindows, RawWindows, plain_plan
from train.recipe import DEFAULT
from train.settings import SettingsError

TRAIN = np.array([0, 1, 3, 4])  # clip 2 is not resident
STRONG = dataclasses.replace(DEFAULT, mixup=1.0, time_mask=0.2, band_mask=0.3, gain=9.0)


@pytest.fixture(params=["raw", "mfcc", "logmel"])
def windows(request, raw_store, mfcc_store, logmel_store):
    random, lengths = np.random.default_rng(0), (500, 60, 100, 0, 90)
    if request.param == "raw":
        clips = [random.integers(-32767, 32768, n).astype(np.int16) for n in lengths]
        return RawWindows(raw_store(clips, [1e-4, 2e-5, 3e-5, 0, 1e-5]), np.arange(5), 80)
    clips = [random.normal(-40, 9, (n, 20)).astype(np.float32) for n in lengths]
    store = {"mfcc": mfcc_store, "logmel": logmel_store}[request.param](clips, [-700, -600, -500, 0, -400])
    return FrameWindows(store, np.arange(5), 80, 18)


def _fill(windows):
    return np.linspace(-1, 1, windows.shape[1]).astype(np.float32)


def _batches(windows, recipe):
    keys = clip_keys([f"{clip}.wav" for clip in TRAIN])
    augmentation = Augmentation(recipe, 1, windows, TRAIN, keys)
    return TrainingBatches(windows, augmentation, np.arange(4), 4, None, 4, _fill(windows))


def _net(windows):
    x = keras.Input(windows.shape)
    return keras.Model(x, keras.layers.Dense(4)(keras.layers.GlobalMaxPool1D()(x)))


@pytest.mark.parametrize("recipe", [STRONG, dataclasses.replace(STRONG, mixup=0.0)])
def test_windows_cut_on_the_device_are_those_cut_from_the_maps(windows, recipe):
    batches, layer = _batches(windows, recipe), CutWindows(windows, TRAIN, _fill(windows))
    for index in range(12):
        expected = batches(index)[0]
        found = keras.ops.convert_to_numpy(layer(layer.inputs(batches.planned(index)[0])))
        assert found.dtype == np.float32
        assert np.allclose(found, expected, rtol=1e-5, atol=2e-5 * np.abs(expected).max())


def test_plain_windows_of_long_short_and_empty_clips_are_cut_exactly(windows):
    layer = CutWindows(windows, TRAIN)
    plan = plain_plan(np.array([0, 0, 0, 1, 1, 3, 4, 4]), np.array([0, 301, 420, -20, 0, -40, 0, 10]))
    found = keras.ops.convert_to_numpy(layer(layer.inputs(plan)))
    assert np.allclose(found, windows.cut(plan), rtol=1e-6, atol=1e-6)


def test_the_model_with_the_cut_in_front_shares_the_nets_weights(windows):
    net, batches = _net(windows), _batches(windows, STRONG)
    model, planned = resident(net, batches)
    assert [id(weight) for weight in model.trainable_weights] == [id(weight) for weight in net.trainable_weights]
    assert len(model.variables) == len(net.variables) + 1
    inputs, targets = planned(5)
    expected, their_targets = batches(5)
    assert np.array_equal(targets, their_targets)
    found = keras.ops.convert_to_numpy(model(inputs))
    expected = keras.ops.convert_to_numpy(net(expected))
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_a_batch_says_what_to_cut_in_few_bytes(windows):
    inputs, _ = resident(_net(windows), _batches(windows, STRONG))[1](0)
    assert sum(value.nbytes for value in inputs.values()) < 4 * 200


def test_a_store_beyond_what_int32_counts_is_refused(windows):
    windows.lengths[4] = 2**31
    with pytest.raises(SettingsError, match="--resident must be no for more than 2,147,483,647 samples or frames"):
        CutWindows(windows, TRAIN)


@pytest.mark.parametrize(
    ("wish", "n_rows", "device", "expected"),
    [
        ("auto", 1 << 20, "cpu:0", False),
        ("auto", 1 << 20, "gpu:0", True),
        ("auto", (1 << 30) + 1, "gpu:0", False),
        ("yes", 1 << 40, "cpu:0", True),
        ("no", 1, "gpu:0", False),
    ],
)
def test_a_store_is_resident_where_there_is_an_accelerator_that_holds_it(windows, wish, n_rows, device, expected):
    windows.lengths[:] = 0
    windows.lengths[0] = -(-n_rows // windows.shape[1])
    assert is_resident(wish, windows, np.array([0]), device) == expected
