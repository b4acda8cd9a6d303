"""Turns a data set into one table of features, each example exactly once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import tensorflow as tf

from tfssl.errors import DataError, DivergenceError, message
from tfssl.evaluate.metrics import rank


@dataclasses.dataclass(frozen=True)
class Features:
    """The features of a data set, row by row with labels and ids.

    Attributes:
      features: float32 `[n, F]`, not normalised; or what `keep` made of them.
      labels: int64 `[n]`, -1 where there is no label.
      ids: int64 `[n]`, the example's number in its source.
    """

    features: np.ndarray
    labels: np.ndarray
    ids: np.ndarray

    def __post_init__(self) -> None:
        """Refuses parts of different lengths."""
        shape = self.features.shape
        if len(shape) != 2 or not (shape[0] == len(self.labels) == len(self.ids)):
            raise DataError(
                message(
                    f"features {shape}, {len(self.labels)} labels, {len(self.ids)} ids",
                    "features [n, F] with n labels and n ids",
                    "building the three from the same batches",
                )
            )

    def __len__(self) -> int:
        """Rows."""
        return len(self.features)

    def __getitem__(self, rows: slice | np.ndarray) -> Features:
        """Some of the rows."""
        return Features(self.features[rows], self.labels[rows], self.ids[rows])


def extract_features(
    encode: Callable[[tf.Tensor], tf.Tensor],
    batches: Iterable[Mapping],
    keep: Callable[[np.ndarray], np.ndarray] = lambda rows: rows,
) -> Features:
    """Encodes every batch and keeps the rows that are not padding.

    `encode` is traced once, because the batches of `data.pipeline.inference` all
    have the same shape. Memory holds the features about once, so that 1.28 million
    rows of 2048 numbers need 10.5 GB and not twice that.

    Args:
      encode: float32 images `[b, S, S, 3]` in [0, 1] to features `[b, F]`. Give it the
        encoder with `training=False`.
      batches: Dicts with `image` float32 `[b, S, S, 3]`, `label` `[b]`, `id` `[b]`
        and `mask` bool `[b]`, False for padding.
      keep: Rows `[m, F]` of a batch to what is kept of them, `[m, K]`.

    Returns:
      Features in the order of the batches.

    Raises:
      DataError: There is no example, or `encode` gives something else than `[b, F]`.
      DivergenceError: A feature is NaN or infinite.
    """

    @tf.function
    def compiled(images: tf.Tensor) -> tf.Tensor:
        return tf.cast(encode(images), tf.float32)

    features, labels, ids = [], [], []
    encoding = None
    for batch in batches:
        mask = np.asarray(batch["mask"], bool)
        if not mask.any():
            continue
        images = tf.convert_to_tensor(batch["image"])
        # Not `compiled(images)`: TensorFlow takes the functions of several data sets
        # for one that is traced again and again, and warns.
        encoding = encoding or compiled.get_concrete_function(images)
        encoded = encoding(images).numpy()
        check_features(encoded, mask)
        features.append(keep(encoded[mask]))
        labels.append(np.asarray(batch["label"], np.int64)[mask])
        ids.append(np.asarray(batch["id"], np.int64)[mask])
    if not features:
        raise DataError(
            message(
                "a data set without one readable example",
                "at least one image",
                "another split, or a look at the files that were skipped",
            )
        )
    return Features(_stack(features), np.concatenate(labels), np.concatenate(ids))


def ranked(
    logits: Callable[[tf.Tensor], tf.Tensor], batches: Iterable[Mapping]
) -> Features:
    """Ranks the classes for every example; the logits of one batch are in memory.

    Args:
      logits: float32 images `[b, S, S, 3]` in [0, 1] to `[b, classes]`.
      batches: See `extract_features`.

    Returns:
      What `classification` takes: in place of features int64 `[n, 1 to 5]`.

    Raises:
      DataError, DivergenceError: As `extract_features`.
    """
    return extract_features(logits, batches, keep=rank)


def check_features(encoded: np.ndarray, mask: np.ndarray) -> None:
    """Refuses what no encoder with pooled features gives.

    Args:
      encoded: To be `[b, F]`.
      mask: bool `[b]`, False for padding, which may hold anything.

    Raises:
      DataError: It has another shape.
      DivergenceError: A real row holds NaN or infinity.
    """
    if encoded.ndim != 2 or len(encoded) != len(mask):
        raise DataError(
            message(
                f"encoded images of shape {encoded.shape}",
                f"features [{len(mask)}, F]",
                "an encoder with pooled features, not a feature map",
            )
        )
    # Padding may hold anything; only real rows count.
    bad = ~np.isfinite(encoded[mask]).all(axis=1)
    if bad.any():
        raise DivergenceError(
            message(
                f"features with NaN or infinity for {int(bad.sum())} of "
                f"{int(mask.sum())} images of a batch",
                "finite features",
                "an earlier checkpoint (init_from), or training again with a lower "
                "learning_rate, longer warmup_epochs, or precision=float32",
            )
        )


def _stack(rows: list[np.ndarray]) -> np.ndarray:
    """Concatenates and frees each part as it goes: np.concatenate needs both."""
    out = np.empty((sum(map(len, rows)), rows[0].shape[1]), rows[0].dtype)
    start = 0
    for i, part in enumerate(rows):
        out[start : start + len(part)] = part
        start += len(part)
        rows[i] = np.empty(0)
    return out
