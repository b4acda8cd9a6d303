"""What an evaluation scores: the trained encoder, and the two baselines beside it."""

from __future__ import annotations

from tfssl.build import Trained, trained
from tfssl.config import Config
from tfssl.runs.scores import RAW_PIXELS, TRAINED, UNTRAINED


def subjects(config: Config) -> dict[str, Trained]:
    """What to score, by its name in a `Score`; the trained encoder is last."""
    run = trained.of_command(config)
    if not config.baselines:
        return {TRAINED: run}
    return {
        RAW_PIXELS: trained.raw_pixels(run),
        UNTRAINED: trained.untrained(run.config),
        TRAINED: run,
    }
