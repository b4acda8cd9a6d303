"""What every mode of a command needs of the data, looked at before the first step."""

from __future__ import annotations

import numpy as np

from tfssl import build
from tfssl.build import linear_cached, teacher
from tfssl.build.finetuning import require_targets
from tfssl.config import Config, tables
from tfssl.config.label_cells import cells, is_curve
from tfssl.config.tasks import TASKS
from tfssl.data import Source, targets_of, tenth
from tfssl.errors import ConfigError, DataError, TfsslError, message, problems_of


def passed_over(config: Config, modes: list[str]) -> dict[str, str]:
    """Opens the data and checks it for all modes of a command.

    A mode that needs labels is passed over where the training images have none and
    another mode can still be done. Everything else that a mode lacks is an error: it
    would otherwise be found after hours of pre-training.

    Args:
      config: Resolved configuration.
      modes: Those still to run, in order.

    Returns:
      Mode to the reason why it is passed over.

    Raises:
      DataError, ConfigError: What is missing, for all modes at once.
    """
    problems = []
    for check in dict.fromkeys(TASKS[mode].check for mode in modes):
        problems += tables.attribute(check)(config, modes) if check else []
    reading = [m for m in modes if TASKS[m].images and not TASKS[m].target]
    reading = [mode for mode in reading if not TASKS[mode].spares_images]
    if not reading:
        if problems:
            raise ConfigError(problems)
        return {}
    train = build.source(config, config.train_split, memory=0)
    labelled = [mode for mode in reading if TASKS[mode].labels]
    over = _without_labels(train, labelled)
    if "finetune" in over and _taught_by_the_run_before(config, modes):
        over["distill"] = f"{over['finetune']} to fine-tune a teacher on"
    if over and set(modes) <= over.keys():
        reason = next(iter(over.values()))
        raise DataError(
            message(
                f"{reason}, for mode={','.join(over)}",
                "labels: one folder per class, or a labelled data set",
                "sorting the images into class folders, or another dataset",
            )
        )
    labelled = [mode for mode in labelled if mode not in over]
    if {"pretrain", "distill"} & set(reading) - over.keys():
        problems += problems_of(build.require_batch, config, train, "batch_size")
    if labelled:
        problems += _held_out(config, train)
        problems += _learners(config, labelled)
    if "distill" in reading and "distill" not in over:
        problems += _student(config, modes, train)
    if problems:
        raise ConfigError(problems)
    return over


def _without_labels(train: Source, labelled: list[str]) -> dict[str, str]:
    """The modes that cannot learn from or score these labels, with the reason."""
    if train.several is not None:
        one = [mode for mode in labelled if not TASKS[mode].several_labels]
        return dict.fromkeys(one, f"images of {train.name} have several labels")
    if (train.labels >= 0).any():
        return {}
    return dict.fromkeys(labelled, f"{train.name} has no labels")


def _held_out(config: Config, train: Source) -> list[str]:
    """Scores need held-out images whose class the training images know."""
    held_out = build.evaluation_source(config, memory=0, classes=train.class_names)
    if train.several is not None:
        wanted = train.several.class_names
        checked = problems_of(targets_of, held_out, held_out.ids, wanted)
        return checked or problems_of(build.require_readable, held_out)
    if (held_out.labels >= 0).any():
        labelled = np.flatnonzero(held_out.labels >= 0)
        return problems_of(build.require_readable, held_out, labelled)
    return [
        message(
            f"{held_out.num_examples} held-out images in {held_out.name}, none of "
            f"which has a label of the {train.num_classes} classes of {train.name}",
            "labelled held-out images: a folder a class, named as in training",
            "sorting them into class folders, or eval_split=NAME of a split that has "
            "labels",
        )
    ]


def _taught_by_the_run_before(config: Config, modes: list[str]) -> bool:
    """Whether the teacher is what a mode of this command is still to train."""
    classes = config.distill_target == "classes"
    return classes and "distill" in modes[1:] and not config.teacher


def _student(config: Config, modes: list[str], train: Source) -> list[str]:
    """What a distillation needs: a teacher, and labels that are its classes."""
    problems = _learners(config, ["distill"]) if config.distill_alpha < 1 else []
    if modes[0] == "distill" or config.teacher:
        problems += teacher.problems(config, train)
    return problems


def _learners(config: Config, modes: list[str]) -> list[str]:
    """What the modes that train on labels need of those that may be used."""
    learners = [mode for mode in modes if "label_fraction" in TASKS[mode].flags()]
    if not learners:
        return []
    if is_curve(config):
        found = [_learners(cell, modes) for cell in cells(config).values()]
        return list(dict.fromkeys(sum(found, [])))
    try:
        data = build.labelled_source(config, memory=0)
    except TfsslError as error:
        return [str(error)]
    problems = []
    if data.several is None and (classes := len(np.unique(data.labels))) < 2:
        problems.append(
            message(
                f"{classes} class in {data.name}, for mode={','.join(learners)}",
                "at least two classes to tell apart",
                "a folder a class, or a larger label_fraction",
            )
        )
    tuned = {"finetune", "supervised"} & set(learners)
    if tuned:
        problems += problems_of(
            build.require_batch, config, data, "finetune_batch_size"
        )
        problems += problems_of(
            require_targets, config, data, f"mode={','.join(tuned)}"
        )
    cached = "linear" in learners and config.linear_features == "cached"
    problems += problems_of(linear_cached.held_out, data) if cached else []
    several = "linear" in learners and len(config.linear_learning_rates) > 1
    swept = len(config.finetune_learning_rate) * len(config.finetune_epochs) > 1
    if several and not cached:
        return problems + problems_of(tenth, data)
    one = "one finetune_learning_rate and one finetune_epochs"
    return problems + (problems_of(tenth, data, one) if tuned and swept else [])
