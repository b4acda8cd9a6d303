"""Supervised training on single views: what linear evaluation and fine-tuning share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from tfssl import build
from tfssl.augment import RECIPES, Recipe
from tfssl.augment.recipes import EvalTransform
from tfssl.config import Config
from tfssl.data import Source
from tfssl.train import RunState, StopRequest, make_run_steps, train


@dataclasses.dataclass(frozen=True)
class OneView:
    """How labelled images are shown: crop and flip of the family, one view each.

    Attributes:
      config: Resolved configuration.
      data: Labelled training images.
      transform: Evaluation's; its normalisation is that of training.
      batch: Images of a step, over all replicas.
      seed: Of order and crops; one of its own for each protocol.
    """

    config: Config
    data: Source
    transform: EvalTransform
    batch: int
    seed: int

    def recipe(self) -> Recipe:
        """Crop and flip of the family, normalised as the encoder was trained."""
        return dataclasses.replace(
            RECIPES[f"linear_{self.config.encoder_family}"],
            mean=self.transform.mean,
            std=self.transform.std,
        )

    def train(
        self,
        strategy: tf.distribute.Strategy,
        state: RunState,
        total: int,
        *,
        stop: StopRequest,
        log_every: int,
        on_row: Callable = lambda row: None,
        on_progress: Callable = lambda row: None,
        actions: tuple = (),
    ) -> bool:
        """Trains from `state.step` to `total`; see `tfssl.train.train`.

        Raises:
          DataError: The batch cannot be split over the replicas.
        """
        given = build.training_input(
            strategy,
            self.data,
            self.recipe(),
            seed=self.seed,
            global_batch=self.batch,
            image_size=self.config.image_size,
            on_device=False,
        )
        return train(
            state,
            make_run_steps(strategy, state, given.views),
            given.batches(int(state.step.numpy())),
            total_steps=total,
            steps_per_loop=self.config.steps_per_loop,
            log_every=log_every,
            images_per_step=self.batch,
            on_row=on_row,
            on_progress=on_progress,
            actions=actions,
            stop=stop,
        )
