"""From a trained run to what `--mode=export` writes: its networks, images and texts."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

import tfssl
from tfssl.build import vectors
from tfssl.build.data import source
from tfssl.build.teacher import linear_of
from tfssl.build.trained import Trained
from tfssl.config import Config, method_row
from tfssl.config.distill_flags import DistillFlags
from tfssl.config.encoder_name import is_foreign
from tfssl.config.flag import specs_of
from tfssl.config.groups import Images, Network, Training
from tfssl.config.tasks import FinetuneFlags
from tfssl.data import Source, spread
from tfssl.embeddings.shard_files import FEATURES
from tfssl.errors import DataError, TfsslError, message, printable
from tfssl.exporters import CARD, About, Inference
from tfssl.show import console
from tfssl.show.model_card import model_card
from tfssl.weights import licence_text

CALIBRATION = 128
"""Images to see the ranges of int8 on."""

LEARNED = {"finetune": (FinetuneFlags,), "distill": (DistillFlags,)}
"""Mode of a run that learned classes to the flags that it did so by."""

Shown = tuple[Any, str]
"""Images, and what they are."""


def inference(
    config: Config, run: Trained, images: Callable[[int], Shown]
) -> Inference:
    """The encoder to be exported, with the classifier if there is one.

    Args:
      config: Of the command.
      run: The run.
      images: Of `training_images`.
    """
    supervised = run.provenance and run.provenance["source"]["kind"] == "torchvision"
    behind_projector = run.head is not None and run.config.finetune_layer > 0
    right_behind = (supervised or run.head is not None) and not behind_projector
    return Inference(
        run.encoder,
        run.transform,
        run.image_size,
        classifier=run.head,
        several_labels=run.several_labels,
        any_size=not is_foreign(run.config.encoder),
        max_pixels=config.max_image_pixels,
        orient=config.orient,
        on_error=config.export_on_error,
        dtype=config.export_dtype,
        sample=lambda: images(CALIBRATION)[0],
        linear=linear_of(run) if right_behind else None,
    )


def training_images(run: Trained) -> Callable[[int], Shown]:
    """Makes the function of a number to so many images of a run's own, spread.

    They are as the encoder gets them, float32 `[n, S, S, 3]`. The function raises
    DataError where none can be read.
    """
    config = run.config
    opened = functools.cache(lambda: source(config, config.train_split, memory=0))

    def images(count: int) -> Shown:
        found, name = run.images(opened(), count), opened().name
        if not len(found):
            raise DataError(
                message(
                    f"{count} unreadable images of {name}",
                    "images that the run was trained on",
                    "another export_dtype than int8",
                )
            )
        return found, f"{len(found)} images of {printable(name)}"

    return images


def whole_images(run: Trained, count: int, targets: str = "") -> Shown:
    """Training images of a run at their own size, uint8 `[h, w, 3]` each, spread."""
    config = run.config
    opened = source(config, config.train_split, targets=targets, memory=0)
    few: Source = spread(opened, count)
    places = (tf.constant(place, tf.int64) for place in range(few.num_examples))
    found = [few.example(place)["image"].numpy() for place in places]
    return found, f"{len(found)} images of {printable(few.name)}"


def or_noise(images: Callable[[], Shown], count: int, size: int) -> Shown:
    """Images; noise `[count, size, size, 3]` in [0, 1] where they are not there.

    They may be on another machine by now; the weights are here.
    """
    try:
        return images()
    except (TfsslError, tf.errors.OpError) as error:
        console.say(f"compared on noise: {error}")
        noise = np.random.default_rng(0).uniform(size=(count, size, size, 3))
        return np.float32(noise), f"{count} images of noise"


def about(config: Config, run: Trained, *, card: bool = True) -> About:
    """What travels with a run's weights: metadata, and texts with their licence.

    Args:
      config: Of the command.
      run: The run.
      card: Whether the model's card is among them.
    """
    of, record = run.config, run.provenance
    metadata = {
        "tfssl": tfssl.__version__,
        "format": config.format,
        "dtype": config.export_dtype,
        "method": of.method,
        "encoder": of.encoder,
        "encoder_family": of.encoder_family,
        "dataset": of.dataset,
        "checkpoint": run.checkpoint.name if run.checkpoint else None,
        "provenance": record,
        "image_size": run.image_size,
        "orient": config.orient,
        "feature_dim": int(run.encoder.outputs[0].shape[-1]),
        "num_classes": run.head and int(run.head.outputs[0].shape[-1]),
        "weights_sha256": vectors.weights_digest({FEATURES: run.encoder}),
    }
    if names := list(map(printable, run.class_names)):
        metadata["classes"] = names
    texts: dict[str, Any] = {}
    if card:
        groups = (Network, Images, Training, method_row(of.method).flags)
        groups += LEARNED.get(of.mode, ())
        flags = [*(name for group in groups for name in specs_of(group)), "seed"]
        recipe = {name: text for name in flags if (text := of.text(name))}
        recipe.pop("teacher", None)  # a path
        if of.mode in LEARNED and not isinstance(of.label_fraction, str):
            recipe["label_fraction"] = of.text("label_fraction")
        texts[CARD] = functools.partial(
            model_card,
            recipe=recipe,
            scores=run.scores,
            data=list(run.results.get("data", {}).values()),
            unreadable=len(run.results.get("skipped_files") or []),
        )
    if record:  # weights that are not ours
        texts["LICENSE-weights.txt"] = licence_text(record)
    return About(metadata, texts, None)
