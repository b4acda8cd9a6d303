"""A role with a learning rate of its own, against closed forms, for every optimiser."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfssl import optim
from tfssl.config.tables import OPTIMIZERS
from tfssl.methods import Method, StepOutput
from tfssl.train.state import RunState

PEAK, TOTAL, STEPS = 0.4, 10, 4


class Two(Method):
    """Two scalars of gradient 1; the rate of the predictor alone stays."""

    def __init__(self):
        self.encoder, self.predictor = (
            keras.Sequential(
                [
                    keras.Input((1,)),
                    keras.layers.Dense(1, use_bias=False, name="layer"),
                ],
                name=name,
            )
            for name in ("encoder", "predictor")
        )
        for model in (self.encoder, self.predictor):
            model.set_weights([np.ones([1, 1])])

    def roles(self):
        return {"online/encoder": self.encoder, "online/predictor": self.predictor}

    def learning_rates(self, peak):
        return {"online/predictor": functools.partial(optim.constant, peak=peak)}

    def loss(self, batch, step):
        return StepOutput(tf.zeros([]), {})


def cosine(step):
    return optim.cosine(step, peak=PEAK, total=TOTAL)


def trained(name, own, decay=0.0, factor=None):
    """(encoder, predictor) after every step of gradient 1."""
    method = Two()
    optimizer = optim.build_optimizer(name, cosine, weight_decay=decay, exclude=())
    rates = method.learning_rates(PEAK) if own else {}
    state = RunState.create(method, optimizer, factor, rates)
    seen = []
    for _ in range(STEPS):
        weights = method.trainable_variables
        gradients = [tf.ones([1, 1])] * 2
        optim.apply_update(optimizer, gradients, weights, state.rates())
        seen.append([float(w.numpy()[0, 0]) for w in weights])
    return np.array(seen)


def alone(name, rate, decay=0.0):
    """One scalar at one rate for all, by the optimiser without roles."""
    weight = keras.Variable([[1.0]], name="layer")
    optimizer = optim.build_optimizer(name, rate, weight_decay=decay, exclude=())
    optimizer.build([weight])
    seen = []
    for _ in range(STEPS):
        optim.apply_update(optimizer, [tf.ones([1, 1])], [weight])
        seen.append(float(weight.numpy()[0, 0]))
    return seen


def test_sgd_is_the_closed_form():
    """v = .9 v + 1, so v_t = (1 - .9^t) / .1; w = 1 - sum of rate times v."""
    velocity = (1 - 0.9 ** np.arange(1, STEPS + 1)) / 0.1
    falling = PEAK * (1 + np.cos(np.pi * np.arange(STEPS) / TOTAL)) / 2
    got = trained("sgd", own=True)
    np.testing.assert_allclose(got[:, 0], 1 - np.cumsum(falling * velocity), rtol=1e-5)
    np.testing.assert_allclose(got[:, 1], 1 - np.cumsum(PEAK * velocity), rtol=1e-5)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_each_role_moves_as_if_it_had_an_optimiser_of_its_own(name, decay):
    got = trained(name, own=True, decay=decay)
    np.testing.assert_allclose(got[:, 0], alone(name, cosine, decay), rtol=1e-5)
    np.testing.assert_allclose(got[:, 1], alone(name, PEAK, decay), rtol=1e-5)
    assert abs(got[-1, 0] - got[-1, 1]) > 1e-5


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_a_part_of_a_role_moves_by_its_own_rate(name):
    """One layer of a network, by where its variables' names begin."""
    method = Two()
    layers = [
        keras.layers.Dense(1, use_bias=False, name=n) for n in ("stage1_a", "stage2_a")
    ]
    images = keras.Input((1,))
    method.encoder = keras.Model(images, layers[1](layers[0](images)))
    method.encoder.set_weights([np.ones([1, 1])] * 2)
    optimizer = optim.build_optimizer(name, cosine, exclude=())
    third = {"online/encoder/stage1_": lambda step: cosine(step) / 3}
    state = RunState.create(method, optimizer, own_rates=third)
    weights = method.trainable_variables
    for _ in range(STEPS):
        optim.apply_update(optimizer, [tf.ones([1, 1])] * 3, weights, state.rates())
    slow, fast, predictor = (float(w.numpy()[0, 0]) for w in weights)
    want = alone(name, lambda step: cosine(step) / 3)[-1]
    assert slow == pytest.approx(want, rel=1e-5)
    assert fast == predictor == pytest.approx(alone(name, cosine)[-1], rel=1e-5)


def test_a_rewind_halves_every_rate():
    got = trained("sgd", own=True, factor=tf.Variable(0.5, trainable=False))
    velocity = (1 - 0.9 ** np.arange(1, STEPS + 1)) / 0.1
    want = 1 - np.cumsum(0.5 * PEAK * velocity)
    np.testing.assert_allclose(got[:, 1], want, rtol=1e-5)


@pytest.mark.parametrize(
    "name", ["online/predictr", "online/enc", "online/encoder/stage9_"]
)
def test_a_rate_for_an_unknown_role_is_refused(name):
    optimizer = optim.build_optimizer("sgd", 0.1)
    with pytest.raises(ValueError, match="online/predictor"):
        RunState.create(Two(), optimizer, own_rates={name: cosine})
