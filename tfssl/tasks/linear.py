"""`--mode=linear`: linear evaluation of a frozen encoder."""

from __future__ import annotations

import dataclasses
import time

from tfssl import build
from tfssl.build import linear_augmented, linear_cached, trained
from tfssl.build.probe import keep_probe
from tfssl.config import Config
from tfssl.config.flagfile import from_flagfile
from tfssl.data import require_labels
from tfssl.errors import ConfigError
from tfssl.evaluate import classification
from tfssl.runs import RunDirectory
from tfssl.runs.scores import TRAINED, Score, add_score, measured
from tfssl.show import console
from tfssl.show.scores import score_line
from tfssl.tasks import Outcome

_FREE = ("mode", "progress", "tensorboard", "strategy", "checkpoint_every")


def run(config: Config) -> Outcome:
    """Trains linear classifiers on the frozen encoder and scores the best one.

    Protocol: SGD with Nesterov momentum .9, cosine, no decay, crop and flip; one
    classifier per rate of `--linear_learning_rates`, all at once. With several rates a
    tenth of the training images is held out to choose among them, as in BYOL's
    appendix C.1; the held-out split is looked at once, by the chosen one. Another
    protocol is `--linear_features=cached`, see `linear_cached`.

    `run_dir/linear` holds the training: its log stays; its checkpoints stay until the
    score is written, so that the same command goes on where it was stopped. With other
    flags, or of another checkpoint, it begins anew.

    Returns:
      The trained encoder's `Score`.

    Raises:
      Stopped: A signal ended it after a checkpoint.
    """
    score = None
    with RunDirectory(config.run_dir) as directory:
        data = build.labelled_source(config)
        evaluation = build.evaluation_source(config, classes=data.class_names)
        require_labels(data, "mode=linear")
        if config.label_fraction != 1:
            console.say(f"linear: {data.num_examples} images, {data.name}")
        scored = trained.subjects(config)
        folders = {key: _folder(directory, key) for key in scored}
        cached = config.linear_features == "cached"
        evaluate = (linear_cached if cached else linear_augmented).evaluate
        for key, subject in scored.items():
            started = time.monotonic()
            with folders[key] as own:
                settings = dataclasses.replace(
                    config,
                    mode="linear",
                    run_dir=str(own.path),
                    init_from=str(subject.checkpoint or ""),
                )
                _remove_another(settings, own)
                linear, answers, words = evaluate(
                    settings, subject, data, evaluation, own
                )
                # With it the run can teach (`--teacher`).
                keep_probe(
                    own, subject.encoder, linear.weights, linear.bias, data.class_names
                )
            found = classification(
                answers.features,
                answers.labels,
                data.num_classes,
                class_names=data.class_names,
                images=evaluation.num_examples,
            )
            words["description"] += f", scored on {found.counts}"
            score = Score("linear", evaluation.name, key, **words, **measured(found))
            add_score(directory, score, subject.checkpoint)
            console.say(score_line(score))
            if score.note:
                console.say(f"linear: {score.note}")
            console.say(f"linear: {time.monotonic() - started:.1f} s")
        for own in folders.values():
            own.checkpoint_store().remove_all()
    return Outcome(value=score)


def _folder(directory: RunDirectory, subject: str) -> RunDirectory:
    """Where a subject's probe trains: `linear`, a baseline's in a folder of it."""
    folder = directory.path / "linear"
    return RunDirectory(folder if subject == TRAINED else folder / subject)


def _remove_another(settings: Config, own: RunDirectory) -> None:
    """Removes the checkpoints of a probe of other flags, or of another encoder."""
    try:
        stored = (
            from_flagfile(own.flags.read_text("utf-8")) if own.flags.exists() else None
        )
    except ConfigError:
        stored = None
    same = {name: getattr(settings, name) for name in _FREE}
    if stored is None or dataclasses.replace(stored, **same) != settings:
        own.checkpoint_store().remove_all()
        own.log.unlink(missing_ok=True)
