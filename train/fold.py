"""One fold, from an untrained net to its predictions of every clip: train, predict, write."""

import time
from functools import partial
from typing import Any

import keras
import numpy as np
import xxhash

from ensemble import PredictionsFolder
from ensemble.metrics import accuracy, map3
from train.environment import device
from train.input.augment import Augmentation
from train.input.batches import Feed, TrainingBatches
from train.input.dataset import Dataset
from train.input.randomness import clip_keys, net_seed
from train.input.resident import is_resident, resident
from train.input.statistics import measure_statistics
from train.loop import callbacks
from train.loop.checkpoint import Checkpoint, CheckpointError, State
from train.nets.build import build
from train.predict import predict
from train.progress import RunProgress
from train.recipe import Recipe


def train_fold(fold: int, dataset: Dataset, folder: PredictionsFolder, progress: RunProgress) -> dict[str, Any]:
    """Train a fold's net, or resume it, predict every clip, and write the fold into the folder.

    A fold gives the same result whatever was trained before it in this process, and however often it was stopped.

    Returns:
        What the fold's marker says.
    Raises:
        SettingsError: the loss did not stay finite; the fold is not finished then.
    """
    settings, windows, n_labels = dataset.settings, dataset.windows, len(dataset.labels)
    recipe = settings.recipe
    model_path = folder.path / f"model_{fold}.keras"
    training = np.flatnonzero((folder.folds >= 0) & (folder.folds != fold))
    held_out = np.flatnonzero(folder.folds == fold)
    verified = held_out[dataset.verified[held_out]]
    scored = verified if recipe.validate_on == "verified" and len(verified) else held_out

    # what the net sees
    keys = clip_keys(dataset.train["clip"])[training]
    augmentation = Augmentation(recipe, settings.seed, windows, training, keys)
    statistics = None
    if windows.kind != "raw":
        by_position = recipe.standardise == "position"
        statistics = measure_statistics(windows, training, augmentation.first_offsets() if by_position else None)
    weights = np.where(dataset.verified[training], 1, recipe.unverified_weight).astype(np.float32)
    batches = TrainingBatches(
        windows,
        augmentation,
        dataset.label_ids[training],
        n_labels,
        weights if (weights != 1).any() else None,
        recipe.batch_size,
        None if statistics is None else statistics.fill,
    )

    # the net, and the model that is trained: the net itself, or with windows cut in front of it
    keras.backend.clear_session()
    options = {"seed": net_seed(settings.seed, fold), "quick": settings.quick, "precision": settings.precision}
    net = build(settings.model, windows.shape, n_labels, statistics, **options)
    model, get_batch = net, batches
    if is_resident(settings.resident, windows, training, device()):
        model, get_batch = resident(net, batches)
    n_epochs = recipe.n_epochs(settings.model, len(training))
    compile_model(model, recipe, n_epochs * batches.steps)
    checkpoint = Checkpoint(folder.path / f"checkpoint_{fold}.npz", _identity(folder, fold))
    best = model_path if recipe.keep == "best" else None
    try:
        state = checkpoint.restore(net, model.optimizer, best)
    except CheckpointError as error:
        progress.say(f"{checkpoint.path}: {error}; moved to {checkpoint.move_aside().name}, the fold begins anew")
        state = State()
    if state.epochs:
        progress.say(f"fold {fold}: resumes after epoch {state.epochs} of {n_epochs}")

    # train
    batch_size = min(recipe.batch_size, len(training))  # one that there was memory for in training
    predicted = partial(predict, windows=windows, crops=recipe.crops, batch_size=batch_size, mean=recipe.crop_mean)
    scores = partial(predicted, clips=scored), dataset.label_ids[scored]
    every = [
        callbacks.SeedDropout(net, settings.seed, fold),
        callbacks.Validation(net, *scores, state, n_epochs, recipe.validate_every, recipe.patience, best),
        callbacks.ErrorOnNaN(fold, recipe.learning_rate),
        callbacks.report(progress, len(training), recipe.batch_size),
        *callbacks.tensorboard(folder.path / "logs" / f"fold_{fold}", resumed=state.epochs > 0),
        callbacks.SaveEpoch(net, state, folder.path / f"history_{fold}.csv", checkpoint),
    ]
    if state.epochs < n_epochs and not state.out_of_patience(recipe.patience):
        epochs = {"steps_per_epoch": batches.steps, "initial_epoch": state.epochs, "epochs": n_epochs}
        with Feed(get_batch, first=state.epochs * batches.steps) as feed:
            model.fit(feed, **epochs, shuffle=False, verbose=0, callbacks=every)  # the feed has shuffled already
    if best is not None:
        net.load_weights(best)
    else:
        model.optimizer.finalize_variable_values(model.trainable_weights)  # their EMA, if there is one
        callbacks.save_model(net, model_path)

    # predict
    started = time.monotonic()
    n_train = len(dataset.train)
    probabilities = predicted(net, clips=np.arange(n_train + len(dataset.test)))

    # write
    result = {
        "epochs": state.epochs,
        "kept_epoch": state.epochs if best is None else state.best_epoch,
        "seconds": round(state.seconds + time.monotonic() - started, 3),
    }
    if len(verified) < len(held_out):
        pair = probabilities[verified], dataset.label_ids[verified]
        result |= {"n_verified": len(verified), "verified_accuracy": accuracy(*pair), "verified_map3": map3(*pair)}
    marker = folder.write_fold(fold, probabilities[:n_train], probabilities[n_train:], result)
    checkpoint.remove()
    return marker


def compile_model(model: keras.Model, recipe: Recipe, n_steps: int) -> None:
    """Make a model ready to be trained by a recipe for n_steps steps in all."""
    ema = {"use_ema": True, "ema_momentum": recipe.averaging} if recipe.averaging else {}
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate(recipe, n_steps), **ema),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
        metrics=["accuracy"],
        jit_compile=keras.backend.backend() == "jax",  # on TensorFlow, XLA takes five times as long on the CPU
    )
    model.optimizer.build(model.trainable_variables)


def learning_rate(recipe: Recipe, n_steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """The step size: one number, or a rise over the warm-up and a cosine down to 0 at the last step."""
    if recipe.schedule == "constant":
        return recipe.learning_rate
    warmup = min(max(1, round(recipe.warmup * n_steps)), n_steps - 1) if recipe.warmup else 0
    rise = {"warmup_target": recipe.learning_rate, "warmup_steps": warmup} if warmup else {}
    first = recipe.learning_rate / (warmup + 1)
    return keras.optimizers.schedules.CosineDecay(first, n_steps - warmup, **rise)


def _identity(folder: PredictionsFolder, fold: int) -> dict[str, Any]:
    """What a checkpoint must have been made with."""
    clips = xxhash.xxh3_64()
    for name in ("clips_train.csv", "folds.csv"):
        clips.update((folder.path / name).read_bytes())
    return {key: folder.config.get(key) for key in ("settings", "seed", "stores", "n_parameters")} | {
        "backend": keras.backend.backend(),
        "fold": fold,
        "clips": clips.hexdigest(),
    }
