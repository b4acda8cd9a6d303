"""Distillation as a method: both kinds of rows, and a teacher that does not move."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import foreign_models
from tests.losses.test_distillation import probabilities, slow
from tfssl import models, optim
from tfssl.augment import RECIPES, eval_transform
from tfssl.build import teacher as teachers
from tfssl.core import variables
from tfssl.methods import Batch, Distill, DistillFeatures

ROWS, KNOWN, CLASSES = 12, 4, 10
IMAGES = np.random.default_rng(2).random((ROWS, 16, 16, 3)).astype(np.float32)
LABEL = np.arange(ROWS) % CLASSES
STEP = tf.constant(0, tf.int64)


def a_teacher():
    network = foreign_models.teacher()
    crop = eval_transform(RECIPES["linear_simclr"])
    return teachers.Teacher("one", (network,), 16, crop, CLASSES)


def an_encoder():
    keras.utils.set_random_seed(1)
    images = keras.Input((16, 16, 3))
    x = models.BatchNorm()(keras.layers.Conv2D(8, 3, 2)(images))
    return keras.Model(
        images, keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
    )


def student(teacher, **more):
    encoder = an_encoder()
    head = models.linear_head(encoder.output_shape[-1], CLASSES, seed=1)
    settings = {"temperature": 2.0, **more}
    return Distill(encoder, head, lambda b: teacher.says(b.views[0]), **settings)


def batch(labels=LABEL):
    return Batch((tf.constant(IMAGES),), tf.constant(labels, tf.int64))


def logits_of(method):
    """A copy's, so that the averages of the method's BatchNorm stay."""
    encoder = keras.models.clone_model(method.encoder)
    encoder.set_weights(method.encoder.get_weights())
    return method.classifier(encoder(IMAGES, training=True)).numpy()


def test_without_labels_it_is_the_mean_over_all_rows():
    teacher = a_teacher()
    method = student(teacher)
    want = slow(logits_of(method), teacher.says(IMAGES).numpy(), 2.0).mean()
    unknown = batch(np.full(ROWS, -1))
    np.testing.assert_allclose(method.loss(unknown, STEP).loss, want, rtol=1e-4)


def test_equation_4_with_labels_of_the_first_rows_alone():
    teacher = a_teacher()
    method = student(teacher, alpha=0.3, labelled=(KNOWN * 5, ROWS * 5), head_decay=0.1)
    logits = logits_of(method)
    soft = slow(logits[KNOWN:], teacher.says(IMAGES[KNOWN:]).numpy(), 2.0).mean()
    each = probabilities(logits[:KNOWN], 1.0)
    hard = -np.log(each[np.arange(KNOWN), LABEL[:KNOWN]]).mean()
    kernel = method.classifier.weights[0].numpy()
    want = 0.3 * soft + 0.7 * hard + 0.1 * (kernel**2).sum() / 2
    out = method.loss(batch(), STEP)
    np.testing.assert_allclose(out.loss, want, rtol=1e-4)
    np.testing.assert_allclose(out.scalars["label_loss"], hard, rtol=1e-4)
    # The labels of the other rows count for nothing.
    other = batch(np.concatenate([LABEL[:KNOWN], LABEL[KNOWN:] * 0 - 1]))
    np.testing.assert_array_equal(
        student(teacher, alpha=0.3, labelled=(KNOWN, ROWS)).loss(other, STEP).loss,
        student(teacher, alpha=0.3, labelled=(KNOWN, ROWS)).loss(batch(), STEP).loss,
    )


def test_features_regress_the_normalised_features_of_the_teacher():
    encoder = an_encoder()
    regressor = models.linear_head(encoder.output_shape[-1], 8, seed=1)
    wanted = np.random.default_rng(3).normal(size=(ROWS, 8)).astype(np.float32)
    method = DistillFeatures(encoder, regressor, lambda b: tf.constant(wanted))
    copy = keras.models.clone_model(encoder)
    copy.set_weights(encoder.get_weights())
    p = regressor(copy(IMAGES, training=True)).numpy()
    cosine = (p * wanted).sum(1) / np.linalg.norm(p, axis=1)
    cosine /= np.linalg.norm(wanted, axis=1)
    out = method.loss(batch(), STEP)
    np.testing.assert_allclose(out.loss, (2 - 2 * cosine).mean(), rtol=1e-4)
    np.testing.assert_allclose(out.scalars["cosine"], cosine.mean(), rtol=1e-3)


def test_not_one_bit_of_the_teacher_changes_and_the_student_learns():
    teacher = a_teacher()
    method = student(teacher)
    before = teacher.digest()
    optimizer = optim.build_optimizer("sgd", 0.5, momentum=0.9)
    optimizer.build(method.trainable_variables)
    raw = [variables.raw(v) for v in method.trainable_variables]
    losses = []
    for _ in range(6):
        with tf.GradientTape() as tape:
            loss = method.loss(batch(), STEP).loss
        optim.apply_update(optimizer, tape.gradient(loss, raw), raw)
        losses.append(float(loss))
    assert teacher.digest() == before
    assert losses[-1] < losses[0]
    owned = {id(v) for v in teacher.networks[0].weights}
    assert not owned & {id(v) for v in method.trainable_variables}
    assert {n.split("/")[0] for n in method.checkpoint_items()} == {"online", "probe"}


@pytest.mark.parametrize(("size", "wanted"), [(24, 16), (32, 8), (17, 5)])
def test_views_shrink_as_tensorflow_shrinks_them(size, wanted):
    images = np.random.default_rng(4).random((2, size, size, 3)).astype(np.float32)
    got = teachers.resized(size, wanted)(tf.constant(images))
    want = tf.image.resize(images, [wanted, wanted], "bilinear", antialias=True)
    np.testing.assert_allclose(got, want, atol=1e-5)
