import functools
import math

import numpy as np
import pytest
import tensorflow as tf

from tfssl import optim
from tfssl.build import optimizer
from tfssl.config import Config, resolve
from tfssl.config.methods import BYOL
from tfssl.config.tables import SCHEDULES

IMAGENET = 1_281_167


def _both(function, steps):
    """The values for Python numbers, for an array, and in a graph: one answer."""
    plain = [function(step) for step in steps]
    assert all(isinstance(value, float) for value in plain)
    np.testing.assert_array_equal(function(np.array(steps)), plain)
    graph = tf.function(function)
    tensors = [graph(tf.constant(step, tf.int64)) for step in steps]
    assert all(t.dtype == tf.float32 for t in tensors)
    assert graph.experimental_get_tracing_count() == 1
    # The step itself is rounded to float32; the rate keeps its relative precision.
    np.testing.assert_allclose(tensors, plain, rtol=2e-6, atol=1e-12)
    return np.array(plain)


def test_byol_learning_rate(golden):
    for case in golden("byol", "loss_byol").cases["lr"]:
        s = case["settings"]
        peak = optim.scaled_learning_rate(
            s["base_learning_rate"], s["batch_size"], "linear"
        )
        schedule = functools.partial(
            optim.warmup_cosine,
            peak=peak,
            warmup=s["warmup_steps"],
            total=s["total_steps"],
        )
        got = _both(schedule, case["steps"])
        # Official numbers are float32, with 1 + cos: absolute near the end.
        np.testing.assert_allclose(got, case["values"], rtol=1e-6, atol=3e-7 * peak)


def test_byol_tau(golden):
    for case in golden("byol", "loss_byol").cases["tau"]:
        tau = functools.partial(
            optim.byol_tau, base=case["base"], total=case["max_steps"]
        )
        got = [tau(step) for step in case["steps"]]
        np.testing.assert_allclose(got, case["values"], rtol=1e-6, atol=3e-7)
        graph = [tau(tf.constant(step, tf.int64)) for step in case["steps"]]
        np.testing.assert_allclose(graph, case["values"], rtol=1e-6, atol=3e-7)


def test_byol_presets(golden):
    for name, preset in golden("byol", "loss_byol").cases["presets"].items():
        epochs, batch = (int(n) for n in name.replace("epochs_batch", " ").split())
        total = optim.total_steps(IMAGENET, batch, epochs, rounding="floor")
        assert total == preset["max_steps"]
        assert optim.warmup_steps(IMAGENET, batch, 10) == preset["warmup_steps"]
        ours = BYOL.published(Config(method="byol", image_size=224, epochs=epochs))
        assert ours["warmup_epochs"] == 10
        assert ours["learning_rate"] == preset["base_learning_rate"]
        assert ours["weight_decay"] == preset["weight_decay"]
        assert ours["ema_momentum"] == preset["base_target_ema"]


def test_moco_learning_rates(golden):
    settings = golden("moco", "loss_moco").cases
    per_epoch = 5004
    for case in [*settings["lr"], settings["cifar_demo_lr"]]:
        first = 0 if case is not settings["cifar_demo_lr"] else 1
        for epoch, want in zip(case["epoch"], case["values"], strict=True):
            begin = (epoch - first) * per_epoch
            if case["cos"]:
                schedule = functools.partial(
                    optim.epoch_cosine,
                    peak=case["lr"],
                    epochs=case["epochs"],
                    steps_per_epoch=per_epoch,
                    first_epoch=first,
                )
            else:
                schedule = functools.partial(
                    optim.step_decay,
                    peak=case["lr"],
                    boundaries=[e * per_epoch for e in case["schedule"]],
                )
            got = _both(schedule, [begin, begin + 1, begin + per_epoch - 1])
            np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-15)


def test_simclr_as_measured():
    total = optim.total_steps(IMAGENET, 4096, 100, rounding="floor_plus_one")
    warmup = optim.warmup_steps(IMAGENET, 4096, 10)
    peak = optim.scaled_learning_rate(0.3, 4096, "linear")
    assert (total, warmup, peak) == (31_279, 3_127, pytest.approx(4.8))
    rate = functools.partial(optim.warmup_cosine, peak=peak, warmup=warmup, total=total)
    got = _both(rate, [0, 1, warmup, total - 1, total, total + 500])
    assert got[0] == 0 and got[1] == pytest.approx(0.001535, rel=1e-3)
    assert got[2] == pytest.approx(4.8)
    assert 0 < got[3] < 1e-7 and got[4] == got[5] == 0


def test_steps_and_scaling():
    # floor first, then round: 10.5 * 99 // 100 = 10.395 // 1
    assert optim.warmup_steps(99, 100, 10.5) == 10
    assert optim.warmup_steps(1000, 256, 0) == 0
    assert optim.total_steps(1000, 256, 3, rounding="drop_last") == 9
    assert optim.total_steps(1000, 256, 3, rounding="floor") == 11
    assert optim.scaled_learning_rate(0.1, 4096, "sqrt") == pytest.approx(6.4)
    assert optim.scaled_learning_rate(0.1, 4096, "none") == 0.1
    with pytest.raises(ValueError, match="linear"):
        optim.scaled_learning_rate(0.1, 4096, "linaer")
    with pytest.raises(ValueError, match="rounding"):
        optim.total_steps(1000, 256, 3, rounding="dino")


def test_warmup_cosine_against_the_formula():
    for step in range(0, 40):
        want = (
            step / 7 * 0.3
            if step < 7
            else 0.15 * (1 + math.cos(math.pi * (min(step, 31) - 7) / 24))
        )
        got = optim.warmup_cosine(step, peak=0.3, warmup=7, total=31)
        assert got == pytest.approx(want, abs=1e-12)
    assert optim.cosine(0, peak=0.3, total=31) == pytest.approx(0.3)
    # As many warm-up steps as steps: no division by zero.
    assert optim.warmup_cosine(5, peak=0.3, warmup=5, total=5) == 0.0


def test_float32_keeps_the_last_rates():
    """1 + cos in float32 would answer 0 or be wrong by 100 % here."""
    schedule = functools.partial(optim.cosine, peak=1.0, total=100_000)
    got = float(schedule(tf.constant(99_999)))
    assert got == pytest.approx(schedule(99_999), rel=1e-6)
    assert got == pytest.approx((math.pi / 2 / 100_000) ** 2, rel=1e-6)


def test_exponential_and_constant():
    rate = functools.partial(optim.exponential, peak=2.0)
    np.testing.assert_allclose(
        _both(rate, [0, 31_250, 62_500, 625_000]),
        [2.0, 2 * 0.9**0.5, 1.8, 2 * 0.9**10],
    )
    stairs = functools.partial(rate, staircase=True)
    np.testing.assert_allclose(_both(stairs, [0, 62_499, 62_500]), [2.0, 2.0, 1.8])
    flat = functools.partial(optim.constant, peak=2.0, warmup=4)
    np.testing.assert_allclose(_both(flat, [0, 1, 4, 400]), [0.0, 0.5, 2.0, 2.0])


def test_epochs_are_whole_numbers_of_steps():
    """In float32 the last step of epoch 198 would round up into epoch 199."""
    schedule = functools.partial(
        optim.epoch_cosine, peak=1.0, epochs=200, steps_per_epoch=200_000
    )
    _both(schedule, [200_000 * 199 - 1, 200_000 * 199])


@pytest.mark.parametrize("name", sorted(optim.SCHEDULES))
def test_every_schedule_of_the_table(name):
    per_epoch = 5 if name == "epoch_cosine" else None
    warmup = 0 if per_epoch else 10
    schedule = optim.build_schedule(
        name, peak=0.5, total=100, warmup=warmup, steps_per_epoch=per_epoch
    )
    values = _both(schedule, list(range(101)))
    assert values.max() == pytest.approx(0.5, rel=1e-4) and values.min() >= 0
    assert values[0] == (0.0 if warmup else 0.5)
    assert (np.diff(values[warmup:]) <= 1e-12).all()
    wrapped = optim.as_keras_schedule(schedule)
    assert float(wrapped(tf.constant(50, tf.int64))) == pytest.approx(values[50])
    again = optim.FunctionSchedule.from_config(wrapped.get_config())
    assert float(again(7)) == pytest.approx(values[7])


def test_step_falls_at_60_and_80_percent():
    schedule = optim.build_schedule("step", peak=1.0, total=200)
    got = [schedule(step) for step in (119, 120, 159, 160)]
    np.testing.assert_allclose(got, [1, 0.1, 0.1, 0.01])


def test_refusals():
    with pytest.raises(ValueError, match="lr_schedule=cosin"):
        optim.build_schedule("cosin", peak=1.0, total=10)
    with pytest.raises(ValueError, match="no warm-up"):
        optim.build_schedule("epoch_cosine", peak=1.0, total=10, warmup=1)
    with pytest.raises(ValueError, match="build_schedule"):
        optim.as_keras_schedule(lambda step: step).get_config()


@pytest.mark.parametrize("name", sorted(optim.SCHEDULES))
@pytest.mark.parametrize("per_epoch", [1, 3, 7])
def test_every_length_has_a_rate_until_its_end(name, per_epoch):
    for total in range(1, 3 * per_epoch + 1):
        warmup = 0 if name == "epoch_cosine" else total // 4
        rate = optim.build_schedule(
            name, peak=0.5, total=total, warmup=warmup, steps_per_epoch=per_epoch
        )
        rates = np.array([rate(step) for step in range(total)])
        assert np.isfinite(rates).all(), (name, total, rates)
        # A warm-up begins at 0, as published.
        assert (rates[bool(warmup) :] > 0).all(), (name, total, rates)


def test_a_run_that_ends_inside_an_epoch_has_moco_s_rates_of_the_whole_one():
    broken = optim.build_schedule(
        "epoch_cosine", peak=1.0, total=199, steps_per_epoch=100
    )
    whole = optim.build_schedule(
        "epoch_cosine", peak=1.0, total=200, steps_per_epoch=100
    )
    assert [broken(s) for s in (0, 99, 100, 198)] == [
        whole(s) for s in (0, 99, 100, 198)
    ]


EPOCH = 5  # steps


@pytest.mark.parametrize("total", range(1, 3 * EPOCH + 1))
@pytest.mark.parametrize("warmup_epochs", [0, 0.2, 1, 2.5, 10])
@pytest.mark.parametrize("method", ["simclr", "byol", "moco"])
def test_every_schedule_is_above_zero_in_a_run_of_any_length(
    method, warmup_epochs, total, caplog
):
    """`--train_steps` from 1 step to 3 epochs; a warm-up begins at 0, as published."""
    for name in SCHEDULES:
        if name == "epoch_cosine":  # by itself with whole epochs only
            continue
        config = resolve(
            Config(
                method=method, lr_schedule=name, warmup_epochs=warmup_epochs,
                batch_size=8, train_steps=total, lr_decay=0.1, lr_milestones=(),
            )
        )  # fmt: skip
        caplog.clear()
        rate = optimizer.learning_rate(config, 8 * EPOCH + 3, total)
        warmup = round(warmup_epochs * (8 * EPOCH + 3) // 8)
        rates = np.array([rate(step) for step in range(total)])
        assert np.isfinite(rates).all()
        assert (rates[bool(warmup) :] > 0).all()
        assert rates.max() <= optimizer.peak_rate(config) * (1 + 1e-9)
        warned = [r.getMessage() for r in caplog.records]
        assert bool(warned) == (warmup >= total)
        if warned:
            assert f"takes {warmup} steps and the run ends after {total}" in warned[0]
            assert f"{rates.max():.3g} of" in warned[0]


def test_poly_is_the_published_power_of_what_is_left():
    schedule = optim.build_schedule("poly", peak=0.007, total=30_000)
    steps = [0, 1, 15_000, 29_999]
    want = [0.007 * (1 - step / 30_000) ** 0.9 for step in steps]
    np.testing.assert_allclose(_both(schedule, steps), want, rtol=1e-5)
    assert [schedule(step) for step in (30_000, 40_000)] == [0, 0]
