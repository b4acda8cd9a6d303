"""A network of one matrix, and what NumPy needs to train it too."""

import keras
import numpy as np

from tfssl.models.heads import Projector

PIXELS = 12


def unit(x):
    return x / np.sqrt(np.sum(x * x, -1, keepdims=True))


def networks(start, listed=False):
    """Encoder that only flattens, projector `[PIXELS, D]`; `listed`: as SimCLR's."""
    images = keras.Input((2, 2, 3))
    encoder = keras.Model(images, keras.layers.Flatten()(images))
    features = keras.Input((PIXELS,))
    z = keras.layers.Dense(start.shape[1], use_bias=False)(features)
    projector = Projector(features, [z]) if listed else keras.Model(features, z)
    projector.set_weights([start])
    return encoder, projector


def as_images(views):
    """`[2, rows, PIXELS]` as two float32 `[rows, 2, 2, 3]`."""
    return tuple(views.reshape([2, -1, 2, 2, 3]).astype(np.float32))


def descend(weight, loss, rate):
    """(loss, weight after a step), the gradient by differences."""
    gradient = np.zeros_like(weight)
    for place in np.ndindex(*weight.shape):
        shift = np.zeros_like(weight)
        shift[place] = 1e-6
        gradient[place] = (loss(weight + shift) - loss(weight - shift)) / 2e-6
    return loss(weight), weight - rate * gradient
