import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfssl.optim import LARS, apply_update


@keras.saving.register_keras_serializable(package="test")
def only_heads(path):
    return path.startswith("head")


def _variables(names, values):
    """`tf.Variable`s with these paths: their names, less the ":0"."""
    return [
        tf.Variable(value, name=name) for name, value in zip(names, values, strict=True)
    ]


def _error(got, want):
    scale = max(np.abs(want).max(), 1e-12)
    return np.abs(np.asarray(got) - want).max() / scale


@pytest.mark.parametrize(
    "run",
    [
        "official",
        "large_decay",
        "no_decay",
        "no_exclusion",
        "nesterov",
        "popular_momentum",
    ],
)
def test_official_simclr_steps(golden, run):
    kit = golden("simclr", "lars_simclr")
    doc = kit.cases
    setting = next(r for r in doc["runs"] if r["id"] == run)
    specs = doc["variables"]
    names = [v["name"] for v in specs]
    weights = _variables(
        names,
        [
            kit.rule.fixed_normal(v["shape"], 500 + i, v["w_scale"])
            for i, v in enumerate(specs)
        ],
    )
    classic = setting.get("classic_momentum", True)
    optimizer = LARS(
        1.0,
        momentum=setting["momentum"],
        weight_decay=setting["weight_decay"],
        trust_coefficient=doc["eeta"],
        lr_in_velocity=classic,
        classic_momentum=classic,
        nesterov=setting.get("use_nesterov", False),
        exclude=setting["exclude"] or (),
    )
    optimizer.build(weights)
    silent = doc["zero_gradient"]
    for step, rate in enumerate(setting["lr"]):
        grads = []
        for i, v in enumerate(specs):
            g = kit.rule.fixed_normal(v["shape"], 600 + 100 * step + i, v["g_scale"])
            if (step, v["name"]) == (silent["step"], silent["variable"]):
                g = np.zeros_like(g)
            grads.append(tf.constant(g))
        optimizer.learning_rate = rate
        apply_update(optimizer, grads, weights)
        for name, w, v in zip(names, weights, optimizer._velocities, strict=True):
            key = f"{run}/step{step}/{name}"
            assert _error(w, kit.arrays[f"{key}/w"]) < 1e-5, key
            assert _error(v.value, kit.arrays[f"{key}/v"]) < 1e-5, key


def test_official_byol_steps(golden):
    kit = golden("byol", "loss_byol")
    s = kit.cases["lars_a"]
    names = list(s["shapes"])
    weights = _variables(
        names,
        [
            np.zeros(shape, np.float32)
            if name.startswith("zero/")
            else kit.rule.fixed_normal(shape, s["seed"] + i)
            for i, (name, shape) in enumerate(s["shapes"].items())
        ],
    )

    def byol_filter(path):
        module, _, leaf = path.rpartition("/")
        return leaf == "b" or "norm" in module

    assert [n for n in names if byol_filter(n)] == s["excluded"]
    optimizer = LARS(
        1.0,
        momentum=s["momentum"],
        weight_decay=s["weight_decay"],
        trust_coefficient=s["eta"],
        lr_in_velocity=False,
        exclude=byol_filter,
    )
    optimizer.build(weights)
    for t, rate in enumerate(s["learning_rates"]):
        grads = [
            np.zeros(shape, np.float32)
            if name.startswith("nograd/")
            else kit.rule.fixed_normal(shape, s["seed"] + 100 * (t + 1) + i, 0.3)
            for i, (name, shape) in enumerate(s["shapes"].items())
        ]
        optimizer.learning_rate = rate
        apply_update(optimizer, [tf.constant(g) for g in grads], weights)
        for name, w in zip(names, weights, strict=True):
            assert _error(w, kit.arrays[f"lars_a/step{t}/{name}"]) < 1e-5, (t, name)


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("dense/kernel", [(2.99522, 3.99853), (2.98987, 3.99232)]),
        ("dense/bias", [(2.0, 4.0), (1.1, 3.0)]),
    ],
)
def test_two_measured_steps(name, want):
    """Measured on the official TF2 optimiser: wd 0.1, momentum 0.9, rate 1."""
    (w,) = _variables([name], [np.array([3.0, 4.0], np.float32)])
    optimizer = LARS(1.0, weight_decay=0.1, exclude=["bias"])
    optimizer.build([w])
    for g, after in zip(([1.0, 0.0], [0.0, 1.0]), want, strict=True):
        apply_update(optimizer, [tf.constant(g)], [w])
        np.testing.assert_allclose(w, after, atol=6e-6)


def test_step_length_in_closed_form():
    """Without momentum the step is lr * eta * |w|, whatever the gradient's scale."""
    for scale in (1e-6, 1.0, 1e6):
        w = tf.Variable([[3.0, 4.0]])
        optimizer = LARS(2.0, momentum=0.0, exclude=())
        optimizer.build([w])
        apply_update(optimizer, [scale * tf.constant([[0.0, 1.0]])], [w])
        np.testing.assert_allclose(w, [[3.0, 4.0 - 2.0 * 0.001 * 5.0]], rtol=1e-6)


@pytest.mark.parametrize("nesterov", [False, True])
def test_step_length_of_popular_momentum_in_closed_form(nesterov):
    """The step is lr * eta * |w| whatever the velocity, and points along it."""
    w = tf.Variable([[3.0, 4.0]])
    optimizer = LARS(
        2.0,
        momentum=0.5,
        nesterov=nesterov,
        lr_in_velocity=False,
        classic_momentum=False,
        exclude=(),
    )
    optimizer.build([w])
    before = w.numpy()
    for g, way in (([1.0, 0.0], [1.0, 0.0]), ([0.0, 1.0], [0.5, 1.0])):
        apply_update(optimizer, [tf.constant([g])], [w])
        if nesterov and g == [0.0, 1.0]:
            way = [0.25, 1.5]  # momentum * v + u
        length = 2.0 * 0.001 * np.linalg.norm(before)
        want = length * np.array([way]) / np.linalg.norm(way)
        np.testing.assert_allclose(before - w, want, rtol=1e-3, atol=1e-9)
        before = w.numpy()


@pytest.mark.parametrize("classic", [True, False])
def test_zero_norms_have_trust_one(classic):
    zero_w = tf.Variable([[0.0, 0.0]])
    zero_g = tf.Variable([[1.0, 2.0]])
    optimizer = LARS(0.5, exclude=(), lr_in_velocity=classic, classic_momentum=classic)
    optimizer.build([zero_w, zero_g])
    grads = [tf.constant([[1.0, -2.0]]), tf.zeros([1, 2])]
    apply_update(optimizer, grads, [zero_w, zero_g])
    np.testing.assert_allclose(zero_w, [[-0.5, 1.0]])
    np.testing.assert_array_equal(zero_g, [[1.0, 2.0]])


def test_half_precision_variables_have_float32_norms():
    """The square of 300 is beyond float16."""
    w = tf.Variable(tf.fill([4, 1], tf.constant(300.0, tf.float16)))
    optimizer = LARS(1.0, momentum=0.0, trust_coefficient=0.5, exclude=())
    optimizer.build([w])
    apply_update(optimizer, [tf.ones([4, 1], tf.float16)], [w])
    # trust = .5 * 300 / 1
    np.testing.assert_allclose(tf.cast(w, tf.float32), np.full([4, 1], 150.0))


def test_default_exclusion_leaves_vectors_out():
    vector, matrix = tf.Variable([1.0, 1.0]), tf.Variable([[1.0, 1.0]])
    optimizer = LARS(1.0, momentum=0.0, weight_decay=0.5)
    optimizer.build([vector, matrix])
    grads = [tf.constant([1.0, 0.0]), tf.constant([[1.0, 0.0]])]
    apply_update(optimizer, grads, [vector, matrix])
    np.testing.assert_allclose(vector, [0.0, 1.0])
    trust = 0.001 * np.sqrt(2) / np.hypot(1.5, 0.5)
    np.testing.assert_allclose(matrix, [[1 - 1.5 * trust, 1 - 0.5 * trust]], rtol=1e-6)


def _model():
    return keras.Sequential(
        [
            keras.layers.Input([4]),
            keras.layers.Dense(8, kernel_initializer=keras.initializers.HeNormal(1)),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Dense(1, kernel_initializer=keras.initializers.HeNormal(2)),
        ]
    )


@pytest.mark.parametrize("jit_compile", [False, True])
def test_compile_and_fit(jit_compile):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 4)).astype(np.float32)
    y = x @ np.array([[1.0], [2.0], [-1.0], [0.5]], np.float32)
    model = _model()
    optimizer = LARS(0.05, weight_decay=1e-4, trust_coefficient=0.2)
    model.compile(optimizer, "mse", jit_compile=jit_compile)
    history = model.fit(x, y, batch_size=16, epochs=10, verbose=0, shuffle=False)
    losses = history.history["loss"]
    assert losses[-1] < 0.6 * losses[0]
    assert int(optimizer.iterations.numpy()) == 40
    free = [
        v.path
        for v, out in zip(model.trainable_variables, optimizer._excluded, strict=True)
        if not out
    ]
    assert len(free) == 2 and all(path.endswith("kernel") for path in free)


def test_saved_model_file_keeps_optimizer(tmp_path):
    x, y = np.ones([8, 4], np.float32), np.ones([8, 1], np.float32)
    model = _model()
    model.compile(LARS(0.1, momentum=0.7, exclude=["bias"]), "mse")
    model.fit(x, y, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(again.optimizer, LARS)
    assert again.optimizer.get_config() == model.optimizer.get_config()
    for a, b in zip(model.optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a.value, b.value)


def test_checkpoint_keeps_velocity(tmp_path):
    w = tf.Variable([[1.0, 2.0]])
    optimizer = LARS(0.1)
    optimizer.build([w])
    apply_update(optimizer, [tf.ones([1, 2])], [w])
    path = tf.train.Checkpoint(optimizer=optimizer).save(str(tmp_path / "c"))
    fresh = LARS(0.1)
    fresh.build([tf.Variable([[0.0, 0.0]])])
    tf.train.Checkpoint(optimizer=fresh).restore(path).expect_partial()
    np.testing.assert_array_equal(
        fresh._velocities[0].value, optimizer._velocities[0].value
    )
    assert int(fresh.iterations.numpy()) == 1


@pytest.mark.parametrize("exclude", [None, ["bias", "bn"], (), only_heads])
def test_config_round_trip(exclude):
    optimizer = LARS(
        0.3,
        momentum=0.8,
        weight_decay=1e-6,
        trust_coefficient=0.02,
        nesterov=True,
        lr_in_velocity=False,
        classic_momentum=False,
        exclude=exclude,
        clipnorm=3.0,
    )
    config = optimizer.get_config()
    again = LARS.from_config(config)
    assert again.get_config() == config
    assert again.trust_coefficient == 0.02 and again.coupled_weight_decay == 1e-6
    assert not again.classic_momentum
    if callable(exclude):
        assert again.exclude is only_heads


def test_variable_paths_do_not_depend_on_the_number_of_optimizers():
    paths = []
    for _ in range(2):
        optimizer = LARS(0.1)
        optimizer.build([tf.Variable([[1.0]], name="dense/kernel")])
        paths.append([v.path for v in optimizer.variables])
    assert paths[0] == paths[1]
    assert len(set(paths[0])) == len(paths[0])
    assert any(re.search("dense_kernel.*velocity", path) for path in paths[0])


def test_one_trace_under_a_schedule():
    w = tf.Variable([[1.0, 2.0]])
    optimizer = LARS(0.1)
    optimizer.build([w])

    @tf.function(jit_compile=True)
    def step(g):
        apply_update(optimizer, [g], [w])

    for i in range(3):
        step(tf.fill([1, 2], float(i)))
    assert step.experimental_get_tracing_count() == 1


def test_ranges():
    with pytest.raises(ValueError, match="trust_coefficient=0"):
        LARS(0.1, trust_coefficient=0)
    with pytest.raises(ValueError, match="try lr_in_velocity=False"):
        LARS(0.1, classic_momentum=False)
