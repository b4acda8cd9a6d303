"""Rules on detection: scales, decay points, and encoders that have levels."""

from __future__ import annotations

from collections.abc import Iterator

from tfssl.config.config import Config, modes
from tfssl.config.detect_flags import SIDES
from tfssl.config.method_row import Rule
from tfssl.config.tables import without_extra
from tfssl.errors import message


def _shorter(config: Config) -> Iterator[str]:
    bounds = config.detect_shorter
    if bounds and not (len(bounds) < 3 and 1 <= bounds[0] <= bounds[-1]):
        yield message(
            f"--detect_shorter={config.text('detect_shorter')}",
            "the smallest and the largest side in pixels",
            "--detect_shorter=480,800",
        )


def _decay(config: Config) -> Iterator[str]:
    points = config.detect_decay_steps
    if list(points) != sorted(set(points)) or not all(p > 0 for p in points):
        yield message(
            f"--detect_decay_steps={config.text('detect_decay_steps')}",
            "steps that increase",
            "--detect_decay_steps=18000,22000",
        )


def _anchors(config: Config) -> Iterator[str]:
    sides = config.detect_anchors
    if not sides or min(sides) < 1 or len(set(sides)) < len(sides):
        yield message(
            f"--detect_anchors={config.text('detect_anchors')}",
            "different sides in pixels",
            "--detect_anchors=32,64,128,256,512",
        )


def _encoder(config: Config) -> Iterator[str]:
    if "detect" not in modes(config):
        return
    if config.image_size % SIDES:
        yield message(
            f"--mode=detect with --image_size={config.image_size}",
            f"a multiple of {SIDES}",
            f"--image_size={max(1, round(config.image_size / SIDES)) * SIDES}",
        )


def _extra(config: Config) -> Iterator[str]:
    if "detect" in modes(config) and (
        problem := without_extra("dense", "--mode=detect")
    ):
        yield problem


def _warmup(config: Config) -> Iterator[str]:
    warmup, steps = config.detect_warmup_steps, config.detect_steps
    if "detect" in modes(config) and warmup >= steps:
        yield message(
            f"--detect_warmup_steps={warmup} with --detect_steps={steps}",
            "a warm-up shorter than the training",
            f"--detect_warmup_steps={steps // 10}",
        )


FIELD_RULES: tuple[Rule, ...] = (_shorter, _decay, _anchors)
RULES: tuple[Rule, ...] = (_encoder, _extra, _warmup)
