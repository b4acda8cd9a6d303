"""`--linear_features=augmented`: linear classifiers trained on views, as published."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfssl import optim
from tfssl.build.devices import strategy
from tfssl.build.trained import Trained
from tfssl.build.training import recorder, supervised, too_few
from tfssl.build.views import supervised_recipe
from tfssl.config import Config
from tfssl.core import runtime, seeds
from tfssl.data import Source, tenth, without_tenth
from tfssl.evaluate import Features, classification, rank
from tfssl.evaluate.metrics import parts
from tfssl.evaluate.regression import Linear
from tfssl.methods import LinearProbe
from tfssl.runs import RunDirectory

MOMENTUM = 0.9


def evaluate(
    config: Config,
    subject: Trained,
    data: Source,
    evaluation: Source,
    own: RunDirectory,
) -> tuple[Linear, Features, dict[str, Any]]:
    """Trains a classifier a rate, all at once, and chooses the best on a tenth.

    Args:
      config: Of this evaluation.
      subject: The encoder.
      data: Training images.
      evaluation: Held-out images.
      own: The folder of this evaluation.

    Returns:
      The classifier; in place of features its ranking of the held-out images' classes;
      settings, found and description for a `Score`.

    Raises:
      Stopped: A signal ended it after a checkpoint.
    """
    batch, fraction = config.linear_batch_size, config.text("label_fraction")
    rates = [rate * batch / 256 for rate in config.linear_learning_rates]
    fit = without_tenth(data) if len(rates) > 1 else data
    probe, note = _train(config, subject, fit, rates, own)
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
    rate, epochs = config.linear_learning_rates[best], config.linear_epochs
    words = {
        "settings": {
            "learning_rates": config.text("linear_learning_rates"),
            "epochs": epochs,
            "batch_size": batch,
            "label_fraction": fraction,
        },
        "found": {"learning_rate": rate},
        "note": note,
        "description": f"linear classifier on the frozen encoder, SGD Nesterov "
        f"{MOMENTUM}, cosine, {epochs} epochs of {fit.num_examples} images (label "
        f"fraction {fraction}), batch {batch}, crop and flip, no decay, learning rate "
        f"{rate}/256 ({chosen_on})",
    }
    ranking = _rankings(probe, test.features)[best]
    kernel, bias = probe.bank.kernel.numpy()[best], probe.bank.bias.numpy()[best, 0]
    return Linear(kernel, bias), dataclasses.replace(test, features=ranking), words


def _train(
    config: Config,
    subject: Trained,
    data: Source,
    rates: Sequence[float],
    own: RunDirectory,
) -> tuple[LinearProbe, str]:
    runtime.set_precision("float32")
    batch, views = config.linear_batch_size, supervised_recipe(config)
    if batch > data.num_examples:  # cut to what there is, equal parts for all replicas
        share = strategy(config).num_replicas_in_sync
        batch = max(1, data.num_examples // share) * share

    def probe() -> LinearProbe:
        """Of a copy of the encoder, whose variables belong to the strategy in scope."""
        frozen = keras.models.clone_model(subject.encoder)
        frozen.set_weights(subject.encoder.get_weights())
        return LinearProbe(
            frozen,
            num_classes=data.num_classes,
            feature_dim=frozen.output_shape[-1],
            rate_factors=[rate / rates[0] for rate in rates],
        )

    job = supervised(
        config,
        data,
        views,
        probe,
        functools.partial(
            optim.build_optimizer, "sgd", momentum=MOMENTUM, nesterov=True
        ),
        peak=rates[0],
        steps=config.linear_epochs * data.num_examples // batch,
        batch_size=batch,
        flag="linear_batch_size",
        seed=seeds.init_seed(config.seed, "linear"),
    )
    title = f"linear, {subject.title}"
    # The sum over all rates, some of them far too high, would tell nothing.
    loss = "best_probe_loss"
    job.run(recorder(config, job, own, views, name="linear", title=title, loss=loss))
    return job.state.method, too_few(job, "linear_epochs")


def _rankings(probe: LinearProbe, features: np.ndarray) -> np.ndarray:
    """The best classes of features `[n, F]` by every classifier, `[probes, n, ...]`."""
    bank = probe.bank
    found = [
        [rank(each) for each in bank(tf.constant(features[part])).numpy()]
        for part in parts(len(features), bank.probes * bank.classes)
    ]
    return np.concatenate(found, axis=1)
