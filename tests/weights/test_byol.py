"""BYOL pickles of every style: right tensors, nothing left over, nothing executed."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from tests.weights.conftest import small_byol
from tfssl.errors import CheckpointError
from tfssl.models import Encoder, byol_mlp
from tfssl.weights import open_published

NAME = "resnet18x0.125"


def expected(kit, official_names):
    """Our names to the rule's values, by the names that the tests know."""
    encoder = Encoder(NAME, family="byol", image_size=None, seed=0)
    projector = byol_mlp(64, hidden=24, out=16, seed=0, name="projector")
    predictor = byol_mlp(16, hidden=20, out=16, seed=0, name="predictor")
    ours = {}
    for role in ("online", "target"):
        heads = {"projector": projector}
        heads |= {"predictor": predictor} if role == "online" else {}
        for v in encoder.variables:
            name = official_names.byol_variable(v.path, 18)
            ours[f"{role}/encoder/{v.path}"] = value(kit, role, name, v.shape)
        for head, model in heads.items():
            for v in model.variables:
                name = official_names.byol_variable(f"{head}/{v.path}", 18)
                ours[f"{role}/{head}/{v.path}"] = value(kit, role, name, v.shape)
    for leaf, ours_leaf, shape in (("w", "kernel", (64, 10)), ("b", "bias", (10,))):
        name = f"probe/head_supervised_layer0_dense/{ours_leaf}"
        ours[name] = value(kit, "online", f"classifier/{leaf}", shape)
    return ours


def value(kit, role, name, shape):
    prefix = "" if role == "online" else "target/"
    if name.endswith("/counter"):
        return np.float32(100000)
    # The rule's averages carry the batch norm's name and the moment's.
    return kit.rule.weight(prefix + name, tuple(shape)).reshape(tuple(shape))


@pytest.mark.parametrize(
    ("style", "stem"),
    [
        ("dill2020", "initial_conv_1"),
        ("dill_new", "initial_conv"),
        ("by_reference", "initial_conv"),
    ],
)
def test_every_tensor_goes_where_it_belongs(
    byol_kit, official_names, tmp_path, style, stem
):
    path = tmp_path / "pretrain.pkl"
    byol_kit.writer.write(path, small_byol(byol_kit.rule), style)
    want = expected(byol_kit, official_names)
    if stem != "initial_conv":
        data = small_byol(byol_kit.rule, stem)
        for role in ("online", "target"):
            seeded = data[f"{role}_params"][f"res_net18/~/{stem}"]["w"]
            want[f"{role}/encoder/stem_conv/kernel"] = seeded
        byol_kit.writer.write(path, data, style)
    published = open_published("byol", path)
    assert published.network.spec.name == NAME
    assert published.network.heads == {
        "projector_hidden": 24,
        "projector_dim": 16,
        "predictor_hidden": 20,
    }
    assert published.step == 312784
    ignored = published.matched.ignored
    assert {"opt_state", "rng"} <= {n for names in ignored.values() for n in names}
    tensors = published.matched.read()
    assert set(tensors) == set(want)
    for name, array in want.items():
        np.testing.assert_array_equal(tensors[name], array, err_msg=name)


def test_nothing_of_dill_haiku_or_jax_is_imported(byol_kit, tmp_path, monkeypatch):
    import builtins

    asked = []
    original = builtins.__import__

    def watched(name, *rest, **more):
        asked.append(name)
        return original(name, *rest, **more)

    path = tmp_path / "pretrain.pkl"
    byol_kit.writer.write(path, small_byol(byol_kit.rule), "dill2020")
    monkeypatch.setattr(builtins, "__import__", watched)
    open_published("byol", path)
    assert not [n for n in asked if n.split(".")[0] in ("dill", "haiku", "jax", "byol")]


def change(data, field, module, leaf, new):
    tree = data[field][module]
    tree[leaf] = new(tree[leaf])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            lambda d: d["online_params"].pop("projector/linear_1"),
            "no projector/linear_1/w",
        ),
        (
            lambda d: d["target_params"].pop("projector/linear"),
            "missing target/projector/linear/w",
        ),
        (
            lambda d: change(
                d, "online_params", "predictor/linear", "w", lambda w: w.T
            ),
            "online/predictor/linear/w has shape",
        ),
        (
            lambda d: d["online_params"].update(extra={"w": np.ones(2, np.float32)}),
            "surplus online/extra/w [2]",
        ),
        (
            lambda d: change(
                d,
                "online_state",
                "res_net18/~/initial_batchnorm/~/var_ema",
                "counter",
                lambda c: c + 1,
            ),
            "unlike the counter of mean_ema",
        ),
        (
            lambda d: change(
                d, "online_params", "classifier", "w", lambda w: w.astype(np.float64)
            ),
            "online/classifier/w is float64, not float32",
        ),
    ],
)
def test_what_does_not_fit_is_named(byol_kit, tmp_path, damage, words):
    data = small_byol(byol_kit.rule)
    damage(data)
    path = tmp_path / "pretrain.pkl"
    byol_kit.writer.write(path, data)
    with pytest.raises(CheckpointError) as caught:
        open_published("byol", path)
    assert words in str(caught.value)


def test_cut_short(byol_kit, tmp_path):
    path = tmp_path / "pretrain.pkl"
    byol_kit.writer.write(path, small_byol(byol_kit.rule))
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(CheckpointError, match="while reading"):
        open_published("byol", path)


@pytest.mark.parametrize("content", [{"a": 1}, [1, 2], {"experiment_state": {}}])
def test_other_pickles(tmp_path, content):
    path = tmp_path / "other.pkl"
    path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(CheckpointError):
        open_published("byol", path)
