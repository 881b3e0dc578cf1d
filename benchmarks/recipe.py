"""What each part of the default recipe is worth: the default less one part at a time, out-of-fold.

    python benchmarks/recipe.py [--nets conv1d conv2d] [--seeds 2] [--folds 5] [--fold I ...] [--epochs N]
                                [--parts PART ...] [--work FOLDER] [--data FOLDER] [--group-by COLUMN]

Every row is trained by the command's own code: a run of its own below --work, for each seed. What is finished
there is kept, and a fold that was broken off goes on, so that the same command can be given again until the table
is whole, and other nets, seeds and parts be added later. `results.csv` there has a row for each run. All of it
takes days on two cores; `--fold 0 3` measures every part on two of the folds.

The scores are over all clips of the folds; a difference is to the default of the same seed and folds. With 320
clips its standard error is about two points for one seed, so read several together. The loss, the clips' mean
cross-entropy, is less a matter of luck, but what makes a net more or less sure of itself (mixup, label smoothing)
changes it too. What only changes how a trained net is asked (crops, their mean) is measured on the default's own
models.
"""

import argparse
import dataclasses
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)  # this folder's own names would hide the packages

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pandas as pd

from benchmarks.ratios import header, table
from benchmarks.recordings import recordings
from cache import LogmelSpecification, MfccSpecification, RawSpecification, open_cache
from cache.storage import LocalStorage
from ensemble import PredictionsFolder
from ensemble.metrics import accuracy, map3
from featurize.datasets import read_dataset
from featurize.run import run as featurize
from featurize.settings import Options
from train.input.dataset import Dataset, open_dataset
from train.loop.callbacks import cross_entropy
from train.nets import NETS
from train.predict import predict
from train.progress import RunProgress
from train.recipe import recipe_for
from train.run import run
from train.settings import settings_for
from train.split import assign_folds, chosen_folds

# a part's name, and the fields that it replaces in the default
PARTS: dict[str, dict] = {
    "default": {},
    "windows drawn once": {"windows": "once"},
    "no mixup": {"mixup": 0.0},
    "time masks": {"time_mask": 0.1},
    "no band masks": {"band_mask": 0.0},
    "no gain": {"gain": 0.0},
    "no polarity": {"polarity": False},
    "no label smoothing": {"label_smoothing": 0.0},
    "no averaged weights": {"averaging": 0.0},
    "no warm-up": {"warmup": 0.0},
    "constant step size": {"schedule": "constant"},
    "statistics by position": {"standardise": "position"},
    "windows of 2 s": {"seconds": 2.0},
    "windows of 4 s": {"seconds": 4.0},
    "batches of 32": {"batch_size": 32},
    "step size of 1e-3": {"learning_rate": 1e-3},
    "step size of 3e-3": {"learning_rate": 3e-3},
    "50 epochs": {"epochs": 50},
    "100 epochs": {"epochs": 100},
    "150 epochs": {"epochs": 150},
    "200 epochs": {"epochs": 200},
    "MFCC": {"features": "mfcc"},
    "one crop": {"crops": 1},
    "arithmetic mean of crops": {"crop_mean": "arithmetic"},
    "notebook's recipe": {"preset": "notebook"},
}
_ASKED_ONLY = {"crops", "crop_mean"}
_OF_KIND = {"no band masks": ("logmel",), "no polarity": ("raw",), "statistics by position": ("mfcc", "logmel")}
_FIRST_SEED = 1001  # the command's own
_N_TRAINED = 256  # clips of a fold of the real recordings
_COLUMNS = ("net", "part", "seed", "folds", "clips", "accuracy", "map3", "loss", "seconds")
_RUN = ["net", "part", "seed", "folds"]  # what a row is known by


class Ablation:
    """Runs of many recipes over one cache."""

    def __init__(self, work: Path, cache: Path, chosen: list[int], **values):
        """chosen: folds to measure on. values: settings that all runs share."""
        self.progress, self._chosen = RunProgress(sys.stderr), chosen
        self._values = {"cache": str(cache), "work": work, "fold": tuple(chosen), **values}

    def measure(self, net: str, part: str, seed: int) -> dict:
        """The row of a run, after training what of it is missing."""
        changes = PARTS[part]
        if changes and changes.keys() <= _ASKED_ONLY:
            folder, oof = self._asked_again(net, changes, seed)
        else:
            folder = self._trained(self._dataset(net, part, seed))
            oof = folder.oof()
        rows = np.isin(folder.folds, self._chosen)
        scored = oof[rows], folder.labels_index[rows]
        seconds = sum(folder.result(fold)["seconds"] for fold in self._chosen)
        scores = (score(*scored) for score in (accuracy, map3, cross_entropy))
        values = net, part, seed, named(self._chosen), int(rows.sum()), *scores, seconds
        return dict(zip(_COLUMNS, values, strict=True))

    def _dataset(self, net: str, part: str, seed: int) -> Dataset:
        values = {**self._values, **PARTS[part], "seed": seed}
        settings = settings_for(net, name=f"{part.replace(' ', '-')}-{seed}", **values)
        return open_dataset(open_cache(settings.cache_path), settings)

    def _trained(self, dataset: Dataset) -> PredictionsFolder:
        folds = assign_folds(dataset, dataset.settings)
        self.progress.say(str(dataset.settings.predictions_path))
        with self.progress:
            return run(dataset, folds, chosen_folds(dataset.settings, folds), self.progress)

    def _asked_again(self, net: str, changes: dict, seed: int) -> tuple[PredictionsFolder, np.ndarray]:
        dataset = self._dataset(net, "default", seed)
        folder, recipe = self._trained(dataset), dataclasses.replace(dataset.settings.recipe, **changes)
        oof = np.full((len(folder.clips_train), len(folder.labels)), np.nan)
        for fold in self._chosen:
            clips = np.flatnonzero(folder.folds == fold)
            model = keras.saving.load_model(folder.path / f"model_{fold}.keras")
            oof[clips] = predict(model, dataset.windows, clips, recipe.crops, recipe.batch_size, recipe.crop_mean)
        return folder, oof


def parts_of(net: str, wanted: list[str]) -> list[str]:
    """The parts that change something for a net, the default first."""
    kinds = NETS[net].kinds
    own = "logmel" if "logmel" in kinds else kinds[0]
    fitting = [part for part in PARTS if own in _OF_KIND.get(part, (own,))]
    fitting = [part for part in fitting if PARTS[part].get("features", own) in kinds]
    recipe = recipe_for("default", net)
    default = vars(recipe) | {"epochs": recipe.n_epochs(net, _N_TRAINED)}
    fitting = [part for part in fitting if not PARTS[part] or not PARTS[part].items() <= default.items()]
    return [part for part in fitting if part == "default" or not wanted or part in wanted]


def named(folds: list[int]) -> str:
    """Folds as `results.csv` has them."""
    return " ".join(map(str, folds))


def rows_of(results: pd.DataFrame, net: str) -> list[tuple[str, ...]]:
    """Rows of the table: the mean over seeds, and the difference to the default of the same seeds."""
    runs = results[results["net"] == net].set_index(["part", "seed"])
    rows = []
    for part in runs.index.get_level_values("part").unique():
        own, default = runs.loc[part], runs.loc["default"]
        differences = (own["accuracy"] - default["accuracy"]).dropna()
        spread = f"{100 * differences.std(ddof=1):.1f}" if len(differences) > 1 else "-"
        rows.append(
            (
                part,
                f"{own.accuracy.mean():.4f}",
                f"{own.map3.mean():.4f}",
                f"{own.loss.mean():.3f}",
                f"{100 * differences.mean():+.1f}",
                spread,
                f"{len(own)}",
                f"{own.seconds.mean() / 60:.1f}",
            )
        )
    return rows


def keep(path: Path, row: dict) -> pd.DataFrame:
    """Put a row into the results, in place of one of the same run."""
    old = pd.read_csv(path, dtype={"folds": str}) if path.exists() else pd.DataFrame(columns=list(_COLUMNS))
    same = (old[_RUN] == [row[column] for column in _RUN]).all(axis=1)
    frames = [frame for frame in (old[~same], pd.DataFrame([row])) if len(frame)]
    results = pd.concat(frames, ignore_index=True)
    results.to_csv(path, index=False)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", default=["conv1d", "conv2d"], choices=list(NETS))
    parser.add_argument("--seeds", type=int, default=2, help="seeds, 1001 and up (default: 2)")
    parser.add_argument("--folds", type=int, default=5, help="folds (default: 5)")
    parser.add_argument("--fold", type=int, nargs="+", metavar="I", help="only these folds (default: all)")
    parser.add_argument("--epochs", type=int, help="epochs of a fold (default: the recipe's)")
    parser.add_argument("--parts", nargs="+", default=[], choices=list(PARTS), help="only these (default: all)")
    parser.add_argument("--work", type=Path, default=Path("work/recipe"), help="(default: work/recipe)")
    parser.add_argument("--data", type=Path, help="a dataset of yours in place of the real recordings of ../shared")
    parser.add_argument("--group-by", help="(default: freesound_id; with --data none)")
    arguments = parser.parse_args()
    group_by = arguments.group_by or (None if arguments.data else "freesound_id")
    made = arguments.work / "data"
    data = arguments.data or (made if (made / "train.csv").exists() else recordings(None, arguments.work, 400))
    specifications = RawSpecification(), MfccSpecification(), LogmelSpecification()
    cache = LocalStorage(arguments.work / "cache")
    featurize(read_dataset(LocalStorage(data)), cache, specifications, Options(jobs=2))
    epochs = {} if arguments.epochs is None else {"epochs": arguments.epochs}
    chosen = sorted(set(arguments.fold or range(arguments.folds)))
    values = {"folds": arguments.folds, "group_by": group_by, **epochs}
    ablation = Ablation(arguments.work, arguments.work / "cache", chosen, **values)
    for seed in range(_FIRST_SEED, _FIRST_SEED + arguments.seeds):
        for net in arguments.nets:
            for part in parts_of(net, arguments.parts):
                results = keep(arguments.work / "results.csv", ablation.measure(net, part, seed))
    print(header("keras", "tensorflow", "numpy"))
    results = results[results["folds"] == named(chosen)]
    heads = ["", "OOF accuracy", "OOF MAP@3", "OOF loss", "to the default", "+-", "seeds", "minutes"]
    for net in arguments.nets:
        clips = f"folds {named(chosen)}, differences in points of accuracy"
        print(table(f"{net}: the default recipe less one part at a time ({clips})", heads, rows_of(results, net)))


if __name__ == "__main__":
    main()
