"""`--mode=linear`: linear evaluation of a frozen encoder."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tfssl import build, optim
from tfssl.build import Trained, trained
from tfssl.build.probe import keep_probe
from tfssl.build.views import supervised_recipe
from tfssl.config import Config
from tfssl.config.flagfile import from_flagfile
from tfssl.core import runtime, seeds
from tfssl.data import Source, require_labels, tenth, without_tenth
from tfssl.errors import ConfigError
from tfssl.evaluate import classification, rank
from tfssl.evaluate.metrics import parts
from tfssl.evaluate.regression import Linear
from tfssl.methods import LinearProbe
from tfssl.runs import RunDirectory
from tfssl.runs.scores import TRAINED, Score, add_score
from tfssl.show import console
from tfssl.show.scores import score_line
from tfssl.tasks import Outcome, linear_cached

MOMENTUM = 0.9

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
        evaluate = _WAYS[config.linear_features]
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
                score, linear = evaluate(settings, key, subject, data, evaluation, own)
                # With it the run can teach (`--teacher`).
                keep_probe(
                    own, subject.encoder, linear.weights, linear.bias, data.class_names
                )
            add_score(directory, score, subject.checkpoint)
            console.say(score_line(score))
            console.say(f"linear: {time.monotonic() - started:.1f} s")
        for own in folders.values():
            own.checkpoint_store().remove_all()
    return Outcome(value=score)


def _folder(directory: RunDirectory, subject: str) -> RunDirectory:
    """Where a subject's probe trains: `linear`, a baseline's in a folder of it."""
    folder = directory.path / "linear"
    return RunDirectory(folder if subject == TRAINED else folder / subject)


def learning_rates(config: Config) -> list[float]:
    """The rates of `--linear_learning_rates`, for the linear batch size."""
    scale = config.linear_batch_size / 256
    return [rate * scale for rate in config.linear_learning_rates]


def _evaluate(
    config: Config,
    key: str,
    subject: Trained,
    data: Source,
    evaluation: Source,
    own: RunDirectory,
) -> tuple[Score, Linear]:
    rates = learning_rates(config)
    fit = without_tenth(data) if len(rates) > 1 else data
    probe = _train(config, subject, fit, rates, own)
    best, chosen_on = 0, "the only learning rate"
    if len(rates) > 1:
        held_out = subject.features(tenth(data))
        found = [
            classification(ranking, held_out.labels, data.num_classes)
            for ranking in _rankings(probe, held_out.features)
        ]
        best = int(np.argmax([each.metrics["top1"] for each in found]))
        chosen_on = f"best of {len(rates)} rates on {len(held_out)} held-out images"
    test = subject.features(evaluation)
    found = classification(
        _rankings(probe, test.features)[best],
        test.labels,
        data.num_classes,
        class_names=data.class_names,
        images=evaluation.num_examples,
    )
    rate = config.linear_learning_rates[best]
    score = Score(
        "linear",
        evaluation.name,
        key,
        found.metrics,
        {
            "learning_rates": config.text("linear_learning_rates"),
            "epochs": config.linear_epochs,
            "batch_size": config.linear_batch_size,
            "label_fraction": config.text("label_fraction"),
        },
        found.intervals,
        found.counts,
        {"learning_rate": rate},
        f"linear classifier on the frozen encoder, SGD Nesterov {MOMENTUM}, "
        f"cosine, {config.linear_epochs} epochs of {fit.num_examples} images "
        f"(label fraction {config.text('label_fraction')}), "
        f"batch {config.linear_batch_size}, crop and flip, no decay, learning rate "
        f"{rate}/256 ({chosen_on}), scored on {found.counts}",
        confusion=found.confusion,
    )
    kernel, bias = probe.bank.kernel.numpy()[best], probe.bank.bias.numpy()[best, 0]
    return score, Linear(kernel, bias)


_WAYS = {"augmented": _evaluate, "cached": linear_cached.evaluate}


def _train(
    config: Config,
    subject: Trained,
    data: Source,
    rates: Sequence[float],
    own: RunDirectory,
) -> LinearProbe:
    runtime.set_precision("float32")
    batch = config.linear_batch_size
    if batch > data.num_examples:  # cut to what there is, equal parts for all replicas
        share = build.strategy(config).num_replicas_in_sync
        batch = max(1, data.num_examples // share) * share
    job = build.supervised(
        config,
        data,
        supervised_recipe(config),
        lambda: _probe(subject, data, rates),
        functools.partial(
            optim.build_optimizer, "sgd", momentum=MOMENTUM, nesterov=True
        ),
        peak=rates[0],
        steps=config.linear_epochs * data.num_examples // batch,
        batch_size=batch,
        flag="linear_batch_size",
        seed=seeds.init_seed(config.seed, "linear"),
    )
    job.run(
        build.recorder(
            config,
            job,
            own,
            supervised_recipe(config),
            name="linear",
            title=f"linear, {subject.title}",
            # The sum over all rates, some of them far too high, would tell nothing.
            loss="best_probe_loss",
        )
    )
    return job.state.method


def _probe(subject: Trained, data: Source, rates: Sequence[float]) -> LinearProbe:
    """Of a copy of the encoder, whose variables belong to the strategy in scope."""
    frozen = keras.models.clone_model(subject.encoder)
    frozen.set_weights(subject.encoder.get_weights())
    return LinearProbe(
        frozen,
        num_classes=data.num_classes,
        feature_dim=frozen.output_shape[-1],
        rate_factors=[rate / rates[0] for rate in rates],
    )


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


def _rankings(probe: LinearProbe, features: np.ndarray) -> np.ndarray:
    """The best classes of features `[n, F]` by every classifier, `[probes, n, ...]`."""
    bank = probe.bank
    found = [
        [rank(each) for each in bank(tf.constant(features[part])).numpy()]
        for part in parts(len(features), bank.probes * bank.classes)
    ]
    return np.concatenate(found, axis=1)
