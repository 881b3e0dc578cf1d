"""One fold, from an untrained net to its predictions of every clip."""

import time
from functools import partial

import keras
import numpy as np

from ensemble import PredictionsFolder
from train import callbacks
from train.batches import TrainingBatches
from train.dataset import Dataset
from train.draws import net_seed
from train.feed import Epochs
from train.moments import measure_moments
from train.nets import DUMMIES, NETS, build
from train.predict import predict
from train.progress import RunProgress
from train.settings import Settings


def fit_fold(
    fold: int, dataset: Dataset, settings: Settings, folder: PredictionsFolder, progress: RunProgress
) -> dict:
    """Train a fold's net, predict every clip with its best weights, and write the fold into the folder.

    Returns:
        What the fold's marker says.
    Raises:
        SettingsError: the loss did not stay finite; the fold is not finished then.
    """
    started = time.monotonic()
    windows, targets = dataset.windows, dataset.targets
    train = np.flatnonzero((folder.folds >= 0) & (folder.folds != fold))
    held_out = np.flatnonzero(folder.folds == fold)

    # a fold gives the same result whatever was trained before it in this process
    keras.backend.clear_session()
    keras.utils.set_random_seed(net_seed(settings.seed, fold))
    moments = measure_moments(windows, train) if settings.net.kind == "mfcc" else None
    net = (DUMMIES if settings.quick else NETS)[settings.model]
    model = build(net, windows.shape, len(dataset.labels), settings.learning_rate, moments)

    names = dataset.train["clip"].iloc[train]
    batches = TrainingBatches(
        windows, train, names, targets[train], len(dataset.labels), settings.batch_size, settings.seed
    )
    predict_clips = partial(predict, windows=windows, crops=settings.crops, batch_size=settings.batch_size)

    best = folder.path / f"model_{fold}.keras"
    hooks = [
        callbacks.Validation(partial(predict_clips, clips=held_out), targets[held_out]),
        callbacks.StopAtNan(fold, settings.learning_rate),
        keras.callbacks.ModelCheckpoint(best, monitor="val_loss", mode="min", save_best_only=True),
        keras.callbacks.EarlyStopping(monitor="val_loss", mode="min", patience=settings.patience),
        callbacks.History(folder.path / f"history_{fold}.csv"),
        callbacks.Report(progress, len(train), settings.batch_size),
        *callbacks.tensorboard(folder.path / "logs" / f"fold_{fold}"),
    ]
    with Epochs(batches) as feed:
        history = model.fit(
            feed,
            steps_per_epoch=batches.steps,
            epochs=settings.n_epochs,
            callbacks=hooks,
            shuffle=False,  # the batches are shuffled already
            verbose=0,
        ).history

    model = keras.saving.load_model(best, safe_mode=True)
    probabilities = predict_clips(model, clips=np.arange(len(dataset.train) + len(dataset.test)))
    result = {
        "epochs": len(history["val_loss"]),
        "best_epoch": int(np.argmin(history["val_loss"])) + 1,
        "seconds": round(time.monotonic() - started, 3),
    }
    return folder.write_fold(fold, *np.split(probabilities, [len(dataset.train)]), result=result)
