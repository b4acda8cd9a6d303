"""The flags of `--mode=detect`. Layer 0, no TensorFlow."""

from __future__ import annotations

import dataclasses

from tfssl.config.flag import WHOLES, Flags, flag

DETECTORS = ("retinanet", "rcnn_c4")
SIDES = 32
"""The image's side is a multiple of this: the levels of a pyramid lie on each other."""


@dataclasses.dataclass(frozen=True)
class DetectFlags(Flags, title="detect", scope="free"):
    """Flags of `--mode=detect`; the side of the canvas is `--image_size`."""

    detector: str = flag(
        "retinanet",
        "what is put on the encoder: retinanet (KerasCV; P3 to P7, focal loss) or "
        "rcnn_c4 (Faster R-CNN C4, MoCo's detector)",
        choices=DETECTORS,
    )
    detect_width: int = flag(
        256, "retinanet: channels of pyramid and heads (RetinaNet's: 256)", low=8
    )
    detect_weights: str = flag(
        "trained",
        "what the encoder begins with: trained (the run's) or random (the baseline, "
        "into detect_random)",
        choices=("trained", "random"),
    )
    detect_steps: int = flag(24_000, "updates (MoCo: 24,000 on VOC 07+12)", low=1)
    detect_batch_size: int = flag(16, "images a step", low=1)
    detect_learning_rate: float = flag(
        0.01,
        "peak, for this batch as it is (RetinaNet's for 16 images; MoCo's C4: .02)",
        above=0,
    )
    detect_warmup_steps: int = flag(100, "steps of linear rise from 0", low=0)
    detect_decay_steps: tuple[int, ...] = flag(
        (),
        "steps at which the rate falls to a tenth; empty: at 3/4 and 11/12 of all, as "
        "MoCo's 18,000 and 22,000 of 24,000",
        kind=WHOLES,
    )
    detect_weight_decay: float = flag(
        1e-4, "not of biases and normalisations, as in detectron2", low=0
    )
    detect_shorter: tuple[int, ...] = flag(
        (),
        "bounds of the shorter side that images are resized to (MoCo: 480,800); empty: "
        "3/4 and 5/4 of --image_size",
        kind=WHOLES,
    )
    detect_shorter_step: int = flag(1, "between these bounds (MoCo: 32)", low=1)
    detect_longest: int = flag(0, "most that the longer side may have; 0: any", low=0)


@dataclasses.dataclass(frozen=True)
class RegionFlags(Flags, title="detect", scope="free"):
    """Flags of `--detector=rcnn_c4`."""

    detect_anchors: tuple[int, ...] = flag(
        (32, 64, 128, 256, 512),
        "rcnn_c4: sides of the square anchors, in pixels of the canvas",
        kind=WHOLES,
    )
    detect_regions: int = flag(
        512, "rcnn_c4: regions of an image that a step learns from", low=4
    )
