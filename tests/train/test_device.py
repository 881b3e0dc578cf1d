import keras

from train.device import device


def test_the_device_is_named_as_keras_names_it():
    name = device()
    kind, _, number = name.partition(":")
    assert kind in ("cpu", "gpu", "cuda", "mps", "tpu")
    assert number == "" or number.isdigit()


def test_a_backend_that_lists_no_devices_is_asked_where_its_tensors_are(monkeypatch):
    class Tensor:
        device = "cuda:0"

    def none():
        raise AttributeError

    monkeypatch.setattr(keras.distribution, "list_devices", none)
    monkeypatch.setattr(keras.ops, "zeros", lambda shape: Tensor)
    assert device() == "cuda:0"
