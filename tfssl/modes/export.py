"""`--mode=export`: writes the trained encoder as a SavedModel for serving."""

from __future__ import annotations

import tfssl
from tfssl.config import Config
from tfssl.export import export_saved_model
from tfssl.modes import assemble, console, trained
from tfssl.train import RunDirectory


def run(config: Config) -> int:
    """Writes `run_dir/saved_model`.

    Returns:
      0.
    """
    console.route_warnings()
    directory = RunDirectory(config.run_dir)
    directory.lock()
    try:
        encoder, folder = trained.load_encoder(config)
        export_saved_model(
            encoder,
            assemble.transform(config),
            str(directory.saved_model),
            image_size=config.image_size,
            metadata={
                "tfssl": tfssl.__version__,
                "method": config.method,
                "encoder": config.encoder,
                "encoder_family": config.encoder_family,
                "dataset": config.dataset,
                "checkpoint": folder.name,
            },
        )
    finally:
        directory.unlock()
    console.say(f"exported to {directory.saved_model}")
    return 0
