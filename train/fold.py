"""One fold, from an untrained net to its predictions of every clip: train, predict, write."""

import time
from functools import partial
from typing import Any

import keras
import numpy as np

from cache.windows.randomness import clip_keys
from ensemble import PredictionsFolder
from ensemble.metrics import accuracy, map3
from train.input.augment import Augmentation
from train.input.batches import Feed, TrainingBatches
from train.input.dataset import Dataset
from train.input.statistics import measure_statistics
from train.loop import callbacks
from train.loop.checkpoint import Checkpoint, CheckpointError, State
from train.nets.build import build
from train.predict import predict
from train.progress import RunProgress
from train.recipe import Recipe
from train.seeds import net_seed


def train_fold(fold: int, dataset: Dataset, folder: PredictionsFolder, progress: RunProgress) -> dict[str, Any]:
    """Train a fold's net, or resume it, predict every clip, and write the fold into the folder.

    A fold gives the same result whatever was trained before it in this process, and however often it was stopped.

    Returns:
        What the fold's marker says.
    Raises:
        SettingsError: the loss did not stay finite; the fold is not finished then.
    """
    settings, windows, n_labels = dataset.settings, dataset.windows, len(dataset.labels)
    model_path = folder.path / f"model_{fold}.keras"
    training = np.flatnonzero((folder.folds >= 0) & (folder.folds != fold))
    held_out = np.flatnonzero(folder.folds == fold)
    verified = held_out[dataset.verified[held_out]]
    scored = verified if settings.validate_on == "verified" and len(verified) else held_out

    # what the net sees
    keys = clip_keys(dataset.train["clip"])[training]
    augmentation = Augmentation(settings, settings.seed, windows, training, keys)
    statistics = None
    if windows.kind != "raw":
        by_position = settings.standardise == "position"
        statistics = measure_statistics(windows, training, augmentation.first_offsets() if by_position else None)
    weights = np.where(dataset.verified[training], 1, settings.unverified_weight).astype(np.float32)
    batches = TrainingBatches(
        windows,
        augmentation,
        dataset.label_ids[training],
        n_labels,
        weights if (weights != 1).any() else None,
        settings.batch_size,
        None if statistics is None else statistics.fill,
    )

    # the net
    keras.backend.clear_session()
    options = {"seed": net_seed(settings.seed, fold), "quick": settings.quick, "precision": settings.precision}
    net = build(settings.model, windows.shape, n_labels, statistics, source=settings.source, **options)
    n_epochs = settings.n_epochs(settings.model, len(training))
    compile_model(net, settings, n_epochs * batches.steps)
    identity = {name: folder.config.get(name) for name in ("settings", "seed", "stores")}
    identity |= {"fold": fold, "backend": keras.backend.backend()}  # its clips are the folder's
    checkpoint = Checkpoint(folder.path / f"checkpoint_{fold}.npz", identity)
    best = model_path if settings.keep == "best" else None
    try:
        state = checkpoint.restore(net, best)
    except CheckpointError as error:
        progress.say(f"{checkpoint.path}: {error}; moved to {checkpoint.move_aside().name}, the fold begins anew")
        state = State()
    if state.epochs:
        progress.say(f"fold {fold}: resumes after epoch {state.epochs} of {n_epochs}")

    # train
    batch_size = min(settings.batch_size, len(training))  # one that there was memory for in training
    predicted = partial(
        predict, windows=windows, crops=settings.crops, batch_size=batch_size, mean=settings.crop_mean
    )
    validated = partial(predicted, clips=scored), dataset.label_ids[scored]
    every = [
        callbacks.SeedDropout(settings.seed, fold),
        callbacks.Validation(*validated, state, n_epochs, settings.validate_every, settings.patience, best),
        callbacks.ErrorOnNaN(fold, settings.learning_rate),
        callbacks.report(progress, len(training), settings.batch_size),
        *callbacks.tensorboard(folder.path / "logs" / f"fold_{fold}", resumed=state.epochs > 0),
        callbacks.SaveEpoch(state, folder.path / f"history_{fold}.csv", checkpoint),
    ]
    if state.epochs < n_epochs and not state.out_of_patience(settings.patience):
        epochs = {"steps_per_epoch": batches.steps, "initial_epoch": state.epochs, "epochs": n_epochs}
        with Feed(batches, first=state.epochs * batches.steps) as feed:
            net.fit(feed, **epochs, shuffle=False, verbose=0, callbacks=every)  # the feed has shuffled already
    if best is not None:
        net.load_weights(best)
    else:
        net.optimizer.finalize_variable_values(net.trainable_weights)  # their EMA, if there is one
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
