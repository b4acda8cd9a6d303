"""What an evaluation scores: the trained encoder, and the two baselines beside it."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from tfssl import build
from tfssl.augment.recipes import EvalTransform
from tfssl.build import trained
from tfssl.build.features import pixels
from tfssl.config import Config
from tfssl.runs import RunDirectory


@dataclasses.dataclass(frozen=True)
class Subject:
    """An encoder to be scored.

    Attributes:
      key: Its place in `results.json`: `""` for the trained encoder, else a baseline.
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
    found = [Subject("", "the trained encoder", trained_encoder, transform)]
    if config.baselines:
        plain = dataclasses.replace(transform, mean=None, std=None)
        found = [
            Subject("raw_pixels", "raw pixels", pixels(config.image_size), plain),
            Subject(
                "untrained",
                "the encoder before training",
                trained.fresh_encoder(config),
                transform,
            ),
            *found,
        ]
    return found


def add_score(
    directory: RunDirectory, subject: Subject, protocol: str, scores: dict[str, Any]
) -> None:
    """Writes one score into `results.json`, baselines under `baselines`."""
    if not subject.key:
        directory.add_results({protocol: scores})
        return
    baselines = directory.read_results().get("baselines", {})
    of_subject = baselines.get(subject.key, {}) | {protocol: scores}
    directory.add_results({"baselines": {subject.key: of_subject}})
