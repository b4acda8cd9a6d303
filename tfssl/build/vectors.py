"""A trained run's vectors of a data set: one stream for files, arrays and queries."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfssl.build import networks
from tfssl.build.trained import Trained, assign_items
from tfssl.config.vector_flags import EMBED_ALSO
from tfssl.core import runtime, variables
from tfssl.data import Source, every_class, fingerprint
from tfssl.embeddings.principal import normalized
from tfssl.embeddings.reading import Embeddings
from tfssl.embeddings.shard_files import FEATURES, Shard
from tfssl.embeddings.writing import Writer
from tfssl.errors import CheckpointError, DataError, message, unknown
from tfssl.evaluate.embedding import Outputs, encoded_shards
from tfssl.models.heads import probabilities
from tfssl.show import console

BATCH = 256
PROJECTIONS = "projections"
PROJECTOR = "online/projector"
"""The role whose output `projections` are."""


def parts(run: Trained, also: tuple[str, ...]) -> dict[str, keras.Model]:
    """The networks that make vectors: `features` of images, the others of features.

    Args:
      run: The trained run.
      also: Of `EMBED_ALSO`.

    Raises:
      CheckpointError: It has no projector, or no classifier.
      ValueError: `also` holds another name.
    """
    found = {FEATURES: run.encoder}
    for name in also:
        if name not in EMBED_ALSO:
            raise ValueError(unknown("embed_also", name, EMBED_ALSO))
        found[name] = _projector(run) if name == PROJECTIONS else _classifier(run)
    return found


def vectors(
    networks_: Mapping[str, keras.Model],
    run_on: tf.distribute.Strategy | None = None,
) -> Callable[[tf.Tensor], Outputs]:
    """Images `[b, S, S, 3]` in [0, 1] to float32 arrays by name, in inference mode.

    Args:
      networks_: What `parts` gave, made in the strategy's scope.
      run_on: Its replicas share the rows of a batch, a multiple of their number; None:
        one device.
    """

    def forward(images: tf.Tensor) -> dict[str, tf.Tensor]:
        features = networks_[FEATURES](images, training=False)
        found = {FEATURES: features}
        for name, network in networks_.items():
            if name != FEATURES:
                out = network(features, training=False)
                out = out[-1] if isinstance(out, list) else out  # of every layer
                found[name] = out
        return {name: tf.cast(value, tf.float32) for name, value in found.items()}

    if run_on is None or run_on.num_replicas_in_sync == 1:
        return tf.function(forward, reduce_retracing=True)  # of batches of any size
    replicas = run_on.num_replicas_in_sync

    @tf.function
    def on_all(images):
        return run_on.run(forward, args=(images,))

    def encode(images: tf.Tensor) -> dict[str, tf.Tensor]:
        share = tf.split(images, replicas)
        dealt = run_on.experimental_distribute_values_from_function(
            lambda context: share[context.replica_id_in_sync_group]
        )
        return {
            name: tf.concat(run_on.experimental_local_results(value), axis=0)
            for name, value in on_all(dealt).items()
        }

    return encode


def shards(
    run: Trained,
    source: Source,
    wanted: Mapping[int, tuple[int, int]],
    *,
    encode: Callable[[tf.Tensor], Outputs] | None = None,
    batch: int = BATCH,
    progress: Callable[[int], None] = lambda rows: None,
) -> Iterator[tuple[int, Shard]]:
    """Encodes parts of a data set, see `encoded_shards`."""
    encode = encode or vectors(parts(run, ()))
    return encoded_shards(
        encode,
        source,
        run.transform,
        wanted,
        image_size=run.image_size,
        batch=batch,
        progress=progress,
    )


def write(
    writer: Writer, run: Trained, source: Source, title: str, *, shown: bool,
    normalize: bool = False, **more: Any,
) -> None:  # fmt: skip
    """Encodes what a writer misses, behind a bar if it is `shown`; see `shards`."""
    wanted = {number: writer.bounds(number) for number in writer.missing()}
    with console.Counter(writer.left, title, shown=shown) as bar:
        for number, shard in shards(run, source, wanted, progress=bar.show, **more):
            if normalize:
                shard.arrays[FEATURES] = normalized(shard.arrays[FEATURES])
            writer.write(number, shard)


def require_same(run: Trained, table: Embeddings) -> None:
    """Refuses embeddings that were not made with a run's weights.

    Raises:
      CheckpointError: They are another encoder's, or were made before it was trained
        on.
    """
    there = table.manifest
    digest = weights_digest(parts(run, tuple(there["also"])))
    if digest != there["weights_sha256"]:
        raise CheckpointError(
            message(
                f"embeddings in {table.folder} of {there['run']}, "
                f"{there['checkpoint']}, and the encoder of {run.path}, "
                f"{run.checkpoint.name if run.checkpoint else 'untrained'}",
                "the same weights",
                "mode=embed into another folder (embeddings=DIR), or "
                f"init_from={there['run']}",
            )
        )


@dataclasses.dataclass(frozen=True)
class Embedded:
    """The vectors of a data set in memory, row by row.

    Attributes:
      ids: int64 `[n]`, the examples' numbers for good.
      keys: `n` paths, or other names under which the examples are found again.
      labels: int64 `[n]`, -1 where there is none.
      class_names: One a class; empty where there are no labels.
      features: float32 `[n, F]`.
      also: `projections` and `probabilities`, float32 `[n, D]`, as asked for.
      unreadable: Key and reason of the examples that have no row.
    """

    ids: np.ndarray
    keys: list[str]
    labels: np.ndarray
    class_names: tuple[str, ...]
    features: np.ndarray
    also: dict[str, np.ndarray]
    unreadable: list[tuple[str, str]]

    def frame(self) -> Any:
        """Returns a `pandas.DataFrame`: id, key, label, class_name, features_0 and on.

        Raises:
          DataError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise DataError(
                message("a frame without pandas", "the package", "pip install pandas")
            ) from error
        names = self.class_names
        columns = {
            "id": self.ids,
            "key": self.keys,
            "label": self.labels,
            "class_name": [names[i] if i >= 0 and names else "" for i in self.labels],
        }
        for name, array in {FEATURES: self.features, **self.also}.items():
            columns |= {f"{name}_{i}": column for i, column in enumerate(array.T)}
        return pandas.DataFrame(columns)


def embedded(
    run: Trained, source: Source, also: tuple[str, ...], normalize: bool
) -> Embedded:
    """Encodes a data set into memory; see `Trained.embed`."""
    source = every_class(source)
    encode = vectors(parts(run, also))
    whole = {0: (0, source.num_examples)}
    ((_, rows),) = shards(run, source, whole, encode=encode)
    features = rows.arrays.pop(FEATURES)
    return Embedded(
        rows.ids,
        rows.keys,
        rows.labels,
        tuple(source.class_names),
        normalized(features) if normalize else features,
        rows.arrays,
        rows.unreadable,
    )


def identity(run: Trained, source: Source, weights: str) -> dict[str, Any]:
    """Returns what features depend on: encoder, its weights' digest, images, cut."""
    data = hashlib.sha256(source.ids.tobytes() + source.labels.tobytes())
    return {
        "num_examples": source.num_examples,
        "class_names": list(source.class_names),
        "encoder": run.config.encoder,
        "encoder_family": run.config.encoder_family,
        "weights_sha256": weights,
        "image_size": run.image_size,
        "transform": dataclasses.asdict(run.transform),
        "data": source.name,
        "data_sha256": data.hexdigest(),
        "images_sha256": fingerprint(source),
    }


def weights_digest(networks_: Mapping[str, keras.Model]) -> str:
    """SHA-256 over the names, shapes and bytes of all weights, in their order."""
    found = hashlib.sha256()
    for name, network in networks_.items():
        for variable in network.variables:
            value = variable.numpy()
            head = f"{name} {variable.path} {value.shape} {value.dtype}\n"
            found.update(head.encode())
            found.update(value.tobytes())
    return found.hexdigest()


def _projector(run: Trained) -> keras.Model:
    found = None
    if run.head is None and not run.config.source and run.checkpoint is not None:
        with runtime.precision("float32"):
            method = networks.method(run.config, None, 1, run.config.batch_size)
        found = method.roles().get(PROJECTOR)
    if found is None:
        raise CheckpointError(
            message(
                f"projections of {run.path}, a run without a projector",
                "a pre-trained run",
                "leaving projections out of embed_also",
            )
        )
    assign_items(variables.named(PROJECTOR, found.weights), run.checkpoint)
    return found


def _classifier(run: Trained) -> keras.Model:
    """Features to probabilities."""
    if run.head is None:
        raise CheckpointError(
            message(
                f"probabilities of {run.path}, a run without a classifier",
                "a fine-tuned run",
                "mode=finetune first, or leaving probabilities out of embed_also",
            )
        )
    with runtime.precision("float32"):
        link = keras.layers.Lambda(
            functools.partial(probabilities, several_labels=run.several_labels)
        )
        return keras.Model(run.head.inputs, link(run.head.outputs[0]))
