import dataclasses

import keras
import numpy as np
import pytest

from train.batches import TrainingBatches
from train.draws import clip_keys
from train.recipe import DEFAULT
from train.resident import CutWindows, ResidentBatches, ResidentStore, is_resident, plan_of, resident_model
from train.settings import SettingsError
from train.views import TrainingViews, plain_views
from train.windows import FrameWindows, RawWindows

TRAIN = np.array([0, 1, 3, 4])  # clip 2 is not resident
STRONG = dataclasses.replace(DEFAULT, mixup=1.0, time_mask=0.2, band_mask=0.3, gain=9.0)


def _windows(kind, raw_store, mfcc_store, logmel_store):
    random, lengths = np.random.default_rng(0), (500, 60, 100, 0, 90)
    if kind == "raw":
        clips = [random.integers(-32767, 32768, n).astype(np.int16) for n in lengths]
        return RawWindows(raw_store(clips, [1e-4, 2e-5, 3e-5, 0, 1e-5]), np.arange(5), 80)
    clips = [random.normal(-40, 9, (n, 20)).astype(np.float32) for n in lengths]
    store = {"mfcc": mfcc_store, "logmel": logmel_store}[kind](clips, [-700, -600, -500, 0, -400])
    return FrameWindows(store, np.arange(5), 80, 18)


@pytest.fixture(params=["raw", "mfcc", "logmel"])
def windows(request, raw_store, mfcc_store, logmel_store):
    return _windows(request.param, raw_store, mfcc_store, logmel_store)


def _batches(windows, recipe, batch_size=4):
    keys = clip_keys([f"{clip}.wav" for clip in TRAIN])
    views = TrainingViews(recipe, 1, TRAIN, keys, windows.lengths[TRAIN], windows.shape, windows.kind)
    return TrainingBatches(windows, views, np.arange(4), 4, None, batch_size, _fill(windows))


def _fill(windows):
    return np.linspace(-1, 1, windows.shape[1]).astype(np.float32)


@pytest.mark.parametrize("recipe", [STRONG, dataclasses.replace(STRONG, mixup=0.0)])
def test_windows_cut_on_the_device_are_those_cut_from_the_maps(windows, recipe):
    store, batches = ResidentStore.of(windows, TRAIN), _batches(windows, recipe)
    layer, planned = CutWindows(windows, store, _fill(windows)), ResidentBatches(batches, windows, store)
    for index in range(12):
        expected, answers = batches(index)
        plan, their_answers = planned(index)
        found = keras.ops.convert_to_numpy(layer(plan))
        assert found.dtype == np.float32
        assert np.allclose(found, expected, rtol=1e-5, atol=2e-5 * np.abs(expected).max())
        assert np.array_equal(answers, their_answers)


def test_plain_windows_are_cut_exactly(windows):
    store = ResidentStore.of(windows, TRAIN)
    views = plain_views(np.array([0, 1, 3, 4]), np.array([300, -15, -40, 7]))
    found = keras.ops.convert_to_numpy(CutWindows(windows, store)(plan_of(views, windows, store)))
    assert np.allclose(found, windows.cut(views), rtol=1e-6, atol=1e-6)


def test_windows_begin_at_odd_and_even_samples_alike(raw_store):
    windows = _windows("raw", raw_store, None, None)
    store = ResidentStore.of(windows, np.array([1, 4, 0]))  # of 60, 90 and 500 samples
    for length in (79, 80):
        windows.length, windows.shape = length, (length, 1)
        views = plain_views(np.array([0, 0, 0, 0, 4, 4]), np.array([200, 201, 419, 420, -1, 11]))
        found = keras.ops.convert_to_numpy(CutWindows(windows, store)(plan_of(views, windows, store)))
        assert np.allclose(found, windows.cut(views), rtol=1e-6, atol=1e-6)


def test_a_store_beyond_what_int32_counts_is_refused(windows, monkeypatch):
    monkeypatch.setattr("train.resident._MOST_ROWS", 10)
    with pytest.raises(SettingsError, match="--resident must be no for more than [12]0 samples or frames, got 650"):
        ResidentStore.of(windows, TRAIN)


def test_places_beyond_two_billion_samples_are_counted(raw_store):
    windows = _windows("raw", raw_store, None, None)
    far = ResidentStore(np.zeros(1, np.float32), np.full(5, 2_300_000_001), np.full(5, 150))
    views = plain_views(np.array([3, 3]), np.array([100, -7]))
    places = plan_of(views, windows, far)["places"][:, 0].tolist()
    assert places == [[1_150_000_050, 1, 0, 50], [1_149_999_997, 0, 7, 80]]


def test_only_the_clips_asked_for_are_resident(windows):
    store = ResidentStore.of(windows, TRAIN)
    n_elements = windows.lengths[TRAIN].sum()
    assert store.features.shape[0] == (n_elements / 2 if windows.kind == "raw" else n_elements)
    assert store.features.dtype == np.float32
    assert store.lengths[2] == 0


def test_a_plan_is_far_smaller_than_its_windows(windows):
    store = ResidentStore.of(windows, TRAIN)
    plan, _ = ResidentBatches(_batches(windows, DEFAULT), windows, store)(0)
    assert sum(value.nbytes for value in plan.values()) < 4 * 200


def test_the_model_with_the_cut_ahead_shares_the_nets_weights(windows):
    store, batches = ResidentStore.of(windows, TRAIN), _batches(windows, STRONG)
    x = keras.Input(windows.shape)
    net = keras.Model(x, keras.layers.Dense(4)(keras.layers.GlobalMaxPool1D()(x)))
    plan, _ = ResidentBatches(batches, windows, store)(0)
    model = resident_model(net, CutWindows(windows, store, _fill(windows)), plan)
    assert [id(weight) for weight in model.trainable_weights] == [id(weight) for weight in net.trainable_weights]
    assert [v.name for v in model.variables[: -len(net.variables)]] == ["features"]
    found = keras.ops.convert_to_numpy(model(plan))
    expected = keras.ops.convert_to_numpy(net(batches(0)[0]))
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("wish", "n_bytes", "device", "resident"),
    [
        ("auto", 1 << 30, "cpu:0", False),
        ("auto", 1 << 32, "gpu:0", True),
        ("auto", (1 << 32) + 1, "gpu:0", False),
        ("auto", 1 << 40, "gpu:0", False),
        ("yes", 1 << 40, "cpu:0", True),
        ("no", 1, "gpu:0", False),
    ],
)
def test_a_store_is_resident_where_there_is_an_accelerator_that_holds_it(wish, n_bytes, device, resident):
    assert is_resident(wish, n_bytes, device) == resident
