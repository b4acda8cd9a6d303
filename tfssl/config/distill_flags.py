"""The flags of `--mode=distill`. Layer 0, no TensorFlow."""

from __future__ import annotations

import dataclasses

from tfssl.config.flag import NAMES, PATH, Flags, flag


@dataclasses.dataclass(frozen=True)
class DistillFlags(Flags, title="distill", scope="free"):
    """Flags of `--mode=distill`. They are the command's, never a stored run's."""

    teacher: str = flag(
        "",
        "run that teaches, or MODULE:NAME, a Keras model of images in [0, 1]; empty: "
        "what the mode before left, or the run in --run_dir",
        kind=PATH,
    )
    student_encoder: tuple[str, ...] = flag(
        (),
        "of the student, with commas for several distillations in a row; empty: "
        "--encoder",
        kind=NAMES,
    )
    distill_target: str = flag(
        "classes",
        "classes (SimCLR v2: the teacher's softened classes) or features (of a teacher "
        "without a classifier: cosine)",
        choices=("classes", "features"),
    )
    distill_temperature: float = flag(
        0.0,
        "softens both networks' classes; 0: as published, .1 where the student has the "
        "teacher's encoder, else 1",
        low=0,
    )
    distill_alpha: float = flag(
        1.0,
        "weight of the teacher; 1 - alpha is that of the labels of --label_fraction",
        above=0,
        high=1,
    )
    distill_labelled_share: float = flag(
        0.25,
        "share of a step's images that have a label, where --distill_alpha is below 1",
        above=0,
        high=0.9,
    )
    distill_views: str = flag(
        "crop",
        "what both networks see: crop (and flip, as published), or center, for which "
        "the teacher runs once",
        choices=("crop", "center"),
    )
    distill_epochs: int = flag(
        0, "passes over the images (published: 400); 0: --epochs", low=0
    )
