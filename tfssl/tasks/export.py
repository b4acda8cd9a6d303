"""`--mode=export`: writes the trained encoder for other programs, see `--format`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfssl.build import Trained, exports, trained
from tfssl.config import Config, tables
from tfssl.core.paths import AnyPath
from tfssl.errors import TfsslError, message
from tfssl.exporters.verify import Sample, line, verified
from tfssl.runs import RunDirectory
from tfssl.show import console
from tfssl.tasks import Outcome, export_dense

VERIFIED = 16
"""Images to compare on."""

SERVING = "serving"

DENSE = {"detect": export_dense.write_boxes, "segment": export_dense.write_masks}
"""Mode of a run that learned more than an encoder to what writes it."""


def run(config: Config) -> Outcome:
    """Writes `run_dir/FORMAT`, such as `run_dir/saved_model` or `run_dir/litert_int8`.

    After `finetune` that is the fine-tuned run's directory, `run_dir/finetune`. Nothing
    takes its place that does not give the encoder's features in a process of its own.

    Returns:
      The path written.
    """
    with RunDirectory(config.run_dir) as directory:
        run = trained.of_command(config)
        path = place(directory.path, config)
        if write := DENSE.get(run.config.mode):
            _require_saved_model(config, run)
            write(config, run, path, exports.about(config, run, card=False))
        else:
            _write_encoder(config, run, path)
    console.say(f"exported {run.path} to {path}")
    return Outcome(value=str(path))


def place(run_dir: AnyPath, config: Config) -> AnyPath:
    """Where an export goes: a folder a format, or the next version for a server."""
    if config.export_versions:
        base = run_dir / SERVING
        there = [p.name for p in base.iterdir()] if base.exists() else []
        return base / str(1 + max([int(n) for n in there if n.isdecimal()], default=0))
    dtype = config.export_dtype
    return run_dir / (config.format + ("" if dtype == "float32" else f"_{dtype}"))


def _write_encoder(config: Config, run: Trained, path: AnyPath) -> None:
    images = exports.training_images(run)
    given = exports.inference(config, run, images)
    if given.dtype == "int8":
        images(1)  # else its conversion would fail in the middle

    def check(folder: Path) -> Mapping[str, Any]:
        chosen, of = exports.or_noise(
            lambda: images(VERIFIED), VERIFIED, run.image_size
        )
        found = verified(folder, config.format, given, Sample(chosen, run.features, of))
        console.say(f"{config.format}: {line(found)}")
        return {"verified": found}

    write = tables.find(tables.EXPORT_FORMATS, "format", config.format)
    about = exports.about(config, run)
    check_ = check if config.export_verify else None
    write(given, path, dataclasses.replace(about, check=check_))


def _require_saved_model(config: Config, run: Trained) -> None:
    if config.format != "saved_model":
        raise TfsslError(
            message(
                f"format={config.format} for {run.path}, a run of "
                f"mode={run.config.mode}",
                "saved_model, which alone holds its head",
                "format=saved_model",
            )
        )
