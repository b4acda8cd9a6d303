"""The contract of everything that trains: pre-training methods and probes alike.

The loop (`tfssl.train`) calls, in replica context and in this order,
`before_forward`, `loss` (inside the gradient tape), the optimiser, `after_update`.
It never asks which method it runs.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import keras
import tensorflow as tf

from tfssl.core import variables

FOLLOWERS = ("target", "key")
"""First part of the roles that no gradient trains: they follow the online network."""


class Batch(NamedTuple):
    """The rows of one replica at one step.

    Attributes:
      views: One float32 tensor `[b, H, W, 3]` per view, after photometry.
      label: int64 `[b]`; -1 where there is no label.
      index: int64 `[b]`, which of the data set's examples each row shows; None where
        whoever makes the batch does not know.
      target: Of a dense task what moved with the pixels, by name: boxes, a mask, each
        `[b, ...]`; None elsewhere.
    """

    views: tuple[tf.Tensor, ...]
    label: tf.Tensor
    index: tf.Tensor | None = None
    target: dict[str, tf.Tensor] | None = None


class StepOutput(NamedTuple):
    """The value of `Method.loss`.

    Attributes:
      loss: Scalar, the mean over this replica's rows. The step divides it by the
        number of replicas, because gradients are summed over replicas.
      scalars: Name to scalar tensor, for the log; averaged over replicas.
      aux: Nest of tensors that `after_update` needs, () if none. With micro batches,
        those of one step are concatenated along their first axis.
    """

    loss: tf.Tensor
    scalars: dict[str, tf.Tensor]
    aux: Any = ()


@dataclasses.dataclass(frozen=True)
class Setup:
    """The run that a method is built for, and the makers of its networks.

    Attributes:
      encoder: Of a seed to a freshly initialised encoder, images to features `[b, F]`.
      probe: Of F to the online classifier, or to None where there is to be none.
      heads: Normalisation of the heads, keyword arguments of `tfssl.models`' heads.
      seed: The run's seed.
      batch_size: Images a step, over all replicas.
      steps: Updates of the whole run.
      examples: Training images.
      weight_decay: The optimiser's.
      batch_norm_groups: Groups that BatchNorm normalises apart; 0: the whole.
    """

    encoder: Callable[[int], keras.Model]
    probe: Callable[[int], keras.Model | None]
    heads: Mapping[str, Any]
    seed: int
    batch_size: int
    steps: int
    examples: int
    weight_decay: float = 0.0
    batch_norm_groups: int = 0


class Method(abc.ABC):
    """Base of everything that trains.

    A subclass has an `encoder`, which evaluation, export and conversion take, says its
    networks in `roles`, and computes its `loss`. Trainable variables and checkpoint
    names follow from the roles.
    """

    encoder: keras.Model

    @abc.abstractmethod
    def roles(self) -> dict[str, keras.layers.Layer | None]:
        """Returns the networks by name, such as `"online/encoder"`; None: has none.

        The names are the format of checkpoints. All are trained but those whose name
        begins with one of `FOLLOWERS`.
        """

    @abc.abstractmethod
    def loss(self, batch: Batch, step: tf.Tensor) -> StepOutput:
        """Returns the loss of this replica's rows, differentiable in what is trained.

        Args:
          batch: This replica's rows of the global batch.
          step: int64 scalar, the number of updates made so far.
        """

    def buffers(self) -> dict[str, tf.Variable]:
        """Returns what moves beside the networks, by name: a queue, a bank."""
        return {}

    def before_forward(self, step: tf.Tensor) -> None:
        """Moves what moves before the forward pass (MoCo's key encoder).

        Args:
          step: int64 scalar, the number of updates made so far.
        """
        del step

    def after_update(self, step: tf.Tensor, aux: Any) -> None:
        """Moves what follows the update: target network, queue.

        Writes the same value on every replica.

        Args:
          step: int64 scalar, the same value as in `loss`.
          aux: The `aux` of `loss`.
        """
        del step, aux

    def learning_rates(self, peak: float) -> Mapping[str, Callable[[Any], Any]]:
        """Returns the roles that have a learning rate of their own.

        Args:
          peak: The run's rate after the warm-up.

        Returns:
          Role to a function of the step, as in `tfssl.optim.schedules`.
        """
        del peak
        return {}

    @property
    def trainable_variables(self) -> list:
        """Keras weights that the optimiser may touch, in the order of the roles."""
        return [v for part in self.trained().values() for v in part.trainable_variables]

    def trained(self) -> dict[str, keras.layers.Layer]:
        """Returns the networks that gradients train, by role."""
        return {
            role: part
            for role, part in self.roles().items()
            if part is not None and not role.startswith(FOLLOWERS)
        }

    def checkpoint_items(self) -> dict[str, tf.Variable]:
        """Returns everything that moves, by name. The names are the file format."""
        items: dict[str, tf.Variable] = {}
        for role, part in self.roles().items():
            if part is not None:
                items |= variables.named(role, part.variables)
        return items | self.buffers()


@runtime_checkable
class CouplesRows(Protocol):
    """A method whose loss of one row depends on the other rows of the batch (NT-Xent).

    Its loss cannot be added up over micro batches. It is split in two instead, so that
    `tfssl.train.micro_batches` can embed all rows before it asks for the loss::

        loss(batch, step) = loss_of(embed(batch, step), batch.label, step)
    """

    def embed(self, batch: Batch, step: tf.Tensor) -> dict[str, tf.Tensor]:
        """The networks' outputs: every way by which images reach the loss.

        Args:
          batch: Some rows of this replica.
          step: As in `loss`.

        Returns:
          Name to `[b, ...]`, differentiable in `trainable_variables`.
        """

    def loss_of(
        self, embedded: dict[str, tf.Tensor], label: tf.Tensor, step: tf.Tensor
    ) -> StepOutput:
        """The loss of all rows of this replica from what `embed` gave for them.

        Args:
          embedded: As `embed` returns it, rows concatenated.
          label: int64 `[b]`.
          step: As in `loss`.
        """
