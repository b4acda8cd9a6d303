"""A teacher from elsewhere, for `--mode=distill`: one of keras.applications.

    --mode=distill --image_size=224 --teacher=examples.teacher:mobilenet

A teacher takes RGB images in [0, 1] and gives logits. What else its network wants of
the images stands in the model: this one's takes bytes, and preprocesses them itself.
"""

from __future__ import annotations

import keras


def mobilenet(weights: str | None = "imagenet") -> keras.Model:
    """Builds MobileNetV3Small with its classifier of ImageNet, without the softmax.

    Args:
      weights: As of keras.applications: downloaded when they are first asked for.
    """
    network = keras.applications.MobileNetV3Small(
        input_shape=(224, 224, 3), weights=weights, classifier_activation=None
    )
    images = keras.Input((224, 224, 3))
    return keras.Model(images, network(keras.layers.Rescaling(255.0)(images)))
