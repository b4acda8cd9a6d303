"""Views as the training step makes them: photometry, and crops on the device.

With `augment.crops.ON_DEVICE` the host sends nothing but numbers of examples.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import tensorflow as tf

from tfssl.augment import branching, matrix_views, photometry
from tfssl.augment.recipes import Recipe, ViewRecipe
from tfssl.core import collectives, runtime, seeds, variables
from tfssl.train.replica_step import Photometric


def make_photometry(
    recipe: Recipe,
    *,
    seed: int,
    global_batch: int,
    replica_batch: int,
    micro_batches: int = 1,
    lanes: int | None = None,
) -> Photometric:
    """Makes photometry, compiled by XLA.

    Every replica draws the parameters of the whole global batch, a few numbers per
    image, and keeps its rows: the views do not depend on the number of replicas.

    Args:
      recipe: Table of numbers, one `ViewRecipe` per view.
      seed: The run's seed.
      global_batch: Images of a step over all replicas.
      replica_batch: Images of a step on one replica.
      micro_batches: Parts in which a replica sees them.
      lanes: 0 computes the batch as one (`augment.photometry`, for accelerators);
        n >= 1 takes image by image in n lanes at once (`augment.branching`, for
        CPUs). Views are equal to rounding, and with n >= 1 they do not depend on n.
        None: what the machine wants.

    Returns:
      Function of (a batch with `views` uint8 `[b, V, S, S, 3]`, step int64 scalar,
      number of the micro batch) to V tensors float32 `[b, S, S, 3]` in [0, 1], with
      b = `replica_batch / micro_batches`. Call it in replica context.
    """
    rows_of_part = replica_batch // micro_batches
    lanes = runtime.cpu_lanes() if lanes is None else lanes
    parts = _parts(rows_of_part, lanes)
    # One function for views that are drawn alike: half the time to compile.
    change = functools.cache(
        lambda view: _compiled(view, photometry if lanes == 0 else branching)
    )

    @tf.function(jit_compile=True, autograph=False)
    def drawn(step, first):
        table = _table(recipe, seed, global_batch, step)
        return [
            {
                name: collectives.slice_rows(values[v], first, rows_of_part)
                for name, values in table.items()
            }
            for v in range(len(recipe.views))
        ]

    def photometric(batch, step, part=0):
        images = batch["views"]
        first = first_row(part, rows_of_part, global_batch // micro_batches)
        table = drawn(step, first)
        views = []
        for v, view in enumerate(recipe.views):
            done = [
                change(view)(
                    images[begin:end, v],
                    {name: values[begin:end] for name, values in table[v].items()},
                )
                for begin, end in parts
            ]
            views.append(done[0] if len(done) == 1 else tf.concat(done, 0))
        return tuple(views)

    return photometric


def make_device_views(
    images: tf.Variable,
    recipe: Recipe,
    photometric: Photometric,
    *,
    seed: int,
    global_batch: int,
    replica_batch: int,
    image_size: int,
    micro_batches: int = 1,
) -> Photometric:
    """Makes crop, resize and flip in front of photometry, compiled by XLA.

    Every replica draws the crops of the whole global batch and keeps its rows. The
    views are those of `data.pipeline.training`, which cuts them on the host, but for
    single values halfway between two bytes.

    Args:
      images: The data set, uint8 `[n, H, W, 3]`, made in the strategy's scope, so that
        each device has its copy.
      recipe: How to crop and flip.
      photometric: Of `make_photometry` with the same numbers.
      seed: The run's seed.
      global_batch: Images of a step over all replicas.
      replica_batch: Images of a step on one replica.
      image_size: Side S of the views.
      micro_batches: Parts in which a replica sees them.

    Returns:
      Function of (a batch with `index`, the examples, int64 `[b]`; step; number of the
      micro batch) to what `photometric` makes of their views.
    """
    rows = replica_batch // micro_batches
    sides = images.shape[1:3]

    @tf.function(jit_compile=True, autograph=False)
    def cut(pixels, index, step, first):
        table = matrix_views.sample(
            recipe, seeds.step_seed(seed, "geometry", step), global_batch, *sides
        )
        own = {
            n: tf.slice(v, [0, first], [len(recipe.views), rows])
            for n, v in table.items()
        }
        return matrix_views.views(tf.gather(pixels, index), own, recipe, image_size)

    def views(batch, step, part=0):
        first = first_row(part, rows, global_batch // micro_batches)
        # An argument and not captured: the function is traced once, for all replicas.
        pixels = tf.convert_to_tensor(variables.raw(images))
        found = cut(pixels, batch["index"], step, first)
        return photometric({"views": found}, step, part)

    return views


def first_row(part: int | tf.Tensor, rows: int, rows_of_all: int) -> tf.Tensor:
    """Returns where this replica's rows of a micro batch begin in the global batch.

    The same rows as `data.pipeline.training` gives to it. In replica context.

    Args:
      part: Number of the micro batch.
      rows: Rows of a micro batch on one replica.
      rows_of_all: Rows of a micro batch on all replicas.

    Returns:
      int32 scalar.
    """
    own = tf.cast(collectives.replica_id(), tf.int32) * rows
    return own + tf.cast(part, tf.int32) * rows_of_all


def drawn_photometry(
    recipe: Recipe, *, seed: int, global_batch: int, step: int
) -> dict[str, tf.Tensor]:
    """Returns the parameters that `make_photometry` draws at a step, to look at.

    Compiled as there: outside of XLA other numbers come from the same seed.

    Returns:
      As `photometry.sample`, for the whole global batch.
    """
    draw = tf.function(_table, jit_compile=True, autograph=False)
    return draw(recipe, seed, global_batch, tf.constant(step, tf.int64))


def _table(
    recipe: Recipe, seed: int, global_batch: int, step: tf.Tensor
) -> dict[str, tf.Tensor]:
    return photometry.sample(
        recipe, seeds.step_seed(seed, "photometry", step), global_batch
    )


def _parts(rows: int, lanes: int) -> list[tuple[int, int]]:
    """Returns the rows of each lane, (first, after the last); no lane is empty."""
    lanes = max(1, min(lanes, rows))
    ends = [rows * lane // lanes for lane in range(lanes + 1)]
    return list(zip(ends[:-1], ends[1:], strict=True))


def _compiled(view: ViewRecipe, form) -> Callable:
    @tf.function(jit_compile=True, autograph=False)
    def changed(images, rows):
        return form.apply(images, rows, view)

    return changed
