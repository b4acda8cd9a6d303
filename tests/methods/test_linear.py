"""Linear evaluation: the encoder is frozen to the bit, rates are independent."""

import numpy as np
import pytest
import tensorflow as tf

from tfssl import models, optim
from tfssl.core import variables
from tfssl.methods import Batch, LinearProbe

ROWS, CLASSES = 16, 3


def data():
    images = tf.random.stateless_uniform([ROWS, 16, 16, 3], [1, 2])
    return Batch((images,), tf.range(ROWS, dtype=tf.int64) % CLASSES)


def make(rates):
    encoder = models.Encoder(
        "resnet10x0.125_cifar", family="moco", image_size=16, seed=1
    )
    probe = LinearProbe(
        encoder,
        num_classes=CLASSES,
        feature_dim=encoder.output_shape[-1],
        rate_factors=[r / rates[0] for r in rates],
    )
    optimizer = optim.build_optimizer("sgd", rates[0], momentum=0.9, nesterov=True)
    optimizer.build(probe.trainable_variables)
    return probe, optimizer


def train(probe, optimizer, steps=5):
    raw = [variables.raw(v) for v in probe.trainable_variables]
    for step in range(steps):
        with tf.GradientTape() as tape:
            loss = probe.loss(data(), tf.constant(step, tf.int64)).loss
        grads = tape.gradient(loss, raw)
        optim.apply_update(optimizer, grads, probe.trainable_variables)


def test_not_one_bit_of_the_encoder_changes():
    probe, optimizer = make([0.5, 5.0])
    before = [v.numpy().tobytes() for v in probe.encoder.weights]
    train(probe, optimizer)
    assert [v.numpy().tobytes() for v in probe.encoder.weights] == before
    assert np.abs(probe.bank.kernel.numpy()).max() > 0


def test_only_the_probes_are_trainable_and_saved():
    probe, _ = make([0.5])
    assert len(probe.trainable_variables) == 2
    assert set(probe.checkpoint_items()) == {
        "linear/linear_probes/kernel",
        "linear/linear_probes/bias",
    }


@pytest.mark.parametrize("rate", [0.1, 2.0])
def test_a_probe_in_a_bank_is_the_probe_alone(rate):
    """The rate factor on the loss is the rate itself, momentum and all."""
    bank, bank_optimizer = make([0.5, rate])
    train(bank, bank_optimizer)
    alone, alone_optimizer = make([rate])
    train(alone, alone_optimizer)
    np.testing.assert_allclose(
        bank.bank.kernel.numpy()[1], alone.bank.kernel.numpy()[0], rtol=1e-4, atol=1e-6
    )
