"""Fine-tuning as a method: loss, weights of classes, what is frozen."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tiny import tiny
from tfssl import models, optim
from tfssl.build import networks
from tfssl.core import variables
from tfssl.methods import Batch, FineTune
from tfssl.train.state import RunState

ROWS, CLASSES = 8, 3
IMAGES = np.random.default_rng(0).random((ROWS, 16, 16, 3)).astype(np.float32)
LABEL = np.array([0, 1, 2, 0, 0, -1, 1, 0])
STEP = tf.constant(0, tf.int64)


def batch():
    return Batch((tf.constant(IMAGES),), tf.constant(LABEL, tf.int64))


@pytest.mark.parametrize(
    ("smoothing", "weights"), [(0.0, None), (0.2, None), (0.1, [0.5, 1.5, 3.0])]
)
def test_the_loss_is_what_the_definitions_say(smoothing, weights):
    encoder = models.Encoder(
        "resnet10x0.125_cifar", family="simclr", image_size=16, seed=1
    )
    head = models.linear_head(encoder.output_shape[-1], CLASSES, seed=1)
    method = FineTune(encoder, head, label_smoothing=smoothing, class_weights=weights)
    logits = head(encoder(IMAGES, training=True)).numpy().astype(np.float64)
    total = 0.0
    for row, label in zip(logits, LABEL, strict=True):
        if label < 0:
            continue
        target = np.full(CLASSES, smoothing / CLASSES)
        target[label] += 1 - smoothing
        p = np.exp(row) / np.exp(row).sum()
        total += (weights or [1] * CLASSES)[label] * -(target * np.log(p)).sum()
    np.testing.assert_allclose(method.loss(batch(), STEP).loss, total / ROWS, rtol=1e-4)


@pytest.mark.parametrize("level", ["P2", "P4"])
def test_frozen_stages_keep_every_bit_and_the_others_move(level):
    method = networks.fine_tune(tiny("moco", freeze=level), CLASSES)
    below = ("stem_", "stage1_", "stage2_")[: {"P2": 1, "P4": 3}[level]]
    optimizer = optim.build_optimizer("sgd", 0.1, momentum=0.9, weight_decay=0.01)
    optimizer.build(method.trainable_variables)
    before = {v.path: v.numpy().tobytes() for v in method.encoder.variables}
    raw = [variables.raw(v) for v in method.trainable_variables]
    for _ in range(2):
        with tf.GradientTape() as tape:
            loss = method.loss(batch(), STEP).loss
        optim.apply_update(optimizer, tape.gradient(loss, raw), raw)
    now = {v.path: v.numpy().tobytes() for v in method.encoder.variables}
    moved = {path for path in before if now[path] != before[path]}
    assert moved == {path for path in before if not path.startswith(below)}
    assert any("moving_mean" in path for path in moved)


def test_each_stage_learns_at_its_factor_of_the_rate_and_frozen_ones_do_not():
    config = tiny("moco", freeze="P3", finetune_stage_rates=(0.1, 0.2, 0.3, 1.0, 0.5))
    method = networks.fine_tune(config, CLASSES)
    own = {
        name: lambda step, factor=factor: 2.0 * factor
        for name, factor in networks.stage_rate_factors(config).items()
    }
    optimizer = optim.build_optimizer("sgd", 2.0)
    rates = RunState.create(method, optimizer, own_rates=own).rates()
    want = {"stage2_": 0.6, "stage3_": None, "stage4_": 1.0}
    for variable, rate in zip(method.trainable_variables, rates, strict=True):
        stage = next((s for s in want if s in variable.path), None)
        expected = want.get(stage)
        assert (rate is None) == (expected is None), variable.path
        assert expected is None or float(rate) == pytest.approx(expected)
    assert sum(rate is None for rate in rates) < len(rates)


def test_several_labels_are_looked_up_by_example():
    encoder = models.Encoder(
        "resnet10x0.125_cifar", family="simclr", image_size=16, seed=1
    )
    head = models.linear_head(encoder.output_shape[-1], CLASSES, seed=1)
    targets = np.random.default_rng(3).integers(-1, 2, (50, CLASSES)).astype(np.int8)
    index = np.array([3, 49, 0, 7, 7, 12, 31, 2])
    method = FineTune(encoder, head, targets=targets)
    rows = batch()._replace(
        index=tf.constant(index, tf.int64), label=-tf.ones(8, "int64")
    )
    logits = head(encoder(IMAGES, training=True)).numpy().astype(np.float64)
    signs = np.where(targets[index] == 1, 1, -1)
    each = np.where(targets[index] >= 0, np.log1p(np.exp(-signs * logits)), 0)
    out = method.loss(rows, STEP)
    np.testing.assert_allclose(out.loss, each.sum() / ROWS, rtol=1e-4)
    known = targets[index] >= 0
    right = ((logits > 0) == (targets[index] == 1)) & known
    share = right.sum(1) / np.maximum(known.sum(1), 1)
    np.testing.assert_allclose(out.scalars["train_accuracy"], share.mean(), rtol=1e-5)
