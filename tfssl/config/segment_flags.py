"""The flags of `--mode=segment`. Layer 0, no TensorFlow."""

from __future__ import annotations

import dataclasses

from tfssl.config.flag import NUMBERS, Flags, flag


@dataclasses.dataclass(frozen=True)
class SegmentFlags(Flags, title="segment", scope="free"):
    """Flags of `--mode=segment`; defaults of the official DeepLabV3+."""

    segment_weights: str = flag(
        "trained",
        "what the encoder begins with: trained (the run's) or random (the baseline, "
        "into segment_random)",
        choices=("trained", "random"),
    )
    segment_steps: int = flag(30_000, "updates", low=1)
    segment_batch_size: int = flag(16, "images a step, over all replicas", low=1)
    segment_learning_rate: float = flag(
        0.007, "of SGD with momentum .9, for the batch as it is", above=0
    )
    segment_schedule: str = flag(
        "poly",
        "poly (a power of .9 of what is left) or cosine, both to 0",
        choices=("poly", "cosine"),
    )
    segment_weight_decay: float = flag(4e-5, "L2", low=0)
    segment_balance: float = flag(
        0.0,
        "P: a pixel counts as its class's share of the training pixels to the power of "
        "-P; 0: all pixels alike, as published; 1: all classes alike",
        low=0,
        high=1,
    )
    segment_scales: tuple[float, ...] = flag(
        (0.5, 2.0),
        "least and greatest shorter side of an image, in sides of the canvas "
        "(--image_size), which is then cut out of it",
        kind=NUMBERS,
    )
    segment_width: int = flag(256, "channels of DeepLabV3+'s convolutions", low=8)
