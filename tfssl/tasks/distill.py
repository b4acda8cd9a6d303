"""`--mode=distill`: a student learns from a teacher, with labels or without."""

from __future__ import annotations

import dataclasses

from tfssl import build
from tfssl.build import teacher as teachers
from tfssl.build import trained
from tfssl.build.distillation import Distillation
from tfssl.config import Config
from tfssl.config.distill_flags import DistillFlags
from tfssl.config.flag import specs_of
from tfssl.config.groups import Data, Images, Network, Training
from tfssl.data import Source, require_labels
from tfssl.runs import RunDirectory
from tfssl.runs.scores import TEACHER, TRAINED, Score, measured
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
        _DISTILLED.train(settings, own, made.job, made.views, made.texts, [made.line])
        return [] if own is None else _scores(config, images, own, made)

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


def _scores(
    config: Config, images: Source, own: RunDirectory, made: Distillation
) -> list[Score]:
    """Accuracy of teacher and student on held-out images, where classes are the same.

    Both in float32 with moving statistics, each with its own crop.
    """
    if config.distill_target == "features":
        return []
    held_out = build.evaluation_source(config, classes=images.class_names)
    if different := teachers.other_classes(made.teacher, images):
        console.say(f"distill: no accuracy, since {different}")
        return []
    found = {
        TEACHER: made.teacher.evaluate(held_out, images.class_names),
        TRAINED: trained.load(own.path).evaluate(held_out),
    }
    best = {subject: each.metrics["top1"] for subject, each in found.items()}
    note = behind(config, best[TEACHER], best[TRAINED])
    if note:
        console.say(f"distill: {note}")
    return [
        Score(
            "distill",
            held_out.name,
            subject,
            settings=made.settings,
            description=f"{made.description}; scored on {each.counts} in float32 with "
            "moving statistics",
            note=note if subject == TRAINED else "",
            **measured(each),
        )
        for subject, each in found.items()
    ]


def behind(config: Config, teacher: float, student: float) -> str:
    """Says what to try where the student has less than three quarters of the teacher.

    The decay is the teacher's pre-training's, unless it is given: one that suits AdamW
    over many steps holds a shorter distillation up.
    """
    if student >= 0.75 * teacher:
        return ""
    decay = config.weight_decay
    less = f" a weight_decay below {decay:g}," if decay else ""
    return (
        f"the student has {100 * student:.1f} % and its teacher {100 * teacher:.1f} %: "
        f"try more distill_epochs,{less} or a larger student_encoder"
    )
