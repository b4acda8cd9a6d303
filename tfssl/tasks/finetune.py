"""`--mode=finetune`: trains the whole network on labels, from a trained encoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from tfssl import build
from tfssl.build import Trained, trained
from tfssl.build.finetuning import finetuning, learning_rate, require_targets
from tfssl.build.views import supervised_recipe
from tfssl.config import Config
from tfssl.config.flag import specs_of
from tfssl.config.tasks import FinetuneFlags
from tfssl.config.transfer_sets import MAP
from tfssl.data import Source, not_asked, targets_of, tenth, without_tenth
from tfssl.evaluate import classification
from tfssl.evaluate.result import of_scores
from tfssl.runs import RunDirectory
from tfssl.runs.scores import SCRATCH, TRAINED, Score, add_score, scores_of
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
_EXTRA = ("freeze", "finetune_stage_rates", "label_smoothing", "class_balance")


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
        _train(best, data, own, task, start)
        yield _score(best, data, trained.load(own.path), evaluation, start, how)

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
            if not scores_of(trial.read_results()):
                _train(pair, fit, trial, task, start)
                run = trained.load(trial.path)
                score = _score(pair, fit, run, held_out, start, "")
                add_score(trial, dataclasses.replace(score, confusion=None))
            trial.checkpoint_store().remove_all()
            metrics = scores_of(trial.read_results())[-1].metrics
        found.append(next(iter(metrics.values())))
        said = number(found[-1])
        console.say(f"rate {rate}, {epochs} epochs: {said} on held-out images")
    how = f"best of {len(pairs)} on {held_out.num_examples} held-out images, "
    return pairs[int(np.argmax(found))], how


def _train(
    config: Config, data: Source, own: RunDirectory | None, task: OwnRun, start: str
) -> None:
    several = data.several
    names = data.class_names if several is None else several.class_names
    texts = {
        trained.CLASSES: trained.classes_text(names, several_labels=several is not None)
    }
    settings = task.settings(config, own, start)
    job = finetuning(config, data, start)
    task.train(settings, own, job, supervised_recipe(config), texts)


def _score(
    config: Config,
    data: Source,
    run: Trained,
    evaluation: Source,
    start: str,
    how: str,
) -> Score:
    """Accuracy on held-out images, in float32 with moving statistics.

    Of images with several labels, the mean over the classes of average precision.
    """
    images, note = evaluation.num_examples, ""
    if data.several is None:
        table = run.ranking(evaluation)
        names = data.class_names
        found = classification(
            table.features, table.labels, len(names), class_names=names, images=images
        )
    else:
        table = run.classify(evaluation, probabilities=False)
        targets = targets_of(evaluation, table.ids, data.several.class_names)
        found = of_scores(table, targets, MAP, images=images)
        if note := not_asked(evaluation, data.several.class_names):
            console.say(note)
    (epochs,) = config.finetune_epochs
    settings = {
        "epochs": epochs,
        "batch_size": config.finetune_batch_size,
        "label_fraction": config.text("label_fraction"),
    }
    if how:
        del settings["epochs"]  # it came out of the sweep
    extra = {
        flag: config.text(flag)
        for flag in _EXTRA
        if getattr(config, flag) != config.specs[flag].default
    }
    own = "".join(f", {flag.replace('_', ' ')} {text}" for flag, text in extra.items())
    kept = f"{config.finetune_layer} projector layers kept"
    frozen = {"none": "whole network", "all": "classifier alone"}
    trains = frozen.get(config.freeze, f"stages from {config.freeze} on")
    text = (
        f"{trains} trained on {data.num_examples} labelled images "
        f"(label fraction {config.text('label_fraction')}) for "
        f"{epochs} epochs, {config.finetune_optimizer}, peak "
        f"rate {learning_rate(config):g}, {how}cosine, batch "
        f"{config.finetune_batch_size}, "
        f"decay {config.finetune_weight_decay:g}, crop and flip, "
        f"{kept if start else 'from the seed'}{own}; scored on "
        f"{found.counts} in float32 with moving statistics"
    )
    return Score(
        "finetune",
        evaluation.name,
        TRAINED if start else SCRATCH,
        found.metrics,
        settings | extra,
        found.intervals,
        found.counts,
        {"learning_rate": learning_rate(config), "epochs": epochs} if how else {},
        description=text,
        note=note,
        confusion=found.confusion,
    )
