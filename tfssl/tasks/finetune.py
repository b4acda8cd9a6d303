"""`--mode=finetune`: trains the whole network on labels, from a trained encoder."""

from __future__ import annotations

import dataclasses
import os

import numpy as np

from tfssl import build
from tfssl.build import Trained, trained
from tfssl.build.finetuning import finetuning, learning_rate, require_targets
from tfssl.build.views import supervised_recipe
from tfssl.config import Config
from tfssl.config.transfer_sets import MAP
from tfssl.data import Source, not_asked, targets_of, tenth, without_tenth
from tfssl.evaluate import classification
from tfssl.evaluate.result import of_scores
from tfssl.runs import RunDirectory
from tfssl.runs.scores import (
    SCRATCH,
    TRAINED,
    Confusion,
    Score,
    add_score,
    scores_of,
)
from tfssl.show import console
from tfssl.show.scores import number, score_line
from tfssl.tasks import Outcome

_RECIPE = ("label_fraction", "precision", "dataset", "train_split", "seed", "init_from")
_RECIPE += ("micro_batches", "freeze", "label_smoothing", "class_balance")
_EXTRA = ("freeze", "finetune_stage_rates", "label_smoothing", "class_balance")
_WORDS = {"finetune": "fine-tuned", "supervised": "supervised"}


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
    return _tuned(config, "finetune")


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
    return _tuned(scratch, "supervised")


def _tuned(config: Config, name: str) -> Outcome:
    data = build.labelled_source(config)
    require_targets(config, data, f"mode={name}")
    if not build.is_chief(config):
        _train(config, data, None, name)
        return Outcome()  # what follows is the chief's
    with RunDirectory(config.run_dir) as directory:
        evaluation = build.evaluation_source(config, classes=data.class_names)
        with RunDirectory(getattr(directory, name)) as own:
            config, how = _best(config, data, own, name)
            _train(config, data, own, name)
            tuned = trained.load(own.path)
            score, confusion = _score(config, data, tuned, evaluation, name, how)
            add_score(own, score, confusion)
        add_score(directory, score, confusion)
        _share_baselines(directory)
    console.say(score_line(score))
    console.say(f"the {_WORDS[name]} run is {own.path}")
    return Outcome(str(own.path) if name == "finetune" else None)


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
    config: Config, data: Source, own: RunDirectory, name: str
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
    found = [_tried(pair, fit, held_out, own, name) for pair in pairs]
    best = int(np.argmax(found))
    how = f"best of {len(pairs)} on {held_out.num_examples} held-out images, "
    return pairs[best], how


def _tried(
    pair: Config, fit: Source, held_out: Source, own: RunDirectory, name: str
) -> float:
    """Accuracy of one pair of the sweep on the held-out tenth."""
    rate, epochs = (pair.text(f"finetune_{n}") for n in ("learning_rate", "epochs"))
    with RunDirectory(own.path / "sweep" / f"rate-{rate}-epochs-{epochs}") as trial:
        _refuse_other_flags(_settings(pair, trial, name), trial)
        known = scores_of(trial.read_results())
        if not known:
            _train(pair, fit, trial, name)
            run = trained.load(trial.path)
            score, _ = _score(pair, fit, run, held_out, name, "")
            add_score(trial, score)
            known = [score]
        trial.checkpoint_store().remove_all()
    accuracy = next(iter(known[-1].metrics.values()))
    console.say(f"rate {rate}, {epochs} epochs: {number(accuracy)} on held-out images")
    return accuracy


def _train(config: Config, data: Source, own: RunDirectory | None, name: str) -> None:
    """Trains to the end; of several workers the chief has the directory."""
    settings, texts = config, {}
    if own is not None:
        settings = _settings(config, own, name)
        _refuse_other_flags(settings, own)
        texts = trained.provenance_texts(settings.init_from)
        several = data.several
        names = data.class_names if several is None else several.class_names
        texts[trained.CLASSES] = trained.classes_text(
            names, several_labels=several is not None
        )
    job = finetuning(config, data, _start(config) if name == "finetune" else "")
    views = supervised_recipe(config)
    job.run(build.recorder(settings, job, own, views, name=name, texts=texts))


def _start(config: Config) -> str:
    return config.init_from or config.run_dir


def _settings(config: Config, own: RunDirectory, name: str) -> Config:
    """The flags of the tuned run: it began from another one, or from the seed."""
    start = _start(config) if name == "finetune" else ""
    return dataclasses.replace(
        config, mode="finetune", run_dir=str(own.path), init_from=start
    )


def _refuse_other_flags(settings: Config, own: RunDirectory) -> None:
    names = [n for n in settings.specs if n.startswith("finetune_") or n in _RECIPE]
    # Before it was written down, a fine-tuning began from the run that it lies in.
    began = os.path.dirname(settings.run_dir)
    build.refuse_other_flags(settings, own, names, "a fine-tuning", began)


def _score(
    config: Config,
    data: Source,
    run: Trained,
    evaluation: Source,
    name: str,
    how: str,
) -> tuple[Score, Confusion]:
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
        f"{kept if name == 'finetune' else 'from the seed'}{own}; scored on "
        f"{found.counts} in float32 with moving statistics"
    )
    score = Score(
        "finetune",
        evaluation.name,
        TRAINED if name == "finetune" else SCRATCH,
        found.metrics,
        settings | extra,
        found.intervals,
        found.counts,
        {"learning_rate": learning_rate(config), "epochs": epochs} if how else {},
        description=text,
        note=note,
    )
    return score, found.confusion
