"""A step in parts has the gradients of the same step made at once."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.tiny import tiny
from tfssl import build, optim
from tfssl.core import variables
from tfssl.methods import Batch, SimCLR
from tfssl.models.heads import Projector
from tfssl.train import RunState, make_photometry, make_run_steps

pytestmark = pytest.mark.slow
ROWS, PARTS = 12, 3
STEP = tf.constant(0, tf.int64)


def data(rows=ROWS):
    """uint8 views `[rows, 2, 16, 16, 3]` and labels."""
    rng = np.random.default_rng(0)
    views = rng.integers(0, 256, [rows, 2, 16, 16, 3], np.uint8)
    return {"views": tf.constant(views), "label": tf.range(rows, dtype=tf.int64) % 10}


def plain(batch, step, part=0):
    """Photometry that only converts, so that a test can do the same by itself."""
    return tuple(tf.unstack(tf.cast(batch["views"], tf.float32) / 255.0, axis=1))


def batch_of(rows):
    found = data()
    found = {name: values[rows] for name, values in found.items()}
    return Batch(plain(found, STEP), found["label"])


def without_batch_norm():
    """SimCLR on a net whose rows do not touch each other."""
    keras.utils.set_random_seed(1)
    images = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(6, 3, 2, activation="tanh")(images)
    encoder = keras.Model(images, keras.layers.GlobalAveragePooling2D()(x))
    features = keras.Input((6,))
    projector = Projector(features, [keras.layers.Dense(5)(features)])
    probe_in = keras.Input((6,))
    probe = keras.Model(probe_in, keras.layers.Dense(10)(probe_in))
    return SimCLR(encoder, projector, temperature=0.5, probe=probe, probe_decay=0.1)


def built(name, **flags):
    config = tiny(name, batch_size=ROWS, queue_size=48 if name == "moco" else 0)
    for key, value in flags.items():
        object.__setattr__(config, key, value)
    return build.state(config, num_examples=64, num_classes=10).method


def one_step(method, parts):
    """Gradients (SGD's update at rate 1), statistics, and the log of one step."""
    state = RunState.create(method, optim.build_optimizer("sgd", 1.0, momentum=0.0))
    before = [w.numpy() for w in map(variables.raw, method.trainable_variables)]
    strategy = tf.distribute.get_strategy()
    run_steps = make_run_steps(strategy, state, plain, micro_batches=parts)
    batches = iter(tf.data.Dataset.from_tensors(data()).repeat())
    log = run_steps(batches, tf.constant(1, tf.int64))
    assert run_steps.experimental_get_tracing_count() == 1
    after = [w.numpy() for w in map(variables.raw, method.trainable_variables)]
    gradients = [b - a for b, a in zip(before, after, strict=True)]
    return gradients, {k: float(v[0]) for k, v in log.items()}, method


def statistics(method):
    return {
        name: v.numpy()
        for name, v in method.checkpoint_items().items()
        if name.endswith(("moving_mean", "moving_variance", "counter"))
    }


def chunks():
    size = ROWS // PARTS
    return [slice(m * size, (m + 1) * size) for m in range(PARTS)]


def assert_equal(got, want, tolerance=1e-5):
    norm = np.sqrt(sum(np.square(w).sum() for w in want))
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=0, atol=tolerance * norm)


def test_nt_xent_in_parts_is_exact():
    whole, log, _ = one_step(without_batch_norm(), 1)
    parts, log_of_parts, _ = one_step(without_batch_norm(), PARTS)
    assert_equal(parts, whole)
    for name in ("loss", "nt_xent", "probe_loss", "entropy", "gradient_norm"):
        assert log_of_parts[name] == pytest.approx(log[name], rel=1e-5), name
    # It is not what plain accumulation gives: negatives are those of all rows.
    mean = np.mean(
        [without_batch_norm().loss(batch_of(c), STEP).loss for c in chunks()]
    )
    assert abs(mean - log["loss"]) > 0.1


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("simclr", {}),
        ("simclr", {"queue_size": 48, "ema_momentum": 0.9}),
        ("moco", {"dictionary": "batch"}),
    ],
)
def test_coupled_rows_with_batch_norm_are_those_of_parts_normalised_apart(name, flags):
    """The reference holds all activations at once, as the step in parts never does."""
    method = built(name, **flags)
    weights = [variables.raw(w) for w in method.trainable_variables]
    with tf.GradientTape() as tape:
        embedded = [method.embed(batch_of(c), STEP) for c in chunks()]
        together = {k: tf.concat([e[k] for e in embedded], 0) for k in embedded[0]}
        output = method.loss_of(together, data()["label"], STEP)
        loss = output.loss
    want = tape.gradient(loss, weights)
    want_statistics = statistics(method)
    got, log, after = one_step(built(name, **flags), PARTS)
    assert log["loss"] == pytest.approx(float(loss), rel=1e-6)
    assert_equal(got, [w.numpy() for w in want])
    for name, value in statistics(after).items():
        np.testing.assert_allclose(
            value, want_statistics[name], rtol=1e-5, atol=1e-6, err_msg=name
        )


@pytest.mark.parametrize("name", ["byol", "moco"])
def test_other_losses_are_added_up(name):
    method = built(name)
    weights = [variables.raw(w) for w in method.trainable_variables]
    sums = [np.zeros(w.shape) for w in weights]
    losses, keys = [], []
    method.before_forward(STEP)
    for c in chunks():
        with tf.GradientTape() as tape:
            output = method.loss(batch_of(c), STEP)
        gradients = tape.gradient(output.loss, weights)
        sums = [s + g.numpy() / PARTS for s, g in zip(sums, gradients, strict=True)]
        losses.append(float(output.loss))
        keys += [aux.numpy() for aux in output.aux]
    want_statistics = statistics(method)
    got, log, after = one_step(built(name), PARTS)
    assert log["loss"] == pytest.approx(np.mean(losses), rel=1e-6)
    assert_equal(got, sums)
    for key, value in statistics(after).items():
        np.testing.assert_allclose(value, want_statistics[key], rtol=1e-5, atol=1e-6)
    if keys:
        queue = after.checkpoint_items()["queue/keys"].numpy()
        np.testing.assert_allclose(queue[:ROWS], np.concatenate(keys), atol=1e-5)


def test_a_part_is_coloured_as_its_rows_of_the_whole_batch():
    recipe = build.recipe(tiny("simclr"))
    settings = {"seed": 3, "global_batch": ROWS, "replica_batch": ROWS}
    images = data()["views"]
    whole = make_photometry(recipe, **settings)({"views": images}, STEP)
    apart = make_photometry(recipe, **settings, micro_batches=PARTS)
    for m, c in enumerate(chunks()):
        views = apart({"views": images[c]}, STEP, m)
        for got, want in zip(views, whole, strict=True):
            np.testing.assert_allclose(got, want[c], atol=1e-6)
