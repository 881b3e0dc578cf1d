"""The models that folds are trained with: made, compiled and traced once, then set to each fold's own beginning.

Tracing a net takes seconds, and TensorFlow never gives back all of the memory that a traced one took (20 MB for
conv2d), so a fold begins with the model of the fold before it: every variable gets the value that it has in a net
just made from the fold's seed, and the optimiser those it began with.
"""

import keras
import numpy as np

from train.draws import layer_seed
from train.moments import Moments
from train.nets import DUMMIES, NETS, build
from train.settings import Settings
from train.steps import compile_model
from train.variables import assign, values_of

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


class Workshop:
    """Keeps the compiled models of a run."""

    def __init__(self):
        self._kept: dict[str, tuple[keras.Model, list[np.ndarray]]] = {}

    def net(
        self, settings: Settings, shape: tuple[int, int], n_labels: int, moments: Moments | None, seed: int
    ) -> keras.Model:
        """A net with the weights of a seed, not compiled."""
        keras.backend.clear_session()
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(_POLICIES[settings.precision])
        try:
            net = build((DUMMIES if settings.quick else NETS)[settings.model], shape, n_labels, moments)
            _draw_weights(net, seed)
            return net
        finally:
            keras.config.set_dtype_policy(before)

    def compiled(self, net: keras.Model, settings: Settings, n_steps: int) -> keras.Model:
        """A compiled model that is the net in all but identity; n_steps: that it is to be trained for in all."""
        key = str((settings.binding(), net.input_shape, net.output_shape, n_steps))
        if key not in self._kept:
            compile_model(net, settings.recipe, n_steps)
            self._kept[key] = net, values_of(net.optimizer.variables)
            return net
        model, beginning = self._kept[key]
        assign(model.variables, values_of(net.variables))
        assign(model.optimizer.variables, beginning)
        return model


def _draw_weights(net: keras.Model, seed: int) -> None:
    """Draw every kernel again from its own initialiser; what else there is begins with zeros or ones.

    Keras would seed them from Python's global generator, which other threads draw from, Dask's for one.
    """
    for number, layer in enumerate(net.layers):
        initializer = getattr(layer, "kernel_initializer", None) or getattr(layer, "depthwise_initializer", None)
        if initializer is not None:
            seeded = type(initializer).from_config(initializer.get_config() | {"seed": layer_seed(seed, number)})
            layer.kernel.assign(seeded(layer.kernel.shape, layer.kernel.dtype))
