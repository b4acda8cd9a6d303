"""Rules on dense tasks."""

from __future__ import annotations

from collections.abc import Iterator

from tfssl.config import tables
from tfssl.config.config import Config, modes
from tfssl.config.dense_cells import RANDOM, WEIGHTS, cell_name, is_table, starts
from tfssl.config.encoder_name import is_foreign
from tfssl.config.launch import MULTIWORKER
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


def _table(config: Config) -> Iterator[str]:
    """A table over starts and seeds is a command of its own, on one machine."""
    asked = modes(config)
    if not is_table(config) or not _dense(config):
        return
    flag = "dense_runs" if config.dense_runs else "dense_seeds"
    given = f"--{flag}={config.text(flag)}"
    if not set(asked) <= {*WEIGHTS, "report"}:
        yield message(
            f"{given} with --mode={config.mode}",
            "detect, segment and report alone: a table leaves no run to go on with",
            "a command for each of the other modes",
        )
    if config.strategy == MULTIWORKER:
        yield message(
            f"{given} with --strategy={config.strategy}",
            "one machine",
            "--strategy=mirrored",
        )
    for mode in _dense(config):
        random = getattr(config, WEIGHTS[mode]) == RANDOM
        if random and set(config.dense_runs) - {RANDOM}:
            yield message(
                f"{given} with --{WEIGHTS[mode]}=random",
                "random among the starts of --dense_runs",
                f"leaving --{WEIGHTS[mode]} away",
            )
    names = [cell_name(start, 0) for start in config.dense_runs]
    if len(set(names)) < len(names):
        yield message(given, "each start once", "leaving one of two away")


def _encoder(config: Config) -> Iterator[str]:
    for mode in _dense(config):
        if is_foreign(config.encoder):
            yield message(
                f"--mode={mode} with --encoder={config.encoder}",
                "one of our ResNets, whose stages P2 to P5 have names",
                "--encoder=resnet50",
            )
        if RANDOM in starts(config, mode) and config.freeze != "none":
            random = f"--{WEIGHTS[mode]}=random"
            if config.dense_runs:
                random = f"--dense_runs={config.text('dense_runs')}"
            yield message(
                f"{random} with --freeze={config.freeze}",
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
RULES: tuple[Rule, ...] = (_targets, _table, _encoder, _export)
