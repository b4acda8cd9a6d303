"""`--mode=linear`: linear evaluation of a frozen encoder."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tfssl import build, optim
from tfssl.build.features import features
from tfssl.build.supervised import OneView
from tfssl.config import Config
from tfssl.core import seeds
from tfssl.data import Source, require_labels, tenth, without_tenth
from tfssl.evaluate import Features, classification, rank, top_k
from tfssl.methods import LinearProbe
from tfssl.runs import RunDirectory
from tfssl.runs.scores import Confusion, Score, add_score
from tfssl.show import console
from tfssl.show.scores import score_line
from tfssl.tasks.subjects import Subject, subjects
from tfssl.train import RunState, StopRequest

MOMENTUM = 0.9


def run(config: Config) -> int:
    """Trains linear classifiers on the frozen encoder and scores the best one.

    Protocol: SGD with Nesterov momentum .9, cosine, no decay, crop and flip; one
    classifier per rate of `--linear_learning_rates`, all at once. With several rates a
    tenth of the training images is held out to choose among them, as in BYOL's
    appendix C.1; the held-out split is looked at once, by the chosen one.

    Returns:
      0, or 42 if a signal stopped it (nothing is kept of a half evaluation).
    """
    console.route_warnings()
    with RunDirectory(config.run_dir) as directory:
        data = build.labelled_source(config)
        evaluation = build.evaluation_source(config)
        require_labels(data, "--mode=linear")
        if config.label_fraction != 1:
            console.say(f"linear: {data.num_examples} images, {data.name}")
        for subject in subjects(config):
            scored = _evaluate(config, subject, data, evaluation)
            if scored is None:
                console.say("linear evaluation stopped; nothing of it was kept")
                return 42
            add_score(directory, *scored)
            console.say(score_line(scored[0]))
    return 0


def learning_rates(config: Config) -> list[float]:
    """The rates of `--linear_learning_rates`, for the linear batch size."""
    scale = config.linear_batch_size / 256
    return [rate * scale for rate in config.linear_learning_rates]


def _evaluate(
    config: Config, subject: Subject, data: Source, evaluation: Source
) -> tuple[Score, Confusion] | None:
    rates = learning_rates(config)
    fit = without_tenth(data) if len(rates) > 1 else data
    probe = _train(config, subject, fit, rates)
    if probe is None:
        return None
    encode = build.compiled_encode(subject.encoder, subject.transform)

    def encoded(source: Source) -> Features:
        return features(encode, source, subject.transform, image_size=config.image_size)

    best, chosen_on = 0, "the only learning rate"
    if len(rates) > 1:
        held_out = encoded(tenth(data))
        accuracy = [top_k(row, held_out.labels, 1) for row in _logits(probe, held_out)]
        best = int(np.argmax(accuracy))
        chosen_on = f"best of {len(rates)} rates on {len(held_out)} held-out images"
    test = encoded(evaluation)
    found = classification(
        rank(_logits(probe, test)[best]),
        test.labels,
        data.num_classes,
        class_names=data.class_names,
        images=evaluation.num_examples,
    )
    rate = config.linear_learning_rates[best]
    score = Score(
        "linear",
        evaluation.name,
        subject.key,
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
    )
    return score, found.confusion


def _train(
    config: Config, subject: Subject, data: Source, rates: Sequence[float]
) -> LinearProbe | None:
    strategy = build.strategy(config)
    batch = min(config.linear_batch_size, data.num_examples)
    total = config.linear_epochs * data.num_examples // batch
    seed = seeds.init_seed(config.seed, "linear")
    show = OneView(config, data, subject.transform, batch, seed)
    with strategy.scope():
        frozen = _in_scope(subject.encoder)
        probe = LinearProbe(
            frozen,
            num_classes=data.num_classes,
            feature_dim=frozen.output_shape[-1],
            rate_factors=[rate / rates[0] for rate in rates],
        )
        optimizer = optim.build_optimizer(
            "sgd",
            optim.build_schedule("cosine", peak=rates[0], total=total),
            momentum=MOMENTUM,
            nesterov=True,
        )
        state = RunState.create(probe, optimizer)
    title = f"linear, {subject.title}"
    with (
        console.Progress(total, 0, title, shown=config.progress) as bar,
        StopRequest() as stop,
    ):
        done = show.train(
            strategy,
            state,
            total,
            stop=stop,
            log_every=max(1, total),
            # The sum over all rates, some of them far too high, would tell nothing.
            on_progress=lambda row: bar.show(row | {"loss": row["best_probe_loss"]}),
        )
    return probe if done else None


def _in_scope(encoder: keras.Model) -> keras.Model:
    """A copy whose variables belong to the strategy in scope."""
    copy = keras.models.clone_model(encoder)
    copy.set_weights(encoder.get_weights())
    return copy


def _logits(probe: LinearProbe, data: Features) -> np.ndarray:
    """`[probes, n, classes]`."""
    return probe.bank(tf.constant(data.features)).numpy()
