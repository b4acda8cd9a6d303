"""What an evaluation scores: the trained encoder, and the two baselines beside it."""

from __future__ import annotations

import dataclasses

import keras

from tfssl import build
from tfssl.augment.recipes import EvalTransform
from tfssl.build import trained
from tfssl.build.features import pixels
from tfssl.config import Config
from tfssl.runs.scores import RAW_PIXELS, TRAINED, UNTRAINED


@dataclasses.dataclass(frozen=True)
class Subject:
    """An encoder to be scored.

    Attributes:
      key: Its name in a `Score`.
      title: For the console.
      encoder: Normalised images to features.
      transform: Its images' resize, crop and normalisation.
    """

    key: str
    title: str
    encoder: keras.Model
    transform: EvalTransform


def subjects(config: Config) -> list[Subject]:
    """The trained encoder last, baselines before it with `--baselines`."""
    transform = build.transform(config)
    trained_encoder, _ = trained.load_encoder(config)
    found = [Subject(TRAINED, "the trained encoder", trained_encoder, transform)]
    if config.baselines:
        plain = dataclasses.replace(transform, mean=None, std=None)
        found = [
            Subject(RAW_PIXELS, "raw pixels", pixels(config.image_size), plain),
            Subject(
                UNTRAINED,
                "the encoder before training",
                trained.fresh_encoder(config),
                transform,
            ),
            *found,
        ]
    return found
