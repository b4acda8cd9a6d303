"""What every mode of a command needs of the data, looked at before the first step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tfssl import build
from tfssl.build import detection, linear_cached, segmentation, teacher
from tfssl.build.data import query_source
from tfssl.build.finetuning import require_targets
from tfssl.build.transfer_folds import sets_there
from tfssl.config import Config
from tfssl.config.chain import lacks, leaves_a_run
from tfssl.config.dense_cells import WEIGHTS, is_table
from tfssl.config.inherit import stored_config
from tfssl.config.label_cells import cells, is_curve
from tfssl.config.tasks import TASKS
from tfssl.data import Source, every_class, targets_of, tenth
from tfssl.embeddings.reading import Embeddings
from tfssl.embeddings.selection import require_left
from tfssl.embeddings.similarity import others_of_class
from tfssl.errors import ConfigError, DataError, TfsslError, message
from tfssl.tasks import dense_table, selection
from tfssl.tasks.embed import embeddings_folder


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
    if "transfer" in modes:
        sets_there(config)
    for mode in (m for m in modes if m in WEIGHTS and is_table(config)):
        dense_table.check(config, mode)
    problems = []
    for mode in [mode for mode in DENSE if mode in modes]:
        problems += _dense(config, mode)
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
    problems += _vectors(config, modes)
    if {"pretrain", "distill"} & set(reading) - over.keys():
        problems += _problem(build.require_batch, config, train, "batch_size")
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


def _vectors(config: Config, modes: list[str]) -> list[str]:
    """What is embedded, searched, and chosen from."""
    readers = [mode for mode in modes if mode in ("search", "select")]
    if found := _read_of_another(config, modes):
        return found
    if readers and "embed" not in modes[: modes.index(readers[0])]:
        return _problem(Embeddings, embeddings_folder(config))
    if "embed" not in modes:
        return []
    before = modes[: modes.index("embed")]
    trains = any(m == "pretrain" or leaves_a_run(config, m) for m in before)
    stored = stored_config(config.init_from or config.run_dir)
    if before and stored and not trains:
        found = [
            message(
                f"embed_also={each} of {config.init_from or config.run_dir}",
                "networks of that run",
                "projections of a pre-trained run, probabilities of a fine-tuned one",
            )
            for each in lacks(stored)
            if each in config.embed_also
        ]
        if found:
            return found
    # Refused, if there is none.
    split = config.embed_split or config.train_split
    images = build.source(config, split, memory=0)
    count = images.num_examples
    problems = []
    if config.embed_pca > count:
        problems.append(
            message(
                f"embed_pca={config.embed_pca} of the {count} images of {images.name}",
                f"at most {count}",
                f"embed_pca={count} or less",
            )
        )
    if "select" in readers:
        problems += _problem(_to_choose, config, images)
    if "search" in readers and config.query:
        problems += _problem(query_source, config)
    if "search" in readers and config.search == "scores":
        labels = every_class(images).labels
        problems += _problem(others_of_class, labels, np.arange(count))
    return problems


def _read_of_another(config: Config, modes: list[str]) -> list[str]:
    """The modes that would look for vectors of a run that has none."""
    problems = []
    for place, mode in enumerate(modes):
        if mode not in ("search", "select"):
            continue
        last = max((i for i in range(place) if modes[i] == "embed"), default=-1)
        since = [m for m in modes[last + 1 : place] if leaves_a_run(config, m)]
        # Those of another encoder can be told apart and chosen from, if they are named.
        asks = mode == "search" and config.search in ("neighbours", "scores")
        if since and (asks or not config.embeddings):
            problems.append(
                message(
                    f"mode={','.join(modes)}: {mode} of what {since[-1]} trains",
                    "embed between them, which makes its vectors",
                    f"mode={','.join([*modes[:place], 'embed', *modes[place:]])}",
                )
            )
    return problems


def _to_choose(config: Config, images: Source) -> None:
    labelled = 0
    if config.labelled:
        where = [images.where(i) for i in range(images.num_examples)]
        labelled = len(selection.named_rows(config.labelled, where))
    require_left(config.select, images.num_examples - labelled)


DENSE = {"detect": detection.boxes_sources, "segment": segmentation.mask_sources}
"""Mode that learns boxes or masks to what opens training and held-out images."""


def _dense(config: Config, mode: str) -> list[str]:
    """Such a mode needs both: a batch to train on, and one that can be scored."""
    try:
        train, held_out = DENSE[mode](config)
    except DataError as error:
        return [str(error)]
    places = []
    if held_out.objects is not None:
        there = [len(image.boxes) > 0 for image in held_out.objects.images]
        places.append(np.flatnonzero(there))
    readable = _problem(build.require_readable, held_out, *places)
    flag = f"{mode}_batch_size"
    return readable + _problem(build.require_batch, config, train, flag)


def _problem(check: Callable[..., object], *arguments: object) -> list[str]:
    """The problem that a check raises."""
    try:
        check(*arguments)
    except TfsslError as error:
        return [str(error)]
    return []


def _held_out(config: Config, train: Source) -> list[str]:
    """Scores need held-out images whose class the training images know."""
    held_out = build.evaluation_source(config, memory=0, classes=train.class_names)
    if train.several is not None:
        wanted = train.several.class_names
        checked = _problem(targets_of, held_out, held_out.ids, wanted)
        return checked or _problem(build.require_readable, held_out)
    if (held_out.labels >= 0).any():
        labelled = np.flatnonzero(held_out.labels >= 0)
        return _problem(build.require_readable, held_out, labelled)
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
        problems += _problem(build.require_batch, config, data, "finetune_batch_size")
        problems += _problem(require_targets, config, data, f"mode={','.join(tuned)}")
    cached = "linear" in learners and config.linear_features == "cached"
    problems += _problem(linear_cached.held_out, data) if cached else []
    several = "linear" in learners and len(config.linear_learning_rates) > 1
    swept = len(config.finetune_learning_rate) * len(config.finetune_epochs) > 1
    if several and not cached:
        return problems + _problem(tenth, data)
    one = "one finetune_learning_rate and one finetune_epochs"
    return problems + (_problem(tenth, data, one) if tuned and swept else [])
