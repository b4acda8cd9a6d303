"""Encoders that are not ours: a `keras.Model` by its import path, for `--encoder=`."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import random
import weakref
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tfssl.config.encoder_name import ForeignName, parse_foreign
from tfssl.core.seeds import init_seed
from tfssl.errors import ConfigError, message, unknown
from tfssl.models.convolution import GlobalMean
from tfssl.models.images import Normalize, Rgb

FUNCTIONAL = "one functional or Sequential keras.Model, images in and one tensor out"
_SMALLEST_SCALE = 1 / 64
_TAKEN: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


def build_foreign_encoder(
    name: str, *, image_size: int, seed: int, mean: Rgb = None, std: Rgb = None
) -> keras.Model:
    """Builds an encoder from `MODULE:NAME`, images `[b, S, S, 3]` to features `[b, F]`.

    NAME is a function that returns a functional or Sequential `keras.Model`, or such a
    model, whose architecture is taken, not its weights. A function is given those of
    these arguments that its signature names: `input_shape=(S, S, 3)`,
    `weights=None`, `include_top=False`, `include_preprocessing=False`; so
    `keras.applications` work as they are. An output `[b, h, w, C]` is averaged over its
    positions, `[b, F]` is taken as it is.

    Its layers are left as they are: BatchNormalization keeps its momentum and epsilon,
    and on several replicas normalises each replica's rows by themselves (Keras'
    `synchronized=True` those of all).

    Args:
      name: Such as `"keras.applications:MobileNetV3Small"`.
      image_size: S, the side of the images.
      seed: Initial weights are a pure function of (seed, name): Python's, NumPy's and
        TensorFlow's generators are seeded while it is built.
      mean: RGB mean that images in [0, 1] are normalised by in front of it, or None.
      std: RGB deviation, or None.

    Returns:
      A functional `keras.Model`. Names of its layers do not depend on what the process
      has built before.

    Raises:
      ConfigError: It cannot be imported or built, or is not such a model.
    """
    path = parse_foreign(name)
    found = imported(name, path)
    with seeded(init_seed(seed, name)):
        forget_names()
        model = _make(name, found, image_size)
    for problem in _problems(name, model, image_size):
        raise ConfigError(problem)
    images, features = model.inputs[0], model.outputs[0]
    if not mean is std is None:
        images = keras.Input(images.shape[1:], name="images", dtype="float32")
        features = model(Normalize(mean, std)(images))
    if len(features.shape) == 4:
        features = GlobalMean(name="tfssl_features")(features)
    encoder = keras.Model(images, features, name="encoder")
    _take(name, encoder)
    return encoder


def imported(name: str, path: ForeignName, flag: str = "encoder") -> Any:
    """Imports what a path names, whatever it is.

    Args:
      name: The path as it was given.
      path: The same in its parts.
      flag: Which flag gave it, for the message.

    Raises:
      ConfigError: There is no such thing.
    """
    forget_names()
    try:
        # A model made at import must not depend on who imports it.
        with float32_policy():
            found = importlib.import_module(path.module)
    except Exception as error:
        got = f"{flag}={name}: import {path.module} fails, {_text(error)}"
        hint = "PYTHONPATH=FOLDER, the folder that the module is in"
        raise ConfigError(message(got, "a module that imports", hint)) from error
    for part in path.attribute.split("."):
        if not hasattr(found, part):
            known = [n for n, v in vars(found).items() if callable(v) and n[0] != "_"]
            raise ConfigError(unknown(f"{flag}={path.module}", part, known))
        found = getattr(found, part)
    return found


def _make(name: str, found: Any, image_size: int) -> Any:
    built = isinstance(found, keras.Model)
    if built and keras.config.dtype_policy().compute_dtype != "float32":
        policy = keras.config.dtype_policy().name
        raise ConfigError(
            message(
                f"encoder={name}, a model that is built, with precision={policy}",
                "a function that builds it: a model keeps the precision of its making",
                "precision=float32, or such a function",
            )
        )
    if not built and not callable(found):
        got = f"encoder={name}, a {type(found).__name__}"
        expected = "a function that returns a keras.Model, or a keras.Model"
        raise ConfigError(message(got, expected, "the name of a function"))
    ours = {
        "input_shape": (image_size, image_size, 3),
        "weights": None,
        "include_top": False,
        # The recipe normalises; a second time would ruin the images.
        "include_preprocessing": False,
    }
    options = {} if built else accepted(found, ours)
    try:
        if built:
            return type(found).from_config(found.get_config())
        return found(**options)
    except Exception as error:
        given = ", ".join(f"{k}={v}" for k, v in options.items())
        raise ConfigError(
            message(
                f"encoder={name}: calling it with ({given}) fails, {_text(error)}",
                "a function that needs no other arguments",
                "a function of yours that fills in the rest",
            )
        ) from error


def accepted(function: Any, ours: dict[str, Any]) -> dict[str, Any]:
    """Returns those of our arguments that the function names."""
    try:
        named = inspect.signature(function).parameters
    except (TypeError, ValueError):  # written in C
        return {}
    return {key: value for key, value in ours.items() if key in named}


def _problems(name: str, model: Any, size: int) -> Iterator[str]:
    """Yields why a model cannot be an encoder; the first reason counts."""
    got = f"encoder={name}, which gives"
    if not isinstance(model, keras.Model):
        yield message(f"{got} a {type(model).__name__}", FUNCTIONAL, "returning one")
        return
    if isinstance(model, keras.Sequential) and not model.built:
        model.build((None, size, size, 3))
    inputs, outputs = (getattr(model, n, None) or () for n in ("inputs", "outputs"))
    if not inputs or not outputs:
        hint = "keras.Model(inputs, outputs) around its layers"
        yield message(f"{got} a subclassed model", FUNCTIONAL, hint)
        return
    if len(inputs) > 1 or len(outputs) > 1:
        what = f"{got} a model of {len(inputs)} inputs and {len(outputs)} outputs"
        yield message(what, FUNCTIONAL, "keras.Model(inputs, the output to train)")
        return
    takes, gives = tuple(inputs[0].shape), tuple(outputs[0].shape)
    fits = len(takes) == 4 and takes[3] == 3 and {*takes[1:3]} <= {None, size}
    if not fits:
        yield message(
            f"{got} a model for inputs of shape {takes} with image_size={size}",
            f"(None, {size}, {size}, 3)",
            "a function with an argument input_shape, or another image_size",
        )
    if len(gives) not in (2, 4) or gives[-1] is None:
        yield message(
            f"{got} a model with an output of shape {gives}",
            "feature maps [b, h, w, C], which are averaged, or vectors [b, F]",
            "a function of yours that ends in one of them",
        )
    yield from _of_the_layers(got, model)


def _of_the_layers(got: str, model: keras.Model) -> Iterator[str]:
    if not model.trainable_weights:
        yield message(f"{got} a model without trainable weights", "some", "another one")
    if problem := scale_problem(got, model):
        yield problem
    try:
        model.get_config()
    except Exception as error:
        yield message(
            f"{got} a model that cannot be copied: {_text(error)}",
            "layers with get_config: evaluation and export copy it",
            "get_config in the layer that is named",
        )


def scale_problem(got: str, model: keras.Model) -> str:
    """Tells why a model wants other images than those near [0, 1]; empty: it may not.

    Args:
      got: Begins the message.
      model: To look at.
    """
    first = next((x for x in model.layers[1:2]), None)
    scale = getattr(first, "scale", 1.0)
    rescales = isinstance(first, keras.layers.Rescaling)
    if not rescales or np.max(scale) >= _SMALLEST_SCALE:
        return ""
    return message(
        f"{got} a model that multiplies its images by {np.max(scale):.3g}",
        "a model for images as the recipe normalises them, near [0, 1]",
        "a function of yours that puts keras.layers.Rescaling(255.0) before it",
    )


def _take(name: str, model: keras.Model) -> None:
    """Refuses weights that another encoder has: a target would be the online one."""
    if any(id(v) in _TAKEN for v in model.variables):
        raise ConfigError(
            message(
                f"encoder={name}, which gives the same weights again",
                "a new model at each call: a method needs two networks",
                "building it inside the function",
            )
        )
    _TAKEN.update({id(v): v for v in model.variables})


def forget_names() -> None:
    """Lets Keras count the names that it makes up ("conv2d_3") from the start again.

    Checkpoints hold the names of weights, so those of a model must not depend on how
    many models a process has built before.
    """
    # Not public in Keras 3; what is, `clear_session`, also forgets the policy.
    from keras.src.utils import naming

    naming.reset_uids()


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds Python's, NumPy's and TensorFlow's generators for what is made inside."""
    python, numpy = random.getstate(), np.random.get_state()
    keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextlib.contextmanager
def float32_policy() -> Iterator[None]:
    """Lets what is made inside be float32, whatever the process trains in."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def _text(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
