"""`--mode=export`: writes the trained encoder for other programs, see `--format`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import tfssl
from tfssl.build import Trained, trained
from tfssl.config import Config, tables
from tfssl.config.encoder_name import is_foreign
from tfssl.errors import printable
from tfssl.exporters import (
    BEFORE,
    INSIDE,
    export_keras,
    export_saved_model,
    export_torchvision,
    preprocessing,
)
from tfssl.runs import RunDirectory, checkpoint
from tfssl.show import console
from tfssl.tasks import Outcome
from tfssl.weights import CLASSIFIER, licence_text


def run(config: Config) -> Outcome:
    """Writes `run_dir/saved_model`, `run_dir/torchvision` or `run_dir/keras`.

    After `finetune` that is the fine-tuned run's directory, `run_dir/finetune`.

    Returns:
      The path written.
    """
    with RunDirectory(config.run_dir) as directory:
        run = trained.of_command(config)
        path: Path = getattr(directory, config.format)
        metadata = _metadata(run)
        texts = {}
        if run.provenance:
            texts["LICENSE-weights.txt"] = licence_text(run.provenance)
        write = tables.find(tables.EXPORT_FORMATS, "format", config.format)
        write(config, run, path, metadata, texts)
    console.say(f"exported {run.path} to {path}")
    return Outcome(value=str(path))


def _metadata(run: Trained) -> dict[str, Any]:
    config = run.config
    found = {
        "tfssl": tfssl.__version__,
        "method": config.method,
        "encoder": config.encoder,
        "encoder_family": config.encoder_family,
        "dataset": config.dataset,
        "checkpoint": run.checkpoint.name if run.checkpoint else None,
        "provenance": run.provenance,
    }
    names = list(map(printable, run.class_names))
    return found | ({"classes": names} if names else {})


def saved_model(
    config: Config, run: Trained, path: Path, metadata: dict, texts: dict
) -> None:
    """Writes a SavedModel: bytes in, features out."""
    export_saved_model(
        run.encoder,
        run.transform,
        str(path),
        image_size=run.image_size,
        metadata=metadata,
        classifier=run.head,
        texts=texts,
        any_size=not is_foreign(run.config.encoder),
        max_pixels=config.max_image_pixels,
        orient=config.orient,
        on_error=config.export_on_error,
    )


def keras_file(
    config: Config, run: Trained, path: Path, metadata: dict, texts: dict
) -> None:
    """Writes a `.keras` file."""
    del config
    facts = _facts(run, INSIDE)
    export_keras(run.encoder, path, metadata=metadata | facts, texts=texts)


def torchvision(
    config: Config, run: Trained, path: Path, metadata: dict, texts: dict
) -> None:
    """Writes a PyTorch state dict under torchvision's names."""
    del config
    record = run.provenance
    supervised = record and record["source"]["kind"] == "torchvision"
    export_torchvision(
        run.encoder,
        path,
        metadata=metadata | _facts(run, BEFORE),
        texts=texts,
        classifier=_classifier(run) if supervised or run.head is not None else None,
    )


def _facts(run: Trained, images: str) -> dict[str, Any]:
    facts = preprocessing(run.transform, run.image_size, run.encoder, images)
    return {"preprocessing": facts}


def _classifier(run: Trained) -> tuple[np.ndarray, np.ndarray] | None:
    """A classifier right behind the encoder: fine-tuned, or come with the weights."""
    tensors = checkpoint.read(run.checkpoint, CLASSIFIER) if run.checkpoint else {}
    names = [f"{CLASSIFIER}/{leaf}" for leaf in ("kernel", "bias")]
    kernel, bias = (tensors.get(name) for name in names)
    behind_projector = run.head is not None and run.config.finetune_layer > 0
    return (
        None if kernel is None or bias is None or behind_projector else (kernel, bias)
    )
