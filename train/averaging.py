"""Running means of the weights, kept by Keras's own optimisers: a look at the model with them, and back."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras

from train.variables import assign, values_of


@contextmanager
def averaged(model: keras.Model) -> Iterator[None]:
    """Give a model the running means of its weights for the block, to the last bit its own weights after it.

    A model whose optimiser keeps none stays as it is. Statistics of batch normalisation are running means already.
    """
    weights = values_of(model.trainable_weights)
    model.optimizer.finalize_variable_values(model.trainable_weights)
    # of their own: JAX lets go of what it predicts with, and the optimiser holds the same arrays
    assign(model.trainable_weights, values_of(model.trainable_weights))
    try:
        yield
    finally:
        assign(model.trainable_weights, weights)
