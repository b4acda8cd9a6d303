"""Who teaches in `--mode=distill`: a trained run, or a Keras model by its import path.

A teacher is what it was trained as, whatever the student is: its classes, its image
size, its crop of evaluation, its normalisation. It runs in inference mode in float32.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfssl import models
from tfssl.augment.recipes import EvalTransform
from tfssl.build import trained
from tfssl.build.probe import load_probe
from tfssl.build.trained import Trained
from tfssl.build.views import transform
from tfssl.config import Config
from tfssl.config.encoder_name import is_import_path
from tfssl.core import runtime
from tfssl.data import Source, inference
from tfssl.errors import CheckpointError, TfsslError, message, printable
from tfssl.evaluate import classification, extract_features, ranked
from tfssl.evaluate.metrics import Classification
from tfssl.runs import checkpoint
from tfssl.weights import CLASSIFIER

_BATCH = 256


@dataclasses.dataclass(frozen=True, eq=False)
class Teacher:
    """A frozen network that a student learns from.

    Attributes:
      name: The run's path, or the import path.
      networks: One after the other; the first takes images `[b, S, S, 3]`, RGB in
        [0, 1], which it normalises by itself.
      image_size: S.
      transform: Resize and crop of whole images.
      width: Of what it says: classes, or dimensions of its features.
      encoder: The name of its encoder as `--encoder` has it; empty: not ours to know.
      class_names: Of its classes, where they are known.
    """

    name: str
    networks: tuple[keras.Model, ...]
    image_size: int
    transform: EvalTransform
    width: int
    encoder: str = ""
    class_names: tuple[str, ...] = ()

    def says(self, images: tf.Tensor) -> tf.Tensor:
        """Images `[b, S, S, 3]` to logits or features `[b, width]`, float32."""
        out = images
        for network in self.networks:
            out = network(out, training=False)
        return tf.stop_gradient(tf.cast(out, tf.float32))

    def digest(self) -> str:
        """SHA-256 over all its weights, in their order."""
        found = hashlib.sha256()
        for network in self.networks:
            for variable in network.variables:
                found.update(variable.numpy().tobytes())
        return found.hexdigest()

    def of_every_image(self, source: Source) -> np.ndarray:
        """What it says of every example's centre, float32 `[n, width]`.

        NaN in the rows of what cannot be read: training never asks for them, and would
        stop if it did.
        """
        table = extract_features(self.says, self._batches(source))
        order = np.argsort(source.ids, kind="stable")
        place = order[np.searchsorted(source.ids, table.ids, sorter=order)]
        out = np.full((source.num_examples, self.width), np.nan, np.float32)
        out[place] = table.features
        return out

    def evaluate(self, source: Source, names: Sequence[str]) -> Classification:
        """Returns how often it is right; its classes have these names."""
        table, images = ranked(self.says, self._batches(source)), source.num_examples
        return classification(
            table.features, table.labels, self.width, class_names=names, images=images
        )

    def _batches(self, source: Source) -> tf.data.Dataset:
        return inference(
            source,
            self.transform,
            batch=min(_BATCH, source.num_examples),
            image_size=self.image_size,
        )


def load(config: Config) -> Teacher:
    """Loads `--teacher`, else the run in `--run_dir`; in the strategy's scope.

    Raises:
      CheckpointError: There is no run, or none with a classifier.
      ConfigError: A model elsewhere that cannot teach.
    """
    name, features = path(config), config.distill_target == "features"
    if is_import_path(name):
        return _elsewhere(config, name, features)
    run = load_probe(name) or trained.load(name)
    if run.several_labels and not features:
        raise CheckpointError(
            message(
                f"the teacher {name}, whose images may have several of its classes",
                "a teacher of one class an image: they share a softmax",
                "distill_target=features",
            )
        )
    parts = (run.encoder,) if features else (run.encoder, _classifier(run))
    for part in parts:
        part.trainable = False
    return Teacher(
        name,
        parts,
        run.image_size,
        run.transform,
        int(parts[-1].output_shape[-1]),
        run.config.encoder,
        () if features else run.class_names,
    )


def path(config: Config) -> str:
    """Returns where the teacher is: a run, or an import path."""
    return config.teacher or config.run_dir


def problems(config: Config, source: Source) -> list[str]:
    """Returns why the teacher cannot teach, looked at before the first step.

    Args:
      config: Resolved configuration.
      source: Training images.
    """
    try:
        teacher = load(config)
    except TfsslError as error:
        return [str(error)]
    different = other_classes(teacher, source)
    if config.distill_alpha == 1 or not different:
        return []
    return [
        message(
            f"distill_alpha={config.distill_alpha:g} with {different}",
            "labels that are the teacher's classes, in its order",
            "distill_alpha=1, which needs no labels",
        )
    ]


def other_classes(teacher: Teacher, source: Source) -> str:
    """Says how a data set's classes differ from the teacher's; empty: not at all.

    A teacher from elsewhere does not say its classes' names: then their number counts.
    """
    if not source.num_classes:
        return f"{source.name}, which has no labels"
    names = tuple(source.class_names)
    if teacher.width != source.num_classes:
        return (
            f"{source.num_classes} classes in {source.name} and {teacher.width} of the "
            f"teacher {teacher.name}"
        )
    if teacher.class_names and names and teacher.class_names != names:
        pairs = zip(names, teacher.class_names, strict=True)
        ours, theirs = next(pair for pair in pairs if pair[0] != pair[1])
        return (
            f"class {printable(ours)!r} in {source.name} where the teacher "
            f"{teacher.name} has {printable(theirs)!r}"
        )
    return ""


def resized(size: int, wanted: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """Makes the function that shrinks views `[b, size, size, 3]` to another side.

    By a triangle filter, antialiased, as a product of matrices: any device has that.
    """
    if size == wanted:
        return lambda images: images
    to = tf.constant(_matrix(size, wanted))

    def shrunk(images: tf.Tensor) -> tf.Tensor:
        return tf.einsum("ih,bhwc,jw->bijc", to, images, to)

    return shrunk


def _matrix(size: int, wanted: int) -> np.ndarray:
    """float32 `[wanted, size]`, rows sum to 1."""
    scale = size / wanted
    place = (np.arange(wanted) + 0.5) * scale - 0.5
    distance = np.abs(np.arange(size) - place[:, None]) / max(scale, 1.0)
    weights = np.maximum(1.0 - distance, 0.0)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def _elsewhere(config: Config, name: str, features: bool) -> Teacher:
    network = models.build_foreign_teacher(name, logits=not features)
    side = network.input_shape[1] or config.image_size
    width = int(network.output_shape[-1])
    return Teacher(name, (network,), side, transform(config), width)


def linear_of(run: Trained) -> tuple[np.ndarray, np.ndarray] | None:
    """Kernel `[F, C]` and bias `[C]` of a run's linear classifier, if it has one."""
    found = checkpoint.read(run.checkpoint, CLASSIFIER) if run.checkpoint else {}
    kernel, bias = (found.get(f"{CLASSIFIER}/{leaf}") for leaf in ("kernel", "bias"))
    return None if kernel is None or bias is None else (kernel, bias)


def _classifier(run: Trained) -> keras.Model:
    """A run's classifier: trained here, or come with converted weights."""
    if run.head is not None:
        return run.head
    imported = linear_of(run) if run.config.source else None
    if imported is None:
        raise CheckpointError(
            message(
                f"{run.path}, a run without a classifier, as the teacher",
                "a fine-tuned run, RUN/linear, or a converted one whose file holds a "
                "classifier",
                "mode=finetune first, or distill_target=features",
            )
        )
    with runtime.precision("float32"):
        head = models.linear_head(*imported[0].shape, seed=0)
    head.set_weights(imported)
    return head
