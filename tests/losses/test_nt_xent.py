import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfssl.losses import nt_xent, nt_xent_scalars

# `tfssl.losses.nt_xent` is the function.
nt_xent_module = importlib.import_module("tfssl.losses.nt_xent")
ROOT = Path(__file__).parents[2]

CASES = [*(f"case{i}" for i in range(9)), "zero_row"]


def _case(kit, name):
    groups = kit.cases["cases"] + kit.cases["cross_replica"]
    case = next(c for c in groups if c["id"] == name)
    hidden = kit.rule.fixed_hidden(case["n"], case["dim"], case["seed"], case["noise"])
    hidden[case.get("zero_rows", [])] = 0
    return case, hidden, kit.arrays[f"{name}/grad"]


def _error(got, want):
    return np.abs(np.asarray(got) - want).max() / np.abs(want).max()


def _slow(z1, z2, temperature):
    """Paper, algorithm 1: the mean over 2N anchors, one pair at a time."""
    z = np.concatenate([z1, z2]).astype(np.float64)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    n, total = len(z1), 0.0
    for i in range(2 * n):
        partner = (i + n) % (2 * n)
        others = [np.exp(z[i] @ z[k] / temperature) for k in range(2 * n) if k != i]
        total -= np.log(np.exp(z[i] @ z[partner] / temperature) / sum(others))
    return total / (2 * n)


@pytest.mark.parametrize("block_rows", [None, 2])
@pytest.mark.parametrize("name", CASES)
def test_official_loss_gradient_and_scalars(golden, name, block_rows):
    case, hidden, want_grad = _case(golden("simclr", "ntxent_simclr"), name)
    settings = {"temperature": case["temperature"], "normalize": case["hidden_norm"]}
    h = tf.constant(hidden)
    with tf.GradientTape() as tape:
        tape.watch(h)
        z1, z2 = tf.split(h, 2)
        loss = tf.reduce_mean(nt_xent(z1, z2, **settings, block_rows=block_rows))
    assert _error(loss, case["loss"]) < 1e-5
    assert _error(tape.gradient(loss, h), want_grad) < 1e-4
    scalars = nt_xent_scalars(z1, z2, **settings)
    assert float(scalars["contrastive_accuracy"]) == case["contrast_acc"]
    assert _error(scalars["entropy"], case["contrast_entropy"]) < 1e-5


@pytest.mark.parametrize("block_rows", [None, 1])
@pytest.mark.parametrize("name", ["cross0", "cross1"])
def test_official_four_replicas(golden, name, block_rows):
    case, hidden, want_grad = _case(golden("simclr", "ntxent_simclr"), name)
    replicas, rows = case["replicas"], case["n"] // case["replicas"]
    h = tf.constant(hidden)
    losses = []
    with tf.GradientTape() as tape:
        tape.watch(h)
        z1_all, z2_all = tf.split(h, 2)
        for r in range(replicas):
            own = slice(r * rows, (r + 1) * rows)
            settings = {
                "temperature": case["temperature"],
                "z1_all": z1_all,
                "z2_all": z2_all,
                "offset": tf.constant(r * rows),
            }
            z = z1_all[own], z2_all[own]
            losses.append(
                tf.reduce_mean(nt_xent(*z, **settings, block_rows=block_rows))
            )
            accuracy = nt_xent_scalars(*z, **settings)["contrastive_accuracy"]
            assert float(accuracy) == case["acc_per_replica"][r]
        loss = tf.reduce_mean(losses)
    np.testing.assert_allclose(losses, case["loss_per_replica"], rtol=1e-5)
    assert _error(tape.gradient(loss, h), want_grad) < 1e-4


def test_twice_the_paper():
    rng = np.random.default_rng(0)
    z1, z2 = rng.normal(size=(2, 5, 6))
    got = float(tf.reduce_mean(nt_xent(z1, z2, temperature=0.3)))
    assert got == pytest.approx(2 * _slow(z1, z2, 0.3), rel=1e-10)


@pytest.mark.parametrize("n", [1, 2, 16])
def test_identical_embeddings_are_at_chance(n):
    z = np.ones((n, 8), np.float32)
    want = 2 * np.log(2 * n - 1)
    got = nt_xent(z, z, temperature=0.1)
    np.testing.assert_allclose(got, np.full(n, want), rtol=1e-5, atol=1e-6)
    entropy = nt_xent_scalars(z, z, temperature=0.1)["entropy"]
    assert float(entropy) == pytest.approx(np.log(n), abs=1e-5)


def test_orthogonal_pairs_in_closed_form():
    e = np.eye(4, dtype=np.float32)
    # own partner at similarity 1, the six others at 0
    want = 2 * np.log(1 + 6 * np.exp(-1 / 0.5))
    np.testing.assert_allclose(
        nt_xent(e, e, temperature=0.5), np.full(4, want), rtol=1e-6
    )


@pytest.mark.parametrize("block_rows", [None, 2])
def test_gradient_by_differences(block_rows):
    rng = np.random.default_rng(1)
    z = rng.normal(size=(2, 4, 3))
    x = tf.constant(z)
    with tf.GradientTape() as tape:
        tape.watch(x)
        rows = nt_xent(x[0], x[1], temperature=0.4, block_rows=block_rows)
        loss = tf.reduce_mean(rows)
    grad = tape.gradient(loss, x).numpy()
    for index in [(0, 0, 0), (0, 3, 2), (1, 2, 1)]:
        up, down = z.copy(), z.copy()
        up[index] += 1e-5
        down[index] -= 1e-5
        slope = 2 * (_slow(*up, 0.4) - _slow(*down, 0.4)) / 2e-5
        assert grad[index] == pytest.approx(slope, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("block_rows", [1, 3, 6, 12])
def test_blocks_change_neither_rows_nor_uneven_gradients(block_rows):
    rng = np.random.default_rng(2)
    z1, z2 = (tf.constant(rng.normal(size=(12, 5))) for _ in range(2))
    z1_all, z2_all = (tf.constant(rng.normal(size=(24, 5))) for _ in range(2))
    weight = tf.constant(rng.normal(size=12))
    inputs = [z1, z2, z1_all, z2_all]
    results = []
    for rows in (None, block_rows):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            out = nt_xent(
                z1,
                z2,
                temperature=0.2,
                z1_all=z1_all,
                z2_all=z2_all,
                offset=12,
                block_rows=rows,
            )
            total = tf.reduce_sum(weight * out)
        results.append([out, *tape.gradient(total, inputs)])
    for plain, blocked in zip(*results, strict=True):
        np.testing.assert_allclose(blocked, plain, rtol=1e-10, atol=1e-12)


def test_bfloat16_inputs_give_the_float32_loss_of_their_values():
    rng = np.random.default_rng(3)
    z1, z2 = (tf.cast(rng.normal(size=(8, 16)), tf.bfloat16) for _ in range(2))
    got = nt_xent(z1, z2, temperature=0.1)
    assert got.dtype == tf.float32
    wide = (tf.cast(z, tf.float32) for z in (z1, z2))
    np.testing.assert_array_equal(got, nt_xent(*wide, temperature=0.1))


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("block_rows", [None, 4])
def test_compiles_and_traces_once(block_rows, jit_compile):
    def run(z1, z2):
        with tf.GradientTape() as tape:
            tape.watch(z1)
            rows = nt_xent(z1, z2, temperature=0.1, block_rows=block_rows)
            loss = tf.reduce_mean(rows)
        entropy = nt_xent_scalars(z1, z2, temperature=0.1)["entropy"]
        return loss, tape.gradient(loss, z1), entropy

    fn = tf.function(run, jit_compile=jit_compile, autograph=False)
    for seed in range(2):
        rng = np.random.default_rng(seed)
        z = [tf.constant(rng.normal(size=(8, 16)), tf.float32) for _ in range(2)]
        for got, want in zip(fn(*z), run(*z), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
    assert fn.experimental_get_tracing_count() == 1


def test_refusals():
    z = tf.zeros([6, 2])
    with pytest.raises(ValueError, match="both or neither"):
        nt_xent(z, z, temperature=0.1, z1_all=z)
    with pytest.raises(ValueError, match="block_rows=4 for a batch of 6"):
        nt_xent(z, z, temperature=0.1, block_rows=4)


@pytest.mark.slow
def test_4096_rows_by_blocks_have_the_same_values_in_less_memory():
    """By chosen blocks, and at once; in a process each, for its peak."""

    def measured(*block_rows):
        command = [sys.executable, "-m", "tests.losses.nt_xent_memory", *block_rows]
        done = subprocess.run(command, capture_output=True, cwd=ROOT, check=True)
        return json.loads(done.stdout)

    blocks, at_once = measured(), measured("4096")
    for name in ("loss", "entropy", "gradient"):
        assert blocks[name] == pytest.approx(at_once[name], rel=1e-5)
    of_blocks, of_all = (
        m["megabytes"] - m["megabytes_before"] for m in (blocks, at_once)
    )
    assert of_blocks < 300 < of_all


def test_blocks_are_chosen_by_size():
    def rows(batch, all_rows):
        return nt_xent_module._fitting_rows(
            tf.zeros([batch, 1]), tf.zeros([all_rows, 1]), tf.zeros([all_rows, 1])
        )

    assert rows(256, 256) == 256
    assert rows(4096, 4096) == 512
    assert rows(4096, 65536) == 32
    assert rows(4093, 2**22) == 1


def test_chosen_blocks_have_the_scalars_of_all_rows(monkeypatch):
    rng = np.random.default_rng(4)
    z = [tf.constant(rng.normal(size=(12, 5)), tf.float32) for _ in range(2)]
    whole = nt_xent_scalars(*z, temperature=0.3)
    loss = nt_xent(*z, temperature=0.3)
    monkeypatch.setattr(nt_xent_module, "BLOCK_LOGITS", 3 * 24)
    assert nt_xent_module._fitting_rows(*z, z[1]) == 3
    np.testing.assert_allclose(nt_xent(*z, temperature=0.3), loss, rtol=1e-6)
    for name, value in nt_xent_scalars(*z, temperature=0.3).items():
        np.testing.assert_allclose(value, whole[name], rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("block_rows", [None, 2])
def test_a_memory_is_more_negatives(block_rows):
    rng = np.random.default_rng(7)
    z1, z2, memory = (rng.normal(size=(n, 5)) for n in (4, 4, 9))
    memory /= np.linalg.norm(memory, axis=1, keepdims=True)

    def slow(z1, z2):
        z = np.concatenate([z1, z2])
        z = z / np.linalg.norm(z, axis=1, keepdims=True)
        each = []
        for i in range(8):
            rows = [z[j] for j in range(8) if j != i] + list(memory)
            total = np.sum(np.exp(np.stack(rows) @ z[i] / 0.3))
            each.append(np.log(total) - z[i] @ z[(i + 4) % 8] / 0.3)
        return np.array(each[:4]) + each[4:]

    x, keys = tf.constant(z1), tf.constant(memory)
    with tf.GradientTape() as tape:
        tape.watch([x, keys])
        got = nt_xent(x, z2, temperature=0.3, memory=keys, block_rows=block_rows)
    np.testing.assert_allclose(got, slow(z1, z2), rtol=1e-12)
    grad, to_memory = tape.gradient(got, [x, keys])
    assert to_memory is None
    for i, j in [(0, 0), (1, 3), (3, 4)]:
        shift = np.zeros_like(z1)
        shift[i, j] = 1e-6
        slope = np.sum(slow(z1 + shift, z2) - slow(z1 - shift, z2)) / 2e-6
        assert float(grad[i, j]) == pytest.approx(slope, rel=1e-6, abs=1e-8)
