"""The tagger: every fold of the chosen nets on recordings, combined by the geometric mean, calibrated.

Its probabilities are calibrated by one temperature, which the nets' out-of-fold predictions ask for. The same
predictions say how often a probability like this one was right.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import soundfile as sf

from cache import Cache, Status
from common import EarmarkError
from common.text import listed
from ensemble import PredictionsError, open_predictions
from ensemble.calibration import fit_temperature, reliability_table, tempered, tempered_out_of_fold
from ensemble.combine import combined_oof, geometric_mean, refuse_misfits
from ensemble.metrics import best_labels
from ensemble.predictions import predictions_folders
from tag.nets import Net
from tag.recordings import Begin, RecordingsError, featurized, silent
from tag.timeline import Timeline, segments, window_starts

N_BEST = 3
_DEFAULT = Timeline()
_MOST_CHANNELS = 1024  # libsndfile's
_N_BINS = 10  # of probabilities, for how often one like it was right


def _paths(paths: Iterable[Path | str], what: str) -> list[Path]:
    """Paths from a list of them; a text alone is refused, which would be a list of its letters."""
    if isinstance(paths, str | Path):
        raise RecordingsError(f"{what} must be a list of paths, got {str(paths)!r:.100}; put it in brackets")
    return list(map(Path, paths))


@dataclass(frozen=True)
class Tagged:
    """Recordings and what they were tagged with.

    recordings: one row each: recording, seconds, problem ("" where there is none, "empty", "truncated", or why it
    failed). probabilities: float64 [n, n_labels], NaN for what failed.
    """

    recordings: pd.DataFrame
    probabilities: np.ndarray


class Tagger:
    """Tags recordings with the nets of predictions folders; made by `Tagger.open`.

    labels: in the order of the probabilities' columns. temperature: that the probabilities are calibrated by.
    left_out: predictions folders without a finished fold.

    >>> tagger = Tagger.open("work")                        # doctest: +SKIP
    >>> tagger.files(["rain.wav", "dog.mp3"])               # doctest: +SKIP
    >>> tagger(samples, sample_rate=44100)                  # doctest: +SKIP
    """

    def __init__(
        self, nets: Sequence[Net], weights: Sequence[float], calibrated: bool = True, left_out: Sequence[Path] = ()
    ):
        """nets: for one dataset. weights: of each net's folds. calibrated: whether a temperature is fitted."""
        self.nets, self.weights, self.labels = list(nets), list(weights), nets[0].folder.labels
        self.calibrated, self.left_out = calibrated, list(left_out)

    def __repr__(self) -> str:
        nets = listed(f"{net.folder.path.name} ({len(net.folder.finished)})" for net in self.nets)
        return f"Tagger({len(self.labels)} labels; folds of {nets})"

    @classmethod
    def open(
        cls,
        work: Path | str = "work",
        runs: Iterable[Path | str] = (),
        name: str = "",
        weights: Sequence[float] = (),
        calibrated: bool = True,
    ) -> "Tagger":
        """Open what was trained; the models are read when they are needed.

        Args:
            work, name: every predictions folder of WORK, or of WORK/NAME, that has a finished fold. runs: these
                folders instead.
            weights: of each folder, 0 or more, in the order of runs or of the folders' names; all equal if empty.
            calibrated: False gives the nets' own scores.
        Raises:
            PredictionsError: no folder, one that cannot be used or is of another dataset, or wrong weights.
        """
        there = _paths(runs, "runs") or predictions_folders(Path(work) / name)
        paths = [path for path in there if runs or any(path.glob("finished_*.json"))] or there
        folders = [open_predictions(path) for path in paths]
        refuse_misfits(folders)
        weights = list(weights) or [1.0] * len(paths)
        if len(weights) != len(paths) or not np.isfinite(weights).all() or min(weights) < 0 or not max(weights):
            raise PredictionsError(
                f"--weights must be {len(paths)} numbers, 0 or more and not all 0, one for each folder, got "
                f"{' '.join(f'{weight:g}' for weight in weights)}; the folders are {', '.join(map(str, paths))}"
            )
        left_out = [path for path in there if path not in paths]
        return cls([Net(folder) for folder in folders], weights, calibrated, left_out)

    @property
    def n_folds(self) -> int:
        """Finished folds of all nets."""
        return sum(len(net.folder.finished) for net in self.nets)

    @cached_property
    def temperature(self) -> float:
        """The temperature that the out-of-fold predictions ask for; 1 without calibration or such predictions."""
        return fit_temperature(*self._out_of_fold[:2]) if self.calibrated else 1.0

    def right(self, probabilities: np.ndarray) -> np.ndarray:
        """How often a first guess of such a probability was right out of fold: float64 [n], NaN if none was."""
        scored, targets, folds = self._out_of_fold
        if self.calibrated:
            scored = tempered_out_of_fold(scored, targets, folds)
        bins = np.clip(np.ceil(np.nan_to_num(probabilities) * _N_BINS).astype(int) - 1, 0, _N_BINS - 1)
        shares = reliability_table(scored, targets, _N_BINS)["accuracy"].to_numpy()
        return np.where(np.isnan(probabilities), np.nan, shares[bins])

    def files(self, paths: Iterable[Path | str]) -> pd.DataFrame:
        """Tag recordings.

        Returns:
            One row a recording: recording, seconds, label_1, probability_1, ... of the three best labels, right
            (how often the first guess was right out of fold at such a probability), problem ("" where there is
            none). A recording that failed has no labels.
        """
        return self.table(self.tagged(paths))

    def __call__(self, samples: np.ndarray, sample_rate: int) -> pd.DataFrame:
        """Tag a waveform: the one row of `files`.

        Args:
            samples: float [n_samples] or [n_samples, n_channels], full scale is 1. sample_rate: Hz.
        Raises:
            RecordingsError: samples of another type or shape, or no such sample rate.
        """
        samples = np.asarray(samples)
        n_channels = samples.shape[1] if samples.ndim == 2 else 1
        if samples.dtype.kind != "f" or samples.ndim not in (1, 2) or not 1 <= n_channels <= _MOST_CHANNELS:
            raise RecordingsError(
                "samples must be floats of full scale 1, [n_samples] or [n_samples, n_channels], got "
                f"{samples.dtype} of shape {samples.shape}; divide int16 by 32,768, and put channels last"
            )
        if sample_rate != int(sample_rate) or not 1 <= sample_rate < 2**31:
            raise RecordingsError(
                f"sample_rate must be a whole number of Hz, 1 or more, got {sample_rate}; correct it"
            )
        with TemporaryDirectory(prefix="earmark-") as folder:
            path = Path(folder, "samples.wav")
            sf.write(path, samples.astype(np.float32), int(sample_rate), subtype="FLOAT")
            return self.files([path]).drop(columns="recording")

    def tagged(self, paths: Iterable[Path | str], begin: Begin = silent) -> Tagged:
        """The probabilities of every label for recordings; begin: shows progress."""
        with ExitStack() as shown:
            cache, recordings = shown.enter_context(self._featurized(paths, begin))
            advance = shown.enter_context(begin("tag", len(recordings) * self.n_folds))

            def found() -> Iterator[tuple[float, np.ndarray]]:
                for net, weight in zip(self.nets, self.weights, strict=True):
                    for probabilities in net.predictions(net.windows(cache)):
                        yield weight / max(self.weights), probabilities
                        advance(len(recordings))

            combined = self._combined(found())
        combined[recordings["failed"]] = np.nan
        return Tagged(recordings.drop(columns="failed"), combined)

    def timeline(self, path: Path | str, settings: Timeline = _DEFAULT, begin: Begin = silent) -> pd.DataFrame:
        """What is to be heard when: begin and end (seconds), label and probability of each segment of a recording.

        Args:
            begin: shows progress.
        Raises:
            RecordingsError: the recording cannot be decoded or read. EarmarkError: a hop longer than a window.
        """
        window_s = settings.window_s or max(net.window_s for net in self.nets)
        hop_s = settings.hop_s or window_s / 2
        if hop_s > window_s:
            raise EarmarkError(
                f"--hop must be at most --window, {window_s:g} s, or parts are never heard, got {hop_s:g}"
            )
        with self._featurized([path], begin) as (cache, recordings):
            seconds, problem = recordings.loc[0, ["seconds", "problem"]]
            if recordings["failed"][0]:
                raise RecordingsError(problem)
            starts = window_starts(seconds, window_s, hop_s)
            cuts = [net.offsets(starts, window_s) for net in self.nets]
            n_folds = [len(net.folder.finished) for net in self.nets]
            total = sum(offsets.size * n for offsets, n in zip(cuts, n_folds, strict=True))
            with begin("tag", total) as advance:

                def found() -> Iterator[tuple[float, np.ndarray]]:
                    for net, offsets, weight in zip(self.nets, cuts, self.weights, strict=True):
                        for probabilities in net.predictions_at(net.windows(cache), 0, offsets.ravel(), advance):
                            by_window = probabilities.reshape(*offsets.shape, -1).mean(axis=1, dtype=np.float64)
                            yield weight / max(self.weights), by_window

                combined = self._combined(found())
        return segments(combined, self.labels, starts, seconds, window_s, hop_s, settings)

    def table(self, tagged: Tagged) -> pd.DataFrame:
        """The three best labels of each recording, as `files` gives them."""
        probabilities = tagged.probabilities
        failed = np.isnan(probabilities).any(axis=1)
        best = best_labels(np.nan_to_num(probabilities), N_BEST)
        columns = {"recording": tagged.recordings["recording"], "seconds": tagged.recordings["seconds"]}
        for rank in range(best.shape[1]):
            labels = np.array(self.labels, object)[best[:, rank]]
            columns[f"label_{rank + 1}"] = np.where(failed, "", labels)
            columns[f"probability_{rank + 1}"] = probabilities[np.arange(len(best)), best[:, rank]]
        columns["right"] = self.right(columns["probability_1"])
        return pd.DataFrame(columns).assign(problem=tagged.recordings["problem"])

    @contextmanager
    def _featurized(self, paths: Iterable[Path | str], begin: Begin) -> Iterator[tuple[Cache, pd.DataFrame]]:
        """The cache of recordings, and its recordings: recording, seconds, problem, failed (bool)."""
        paths = list(dict.fromkeys(_paths(paths, "paths")))
        specifications = list({net.specification.name: net.specification for net in self.nets}.values())
        with TemporaryDirectory(prefix="earmark-") as folder:
            cache, reasons = featurized(paths, specifications, Path(folder), begin)
            plan = cache.plan.iloc[cache.clips["slot"]]
            status = cache.store(specifications[0].name).status[cache.clips["slot"]]
            words = {Status.EMPTY: "empty", Status.TRUNCATED: "truncated"}
            recordings = pd.DataFrame(
                {
                    "recording": cache.clips["clip"].astype(str),
                    "seconds": (plan["native_samples"] / plan["native_rate"].clip(lower=1)).to_numpy().round(3),
                    "problem": [reasons.get(row) or words.get(found, "") for row, found in enumerate(status)],
                    "failed": [row in reasons for row in range(len(status))],
                }
            )
            yield cache, recordings

    def _combined(self, found: Iterable[tuple[float, np.ndarray]]) -> np.ndarray:
        combined = geometric_mean(found)
        combined /= combined.sum(axis=1, keepdims=True)
        return tempered(combined, self.temperature) if self.calibrated else combined

    @cached_property
    def _out_of_fold(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Probabilities, label ids and folds of the clips that every folder predicts out of fold."""
        folders = [net.folder for net in self.nets]
        probabilities = combined_oof(folders, self.weights)
        scored = ~np.isnan(probabilities).any(axis=1)
        probabilities = probabilities[scored]
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        return probabilities, folders[0].labels_index[scored], folders[0].folds[scored]
