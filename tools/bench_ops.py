"""How fast each operator of a view is, beside other libraries; prints one JSON line.

python tools/bench_ops.py [--ops=jitter,blur] [--batch=32] [--rounds=5]

Milliseconds an image, median of the rounds, everything in one process and in turn:

* `branching`: image by image under XLA, only what was drawn (`augment/branching.py`,
  what training does on a CPU), one lane;
* `batched`: all images at once under XLA (`augment/photometry.py`, for accelerators);
* `plain`: the same without XLA;
* `tf_image`: `tf.image` (or plain TensorFlow) mapped over the images;
* `keras`, `keras_cv`: the nearest layer of each, not always the same operation.

Every operator changes every image. Crop and flip are the host's: `branching` is then
what the input pipeline maps over the images. `ratios` are to `branching`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import find_tfssl  # noqa: F401

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
JITTER = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1}
RANGE = {"value_range": (0, 255)}
LAYER_JITTER = {
    **RANGE,
    "brightness_factor": 0.4,
    "contrast_factor": 0.4,
    "saturation_factor": 0.4,
    "hue_factor": 0.1,
}
PHOTO = (375, 500)  # the images that are cropped

# Operator to the numbers of a view that does nothing else.
VIEWS: dict[str, dict[str, Any]] = {
    "crop": {"sampler": "simclr", "flip": 0.0},
    "flip": {},
    "jitter": {"jitter": 1.0, **JITTER},
    "gray": {"gray": 1.0},
    "blur": {"blur": 1.0},
    "solarize": {"solarize": 1.0},
    "cutout": {"cutout": 1.0, "steps": ("cutout",)},
    "noise": {"noise": 1.0, "steps": ("noise",)},
    "sobel": {"sobel": 1.0, "steps": ("sobel",)},
    "rotate": {"rotate": 1.0, "steps": ("rotate",)},
    "normalize": {},
}
# Name of the layer and its arguments.
KERAS: dict[str, tuple[str, dict[str, Any]]] = {
    "flip": ("RandomFlip", {"mode": "horizontal"}),
    "jitter": ("RandomColorJitter", LAYER_JITTER),
    "gray": ("RandomGrayscale", {"factor": 1.0}),
    "blur": (
        "RandomGaussianBlur",
        {**RANGE, "factor": 1.0, "kernel_size": 23, "sigma": (0.1, 2.0)},
    ),
    "solarize": ("Solarization", {**RANGE, "threshold_factor": (0.5, 0.5)}),
    "cutout": ("RandomErasing", {**RANGE, "factor": 1.0}),
    "noise": ("GaussianNoise", {"stddev": 0.1}),
    "rotate": ("RandomRotation", {"factor": 0.5}),
    "normalize": ("Normalization", {"mean": MEAN, "variance": [s * s for s in STD]}),
}
KERAS_CV: dict[str, tuple[str, dict[str, Any]]] = {
    "crop": (
        "RandomCropAndResize",
        {"crop_area_factor": (0.08, 1.0), "aspect_ratio_factor": (0.75, 4 / 3)},
    ),
    "flip": ("RandomFlip", {"mode": "horizontal"}),
    "jitter": ("RandomColorJitter", LAYER_JITTER),
    "gray": ("Grayscale", {"output_channels": 3}),
    "blur": ("RandomGaussianBlur", {"kernel_size": 23, "factor": (0.1, 2.0)}),
    "solarize": ("Solarization", {**RANGE, "threshold_factor": (128, 128)}),
    "cutout": (
        "RandomCutout",
        {"height_factor": (0.25, 0.5), "width_factor": (0.25, 0.5)},
    ),
    "rotate": ("RandomRotation", {"factor": 0.5}),
}

Form = Callable[[], Any]


def main(argv: list[str]) -> int:
    """Measures and prints; the exit code."""
    arguments = _parse(argv)
    wanted = arguments.ops.split(",")
    if strangers := sorted(set(wanted) - set(VIEWS)):
        print(f"got --ops={strangers[0]}; expected some of {', '.join(VIEWS)}")
        return 2
    from tfssl.config import startup

    startup.prepare_environment()  # as every run does
    print(
        json.dumps(measure(wanted, arguments.batch, arguments.size, arguments.rounds))
    )
    return 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ops", default=",".join(VIEWS), help="names, with commas")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args(argv)


def measure(ops: list[str], batch: int, size: int, rounds: int) -> dict[str, Any]:
    """Milliseconds an image of every form of every operator, and their ratios.

    Args:
      ops: Keys of `VIEWS`.
      batch: Images at a time.
      size: Their side.
      rounds: The median is over so many, after one that compiles.

    Returns:
      `{operator: {"ms": {form: …}, "ratios": {form: …}}}`; a form that a library does
      not have is absent.
    """
    running = {(op, name): run for op in ops for name, run in _forms(op, batch, size)}
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in running}
    for counted in range(-1, rounds):
        for key, run in list(running.items()):
            began = time.perf_counter()
            try:
                run()
            except Exception as error:  # another library's, whatever it is
                if key[1] not in ("keras", "keras_cv"):
                    raise
                print(f"{key}: {str(error).splitlines()[0]}", file=sys.stderr)
                del running[key]
                continue
            if counted >= 0:
                seconds[key].append(time.perf_counter() - began)
    found: dict[str, Any] = {}
    for op in ops:
        ms = {
            name: 1000 * statistics.median(seconds[op, name]) / batch
            for of, name in running
            if of == op
        }
        found[op] = {
            "ms": {name: round(value, 4) for name, value in ms.items()},
            "ratios": {n: round(v / ms["branching"], 2) for n, v in ms.items()},
        }
    return found


def _forms(op: str, batch: int, size: int) -> list[tuple[str, Form]]:
    import numpy as np
    import tensorflow as tf

    sides = PHOTO if op == "crop" else (size, size)
    small = np.random.default_rng(0).integers(0, 256, (batch, 9, 9, 3), np.uint8)
    images = tf.saturate_cast(tf.image.resize(small, sides, "bicubic"), tf.uint8)
    floats = tf.cast(images, tf.float32)
    forms = _of_the_host(op, images, size) or _of_ours(op, images)
    if per_image := _tf_image(op, size):
        forms["tf_image"] = _compiled(
            lambda x: _each(per_image, x), images, jit_compile=False
        )
    for name, table in (("keras", KERAS), ("keras_cv", KERAS_CV)):
        if op in table and (layer := _layer(name, *table[op], size)):
            forms[name] = _compiled(layer, floats, jit_compile=False)
    return list(forms.items())


def _compiled(function: Callable, *inputs: Any, jit_compile: bool) -> Form:
    import tensorflow as tf

    run = tf.function(function, jit_compile=jit_compile, autograph=False)
    return lambda: run(*inputs)


def _each(function: Callable, images: Any) -> Any:
    """`function` of (image, int64 `[2]` seed) over all images, in parallel."""
    import tensorflow as tf

    seeds = tf.stack([tf.range(images.shape[0], dtype=tf.int64)] * 2, -1)
    out = tf.TensorSpec(None, tf.float32)
    return tf.map_fn(
        lambda row: tf.cast(function(*row), tf.float32),
        (images, seeds),
        fn_output_signature=out,
        parallel_iterations=16,
    )


def _of_the_host(op: str, images: Any, size: int) -> dict[str, Form]:
    """Crop and flip as the input pipeline maps them over the images."""
    if op not in ("crop", "flip"):
        return {}
    import tensorflow as tf

    from tfssl.augment import RECIPES, ViewRecipe, crops

    view = ViewRecipe(**VIEWS[op])
    recipe = dataclasses.replace(RECIPES["simclr"], views=(view,))
    cutter = crops.host_cutter(True)

    def one(image, seed):
        if op == "crop":
            return crops.views(image, recipe, seed, size, cutter)[0]
        flip = tf.random.stateless_uniform([], seed, alg="philox") < view.flip
        return crops.flipped(image, flip)

    run = _compiled(lambda x: _each(one, x), images, jit_compile=False)
    return {"branching": run}


def _of_ours(op: str, images: Any) -> dict[str, Form]:
    import tensorflow as tf

    from tfssl.augment import RECIPES, ViewRecipe, branching, photometry
    from tfssl.models import normalize

    view = ViewRecipe(**VIEWS[op])
    recipe = dataclasses.replace(RECIPES["simclr"], views=(view,))
    seed = tf.constant([1, 2], tf.int64)
    table = photometry.sample(recipe, seed, len(images))
    rows = {name: values[0] for name, values in table.items()}

    def form(module):
        if op == "normalize":  # the encoder's first layer
            return lambda x, _: normalize(photometry.to_float(x), MEAN, STD)
        return lambda x, drawn: module.apply(x, drawn, view)

    return {
        "branching": _compiled(form(branching), images, rows, jit_compile=True),
        "batched": _compiled(form(photometry), images, rows, jit_compile=True),
        "plain": _compiled(form(photometry), images, rows, jit_compile=False),
    }


def _tf_image(op: str, size: int) -> Callable | None:
    """The operator by `tf.image`, of a uint8 image and a seed; None: it has none."""
    import tensorflow as tf

    def crop(image, seed):
        begin, sides, _ = tf.image.stateless_sample_distorted_bounding_box(
            tf.shape(image), tf.constant([[[0.0, 0.0, 1.0, 1.0]]]), seed,
            min_object_covered=0.1, area_range=(0.08, 1.0),
        )  # fmt: skip
        return tf.image.resize(tf.slice(image, begin, sides), [size, size], "bicubic")

    def unit(image):
        return tf.image.convert_image_dtype(image, tf.float32)

    def jitter(image, seed):
        x = tf.image.stateless_random_brightness(
            unit(image), JITTER["brightness"], seed
        )
        x = tf.image.stateless_random_contrast(x, 0.6, 1.4, seed)
        x = tf.image.stateless_random_saturation(x, 0.8, 1.2, seed)
        x = tf.image.stateless_random_hue(x, JITTER["hue"], seed)
        return tf.clip_by_value(x, 0.0, 1.0)

    def noise(image, seed):
        return unit(image) + 0.1 * tf.random.stateless_normal(image.shape, seed)

    def sobel(image, _):
        edges = tf.image.sobel_edges(unit(image)[None])[0]
        return tf.minimum(tf.norm(edges, axis=-1), 1.0)

    return {
        "crop": crop,
        "flip": tf.image.stateless_random_flip_left_right,
        "jitter": jitter,
        "gray": lambda image, _: tf.image.grayscale_to_rgb(
            tf.image.rgb_to_grayscale(unit(image))
        ),
        "solarize": lambda image, _: tf.where(
            unit(image) < 0.5, unit(image), 1.0 - unit(image)
        ),
        "noise": noise,
        "sobel": sobel,
        "rotate": lambda image, seed: tf.image.rot90(
            unit(image), tf.cast(seed[0] % 3 + 1, tf.int32)
        ),
        "normalize": lambda image, _: (unit(image) - MEAN) / STD,
    }.get(op)


def _layer(library: str, name: str, arguments: dict, size: int) -> Callable | None:
    """The layer in training mode; None, with a line on stderr, where it is missing."""
    try:
        if library == "keras":
            from keras import layers
        else:
            from keras_cv import layers
        if name == "RandomCropAndResize":
            arguments = arguments | {"target_size": (size, size)}
        layer = getattr(layers, name)(**arguments)
    except (ImportError, AttributeError) as error:
        print(f"{library}: {error}; try pip install {library}", file=sys.stderr)
        return None
    if name == "Normalization":
        return layer
    return lambda images: layer(images, training=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
