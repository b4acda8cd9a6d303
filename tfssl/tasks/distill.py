"""`--mode=distill`: a student learns from a teacher, with labels or without."""

from __future__ import annotations

import dataclasses
from typing import Any

from tfssl import build
from tfssl.build import teacher as teachers
from tfssl.build import trained
from tfssl.build.distillation import Distillation, epochs
from tfssl.config import Config
from tfssl.config.distill_flags import DistillFlags
from tfssl.config.flag import specs_of
from tfssl.config.groups import Data, Images, Network, Training
from tfssl.data import Source, require_labels
from tfssl.evaluate import classification
from tfssl.runs import RunDirectory
from tfssl.runs.scores import TEACHER, TRAINED, Score
from tfssl.show import console
from tfssl.tasks import Outcome
from tfssl.tasks.own_run import OwnRun

_GROUPS = (Data, Images, Network, Training, DistillFlags)
_DISTILLED = OwnRun(
    "distill",
    {name for group in _GROUPS for name in specs_of(group)}
    # Of the teacher its weights count, see `build.distillation`, not its place.
    - {"data_dir", "index_dir", "rebuild_index", "student_encoder", "teacher"}
    | {"label_fraction"},
    ("a distillation", "distilled"),
)


def run(config: Config) -> Outcome:
    """Distils into `run_dir/distill` and scores student and teacher.

    Protocol: SimCLR v2, section 2: cross-entropy between softened classes on all
    training images, crop and flip, one view for both networks; the student is trained
    as in pre-training (`--optimizer` and the rest). With `--distill_alpha` below 1 a
    fixed share of every batch has labels. The folder is a run directory of its own, as
    a fine-tuning's is; its export serves `probabilities`.

    Raises:
      RunDirectoryError: The folder holds a distillation with other flags, or by another
        teacher.
      Stopped: A signal ended it after a checkpoint.
    """
    rest = config.student_encoder[1:]
    config = dataclasses.replace(
        config,
        encoder=(config.student_encoder or (config.encoder,))[0],
        teacher=teachers.path(config),
        student_encoder=(),
        finetune_layer=0,
    )
    images = build.source(config, config.train_split)
    build.require_batch(config, images, "batch_size")
    labelled = None
    if config.distill_alpha < 1:
        labelled = build.labelled_source(config)
        require_labels(labelled, "distill_alpha")

    def work(own: RunDirectory | None) -> list[Score]:
        settings = _DISTILLED.settings(config, own, config.init_from)
        made = build.distillation(config, images, labelled, own)
        texts, line = _texts(config, images, made), _line(config, made)
        _DISTILLED.train(settings, own, made.job, made.views, texts, [line])
        return [] if own is None else _scores(config, images, labelled, own, made)

    path, _ = _DISTILLED.run(config, work)
    if path is None:
        return Outcome()
    # Modes after this one are about the student, with its encoder.
    flags = {
        "encoder": config.encoder,
        "finetune_layer": 0,
        "teacher": "",
        "student_encoder": rest,
    }
    return Outcome(path, flags=flags)


def _texts(config: Config, images: Source, made: Distillation) -> dict[str, str]:
    names = made.teacher.class_names
    if not names and not teachers.other_classes(made.teacher, images):
        names = tuple(images.class_names)
    if config.distill_target == "classes":
        return made.texts | {trained.CLASSES: trained.classes_text(names)}
    return made.texts


def _line(config: Config, made: Distillation) -> str:
    kinds = f", {made.labelled_rows} of {config.batch_size} rows labelled"
    return (
        f"teacher {made.teacher.name}, {made.teacher.width} {config.distill_target}"
        f"{f', temperature {made.temperature:g}' if made.temperature else ''}"
        f"{kinds if made.labelled_rows else ''}"
    )


def _scores(
    config: Config,
    images: Source,
    labelled: Source | None,
    own: RunDirectory,
    made: Distillation,
) -> list[Score]:
    """Accuracy of teacher and student on held-out images, where classes are the same.

    Both in float32 with moving statistics, each with its own crop.
    """
    if config.distill_target == "features":
        return []
    evaluation = build.evaluation_source(config, classes=images.class_names)
    if different := teachers.other_classes(made.teacher, images):
        console.say(f"distill: no accuracy, since {different}")
        return []
    student = trained.load(own.path)
    tables = {
        TEACHER: made.teacher.ranking(evaluation),
        TRAINED: student.ranking(evaluation),
    }
    scores = []
    for subject, table in tables.items():
        found = classification(
            table.features,
            table.labels,
            made.teacher.width,
            class_names=images.class_names,
            images=evaluation.num_examples,
        )
        score = Score(
            "distill",
            evaluation.name,
            subject,
            found.metrics,
            _settings(config, made),
            found.intervals,
            found.counts,
            description=_description(config, images, labelled, made)
            + f"; scored on {found.counts} in float32 with moving statistics",
            confusion=found.confusion,
        )
        scores.append(score)
    return scores


def _settings(config: Config, made: Distillation) -> dict[str, Any]:
    found = {
        "epochs": epochs(config),
        "batch_size": config.batch_size,
        "encoder": config.encoder,
        "temperature": made.temperature,
        "alpha": config.distill_alpha,
        "views": config.distill_views,
    }
    if made.labelled_rows:
        found["label_fraction"] = config.text("label_fraction")
    return found


def _description(
    config: Config, images: Source, labelled: Source | None, made: Distillation
) -> str:
    views = "crop and flip" if config.distill_views == "crop" else "the centre"
    labels = "no labels"
    if labelled is not None:
        labels = (
            f"{made.labelled_rows} of {config.batch_size} rows of "
            f"{labelled.num_examples} labelled images with weight "
            f"{1 - config.distill_alpha:g}"
        )
    return (
        f"{config.encoder} distilled from {made.teacher.name} on {images.num_examples} "
        f"images for {epochs(config)} epochs, temperature {made.temperature:g}, "
        f"{labels}, {views}, {config.optimizer}, batch {config.batch_size}"
    )
