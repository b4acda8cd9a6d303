"""A run that was trained, as a thing to hold: `load(path)` gives a `Trained`."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from tfssl.augment.recipes import EvalTransform
from tfssl.build import data, networks
from tfssl.build.views import transform
from tfssl.config import Config, modes
from tfssl.config.inherit import stored_config
from tfssl.config.remote import as_path, read_json
from tfssl.config.transfer_sets import MAP
from tfssl.core import runtime, variables
from tfssl.core.paths import AnyPath
from tfssl.data import Source, in_classes, inference, spread, targets_of
from tfssl.errors import CheckpointError, message
from tfssl.evaluate import Features, classification, extract_features, ranked
from tfssl.evaluate.metrics import Classification
from tfssl.evaluate.result import Result, of_scores
from tfssl.models import heads
from tfssl.runs import CheckpointStore, RunDirectory, checkpoint
from tfssl.runs.scores import RAW_PIXELS, TRAINED, UNTRAINED, Score, scores_of
from tfssl.weights import CLASSIFIER, licence_text

if TYPE_CHECKING:
    from tfssl.build.vectors import Embedded

ENCODER = "online/encoder"
"""Prefix of the encoder's tensors in a checkpoint, whatever the method."""

CLASSES = "classes.json"
"""File of a run with a classifier: the names of its classes, see `classes_text`."""

_SEVERAL = "several_labels"

_BATCH = 256

Compiled = Callable[[tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """A trained run: its networks in float32, and what they mean.

    Everything in it is that run's own, whatever else is in the process: two of other
    families, image sizes or encoders can be held side by side.

    Attributes:
      path: The run directory, or the checkpoint in one.
      config: The flags that it was trained with.
      checkpoint: Folder of the checkpoint whose weights these are; None where they
        are the seed's.
      encoder: Images `[b, S, S, 3]` in [0, 1], which it normalises, to features
        `[b, F]`.
      head: Features to logits `[b, classes]`; None where no classifier was trained.
        (The online probe of a pre-training is no product of it.)
      transform: Resize and crop of the images.
      provenance: The record of `--mode=convert`; None where all began with a seed.
      class_names: Of the logits; empty where they are not known.
      several_labels: Whether an image may have several of these classes.
      title: For messages and tables.
    """

    path: str
    config: Config
    checkpoint: AnyPath | None
    encoder: keras.Model
    head: keras.Model | None
    transform: EvalTransform
    provenance: dict[str, Any] | None = None
    class_names: tuple[str, ...] = ()
    several_labels: bool = False
    title: str = "the trained encoder"

    @property
    def image_size(self) -> int:
        """Side of the square images in pixels."""
        return self.config.image_size

    @property
    def scores(self) -> list[Score]:
        """What was measured of the run, the newest last."""
        return scores_of(self.results)

    @property
    def results(self) -> dict[str, Any]:
        """The content of its `results.json`, empty where there is none."""
        return RunDirectory(_run_of(self.path)).read_results()

    @functools.cached_property
    def encode(self) -> Compiled:
        """Images `[b, S, S, 3]`, RGB in [0, 1], to features `[b, F]` float32."""
        return compiled_encode(self.encoder)

    @functools.cached_property
    def logits(self) -> Compiled:
        """Images `[b, S, S, 3]`, RGB in [0, 1], to logits `[b, classes]` float32.

        Raises:
          CheckpointError: The run has no classifier.
        """
        if self.head is None:
            raise CheckpointError(
                message(
                    f"{self.path}, a run without a classifier",
                    "a fine-tuned run",
                    "mode=finetune, and RUN/finetune",
                )
            )
        encoder, head = self.encoder, self.head

        # Sequential would round images to what the process trained in last.
        def classify(images: tf.Tensor, training: bool) -> tf.Tensor:
            return head(encoder(images, training=training), training=training)

        return compiled_encode(classify)

    def features(
        self, images: np.ndarray | tf.Tensor | Source | str, *, limit: int = 0
    ) -> Features | np.ndarray:
        """Features of images: an array of them for an array, `Features` for a source.

        Args:
          images: `[n, S, S, 3]`, RGB in [0, 1]; or a data set, each example of which
            is encoded once; or the name of one as `--dataset` takes it, whose held-out
            images are.
          limit: Only this many examples of a data set, spread evenly; 0: all.
        """
        return self._apply(self.encode, images, limit)

    def classify(
        self,
        images: np.ndarray | tf.Tensor | Source | str,
        *,
        limit: int = 0,
        probabilities: bool = True,
    ) -> Features | np.ndarray:
        """Probabilities `[n, classes]`, or logits, of what `features` takes.

        Labels of a data set are in the numbering of the columns, by name.

        Raises:
          CheckpointError: The run has no classifier.
        """
        function, logits, several = self.logits, self.logits, self.several_labels
        if probabilities:
            function = lambda x: heads.probabilities(logits(x), several)  # noqa: E731
        # Several labels are not renumbered: their columns are the data set's.
        names = () if several else self.class_names
        return self._apply(function, images, limit, names)

    def ranking(self, images: Source) -> Features:
        """The classes of the highest logits; see `evaluate.ranked`.

        Raises:
          CheckpointError: The run has no classifier.
        """
        return ranked(self.logits, self._batches(images, 0, self.class_names))

    def images(self, source: Source, limit: int = 0) -> np.ndarray:
        """Readable images as the encoder gets them, `[n, S, S, 3]`; see `features`."""
        batches = self._batches(source, limit, ())
        parts = [b["image"].numpy()[b["mask"].numpy()] for b in batches]
        return np.concatenate(parts)

    def answers(self, images: Source) -> Features:
        """Returns what `evaluate` scores: logits of several labels, or ranked classes.

        Raises:
          CheckpointError: The run has no classifier.
        """
        if self.several_labels:
            return self.classify(images, probabilities=False)
        return self.ranking(images)

    def evaluate(self, images: Source) -> Classification | Result:
        """What its classifier is worth on held-out images, each with all its labels.

        Of images with several labels, the mean over the classes of average precision.

        Raises:
          CheckpointError: The run has no classifier.
          DataError: The images have no labels of its classes.
        """
        names, count = self.class_names, images.num_examples
        table = self.answers(images)
        if self.several_labels:
            targets = targets_of(images, table.ids, names)
            return of_scores(table, targets, MAP, images=count)
        return classification(
            table.features, table.labels, len(names), class_names=names, images=count
        )

    def embed(
        self,
        images: Source | str,
        *,
        split: str = "",
        also: Sequence[str] = (),
        normalize: bool = False,
    ) -> Embedded:
        """Encodes every example of a data set, each with what it is found again by.

        Args:
          images: A data set, or the name of one as `--dataset` takes it.
          split: Of a name; empty: the run's training split.
          also: `projections`, `probabilities`, or both.
          normalize: Whether features are scaled to length 1.

        Raises:
          CheckpointError: The run has no projector, or no classifier.
        """
        from tfssl.build import vectors

        if isinstance(images, str):
            named = dataclasses.replace(self.config, dataset=images)
            images = data.source(named, split or self.config.train_split)
        return vectors.embedded(self, images, tuple(also), normalize)

    def _apply(
        self,
        function: Compiled,
        images: Any,
        limit: int,
        classes: Sequence[str] = (),
    ) -> Features | np.ndarray:
        if isinstance(images, str):
            named = dataclasses.replace(self.config, dataset=images)
            images = data.evaluation_source(named)
        if not isinstance(images, np.ndarray | tf.Tensor):
            return extract_features(function, self._batches(images, limit, classes))
        images = np.asarray(images, np.float32)
        _refuse_other_shapes(images, self.image_size)
        parts = [
            function(images[i : i + _BATCH]).numpy()
            for i in range(0, len(images), _BATCH)
        ]
        return np.concatenate(parts) if parts else function(images).numpy()

    def _batches(
        self, images: Source, limit: int, classes: Sequence[str]
    ) -> tf.data.Dataset:
        part = spread(in_classes(images, classes) if classes else images, limit)
        return inference(
            part,
            self.transform,
            batch=min(_BATCH, part.num_examples),
            image_size=self.image_size,
        )


def compiled_encode(model: Callable[..., tf.Tensor]) -> Compiled:
    """Maps images in [0, 1] to the model's float32 output, in inference mode."""

    @tf.function
    def encode(images: tf.Tensor) -> tf.Tensor:
        return tf.cast(model(images, training=False), tf.float32)

    return encode


def load(path: str | AnyPath, *, config: Config | None = None) -> Trained:
    """Loads a trained run, by its own `flags.cfg`.

    Args:
      path: A run directory, or a checkpoint in one.
      config: Its flags, where they are not there yet, or where an evaluation shows
        the images at another size.

    Raises:
      CheckpointError: There is no run, no whole checkpoint, or one of another encoder.
    """
    stored = config or stored_config(str(path))
    if stored is None:
        raise CheckpointError(
            message(
                f"{path}, which holds no run",
                "a run directory, with its flags.cfg",
                "mode=pretrain first",
            )
        )
    folder = checkpoint_folder(path)
    encoder = fresh_encoder(stored)
    assign_encoder(encoder, folder)
    names, several = class_names(path)
    return Trained(
        path=str(path),
        config=stored,
        checkpoint=folder,
        encoder=encoder,
        head=_head(stored, folder),
        transform=transform(stored),
        provenance=provenance(path),
        class_names=names,
        several_labels=several,
    )


def of_command(config: Config) -> Trained:
    """The run that an evaluation is about: that of `init_from`, else of `run_dir`.

    Its networks are its own; the images may be shown otherwise than in training.
    """
    path = config.init_from or config.run_dir
    stored = stored_config(path)
    if stored is not None:
        stored = dataclasses.replace(
            stored, image_size=config.image_size, augment=config.augment
        )
    return load(path, config=stored)


def untrained(config: Config) -> Trained:
    """The run that the flags describe, before its first step."""
    return Trained(
        path=config.run_dir,
        config=config,
        checkpoint=None,
        encoder=fresh_encoder(config),
        head=None,
        transform=transform(config),
        title="the encoder before training",
    )


def subjects(config: Config) -> dict[str, Trained]:
    """What to score, by its name in a `Score`: the trained encoder, which is last.

    With `--baselines` also the images themselves, and the encoder before training.
    """
    run = of_command(config)
    if not config.baselines:
        return {TRAINED: run}
    return {
        RAW_PIXELS: raw_pixels(run),
        UNTRAINED: untrained(run.config),
        TRAINED: run,
    }


def raw_pixels(run: Trained) -> Trained:
    """The images of a run without any encoder: the baseline of baselines."""
    images = keras.Input((run.image_size, run.image_size, 3))
    pixels = keras.layers.Flatten(dtype="float32")(images)
    flat = keras.Model(images, pixels, name="raw_pixels")
    more = {"head": None, "checkpoint": None, "title": "raw pixels"}
    return dataclasses.replace(run, encoder=flat, **more)


def fresh_encoder(config: Config) -> keras.Model:
    """The encoder before training: float32, outside of any strategy."""
    with runtime.precision("float32"):
        return networks.encoder(config, config.seed)


def checkpoint_folder(path: str | AnyPath) -> AnyPath:
    """The newest undamaged checkpoint of a run directory, or the checkpoint itself.

    Raises:
      CheckpointError: There is none.
    """
    path = as_path(path)
    if (path / checkpoint.MANIFEST).exists():
        store = CheckpointStore(path.parent)
        candidates = [path]
    else:
        store = CheckpointStore(path / "checkpoints")
        candidates = [store.path(step) for step in reversed(store.steps())]
    for folder in candidates:
        if checkpoint.damage(folder) is None:
            return folder
    raise CheckpointError(
        message(
            f"no whole checkpoint under {path}",
            "a run directory after at least one checkpoint",
            "mode=pretrain first, or init_from=RUN_DIR",
        )
    )


def provenance(path: str | AnyPath) -> dict[str, Any] | None:
    """Whose weights a run's encoder is made of, where they are not its own.

    Args:
      path: A run directory, or a checkpoint in one.

    Returns:
      The record of `--mode=convert`, or None where everything was trained from a seed.
    """
    file = RunDirectory(_run_of(path, "provenance.json")).provenance
    return read_json(file) if file.is_file() else None


def provenance_texts(path: str | AnyPath) -> dict[str, str]:
    """The files that say it, for another run that begins with these weights."""
    record = provenance(path) if path else None
    if record is None:
        return {}
    directory = RunDirectory(path)
    return {
        directory.provenance.name: json.dumps(record, indent=1) + "\n",
        directory.licence.name: licence_text(record),
    }


def assign_items(items: dict[str, tf.Variable], folder: AnyPath) -> None:
    """Assigns a checkpoint's tensors to variables; what has no variable is left.

    Args:
      items: Name to variable.
      folder: The checkpoint.

    Raises:
      CheckpointError: It lacks one of the names, or a shape differs.
    """
    checkpoint.assign(folder, items, items.__contains__)


def begin_with(start: str, encoder: keras.Model) -> None:
    """Gives an encoder the weights of the run `start`, if one is named."""
    if start:
        assign_encoder(encoder, checkpoint_folder(start))


def assign_encoder(model: keras.Model, folder: AnyPath) -> None:
    """Assigns the encoder's part of a checkpoint to a model, strictly."""
    items = variables.named(ENCODER, model.variables)
    checkpoint.assign(folder, items, lambda name: name.startswith(f"{ENCODER}/"))


def _head(config: Config, folder: AnyPath) -> keras.Model | None:
    asked = modes(config)
    taught = asked == ["distill"] and config.distill_target == "classes"
    if not taught and asked != ["finetune"]:
        return None
    name = f"{CLASSIFIER}/bias"
    bias = checkpoint.read(folder, name)
    with runtime.precision("float32"):
        network = networks.fine_tune(config, len(bias[name]))
    assign_items(network.checkpoint_items(), folder)
    return network.head()


def classes_text(names: Sequence[str], *, several_labels: bool = False) -> str:
    """The content of `CLASSES`; arguments as the attributes of `Trained`."""
    found = list(names)
    return json.dumps({_SEVERAL: found} if several_labels else found)


def class_names(path: str | AnyPath) -> tuple[tuple[str, ...], bool]:
    """Names of the classes, and whether an image may have several of them."""
    file = RunDirectory(_run_of(path, CLASSES)).path / CLASSES
    found = read_json(file) if file.is_file() else []
    several = isinstance(found, dict)
    return tuple(found[_SEVERAL] if several else found), several


def _run_of(path: str | AnyPath, file: str = "flags.cfg") -> AnyPath:
    """The folder of a run's file, from a run directory or a checkpoint in it."""
    start = as_path(path)
    for folder in (start, *start.parents[:2]):
        if (folder / file).is_file():
            return folder
    return start


def _refuse_other_shapes(images: np.ndarray, size: int) -> None:
    if images.ndim != 4 or images.shape[1:] != (size, size, 3):
        raise CheckpointError(
            message(
                f"images of shape {images.shape}",
                f"[n, {size}, {size}, 3], RGB in [0, 1]",
                "resizing them, or the name of a data set",
            )
        )
