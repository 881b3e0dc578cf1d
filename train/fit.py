"""One fold, from an untrained net to its predictions of every clip."""

import time
from functools import partial
from typing import Any

import keras
import numpy as np
import xxhash

from ensemble import PredictionsFolder
from ensemble.metrics import accuracy, map3
from train import callbacks
from train.batches import TrainingBatches
from train.checkpoint import Checkpoint
from train.dataset import Dataset
from train.device import device
from train.draws import clip_keys, net_seed
from train.feed import Epochs
from train.moments import Moments, measure_moments
from train.predict import predict
from train.progress import RunProgress
from train.resident import CutWindows, ResidentBatches, ResidentStore, is_resident, resident_model
from train.settings import Settings
from train.standing import Standing
from train.steps import compile_model
from train.views import TrainingViews
from train.workshop import Workshop


def fit_fold(
    fold: int,
    dataset: Dataset,
    settings: Settings,
    folder: PredictionsFolder,
    progress: RunProgress,
    workshop: Workshop | None = None,
) -> dict:
    """Train a fold's net, or go on with it, predict every clip, and write the fold into the folder.

    A fold gives the same result whatever was trained before it in this process.

    Args:
        workshop: that of the folds before it.
    Returns:
        What the fold's marker says.
    Raises:
        SettingsError: the loss did not stay finite; the fold is not finished then.
    """
    return _Fold(fold, dataset, settings, folder, progress, workshop or Workshop()).finish()


class _Fold:
    """A fold at work."""

    def __init__(
        self,
        fold: int,
        dataset: Dataset,
        settings: Settings,
        folder: PredictionsFolder,
        progress: RunProgress,
        workshop: Workshop,
    ):
        self.workshop = workshop
        self.fold, self.dataset, self.settings = fold, dataset, settings
        self.folder, self.progress, self.recipe = folder, progress, settings.recipe
        self.train = np.flatnonzero((folder.folds >= 0) & (folder.folds != fold))
        self.held_out = np.flatnonzero(folder.folds == fold)
        self.n_epochs = self.recipe.n_epochs(settings.model, len(self.train))
        self.checkpoint = Checkpoint(folder.path / f"checkpoint_{fold}.npz", _identity(folder, fold))
        self.model_path = folder.path / f"model_{fold}.keras"

    def finish(self) -> dict:
        """Train, predict, write."""
        moments = self._moments()
        batches = self._batches(moments)
        net, model, batches = self._models(moments, batches)
        standing = self.checkpoint.restore(net, model.optimizer)
        if standing.epochs:
            self.progress.say(f"fold {self.fold}: goes on after epoch {standing.epochs} of {self.n_epochs}")
        if standing.epochs < self.n_epochs and not standing.out_of_patience(self.recipe.patience):
            self._fit(model, net, batches, standing)
        started = time.monotonic()
        net = self._kept(model, net)
        probabilities = self._predict(net, clips=np.arange(len(self.dataset.train) + len(self.dataset.test)))
        standing.seconds += time.monotonic() - started
        result = self.folder.write_fold(
            self.fold,
            *np.split(probabilities, [len(self.dataset.train)]),
            result=self._result(standing, probabilities),
        )
        self.checkpoint.remove()
        return result

    def _moments(self) -> Moments | None:
        if self.settings.kind == "raw":
            return None
        moments = measure_moments(self.dataset.windows, self.train)
        return moments.whole if self.recipe.standardise == "whole" else moments

    def _batches(self, moments: Moments | None) -> TrainingBatches:
        windows, dataset = self.dataset.windows, self.dataset
        keys = clip_keys(dataset.train["clip"])[self.train]
        views = TrainingViews(
            self.recipe,
            self.settings.seed,
            self.train,
            keys,
            windows.lengths[self.train],
            windows.shape,
            windows.kind,
            windows.chunks[self.train] if self.settings.order == "blocks" else None,
        )
        weights = np.where(dataset.verified[self.train], 1, self.recipe.unverified_weight).astype(np.float32)
        return TrainingBatches(
            windows,
            views,
            dataset.targets[self.train],
            len(dataset.labels),
            weights if (weights != 1).any() else None,
            self.recipe.batch_size,
            _fill(moments),
        )

    def _models(
        self, moments: Moments | None, batches: TrainingBatches
    ) -> tuple[keras.Model, keras.Model, TrainingBatches | ResidentBatches]:
        """The net, the model that is trained, and its batches: those given, or some that are cut on the device."""
        windows, n_steps = self.dataset.windows, self.n_epochs * batches.steps
        seed = net_seed(self.settings.seed, self.fold)
        net = self.workshop.net(self.settings, windows.shape, len(self.dataset.labels), moments, seed)
        if not is_resident(self.settings.resident, windows.n_bytes, device()):
            net = self.workshop.compiled(net, self.settings, n_steps)
            return net, net, batches
        store = ResidentStore.of(windows, self.train)
        planned = ResidentBatches(batches, windows, store)
        model = resident_model(net, CutWindows(windows, store, _fill(moments)), planned(0)[0])
        compile_model(model, self.recipe, n_steps)
        return net, model, planned

    def _fit(
        self,
        model: keras.Model,
        net: keras.Model,
        batches: TrainingBatches | ResidentBatches,
        standing: Standing,
    ) -> None:
        with Epochs(batches, first=standing.epochs * batches.steps) as feed:
            model.fit(
                feed,
                steps_per_epoch=batches.steps,
                initial_epoch=standing.epochs,
                epochs=self.n_epochs,
                callbacks=self._callbacks(net, standing),
                shuffle=False,  # the batches are shuffled already
                verbose=0,
            )

    def _callbacks(self, net: keras.Model, standing: Standing) -> list[keras.callbacks.Callback]:
        judged, folder, recipe = self._judged(), self.folder.path, self.recipe
        best = self.model_path if recipe.keep == "best" else None
        judge = partial(self._predict, clips=judged)
        targets = self.dataset.targets[judged]
        return [
            callbacks.Dropouts(net, self.settings.seed, self.fold),
            callbacks.Validation(net, judge, targets, standing, recipe.validate_every, self.n_epochs, best),
            callbacks.StopAtNan(self.fold, recipe.learning_rate),
            callbacks.Patience(standing, recipe.patience),
            callbacks.Report(self.progress, len(self.train), recipe.batch_size),
            *callbacks.tensorboard(folder / "logs" / f"fold_{self.fold}", goes_on=standing.epochs > 0),
            callbacks.Progress(net, standing, folder / f"history_{self.fold}.csv", self.checkpoint),
        ]

    def _judged(self) -> np.ndarray:
        """The clips that validation scores."""
        verified = self._verified() if self.recipe.validate_on == "verified" else []
        return verified if len(verified) else self.held_out

    def _verified(self) -> np.ndarray:
        return self.held_out[self.dataset.verified[self.held_out]]

    def _kept(self, model: keras.Model, net: keras.Model) -> keras.Model:
        """The net that predicts, saved."""
        if self.recipe.keep == "best":
            net.load_weights(self.model_path)
            return net
        model.optimizer.finalize_variable_values(model.trainable_weights)  # the averaged ones, if there are any
        callbacks.save_model(net, self.model_path)
        return net

    def _predict(self, model: keras.Model, clips: np.ndarray) -> np.ndarray:
        recipe = self.recipe
        batch_size = min(recipe.batch_size, len(self.train))  # one that there was memory for in training
        return predict(model, self.dataset.windows, clips, recipe.crops, batch_size, recipe.crop_mean)

    def _result(self, standing: Standing, probabilities: np.ndarray) -> dict[str, Any]:
        result = {
            "epochs": standing.epochs,
            "kept_epoch": standing.best_epoch if self.recipe.keep == "best" else standing.epochs,
            "seconds": round(standing.seconds, 3),
        }
        verified = self._verified()
        if len(verified) == len(self.held_out):
            return result
        scored = probabilities[verified], self.dataset.targets[verified]
        return result | {
            "n_verified": len(verified),
            "verified_accuracy": accuracy(*scored),
            "verified_map3": map3(*scored),
        }


def _fill(moments: Moments | None) -> np.ndarray | None:
    """The frame that masks put in; waveforms need none."""
    return None if moments is None else moments.mean.astype(np.float32)


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
