"""All folds of a run: opens or continues the predictions folder, trains what is missing, keeps what is finished."""

from dataclasses import replace

import keras
import numpy as np

from cache import Store
from ensemble import PredictionsFolder, create_predictions, move_aside
from ensemble.files import read_json
from train.callbacks import has_tensorboard
from train.dataset import Dataset
from train.fit import fit_fold
from train.folds import missing_labels
from train.nets import DUMMIES, NETS, build, n_parameters
from train.order import fitting_order
from train.progress import RunProgress
from train.provenance import git_revision, versions
from train.settings import Settings, SettingsError
from train.workshop import Workshop

_NAMED = 5  # clips that a line names at most


def run(
    settings: Settings,
    dataset: Dataset,
    folds: np.ndarray,
    chosen: list[int],
    progress: RunProgress,
    wait_s: float = 0,
) -> PredictionsFolder:
    """Train the chosen folds that are not finished yet.

    Args:
        settings: checked.
        folds: int64 [n_train], the fold of each training clip, -1 for none.
        chosen: the folds to train, unless they are finished.
        wait_s: how long to wait for another process to let go of a fold.
    Returns:
        The predictions folder.
    Raises:
        SettingsError: the loss did not stay finite.
        PredictionsError: the folder is there for other settings, clips or labels, or another process trains the
            fold.
    """
    if settings.force and settings.predictions_path.exists():
        progress.say(f"{settings.predictions_path}: moved to {move_aside(settings.predictions_path)}")
    settings = _with_order(settings, dataset)
    if settings.order == "blocks":
        progress.say(f"{dataset.windows.store.name}: clips are taken in blocks of chunks, read one after another")
    folder = _open_folder(settings, dataset, folds)
    progress.begin_run()
    for line in _remarks(dataset, folds, chosen):
        progress.say(line)

    done = set(folder.finished)
    if finished := [fold for fold in chosen if fold in done]:
        progress.say(f"{folder.path}: already finished and kept: {_listed('fold', finished)}")
    todo = [fold for fold in chosen if fold not in done]
    if settings.scheduler is None:
        _train_here(settings, dataset, folder, todo, progress, wait_s)
    else:
        _train_there(settings, folder, todo, progress)
    return folder


def _train_here(
    settings: Settings,
    dataset: Dataset,
    folder: PredictionsFolder,
    todo: list[int],
    progress: RunProgress,
    wait_s: float,
) -> None:
    workshop = Workshop()
    for number, fold in enumerate(todo):
        n_clips = int(np.sum((folder.folds >= 0) & (folder.folds != fold)))
        n_epochs = settings.recipe.n_epochs(settings.model, n_clips)
        progress.begin_fold(fold, len(todo) - number, n_epochs, n_clips)
        with folder.holding(fold, wait_s):
            if fold in folder.finished:
                progress.say(f"{folder.path}: finished meanwhile by another process and kept: fold {fold}")
            else:
                progress.end_fold(fit_fold(fold, dataset, settings, folder, progress, workshop))


def _train_there(settings: Settings, folder: PredictionsFolder, todo: list[int], progress: RunProgress) -> None:
    from train.cluster import connected, train_on_cluster  # imported here, as distributed is an extra

    with connected(settings.scheduler) as client:
        for result in train_on_cluster(client, settings, todo):
            if result["fold"] not in folder.finished:
                raise SettingsError(
                    f"{folder.path}: folder must be seen by the cluster's workers, got one that wrote fold "
                    f"{result['fold']} elsewhere; give --work a folder that all machines share"
                )
            progress.end_fold(result)


def _with_order(settings: Settings, dataset: Dataset) -> Settings:
    """Settings whose order is decided: that which the folder was begun with, or by the store's size."""
    if settings.order != "auto":
        return settings
    config = settings.predictions_path / "config.json"
    begun = (read_json(config).get("settings") or {}).get("order") if config.is_file() else None
    return replace(settings, order=begun or fitting_order(dataset.windows.n_bytes))


def _open_folder(settings: Settings, dataset: Dataset, folds: np.ndarray) -> PredictionsFolder:
    net = (DUMMIES if settings.quick else NETS)[settings.model]
    model = build(net, dataset.windows.shape, len(dataset.labels))
    store = dataset.windows.store
    return create_predictions(
        settings.predictions_path,
        labels=dataset.labels,
        clips_train=dataset.train.rename(columns={"clip": "fname"})[["fname", "label"]],
        clips_test=dataset.test.rename(columns={"clip": "fname"})[["fname"]],
        folds=folds,
        reasons=dataset.reasons,
        config={
            "model": settings.model,
            "n_parameters": n_parameters(model),
            "n_folds": int(folds.max()) + 1,
            "settings": settings.binding() | _of_store(store),
            "seed": settings.seed,
            "stores": [store.identity],
            "versions": versions(keras.backend.backend()),
            "git_revision": git_revision(),
        },
    )


def _of_store(store: Store) -> dict[str, int]:
    """The numbers of the store that the settings left open."""
    specification = store.specification
    if specification.kind == "raw":
        return {"sr": specification.sample_rate}
    bands = {"logmel": specification.n_mels} if specification.kind == "logmel" else {}
    return {"mfcc_sr": specification.sample_rate, **bands}


def _remarks(dataset: Dataset, folds: np.ndarray, chosen: list[int]) -> list[str]:
    """What the user should know of the clips before training starts."""
    lines = []
    for reason in dataset.reasons[~dataset.usable].unique():
        clips = dataset.train["clip"][dataset.reasons == reason].tolist()
        lines.append(f"{len(clips)} of {len(dataset.train)} training clips are {reason}, in no fold: {_few(clips)}")
    if silent := dataset.silent_tests:
        lines.append(
            f"{len(silent)} of {len(dataset.test)} test clips are empty or failed, predicted from silence: "
            f"{_few(silent)}"
        )
    for fold, label, n_clips in missing_labels(dataset, folds):
        if fold in chosen:
            lines.append(
                f"fold {fold}: label {label!r} has no clip to train on, all {n_clips} of it are held out, so this "
                "fold cannot predict it"
            )
    if not has_tensorboard():
        lines.append("TensorBoard is not installed, so no logs are written")
    return lines


def _few(clips: list[str]) -> str:
    return ", ".join(clips[:_NAMED]) + (", ..." if len(clips) > _NAMED else "")


def _listed(what: str, numbers: list[int]) -> str:
    return f"{what}{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
