"""From `Config` to the training of a dense task: batches, their views, the `Job`."""

from __future__ import annotations

import functools
from collections.abc import Callable

from tfssl.augment.dense import DenseView
from tfssl.augment.recipes import Recipe, ViewRecipe
from tfssl.build import trained
from tfssl.build.data import distributed
from tfssl.build.devices import replica_batch, strategy
from tfssl.build.training import OptimizerAt, Rate, fresh_state
from tfssl.config import Config
from tfssl.core import runtime
from tfssl.data import Source, dense_training
from tfssl.methods import Method
from tfssl.train import Job, make_photometry

PLAIN = Recipe(
    "dense", (ViewRecipe(flip=0.0),), None, None, "pixels as they are", "moco"
)
"""What happens to the pixels after the geometry: nothing, they become [0, 1]."""


def start_of(config: Config, mode: str) -> str:
    """The run whose encoder a dense task begins with; empty: the seed's."""
    random = getattr(config, f"{mode}_weights") == "random"
    return "" if random else config.init_from or config.run_dir


def dense_job(
    config: Config,
    source: Source,
    view: DenseView,
    method: Callable[[], Method],
    optimizer_at: OptimizerAt,
    *,
    rate: Rate,
    steps: int,
    batch_size: int,
    flag: str,
    seed: int,
    start: str = "",
) -> Job:
    """Training on boxes or masks that move with the pixels.

    Args:
      config: Resolved configuration; the canvas is `image_size` square.
      source: Training images with objects or masks.
      view: How they are scaled, cropped and flipped.
      method: Makes what trains, in the strategy's scope.
      optimizer_at: Makes its optimiser from step to learning rate.
      rate: Step to learning rate.
      steps: Updates of the whole training.
      batch_size: Images of a step over all replicas.
      flag: Which flag said that, for messages.
      seed: Of order and views.
      start: The run whose encoder it begins with; empty: the seed's.

    Raises:
      DataError: A batch that cannot be split over the replicas.
    """
    run_on = strategy(config)
    runtime.set_precision(config.precision)
    split = {
        "seed": seed,
        "global_batch": batch_size,
        "replica_batch": replica_batch(batch_size, run_on, 1, flag),
    }
    canvas = (config.image_size, config.image_size)

    rows = functools.partial(dense_training, source, view, **split, canvas=canvas)
    with run_on.scope():
        moving = fresh_state(method(), rate, optimizer_at)

    return Job(
        strategy=run_on,
        state=moving,
        source=source,
        batches=distributed(run_on, batch_size, rows),
        views=make_photometry(PLAIN, **split),
        batch_size=batch_size,
        total_steps=steps,
        initialize=functools.partial(trained.begin_with, start, moving.method.encoder),
    )
