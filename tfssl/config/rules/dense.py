"""Rules on dense tasks."""

from __future__ import annotations

from collections.abc import Iterator

from tfssl.config import tables
from tfssl.config.config import Config, modes
from tfssl.config.encoder_name import is_foreign
from tfssl.config.method_row import Rule
from tfssl.config.tasks import TASKS
from tfssl.errors import message


def _scales(config: Config) -> Iterator[str]:
    scales = config.segment_scales
    if len(scales) != 2 or not 0 < scales[0] <= scales[1]:
        yield message(
            f"--segment_scales={config.text('segment_scales')}",
            "two numbers above 0, the smaller one first",
            "--segment_scales=0.5,2",
        )


def _dense(config: Config) -> list[str]:
    return [mode for mode in modes(config) if mode in TASKS and TASKS[mode].target]


def _targets(config: Config) -> Iterator[str]:
    kind = config.dataset.partition(":")[0]
    for mode in _dense(config):
        having = tables.TARGETS[TASKS[mode].target]
        if kind in tables.DATASETS and kind not in having:
            yield message(
                f"--mode={mode} with --dataset={config.dataset}",
                f"images with a {TASKS[mode].target}: {', '.join(having)}",
                f"--init_from=RUN, another --run_dir, and --dataset={having[1]}:…",
            )


def _encoder(config: Config) -> Iterator[str]:
    for mode in _dense(config):
        if is_foreign(config.encoder):
            yield message(
                f"--mode={mode} with --encoder={config.encoder}",
                "one of our ResNets, whose stages P2 to P5 have names",
                "--encoder=resnet50",
            )
        if getattr(config, f"{mode}_weights") == "random" and config.freeze != "none":
            yield message(
                f"--{mode}_weights=random with --freeze={config.freeze}",
                "a frozen part that has learned something",
                "--freeze=none",
            )


def _export(config: Config) -> Iterator[str]:
    asked = modes(config)
    for mode in _dense(config):
        if "export" in asked[asked.index(mode) :] and config.format != "saved_model":
            yield message(
                f"--mode={config.mode} with --format={config.format}",
                f"--format=saved_model, which alone holds what {mode} learns",
                "--format=saved_model",
            )


FIELD_RULES: tuple[Rule, ...] = (_scales,)
RULES: tuple[Rule, ...] = (_targets, _encoder, _export)
