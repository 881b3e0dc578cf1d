"""A trained net: what it was trained on, and its models, one for each finished fold."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import keras
import numpy as np

from cache import Cache
from cache.specification import Specification, from_dict
from cache.windows.cut import FrameWindows, RawWindows, Windows, plain_plan, window_length
from ensemble import PredictionsError, PredictionsFolder
from train.input.batches import Prefetch
from train.predict import predict

_BATCH = 32  # windows
_MAPS = 16  # chunks that are mapped at a time, some hundred MB: a recording is read from begin to end


@dataclass(frozen=True)
class Net:
    """The net of a predictions folder."""

    folder: PredictionsFolder

    @cached_property
    def specification(self) -> Specification:
        """Of the features that it reads.

        Raises:
            PredictionsError: the folder does not say.
        """
        try:
            return from_dict(self.folder.config["stores"][0]["specification"])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise PredictionsError(
                f"{self.folder.path}: config.json must say which features the net reads, got {error}; train again "
                "with another --name"
            ) from error

    @property
    def window_s(self) -> float:
        """Length of its windows, in seconds."""
        return self._setting("seconds", float)

    @property
    def length(self) -> int:
        """Length of its windows, in samples or frames."""
        return window_length(self.specification, self.window_s)

    @property
    def width(self) -> int:
        """Coefficients or bands of its frames; 1 for raw."""
        specification = self.specification
        if specification.kind == "mfcc":
            return self._setting("mfcc", int)
        return 1 if specification.kind == "raw" else specification.n_mels

    @property
    def crops(self) -> int:
        """Windows of a recording that its predictions average."""
        return self._setting("crops", int)

    @property
    def crop_mean(self) -> str:
        """How they average: arithmetic or geometric."""
        return self._setting("crop_mean", str)

    def windows(self, cache: Cache) -> Windows:
        """Windows of the recordings of a cache, by their number in its clip table."""
        slots = cache.clips["slot"].to_numpy()
        store = cache.store(self.specification.name)
        store.hold_maps(_MAPS)
        if self.specification.kind == "raw":
            return RawWindows(store, slots, self.length)
        return FrameWindows(store, slots, self.length, self.width)

    def model(self, fold: int) -> keras.Model:
        """The model of a finished fold.

        Raises:
            PredictionsError: it cannot be opened.
        """
        with self._reading(fold) as path:
            return keras.models.load_model(path, compile=False, safe_mode=True)

    def models(self) -> Iterator[keras.Model]:
        """The finished folds' models, one after another: each is good until the next is taken.

        They are one model with other weights, as building and tracing it takes longer than predicting.
        """
        logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of tracing again, which is meant here
        model = None
        for fold in self.folder.finished:
            if model is None:
                model = self.model(fold)
            else:
                with self._reading(fold) as path:
                    model.load_weights(path)
                if self.specification.kind != "raw":
                    model.make_predict_function(force=True)  # the traced one holds the former fold's statistics
            yield model

    def predictions(self, windows: Windows) -> Iterator[np.ndarray]:
        """Each fold's probabilities of every recording, float64 [n_recordings, n_labels], as the run predicts."""
        n_clips = len(windows.lengths)
        batch_size = min(_BATCH, n_clips * self.crops)  # batches are filled up, and one recording has few crops
        for model in self.models():
            yield predict(model, windows, np.arange(n_clips), self.crops, batch_size, self.crop_mean)

    def offsets(self, starts: np.ndarray, window_s: float) -> np.ndarray:
        """Where the net's own windows begin that together show longer windows; a shorter one shows its middle.

        Args:
            starts: float [n], seconds, of the windows. window_s: their length.
        Returns:
            int64 [n, n_crops], in samples or frames, evenly spaced in each window; they may begin below 0.
        """
        specification = self.specification
        per_second = specification.sample_rate
        if specification.kind != "raw":
            per_second /= specification.hop_length
        n_crops = max(1, int(np.ceil(window_s / self.window_s - 1e-9)))
        room = window_s - self.window_s
        places = np.linspace(0, room, n_crops) if n_crops > 1 else np.array([room / 2])
        return np.round((starts[:, None] + places) * per_second).astype(np.int64)

    def predictions_at(
        self, windows: Windows, clip: int, offsets: np.ndarray, advance: Callable[[int], None]
    ) -> Iterator[np.ndarray]:
        """Each fold's probabilities of windows of one recording.

        Args:
            offsets: int64 [n], in samples or frames, where the windows begin. advance: is called with the number of
                windows of each batch that is predicted.
        Yields:
            float32 [n, n_labels].
        """
        n_batches = -(-len(offsets) // _BATCH)
        clips = np.full(_BATCH, clip)

        def batch(number: int) -> np.ndarray:
            own = offsets[number * _BATCH : (number + 1) * _BATCH]
            return windows.cut(plain_plan(clips[: len(own)], own))

        for model in self.models():
            found = []
            with Prefetch(batch, stop=n_batches) as prefetch:
                for cut in map(prefetch, range(n_batches)):
                    full = np.resize(cut, (_BATCH, *cut.shape[1:]))  # of one size, or it is traced again
                    found.append(np.asarray(model.predict_on_batch(full))[: len(cut)])
                    advance(len(cut))
            yield np.concatenate(found)

    @contextmanager
    def _reading(self, fold: int) -> Iterator[Path]:
        """The path of a fold's model; what goes wrong in the block becomes a PredictionsError."""
        path = self.folder.path / f"model_{fold}.keras"
        try:
            yield path
        except (OSError, ValueError, TypeError, KeyError) as error:
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise PredictionsError(
                f"{path}: cannot be opened as a Keras model ({reason}); remove finished_{fold}.json and train again"
            ) from error

    def _setting(self, name: str, kind: type) -> object:
        value = self.folder.config["settings"].get(name)
        if isinstance(value, bool) or not isinstance(value, (kind, int) if kind is float else kind):
            raise PredictionsError(
                f"{self.folder.path}: config.json must have a setting {name}, got {value!r}; train again with "
                "another --name"
            )
        return value
