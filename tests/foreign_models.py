"""Models that are not ours, named in tests as `tests.foreign_models:NAME`."""

import keras
import tensorflow as tf


def small(input_shape):
    """Feature maps; names that Keras makes up, BatchNormalization and dropout."""
    images = keras.Input(input_shape)
    x = keras.layers.Conv2D(8, 3, 2, padding="same")(images)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.Dropout(0.25)(x)
    x = keras.layers.Conv2D(16, 3, 2, padding="same")(x)
    return keras.Model(images, x)


def vectors():
    """A Sequential model that is not built yet, of no arguments, for one size."""
    layers = [keras.layers.Flatten(), keras.layers.Dense(12, activation="relu")]
    return keras.Sequential(layers)


backbone = small((None, None, 3))
_KEPT = small((16, 16, 3))


def kept():
    return _KEPT


def picky(input_shape, depth):
    return small(input_shape)


def number():
    return 3


def tokens(input_shape):
    images = keras.Input(input_shape)
    flat = keras.layers.Reshape((-1, 3))(images)
    return keras.Model(images, keras.layers.Dense(4)(flat))


def two_outputs(input_shape):
    model = small(input_shape)
    return keras.Model(model.input, [model.output, model.layers[1].output])


def frozen(input_shape):
    model = small(input_shape)
    model.trainable = False
    return model


def small_numbers(input_shape):
    images = keras.Input(input_shape)
    scaled = keras.layers.Rescaling(1 / 255)(images)
    return keras.Model(images, keras.layers.Conv2D(4, 3)(scaled))


def fixed():
    return small((24, 24, 3))


def broken():
    raise RuntimeError("no such luck\nsecond line")


class _NoConfig(keras.layers.Layer):
    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function
        self.dense = keras.layers.Dense(4)

    def call(self, x):
        return self.dense(self.function(x))


def no_config(input_shape):
    images = keras.Input(input_shape)
    return keras.Model(images, _NoConfig(lambda x: tf.reduce_mean(x, [1, 2]))(images))


class _Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(4)

    def call(self, x):
        return self.dense(tf.reduce_mean(x, [1, 2]))


def subclassed():
    return _Subclassed()


def _seeded(layer, *arguments, **more):
    drawn = keras.initializers.GlorotUniform(seed=7)
    return layer(*arguments, kernel_initializer=drawn, **more)


def teacher(classes=10, activation=None):
    """Logits of images of 16 pixels; weights are always the same."""
    images = keras.Input((16, 16, 3))
    x = _seeded(keras.layers.Conv2D, 8, 3, 2, activation="relu")(images)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(
        images, _seeded(keras.layers.Dense, classes, activation=activation)(x)
    )


def teacher_of_maps():
    """A backbone: feature maps, of a dict of one input, as KerasHub's are."""
    images = keras.Input((24, 24, 3), name="images")
    x = _seeded(keras.layers.Conv2D, 8, 3, 2, activation="relu")(images)
    return keras.Model({"images": images}, x)


def probabilities():
    return teacher(activation="softmax")


def of_bytes():
    images = keras.Input((16, 16, 3))
    return keras.Model(images, teacher()(keras.layers.Rescaling(1 / 255)(images)))
