"""All folds of a run: makes or opens the predictions folder, trains what is missing, keeps what is finished."""

import textwrap
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import keras
import numpy as np

from cache import open_cache
from common.files import write_atomic
from common.text import listed
from ensemble import PredictionsFolder, create_predictions, move_aside
from train.environment import git_revision, versions
from train.fold import train_fold
from train.input.dataset import Dataset, open_dataset
from train.loop.callbacks import has_tensorboard
from train.nets import short_name
from train.nets.build import build, n_parameters
from train.nets.check import check
from train.progress import RunProgress
from train.settings import Settings, config_of
from train.split import assign_folds, missing_labels

_WIDTH = 80 - len("train: ")  # columns of a remark
TrainFolds = Callable[[Dataset, PredictionsFolder, list[int], RunProgress], Iterator[dict[str, Any]]]
"""Trains folds of a dataset into a folder, and yields what each fold's marker says."""


def train_here(
    dataset: Dataset, folder: PredictionsFolder, folds: list[int], progress: RunProgress, wait_s: float = 0
) -> Iterator[dict[str, Any]]:
    """Train folds in this process, one after another; wait_s: for another process to release a fold."""
    for number, fold in enumerate(folds):
        n_clips = int(np.sum((folder.folds >= 0) & (folder.folds != fold)))
        n_epochs = dataset.settings.n_epochs(dataset.settings.model, n_clips)
        progress.begin_fold(fold, len(folds) - number, n_epochs, n_clips)
        with folder.holding(fold, wait_s):
            if fold in folder.finished:
                progress.say(f"{folder.path}: fold {fold} was finished by another process meanwhile, and is kept")
            else:
                yield train_fold(fold, dataset, folder, progress)


def run(
    dataset: Dataset,
    folds: np.ndarray,
    chosen: list[int],
    progress: RunProgress,
    train_folds: TrainFolds = train_here,
) -> PredictionsFolder:
    """Train the chosen folds that are not finished yet; returns their predictions folder.

    Args:
        folds: int64 [n_train], the fold of each training clip, -1 for none.
        train_folds: how: here, or on a cluster.
    Raises:
        SettingsError: the loss did not stay finite. NetError: a user's own net that cannot be used.
        PredictionsError: the folder is there for other settings, clips or labels, or another process trains the
            fold.
    """
    settings, path = dataset.settings, dataset.settings.predictions_path
    options = {"quick": settings.quick, "precision": settings.precision, "source": settings.source}
    net = build(settings.model, dataset.windows.shape, len(dataset.labels), **options)
    if settings.source is not None:
        check(net, settings.model)
    if settings.force and path.exists():
        progress.say(f"{path}: moved to {move_aside(path)}")
    folder = _open_folder(dataset, folds, n_parameters(net))
    write_atomic(path / "settings.toml", config_of(settings).encode(errors="backslashreplace"))
    progress.begun = True
    for remark in _remarks(dataset, folds, chosen):
        for line in textwrap.wrap(remark, _WIDTH, subsequent_indent="    ", break_on_hyphens=False):
            progress.say(line)
    finished = folder.finished
    if kept := [fold for fold in chosen if fold in finished]:
        progress.say(f"{path}: already finished and kept: fold{'s' * (len(kept) > 1)} {listed(kept, 100)}")
    for result in train_folds(dataset, folder, [fold for fold in chosen if fold not in finished], progress):
        progress.end_fold(result)
    return folder


def train_fold_of(settings: Settings, fold: int, progress: RunProgress, wait_s: float = 0) -> dict[str, Any]:
    """Train one fold from settings alone, as `python -m train --fold` does; what its marker says."""
    dataset = open_dataset(open_cache(settings.cache_path), settings)
    folds = assign_folds(dataset, settings)
    return run(dataset, folds, [fold], progress, partial(train_here, wait_s=wait_s)).result(fold)


def _open_folder(dataset: Dataset, folds: np.ndarray, n_parameters: int) -> PredictionsFolder:
    settings, store = dataset.settings, dataset.windows.store
    test = dataset.test.reindex(columns=["clip", "label", "usage"], fill_value="")
    return create_predictions(
        settings.predictions_path,
        labels=dataset.labels,
        clips_train=dataset.train.rename(columns={"clip": "fname"})[["fname", "label"]],
        clips_test=test.rename(columns={"clip": "fname"}),
        folds=folds,
        reasons=dataset.reasons,
        config={
            "model": short_name(settings.model),
            "n_parameters": n_parameters,
            "n_folds": int(folds.max()) + 1,
            "settings": settings.binding(),
            "seed": settings.seed,
            "stores": [store.identity],
            "versions": versions(keras.backend.backend()),
            "git_revision": git_revision(),
        },
    )


def _remarks(dataset: Dataset, folds: np.ndarray, chosen: list[int]) -> Iterator[str]:
    """What the user should know of the clips before training starts."""
    train, silent = dataset.train["clip"], dataset.silent_tests
    for reason in dataset.reasons[~dataset.usable].unique():
        clips = train[dataset.reasons == reason]
        yield f"{len(clips)} of {len(train)} training clips are {reason}, in no fold: {listed(clips, 5)}"
    if silent:
        yield f"{len(silent)} of {len(dataset.test)} test clips are predicted from silence: {listed(silent, 5)}"
    for fold, label, n_clips in missing_labels(dataset, folds):
        if fold in chosen:
            yield (
                f"fold {fold}: label {label!r} has no clip to train on, all {n_clips} of it are held out, so this "
                "fold cannot predict it"
            )
    if not has_tensorboard():
        yield "TensorBoard is not installed, so no logs are written"
