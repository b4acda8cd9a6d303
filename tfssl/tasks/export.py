"""`--mode=export`: writes the trained encoder for other programs, see `--format`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

import tfssl
from tfssl import build
from tfssl.build import trained
from tfssl.config import Config
from tfssl.config.encoder_name import is_foreign
from tfssl.export import (
    export_keras,
    export_saved_model,
    export_torchvision,
    preprocessing,
)
from tfssl.runs import RunDirectory, checkpoint
from tfssl.show import console
from tfssl.weights import CLASSIFIER, licence_text


def run(config: Config) -> int:
    """Writes `run_dir/saved_model`, `run_dir/torchvision` or `run_dir/keras`.

    Returns:
      0.
    """
    console.route_warnings()
    with RunDirectory(config.run_dir) as directory:
        encoder, folder = trained.load_encoder(config)
        record = trained.provenance(config.init_from or config.run_dir)
        metadata = _metadata(config, folder, record)
        texts = {"LICENSE-weights.txt": licence_text(record)} if record else {}
        path = getattr(directory, config.format)
        if config.format == "saved_model":
            export_saved_model(
                encoder,
                build.transform(config),
                str(path),
                image_size=config.image_size,
                metadata=metadata,
                classifier=trained.load_classifier(config, folder),
                texts=texts,
                any_size=not is_foreign(config.encoder),
                max_pixels=config.max_image_pixels,
            )
        else:
            facts = preprocessing(build.transform(config), config.image_size)
            metadata |= {"preprocessing": facts}
            _write_file(config, encoder, folder, path, metadata, texts)
    console.say(f"exported to {path}")
    return 0


def _metadata(
    config: Config, folder: Path, record: dict[str, Any] | None
) -> dict[str, Any]:
    return {
        "tfssl": tfssl.__version__,
        "method": config.method,
        "encoder": config.encoder,
        "encoder_family": config.encoder_family,
        "dataset": config.dataset,
        "checkpoint": folder.name,
        "provenance": record,
    }


def _write_file(
    config: Config,
    encoder: keras.Model,
    folder: Path,
    path: Path,
    metadata: dict[str, Any],
    texts: dict[str, str],
) -> None:
    if config.format == "keras":
        export_keras(encoder, path, metadata=metadata, texts=texts)
        return
    record = metadata["provenance"]
    supervised = record and record["source"]["kind"] == "torchvision"
    export_torchvision(
        encoder,
        path,
        metadata=metadata,
        texts=texts,
        classifier=_classifier(folder) if supervised else None,
    )


def _classifier(folder: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """The classifier that an imported supervised network came with."""
    tensors = checkpoint.read(folder, CLASSIFIER)
    names = [f"{CLASSIFIER}/{leaf}" for leaf in ("kernel", "bias")]
    kernel, bias = (tensors.get(name) for name in names)
    return None if kernel is None or bias is None else (kernel, bias)
