import gc

import keras
import numpy as np
import pytest

from train.buffers import Buffers

SHAPE = (4, 1000)


def _place(array):
    return array.ctypes.data


def test_an_array_is_used_again_when_nobody_holds_it():
    buffers = Buffers()
    places = {_place(buffers.take(SHAPE)) for _ in range(10)}
    assert len(places) == 1


@pytest.mark.parametrize(
    "keep",
    [
        lambda a: a,
        lambda a: a[1:2],
        lambda a: a[:, :, None][2:],
        lambda a: a.T,
        lambda a: memoryview(a),
        lambda a: [a],
    ],
)
def test_an_array_that_somebody_holds_is_not(keep):
    buffers = Buffers()
    first = buffers.take(SHAPE)
    place, held = _place(first), keep(first)
    del first
    assert all(_place(buffers.take(SHAPE)) != place for _ in range(10))
    del held
    assert _place(buffers.take(SHAPE)) == place


def test_a_tensor_made_of_an_array_keeps_its_numbers():
    buffers = Buffers()
    tensors = []
    for number in range(20):
        array = buffers.take(SHAPE)
        array[:] = number
        tensors.append(keras.ops.convert_to_tensor(array))
        del array
    gc.collect()
    for number, tensor in enumerate(tensors):
        assert (keras.ops.convert_to_numpy(tensor) == number).all()


def test_arrays_have_the_shape_asked_for_and_begin_where_they_need_no_copy():
    buffers = Buffers()
    held = [buffers.take(shape) for shape in [(3, 7, 2), (1,), (0, 5), (50, 3), (3, 7, 2)]]
    assert [array.shape for array in held] == [(3, 7, 2), (1,), (0, 5), (50, 3), (3, 7, 2)]
    assert all(array.dtype == np.float32 and array.flags.writeable for array in held)
    assert all(_place(array) % 64 == 0 for array in held if array.size)
    held[0][:], held[4][:] = 1, 2
    assert (held[0] == 1).all()


def test_only_so_many_arrays_are_kept():
    buffers = Buffers()
    held = [buffers.take((10,)) for _ in range(100)]
    assert len({_place(array) for array in held}) == 100
    assert len(buffers._arrays) == 32
