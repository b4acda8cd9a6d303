import keras
import numpy as np
import pytest
import tensorflow as tf

from tfssl.optim import SGD, apply_update


def test_official_steps(golden):
    kit = golden("moco", "loss_moco")
    s = kit.cases["sgd"]
    weights = [
        tf.Variable(kit.rule.fixed_normal(tuple(shape), s["seed"] + i))
        for i, shape in enumerate(s["shapes"])
    ]
    optimizer = SGD(1.0, momentum=s["momentum"], weight_decay=s["weight_decay"])
    optimizer.build(weights)
    for t, rate in enumerate(s["learning_rates"]):
        optimizer.learning_rate = rate
        grads = [
            tf.constant(
                kit.rule.fixed_normal(tuple(shape), s["seed"] + 100 * (t + 1) + i, 0.3)
            )
            for i, shape in enumerate(s["shapes"])
        ]
        apply_update(optimizer, grads, weights)
        for i, w in enumerate(weights):
            want = kit.arrays[f"sgd/step{t}/{i}"]
            assert np.linalg.norm(w - want) < 1e-5 * np.linalg.norm(want)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("lr_in_velocity", [False, True])
def test_slow_form(nesterov, lr_in_velocity):
    rng = np.random.default_rng(0)
    w = rng.normal(size=(3, 2))
    variable = tf.Variable(w)
    optimizer = SGD(
        1.0,
        momentum=0.8,
        weight_decay=0.1,
        nesterov=nesterov,
        lr_in_velocity=lr_in_velocity,
    )
    optimizer.build([variable])
    # The velocity as the sum of all past gradients, not as a recursion.
    past = []
    for step, rate in enumerate([0.5, 0.1, 1.0, 0.25]):
        g = rng.normal(size=(3, 2))
        past.append((g + 0.1 * w) * (rate if lr_in_velocity else 1.0))
        v = sum(0.8 ** (step - i) * u for i, u in enumerate(past))
        move = 0.8 * v + past[-1] if nesterov else v
        w = w - move * (1.0 if lr_in_velocity else rate)
        optimizer.learning_rate = rate
        apply_update(optimizer, [tf.constant(g)], [variable])
        # The rate is a float32 variable in Keras.
        np.testing.assert_allclose(variable, w, rtol=1e-6, atol=1e-8)


def test_decay_is_in_the_gradient_not_keras_decoupled_one():
    """After the gradient stops, coupled decay lives on in the momentum."""
    variable = tf.Variable([1.0])
    optimizer = SGD(0.1, momentum=0.5, weight_decay=1.0)
    assert optimizer.weight_decay is None
    optimizer.build([variable])
    apply_update(optimizer, [tf.zeros(1)], [variable])
    assert variable.numpy()[0] == pytest.approx(0.9)
    apply_update(optimizer, [tf.zeros(1)], [variable])
    assert variable.numpy()[0] == pytest.approx(0.9 - 0.1 * (0.5 * 1.0 + 0.9))


def test_matches_keras_sgd_without_decay():
    weights = [tf.Variable(tf.ones([2, 2])) for _ in range(2)]
    ours = SGD(0.1, momentum=0.9, nesterov=True, lr_in_velocity=True)
    theirs = keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True)
    for optimizer, w in zip((ours, theirs), weights, strict=True):
        optimizer.build([w])
        for step in range(4):
            optimizer.apply_gradients([(tf.fill([2, 2], 1.0 + step), w)])
    np.testing.assert_allclose(weights[0], weights[1], rtol=1e-6)


def test_config_round_trip():
    optimizer = SGD(0.3, momentum=0.8, weight_decay=1e-4, nesterov=True, exclude=["a"])
    again = SGD.from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()
    assert again.coupled_weight_decay == 1e-4 and list(again.exclude) == ["a"]


@pytest.mark.parametrize(
    "wrong", [{"momentum": 1.0}, {"momentum": -0.1}, {"weight_decay": -1.0}]
)
def test_ranges(wrong):
    with pytest.raises(ValueError, match="expected"):
        SGD(0.1, **wrong)
