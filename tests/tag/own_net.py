"""A user's own net, with layers that keep a state, and layers inside layers."""

from keras import KerasTensor, Sequential, layers


def own_net(x: KerasTensor, n_labels: int) -> KerasTensor:
    x = Sequential([layers.Conv1D(8, 5, strides=8), layers.BatchNormalization(), layers.SpatialDropout1D(0.1)])(x)
    x = layers.Bidirectional(layers.GRU(4, dropout=0.1))(x)
    return layers.Dense(n_labels, activation="softmax")(x)
