"""`--mode=finetune`: trains the whole network on labels, from a trained encoder."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

from tfssl import build
from tfssl.build import trained
from tfssl.build.finetuning import described, finetuning, require_targets
from tfssl.build.training import too_few
from tfssl.build.views import supervised_recipe
from tfssl.config import Config
from tfssl.config.flag import specs_of
from tfssl.config.tasks import FinetuneFlags
from tfssl.data import Source, not_asked, tenth, without_tenth
from tfssl.runs import RunDirectory
from tfssl.runs.scores import (
    SCRATCH,
    TRAINED,
    Score,
    add_score,
    measured,
    scored_once,
    scores_of,
)
from tfssl.show import console
from tfssl.show.scores import number
from tfssl.tasks import Outcome
from tfssl.tasks.own_run import OwnRun

_TUNED = OwnRun(
    "finetune",
    specs_of(FinetuneFlags).keys() | {"label_fraction", "micro_batches"},
    ("a fine-tuning", "fine-tuned"),
    inside=True,
)
_SUPERVISED = dataclasses.replace(
    _TUNED, name="supervised", words=("a fine-tuning", "supervised"), mode="finetune"
)


def run(config: Config) -> Outcome:
    """Fine-tunes into `run_dir/finetune` and scores the result.

    Protocol: crop and flip, cosine without warm-up, no layer frozen unless `--freeze`
    says so; by default SGD with Nesterov momentum .9 as in SimCLR's appendix B.5 and
    BYOL's C.2, or SimCLR v2's LARS. Several rates or numbers of epochs are tried on
    nine tenths of the labelled images and chosen on the last, as BYOL does; then the
    best trains on all of them, and the held-out split is looked at once.

    The folder is a run directory of its own: `--run_dir` and `--init_from` of any mode
    take it, modes after this one are about it, and its export also serves
    `probabilities`.

    Raises:
      RunDirectoryError: The folder holds a fine-tuning with other flags.
      Stopped: A signal ended it after a checkpoint.
    """
    return Outcome(_tuned(config, _TUNED, config.init_from or config.run_dir))


def supervised(config: Config) -> Outcome:
    """Trains the same task from the seed into `run_dir/supervised`: the baseline.

    Its score stands beside the fine-tuned run's. Modes after it are still about
    `run_dir`.

    Raises:
      RunDirectoryError, Stopped: As `run`.
    """
    scratch = dataclasses.replace(
        config, init_from="", finetune_layer=0, freeze="none", finetune_stage_rates=()
    )
    _tuned(scratch, _SUPERVISED, "")
    return Outcome()


def _tuned(config: Config, task: OwnRun, start: str) -> str | None:
    data = build.labelled_source(config)
    require_targets(config, data, f"mode={task.name}")

    def work(own: RunDirectory | None) -> Iterator[Score]:
        if own is None:
            _train(config, data, None, task, start)
            return
        evaluation = build.evaluation_source(config, classes=data.class_names)
        best, how = _best(config, data, own, task, start)
        yield _score(best, data, own, task, start, evaluation, how)

    path, _ = task.run(config, work)
    if path is not None:
        _share_baselines(RunDirectory(config.run_dir))
    return path


def _share_baselines(directory: RunDirectory) -> None:
    """Puts scores from scratch into the fine-tuned run's table of the same task."""
    tuned = RunDirectory(directory.finetune)
    mine = scores_of(tuned.read_results())
    tasks = [(s.protocol, s.dataset, s.settings) for s in mine if s.subject == TRAINED]
    for score in scores_of(directory.read_results()):
        task = (score.protocol, score.dataset, score.settings)
        if score.subject == SCRATCH and task in tasks:
            with tuned:
                add_score(tuned, score)


def _best(
    config: Config, data: Source, own: RunDirectory, task: OwnRun, start: str
) -> tuple[Config, str]:
    """The flags with the best of the rates and epochs, and how they were chosen.

    Each pair trains in a folder of `own/sweep`. A pair that has its score is not
    trained again; its checkpoints go then.
    """
    pairs = [
        dataclasses.replace(
            config, finetune_learning_rate=(rate,), finetune_epochs=(epochs,)
        )
        for rate in config.finetune_learning_rate
        for epochs in config.finetune_epochs
    ]
    if len(pairs) == 1:
        return config, ""
    fit, held_out = without_tenth(data), tenth(data)
    found = []
    for pair in pairs:
        rate, epochs = (pair.text(f"finetune_{n}") for n in ("learning_rate", "epochs"))
        with RunDirectory(own.path / "sweep" / f"rate-{rate}-epochs-{epochs}") as trial:
            task.settings(pair, trial, start)
            tried = functools.partial(_score, pair, fit, trial, task, start, held_out)
            score = scored_once(trial, tried)
        found.append(next(iter(score.metrics.values())))
        said = number(found[-1])
        console.say(f"rate {rate}, {epochs} epochs: {said} on held-out images")
    how = f"best of {len(pairs)} on {held_out.num_examples} held-out images, "
    return pairs[int(np.argmax(found))], how


def _train(
    config: Config, data: Source, own: RunDirectory | None, task: OwnRun, start: str
) -> str:
    several = data.several is not None
    names = (data.several or data).class_names
    texts = {trained.CLASSES: trained.classes_text(names, several_labels=several)}
    settings = task.settings(config, own, start)
    job = finetuning(config, data, start)
    task.train(settings, own, job, supervised_recipe(config), texts)
    return too_few(job, "finetune_epochs")


def _score(
    config: Config,
    data: Source,
    own: RunDirectory,
    task: OwnRun,
    start: str,
    images: Source,
    how: str = "",
) -> Score:
    """Trains, and says what the run is worth on held-out images."""
    few = _train(config, data, own, task, start)
    run = trained.load(own.path)
    found = run.evaluate(images)
    note = "; ".join(filter(None, (not_asked(images, run.class_names), few)))
    if note:
        console.say(note)
    subject = TRAINED if start else SCRATCH
    words = described(config, data, start, how, found.counts)
    return Score(
        "finetune", images.name, subject, note=note, **words, **measured(found)
    )
