"""The device that Keras trains on."""

import keras


def device() -> str:
    """Its name, such as cpu:0 or gpu:0; the backend looks for one now."""
    try:
        return keras.distribution.list_devices()[0]
    except AttributeError:  # Keras's PyTorch backend lists none, as of 3.15; its tensors know where they are
        return str(keras.ops.zeros(()).device)
