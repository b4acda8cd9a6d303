"""Writes a SavedModel that takes image bytes, or images of any size.

Input and output of both signatures (`N` images):

* `serving_default(image_bytes: string [N])`: encoded images, mixed formats and sizes;
  decoded, resized, cropped and normalised inside. What cannot be decoded, and what
  declares more than `max_pixels`, fails the request, and the error says which image;
  with `on_error="zeros"` its features are zeros, and `valid` bool `[N]` tells. Over
  REST, TensorFlow Serving takes `{"b64": "..."}` for it, and the name ends in `_bytes`
  as its rule for bytes wants.
* `features(images: float32 [N, H, W, 3])`: RGB in [0, 1], any H and W (those of
  `image_size` with `any_size=False`); normalised inside, neither cropped nor resized.
* both give `features` float32 `[N, F]`, and with a classifier also `probabilities`
  float32 `[N, C]`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfssl.augment.geometry import eval_image
from tfssl.config.remote import as_path
from tfssl.core.paths import AnyPath, folder_written_whole
from tfssl.core.variables import raw
from tfssl.data.decode import decode
from tfssl.data.formats import DECODED
from tfssl.errors import RunDirectoryError, message
from tfssl.exporters.folder import CARD, About, describe
from tfssl.exporters.formats import INSIDE, Inference, preprocessing
from tfssl.exporters.serving_files import write_serving_files
from tfssl.models.heads import probabilities

METADATA = "assets.extra/metadata.json"
MODEL_FILE = "saved_model.pb"


class FeaturesModule(tf.Module):
    """The function of images, and the plain variables that it reads.

    The Keras model itself is not tracked: a Keras 3 weight inside a tf.Module loads
    in Python and then fails in every session loader, TensorFlow Serving among them
    ("Could not find variable", https://github.com/keras-team/keras/issues/19274).
    """

    def __init__(self, given: Inference, *, any_size: bool):
        super().__init__()
        encoder = inference_clone(given.encoder, any_size=any_size)
        classifier = given.classifier and inference_clone(given.classifier)
        sides = None if any_size else given.image_size
        models = [encoder] if classifier is None else [encoder, classifier]
        self.weights = [raw(v) for model in models for v in model.variables]

        def encode(images: tf.Tensor) -> dict[str, tf.Tensor]:
            features = tf.cast(encoder(images, training=False), tf.float32)
            out = {"features": features}
            if classifier is not None:
                logits = classifier(features, training=False)
                out["probabilities"] = probabilities(logits, given.several_labels)
            return out

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, sides, sides, 3], tf.float32, "images")
            ]
        )
        def from_images(images: tf.Tensor) -> dict[str, tf.Tensor]:
            return encode(images)

        self.encode = encode
        # "signatures" would be the natural name; SavedModel keeps it for itself.
        self.endpoints = {"features": from_images}


class _Served(FeaturesModule):
    """The function of images, and that of encoded ones."""

    def __init__(self, given: Inference):
        super().__init__(given, any_size=given.any_size)
        size, max_pixels = given.image_size, given.max_pixels

        def encode(images: tf.Tensor) -> dict[str, tf.Tensor]:
            # oneDNN's batch normalisation fails on a batch of none.
            count = tf.shape(images)[0]
            spare = tf.zeros([tf.cast(count < 1, tf.int32), size, size, 3])
            out = self.encode(tf.concat([images, spare], axis=0))
            return {name: value[:count] for name, value in out.items()}

        def prepare(data: tf.Tensor) -> tf.Tensor:
            image = decode(data, max_pixels, orient=given.orient, python=False)
            return eval_image(image, given.transform, size)

        @tf.function(
            input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")],
            autograph=False,
        )
        def from_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
            images, valid = _prepared(image_bytes, prepare, size)
            if given.on_error == "zeros":
                out = encode(images)
                rows = tf.cast(valid, tf.float32)[:, None]
                return {name: value * rows for name, value in out.items()} | {
                    "valid": valid
                }
            with tf.control_dependencies([_all_valid(valid, max_pixels)]):
                return encode(tf.identity(images))

        self.endpoints = {"serving_default": from_bytes, **self.endpoints}


def _prepared(
    image_bytes: tf.Tensor, prepare: Callable[[tf.Tensor], tf.Tensor], size: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """`[N, size, size, 3]`, zeros where `prepare` failed; bool `[N]`: where not."""
    # In a graph errors cannot be caught, but a data set can be told to ignore them.
    count = tf.size(image_bytes, tf.int64)
    numbered = tf.data.Dataset.from_tensor_slices((tf.range(count), image_bytes))
    done = numbered.map(
        lambda n, data: (n, prepare(data)), num_parallel_calls=tf.data.AUTOTUNE
    ).ignore_errors()
    # One more row, so that there is a batch even if nothing else is.
    spare = tf.data.Dataset.from_tensors((count, tf.zeros([size, size, 3])))
    places, images = done.concatenate(spare).batch(count + 1).get_single_element()
    # Where all are there, as nearly always, they are in order already.
    whole = tf.equal(tf.size(places, tf.int64), count + 1)
    spread = tf.cond(
        whole,
        lambda: images,
        lambda: tf.scatter_nd(
            places[:, None], images, tf.stack([count + 1, size, size, 3])
        ),
    )
    found = tf.scatter_nd(places[:, None], tf.ones_like(places), [count + 1])
    return spread[:-1], found[:-1] > 0


def _all_valid(valid: tf.Tensor, max_pixels: int) -> tf.Operation:
    """Fails where not all images could be decoded, and says which."""
    bad = tf.strings.as_string(tf.where(~valid)[:20, 0])
    limit = f" of at most {max_pixels} pixels" if max_pixels else ""
    text = tf.strings.join(
        [
            "got image_bytes[", tf.strings.reduce_join(bad, separator=", "),
            "], not decodable; expected " + ", ".join(DECODED[:-1])
            + f" or {DECODED[-1]}{limit}; try other images, or a model exported with "
            "on_error=zeros",
        ]
    )  # fmt: skip
    return tf.raw_ops.Assert(condition=tf.reduce_all(valid), data=[text])


def export_saved_model(given: Inference, path: AnyPath, about: About) -> str:
    """Writes the encoder as a SavedModel, in float32 with moving statistics.

    It is written beside `path` and renamed, so whoever reads `path` sees the old
    model or the new one, never a part.

    Args:
      given: Its models are copied, not changed.
      path: Folder to write; an older SavedModel there is replaced. TensorFlow Serving
        wants it to end in a version number, `.../1`.
      about: Licence, source, version and whatever else should travel with the weights.
        It stands in `assets.extra`, the metadata together with the preprocessing; a
        model card stands beside the model.

    Returns:
      `path`.

    Raises:
      RunDirectoryError: `path` holds something that is not a SavedModel.
    """
    encoder, classifier, size = given.encoder, given.classifier, given.image_size
    return write_saved_model(
        _Served(given),
        str(path),
        about,
        functools.partial(write_serving_files, image_size=size),
        preprocessing=preprocessing(given, INSIDE),
        feature_dim=int(encoder.outputs[0].shape[-1]),
        num_classes=classifier and int(classifier.outputs[0].shape[-1]),
        signatures={
            "serving_default": "image_bytes: string [N]",
            "features": "images: float32 [N, H, W, 3], RGB in [0, 1]",
        },
        max_image_pixels=given.max_pixels,
        orient=given.orient,
        on_error=given.on_error,
    )


def write_saved_model(
    served: tf.Module,
    path: str,
    about: About,
    also: Callable[[Path], None] = lambda folder: None,
    **facts: Any,
) -> str:
    """Writes a module with `endpoints` as a SavedModel, whole or not at all.

    Args:
      served: Its functions are the signatures, by name.
      path: Folder to write; an older SavedModel there is replaced.
      about: What stands in `assets.extra`; a model card stands beside the model.
      also: Writes what else stands in the folder.
      **facts: More for `metadata.json`, where TensorFlow's and Keras' versions are too.

    Returns:
      `path`.

    Raises:
      RunDirectoryError: `path` holds something that is not a SavedModel.
    """
    folder = as_path(path)
    _refuse_foreign(folder)
    versions = {"tensorflow": tf.__version__, "keras": keras.__version__}
    places = {
        name if name == CARD else f"assets.extra/{name}": text
        for name, text in about.texts.items()
    }
    with folder_written_whole(folder, MODEL_FILE) as beside:
        tf.saved_model.save(served, str(beside), signatures=served.endpoints)
        also(beside)
        describe(beside, METADATA, about, places, **facts, **versions)
    return str(folder)


def inference_clone(model: keras.Model, any_size: bool = True) -> keras.Model:
    """Copies a functional model for inference: float32, images of any height and width.

    Args:
      model: Functional model of one input. Rank-4 inputs get free height and width.
      any_size: Whether they do; else they stay as they are.

    Returns:
      A model with its own variables and the same weights.
    """
    (spec,) = tf.nest.flatten(model.inputs)
    shape = tuple(spec.shape)
    free = (None, None, shape[-1]) if len(shape) == 4 and any_size else shape[1:]

    def as_float32(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.Model) and hasattr(layer, "inputs"):
            return _clone(layer, keras.Input(layer.inputs[0].shape[1:]), as_float32)
        config = layer.get_config()
        if isinstance(layer, keras.layers.Layer):  # a sum of two tensors is none
            config["dtype"] = "float32"
        return layer.__class__.from_config(config)

    clone = _clone(model, keras.Input(free, dtype="float32"), as_float32)
    clone.set_weights(model.get_weights())
    return clone


def _clone(
    model: keras.Model,
    inputs: tf.Tensor,
    clone_function: Callable[[keras.layers.Layer], keras.layers.Layer],
) -> keras.Model:
    # The structure of `inputs` must be that of `model.input`: a tensor or a list.
    nested = isinstance(model.input, list | tuple)
    return keras.models.clone_model(
        model, [inputs] if nested else inputs, clone_function
    )


def _refuse_foreign(path: AnyPath) -> None:
    """Refuses to write over what is not a SavedModel.

    Raises:
      RunDirectoryError: `path` holds something else.
    """
    if not path.exists():
        return
    if path.is_dir():
        found = sorted(entry.name for entry in path.iterdir())
        if not found or MODEL_FILE in found:
            return
        got = f"{path}, which holds " + ", ".join(found[:3])
    else:
        got = f"{path}, which is a file"
    raise RunDirectoryError(
        message(got, "a new folder, or one with a SavedModel", "another path")
    )
