"""The contract of everything that trains: pre-training methods and probes alike.

The loop (`tfssl.train`) calls, in replica context and in this order,
`before_forward`, `loss` (inside the gradient tape), the optimiser, `after_update`.
It never asks which method it runs.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

import keras
import tensorflow as tf


class Batch(NamedTuple):
    """What one replica gets at one step.

    Attributes:
      views: One float32 tensor `[b, H, W, 3]` per view, after photometry.
      label: int64 `[b]`; -1 where there is no label.
      index: int64 `[b]`, which of the data set's examples each row shows; None where
        whoever makes the batch does not know.
    """

    views: tuple[tf.Tensor, ...]
    label: tf.Tensor
    index: tf.Tensor | None = None


class StepOutput(NamedTuple):
    """What `Method.loss` returns.

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


@runtime_checkable
class Method(Protocol):
    """Contract between a method and the training step."""

    encoder: keras.Model
    """What evaluation, export and conversion take."""

    @property
    def trainable_variables(self) -> list:
        """Keras weights that the optimiser may touch; the target is not in it."""

    def before_forward(self, step: tf.Tensor) -> None:
        """Moves what moves before the forward pass (MoCo's key encoder).

        Args:
          step: int64 scalar, the number of updates made so far.
        """

    def loss(self, batch: Batch, step: tf.Tensor) -> StepOutput:
        """The loss of this replica's rows, differentiable in `trainable_variables`.

        Args:
          batch: This replica's rows of the global batch.
          step: int64 scalar, the number of updates made so far.
        """

    def after_update(self, step: tf.Tensor, aux: Any) -> None:
        """Moves what follows the update: target network, queue.

        Writes the same value on every replica.

        Args:
          step: int64 scalar, the same value as in `loss`.
          aux: The `aux` of `loss`.
        """

    def checkpoint_items(self) -> dict[str, tf.Variable]:
        """Everything that moves, by name. The names are the file format."""


@runtime_checkable
class CouplesRows(Method, Protocol):
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
