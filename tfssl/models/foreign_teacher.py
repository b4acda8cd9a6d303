"""Teachers that are not ours: a trained `keras.Model` by its import path."""

from __future__ import annotations

from typing import Any

import keras

from tfssl.config.encoder_name import parse_foreign
from tfssl.errors import ConfigError, message
from tfssl.models.foreign import accepted, float32_policy, imported, scale_problem

CONTRACT = (
    "a functional keras.Model with its weights, of RGB images [b, S, S, 3] in [0, 1]"
)

_POOLS = {
    3: keras.layers.GlobalAveragePooling1D,
    4: keras.layers.GlobalAveragePooling2D,
}


def build_foreign_teacher(name: str, *, logits: bool) -> keras.Model:
    """Imports a teacher, `MODULE:NAME`, and freezes it.

    NAME is a model, or a function that returns one, called without arguments (but for
    `classifier_activation=None`, or `include_top=False` for features, where its
    signature names them). Unlike an encoder's, its weights are what is asked for. It
    takes images in [0, 1]: what else it wants of them stands in the model itself, for
    example a `keras.layers.Rescaling(255.0)` or a preset's converter in front.

    Args:
      name: Such as `"my_models:teacher"`.
      logits: It gives logits `[b, classes]`; else feature maps `[b, h, w, D]` or tokens
        `[b, n, D]`, which are averaged, or vectors `[b, D]`.

    Returns:
      A model of one tensor `[b, S, S, 3]` to float32 `[b, classes]` or `[b, D]`, not
      trainable. S is None where any size does.

    Raises:
      ConfigError: It cannot be imported, or is not such a model.
    """
    if name.startswith("keras.applications"):
        raise ConfigError(
            message(
                f"teacher={name}, which takes no images in [0, 1]",
                CONTRACT,
                "a function of yours that puts its preprocess_input in front: "
                "examples/teacher.py",
            )
        )
    found = imported(name, parse_foreign(name), "teacher")
    made = isinstance(found, keras.Model)
    ours = {"classifier_activation": None} if logits else {"include_top": False}
    try:
        with float32_policy():
            model = found if made else found(**accepted(found, ours))
    except Exception as error:
        raise ConfigError(
            message(
                f"teacher={name}, which fails: {type(error).__name__}: {error}",
                "a model, or a function of no arguments that returns one",
                "a function of yours around it",
            )
        ) from error
    problem = _problem(name, model, logits)
    if problem:
        raise ConfigError(problem)
    images = keras.Input(model.inputs[0].shape[1:], name="images", dtype="float32")
    # KerasHub's backbones take a dict of one.
    out = model(keras.tree.map_structure(lambda _: images, model.input))
    out = keras.tree.flatten(out)[0]
    if pool := _POOLS.get(len(out.shape)):
        out = pool(dtype="float32", name="mean_over_places")(out)
    teacher = keras.Model(images, out, name="teacher")
    teacher.trainable = False
    return teacher


def _problem(name: str, model: Any, logits: bool) -> str:
    """Why a model cannot teach; empty if it can."""
    got = f"teacher={name}, which gives"
    inputs, outputs = (getattr(model, n, None) or () for n in ("inputs", "outputs"))
    if len(inputs) != 1 or len(outputs) != 1:
        return message(
            f"{got} {type(model).__name__} of {len(inputs)} inputs and "
            f"{len(outputs)} outputs",
            CONTRACT,
            "keras.Model(inputs, the output to learn)",
        )
    takes, gives = tuple(inputs[0].shape), tuple(outputs[0].shape)
    if len(takes) != 4 or takes[3] != 3 or takes[1] != takes[2]:
        return message(f"{got} a model of inputs {takes}", CONTRACT, "square images")
    ranks = (2,) if logits else (2, 3, 4)
    if len(gives) not in ranks or gives[-1] is None:
        return message(
            f"{got} an output of shape {gives}",
            "logits [b, classes]" if logits else "features [b, D], maps or tokens",
            "distill_target=features" if logits else "a model that ends in one of them",
        )
    if logits and _ends_in_probabilities(model):
        return message(
            f"{got} probabilities",
            "logits: a temperature divides them before the softmax",
            "the same model with activation=None in its last layer",
        )
    return scale_problem(got, model)


def _ends_in_probabilities(model: keras.Model) -> bool:
    last = model.layers[-1]
    while isinstance(last, keras.Model) and last.layers:
        last = last.layers[-1]
    activation = getattr(last, "activation", None)
    named = getattr(activation, "__name__", "")
    return isinstance(last, keras.layers.Softmax) or named in ("softmax", "sigmoid")
