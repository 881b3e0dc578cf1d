"""The notebook "Beginner's Guide to Audio Data" in miniature, against `--recipe notebook`.

What stands between the two lines of dashes is written from the published procedure, with librosa, NumPy and Keras
alone. Of the departures that docs/training.md lists it has three: it gets our offsets and our order of the clips,
which the notebook draws at random, and librosa's default resampler, which is ours, in place of kaiser_fast.
"""

from dataclasses import dataclass, field
from types import SimpleNamespace

import keras
import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from keras import layers
from sklearn.model_selection import StratifiedKFold

from cache import MfccSpecification, RawSpecification, open_cache
from cache.windows.randomness import clip_keys, crop_offsets
from train.fold import compile_model
from train.input.augment import Augmentation
from train.input.batches import CropBatches, TrainingBatches
from train.input.dataset import open_dataset
from train.input.statistics import measure_statistics
from train.nets.build import build
from train.run import run
from train.seeds import dropout_seed, net_seed
from train.settings import settings_for
from train.split import assign_folds

NATIVE_RATE, HOP = 44100, 512
LABELS = ["Bell", "None", "Rain drops"]
EDGES = 2  # frames of a window at either end whose spectrum reaches beyond it: ours shows the clip there

# ---------------------------------------------------------------------------------------------------------------


@dataclass
class Config:
    sampling_rate: int
    audio_duration: int = 2
    n_classes: int = len(LABELS)
    use_mfcc: bool = False
    n_mfcc: int = 40
    learning_rate: float = 1e-3
    audio_length: int = field(init=False)
    dim: tuple = field(init=False)

    def __post_init__(self):
        self.audio_length = self.sampling_rate * self.audio_duration
        if self.use_mfcc:
            self.dim = (self.n_mfcc, 1 + int(np.floor(self.audio_length / 512)), 1)
        else:
            self.dim = (self.audio_length, 1)


def audio_norm(data):
    max_data = np.max(data)
    min_data = np.min(data)
    data = (data - min_data) / (max_data - min_data + 1e-6)
    return data - 0.5


class DataGenerator:
    def __init__(self, config, paths, labels, offsets, batch_size=64):
        self.config, self.paths, self.labels, self.offsets = config, paths, labels, offsets
        self.batch_size = batch_size

    def __len__(self):
        return int(np.ceil(len(self.paths) / self.batch_size))

    def __getitem__(self, index):
        some = slice(index * self.batch_size, (index + 1) * self.batch_size)
        x = np.stack([self.window(*pair) for pair in zip(self.paths[some], self.offsets[some], strict=True)])
        return x, np.eye(self.config.n_classes, dtype=np.float32)[self.labels[some]]

    def window(self, path, offset):
        input_length = self.config.audio_length
        data, _ = librosa.load(path, sr=self.config.sampling_rate)
        if len(data) > input_length:
            data = data[offset : input_length + offset]
        else:
            data = np.pad(data, (offset, input_length - len(data) - offset), "constant")
        if not self.config.use_mfcc:
            return audio_norm(data)[:, np.newaxis]
        data = librosa.feature.mfcc(y=data, sr=self.config.sampling_rate, n_mfcc=self.config.n_mfcc)
        return np.expand_dims(data, axis=-1)


def get_1d_conv_model(config):
    inp = layers.Input(shape=(config.audio_length, 1))
    x = layers.Conv1D(16, 9, activation="relu", padding="valid")(inp)
    x = layers.Conv1D(16, 9, activation="relu", padding="valid")(x)
    x = layers.MaxPool1D(16)(x)
    x = layers.Dropout(rate=0.1)(x)
    x = layers.Conv1D(32, 3, activation="relu", padding="valid")(x)
    x = layers.Conv1D(32, 3, activation="relu", padding="valid")(x)
    x = layers.MaxPool1D(4)(x)
    x = layers.Dropout(rate=0.1)(x)
    x = layers.Conv1D(32, 3, activation="relu", padding="valid")(x)
    x = layers.Conv1D(32, 3, activation="relu", padding="valid")(x)
    x = layers.MaxPool1D(4)(x)
    x = layers.Dropout(rate=0.1)(x)
    x = layers.Conv1D(256, 3, activation="relu", padding="valid")(x)
    x = layers.Conv1D(256, 3, activation="relu", padding="valid")(x)
    x = layers.GlobalMaxPool1D()(x)
    x = layers.Dropout(rate=0.2)(x)
    x = layers.Dense(64, activation="relu")(x)
    x = layers.Dense(1028, activation="relu")(x)
    out = layers.Dense(config.n_classes, activation="softmax")(x)
    return compiled(keras.Model(inputs=inp, outputs=out), config)


def get_2d_conv_model(config):
    inp = layers.Input(shape=config.dim)
    x = inp
    for _ in range(4):
        x = layers.Conv2D(32, (4, 10), padding="same")(x)
        x = layers.BatchNormalization()(x)
        x = layers.Activation("relu")(x)
        x = layers.MaxPool2D()(x)
    x = layers.Flatten()(x)
    x = layers.Dense(64)(x)
    x = layers.BatchNormalization()(x)
    x = layers.Activation("relu")(x)
    out = layers.Dense(config.n_classes, activation="softmax")(x)
    return compiled(keras.Model(inputs=inp, outputs=out), config)


def compiled(model, config):
    model.compile(optimizer=keras.optimizers.Adam(config.learning_rate), loss="categorical_crossentropy")
    return model


# ---------------------------------------------------------------------------------------------------------------


def _sound(number, seconds):
    """Noise of a colour of its own; one that is shorter than a window has silent ends.

    At its ends the frames that librosa makes of its waveform, padded, are then those that ours are padded with.
    """
    random = np.random.default_rng(number)
    n = round(seconds * NATIVE_RATE)
    spectrum = np.fft.rfft(random.normal(size=n))
    frequencies = np.linspace(0, 1, len(spectrum))
    shape = 0.2 + np.exp(-((frequencies - random.uniform(0, 0.6)) ** 2) / random.uniform(0.002, 0.1))
    samples = np.fft.irfft(spectrum * shape, n)
    samples *= random.uniform(0.2, 0.9) / np.abs(samples).max()
    if seconds < 2:
        samples[: 4 * HOP] = samples[-4 * HOP :] = 0
    return samples


@pytest.fixture(scope="module")
def clips(tmp_path_factory, featurized):
    """A dozen training clips and two test clips, shorter and longer than a window and just as long: a cache."""
    folder = tmp_path_factory.mktemp("notebook")
    seconds = {f"{i}.wav": s for i, s in enumerate([2.6, 3, 1.1, 2, 2.3, 1.6, 2.9, 0.7, 2.2, 2.5, 2, 3.1])}
    tests = {"a.wav": 2.7, "b.wav": 1.3}
    for split, lengths in {"train": seconds, "test": tests}.items():
        (folder / f"audio_{split}").mkdir()
        for number, (name, length) in enumerate(lengths.items()):
            samples = _sound(number + 100 * (split == "test"), length)
            sf.write(folder / f"audio_{split}" / name, samples, NATIVE_RATE, subtype="PCM_16")
    rows = [f"{name},{LABELS[i % 3]},1" for i, name in enumerate(seconds)]
    (folder / "train.csv").write_text("\n".join(["fname,label,manually_verified", *rows, ""]))
    rows = [f"{name},{LABELS[0]}" for name in tests]
    (folder / "sample_submission.csv").write_text("\n".join(["fname,label", *rows, ""]))
    work = featurized(
        folder, tmp_path_factory.mktemp("work"), RawSpecification(16000), MfccSpecification(40, 44100)
    )
    return SimpleNamespace(folder=folder, cache=open_cache(work / "cache"), work=work)


def _opened(clips, net, **settings):
    return open_dataset(clips.cache, settings_for(net, "notebook", work=clips.work, folds=2, **settings))


def _ours(clips, net):
    """Fold 0 of `--recipe notebook`, up to its first step: as `train.fold` puts it together."""
    dataset = _opened(clips, net)
    windows, settings = dataset.windows, dataset.settings
    folds = assign_folds(dataset, settings)
    train, held_out = np.flatnonzero(folds != 0), np.flatnonzero(folds == 0)
    keys = clip_keys(dataset.train["clip"])[train]
    augmentation = Augmentation(settings, settings.seed, windows, train, keys)
    batches = TrainingBatches(windows, augmentation, dataset.label_ids[train], 3, None, settings.batch_size)
    statistics = None
    if windows.kind == "mfcc":
        statistics = measure_statistics(windows, train, augmentation.first_offsets())
    model = build(net, windows.shape, 3, statistics, seed=net_seed(settings.seed, fold=0))
    compile_model(model, settings, n_steps=50)
    plan, _ = augmentation(0, augmentation.order(0)[: settings.batch_size])
    return SimpleNamespace(dataset=dataset, folds=folds, held_out=held_out, batches=batches, plan=plan, model=model)


def _reference(clips, config, ours, numbers, offsets):
    """The notebook's generator of some clips, by their numbers among ours, with our offsets."""
    train, test = ours.dataset.train, ours.dataset.test
    names = [*("audio_train/" + train["clip"]), *("audio_test/" + test["clip"])]
    labels = [LABELS.index(label) for label in train["label"]] + [0] * len(test)
    hop = HOP if config.use_mfcc else 1
    paths = [clips.folder / names[number] for number in numbers]
    return DataGenerator(config, paths, np.array(labels)[numbers], np.abs(offsets) * hop)


def _crops(ours, numbers):
    """Our windows of clips that are not trained on, and where they begin."""
    windows, recipe, one = ours.dataset.windows, ours.dataset.settings, np.ones(len(numbers), int)
    _, cut = CropBatches(windows, numbers, recipe.crops, recipe.batch_size)(0)
    return cut, crop_offsets(windows.lengths[numbers], windows.length, one, 0 * one)


def _as_image(windows):
    """[clips, time, coefficients] as the notebook has it: [clips, coefficients, time, 1]."""
    return windows.transpose(0, 2, 1)[..., None]


def _inner(images):
    """The frames that must be equal."""
    return images[:, :, EDGES:-EDGES]


def _with_our_weights(reference, ours):
    """The reference with our net's weights, and both with the dropout of the first epoch of our fold 0."""
    with_weights = [layer for layer in ours.model.layers if layer.weights and layer.name != "standardise"]
    for our, their in zip(with_weights, [layer for layer in reference.layers if layer.weights], strict=True):
        their.set_weights(our.get_weights())
    numbers = [n for n, layer in enumerate(ours.model.layers) if isinstance(layer, layers.Dropout)]
    dropouts = [layer for layer in reference.layers if isinstance(layer, layers.Dropout)]
    for number, their in zip(numbers, dropouts, strict=True):
        seed = dropout_seed(ours.dataset.settings.seed, fold=0, epoch=0, layer=number)
        for layer in (ours.model.layers[number], their):
            layer.seed_generator.state.assign(np.array([seed, 0], np.uint32))
    return reference


def _first_losses(model, windows, targets, n_steps=2):
    model.run_eagerly = True  # tracing takes seconds
    return [float(model.train_on_batch(windows, targets, return_dict=True)["loss"]) for _ in range(n_steps)]


def test_folds_are_those_of_stratified_k_fold(clips):
    ours = _ours(clips, "conv1d")
    labels = [LABELS.index(label) for label in ours.dataset.train["label"]]
    for fold, (_, held_out) in enumerate(StratifiedKFold(n_splits=2).split(labels, labels)):
        assert np.flatnonzero(ours.folds == fold).tolist() == held_out.tolist()


def test_raw_windows_and_the_first_steps_of_conv1d_are_the_notebooks(clips):
    ours, config = _ours(clips, "conv1d"), Config(sampling_rate=16000)
    plan, windows, targets = ours.plan, *ours.batches(0)
    theirs, their_targets = _reference(clips, config, ours, plan.clips, plan.offsets)[0]
    assert windows.shape == theirs.shape == (6, 32_000, 1)
    assert np.array_equal(targets, their_targets)
    assert np.abs(windows - theirs).max() < 1 / 32767  # of int16, over the range of a window
    reference = _with_our_weights(get_1d_conv_model(config), ours)
    losses = _first_losses(ours.model, windows, targets)
    assert np.allclose(losses, _first_losses(reference, theirs, targets), rtol=1e-4)


def test_raw_windows_of_held_out_and_test_clips_are_the_notebooks(clips):
    ours, config = _ours(clips, "conv1d"), Config(sampling_rate=16000)
    numbers = np.array([*ours.held_out, 12, 13])
    windows, offsets = _crops(ours, numbers)
    theirs, _ = _reference(clips, config, ours, numbers, offsets)[0]
    assert np.abs(windows - theirs).max() < 1 / 32767


def test_mfcc_windows_are_standardised_as_in_the_notebook_and_conv2d_makes_its_first_steps(clips):
    """By coefficient and frame position, with the training windows' values for held-out and test clips too."""
    ours, config = _ours(clips, "conv2d"), Config(sampling_rate=44100, use_mfcc=True)
    plan, windows, targets = ours.plan, *ours.batches(0)
    theirs, _ = _reference(clips, config, ours, plan.clips, plan.offsets)[0]
    assert _as_image(windows).shape == theirs.shape == (6, 40, 173, 1)
    assert np.abs(_inner(_as_image(windows) - theirs)).max() < 1e-2

    others = np.array([*ours.held_out, 12, 13])
    crops, offsets = _crops(ours, others)
    their_others, _ = _reference(clips, config, ours, others, offsets)[0]
    mean, std = np.mean(theirs, axis=0), np.std(theirs, axis=0)
    standardised = keras.Model(ours.model.input, ours.model.get_layer("standardise").output)
    for our_windows, their_windows in ((windows, theirs), (crops, their_others)):
        found = _as_image(standardised.predict_on_batch(our_windows))
        assert np.abs(_inner(found - (their_windows - mean) / std)).max() < 1e-3

    reference = _with_our_weights(get_2d_conv_model(config), ours)
    found = _as_image(standardised.predict_on_batch(windows))
    found[:, :, EDGES:-EDGES] = _inner((theirs - mean) / std)
    losses = _first_losses(ours.model, windows, targets)
    expected = _first_losses(reference, found, targets)
    assert np.isclose(losses[0], expected[0], rtol=1e-4)
    assert np.isclose(losses[1], expected[1], rtol=1e-2)  # Adam's first step multiplies what rounding leaves


@pytest.mark.slow
def test_a_fold_that_is_trained_for_an_epoch_predicts_what_the_notebook_predicts(clips, progress):
    ours, config = _ours(clips, "conv1d"), Config(sampling_rate=16000)
    reference = _with_our_weights(get_1d_conv_model(config), ours)
    x, y = _reference(clips, config, ours, ours.plan.clips, ours.plan.offsets)[0]
    losses = _first_losses(reference, x, y, n_steps=1)
    test = np.array([12, 13])
    x, _ = _reference(clips, config, ours, test, _crops(ours, test)[1])[0]
    expected = reference.predict_on_batch(x)

    dataset = _opened(clips, "conv1d", epochs=1, name="fold")
    folder = run(dataset, assign_folds(dataset, dataset.settings), [0], progress)
    assert progress.results[0]["epochs"] == 1
    assert pd.read_csv(folder.path / "history_0.csv")["loss"].tolist() == pytest.approx(losses, rel=1e-4)
    assert np.allclose(np.load(folder.path / "test_predictions_0.npy"), expected, atol=1e-4)
