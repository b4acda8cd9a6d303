"""SimCLR checkpoints of both generations: right tensors, and nothing left over."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.weights.conftest import small_simclr
from tfssl.errors import CheckpointError
from tfssl.models import Encoder, simclr_head
from tfssl.weights import open_published

SELECTIVE = {"depth": 50, "sk": 0.0625, "width": 0.25, "cifar": False}


def write(kit, prefix, rows, form="tf1", **more):
    write = kit.writer.write_tf1 if form == "tf1" else kit.writer.write_tf2
    write(str(prefix), rows, **more)
    return prefix


def expected(kit, official_names, rows, spec, layers=3):
    """Our names to the rule's values, by the names that the tests know."""
    values = {row.name: kit.rule.weight(row.name, row.shape) for row in rows}
    encoder = Encoder(spec, family="simclr", image_size=None, seed=0)
    table = official_names.simclr(encoder.tfssl_spec)
    ours = {}
    for v in encoder.variables:
        name = official_names.simclr_variable(v.path, table)
        ours[f"online/encoder/{v.path}"] = values[name]
    head = simclr_head(encoder.output_shape[-1], out=16, layers=layers, seed=0)
    for v in head.variables:
        name = official_names.simclr_variable(f"projector/{v.path}", table)
        ours[f"online/projector/{v.path}"] = values[name]
    for leaf in ("kernel", "bias"):
        name = f"head_supervised/linear_layer/dense/{leaf}"
        ours[f"probe/head_supervised_layer0_dense/{leaf}"] = values[name]
    return ours


def assert_same(tensors, want):
    assert set(tensors) == set(want)
    for name, value in want.items():
        np.testing.assert_array_equal(tensors[name], value, err_msg=name)


@pytest.mark.parametrize("form", ["tf1", "tf2"])
@pytest.mark.parametrize(
    ("network", "name"),
    [
        ({}, "resnet18x0.125_cifar"),
        ({"cifar": False}, "resnet18x0.125"),
        pytest.param(SELECTIVE, "resnet50x0.25_sk", marks=pytest.mark.slow),
    ],
)
def test_every_tensor_goes_where_it_belongs(
    simclr_kit, official_names, tmp_path, form, network, name
):
    rows = small_simclr(simclr_kit.rule, **network)
    more = {"ema": True} if form == "tf1" else {}
    path = write(simclr_kit, tmp_path / "ckpt-250228", rows, form, **more)
    published = open_published("simclr", path)
    assert published.network.spec.name == name
    assert published.network.heads["projector_layers"] == 3
    assert published.network.heads["projector_hidden"] == 0
    assert published.step == 250228
    ignored = " ".join(published.matched.ignored)
    assert "slot of the optimiser" in ignored
    assert ("moving average" in ignored) == (form == "tf1")
    assert_same(
        published.matched.read(), expected(simclr_kit, official_names, rows, name)
    )


def test_depth_and_selective_kernels_are_read_off_the_names(simclr_kit, tmp_path):
    for depth in (34, 101):
        rows = small_simclr(simclr_kit.rule, depth, layers=0, classes=0)
        path = write(simclr_kit, tmp_path / f"m{depth}", rows, slots=False)
        published = open_published("simclr", path)
        assert published.network.spec.name == f"resnet{depth}x0.125_cifar"
        assert published.network.heads == {}


def test_version_1_has_an_encoder_and_a_classifier_only(simclr_kit, tmp_path):
    rows = small_simclr(simclr_kit.rule, layers=0)
    published = open_published(
        "simclr", write(simclr_kit, tmp_path / "m", rows, ema=True)
    )
    roles = {row.name.split("/")[0] for row, _ in published.matched.pairs}
    assert roles == {"online", "probe"}
    assert "finetuned_1pct" in published.notes[0]


@pytest.mark.parametrize("given", ["", "m.index", "m.data-00000-of-00001", "m"])
def test_prefix_folder_and_files_mean_the_same(simclr_kit, tmp_path, given):
    rows = small_simclr(simclr_kit.rule)
    write(simclr_kit, tmp_path / "m", rows)
    published = open_published("simclr", tmp_path / given)
    names = [file.name for file in published.files]
    assert names == ["m.data-00000-of-00001", "m.index"]


def test_a_folder_of_several_checkpoints_must_say_which(simclr_kit, tmp_path):
    rows = small_simclr(simclr_kit.rule)
    for step in (1, 2):
        write(simclr_kit, tmp_path / f"m-{step}", rows, step=step)
    assert open_published("simclr", tmp_path).step == 2
    (tmp_path / "checkpoint").unlink()
    with pytest.raises(CheckpointError, match="m-1, m-2"):
        open_published("simclr", tmp_path)


class _Node(tf.Module):
    pass


def _tree(rows, rule):
    """The official objects, so that TensorFlow writes its own SavedModel of them."""
    root = _Node()
    for row in rows:
        node = root
        *parts, leaf = row.key.split("/")
        for part in parts:
            node.__dict__.setdefault("_kids", {})
            if part not in node._kids:
                node._kids[part] = _Node()
            node = node._kids[part]
        variable = tf.Variable(rule.weight(row.name, row.shape), name=leaf)
        setattr(node, leaf, variable)
        if row.trainable:
            root.__dict__.setdefault("all", []).append(variable)

    def link(node):
        kids = node.__dict__.pop("_kids", {})
        lists = bool(kids) and all(part.isdigit() for part in kids)
        for kid in kids.values():
            link(kid)
        if lists:
            # Plain lists have no gaps; the official ones hold pooling and DropBlock.
            node.children = kids
            return
        for part, kid in kids.items():
            setattr(node, part, _listed(kid))

    def _listed(kid):
        kids = kid.__dict__.pop("children", None)
        if kids is None:
            return kid
        size = max(int(part) for part in kids) + 1
        return [kids.get(str(i), _Node()) for i in range(size)]

    link(root)
    # As the official `SimCLRModel` does: these shorter paths become the keys.
    root.trainable_variables_list = root.__dict__.pop("all")
    return root


@pytest.mark.slow
def test_a_saved_model_is_read_by_its_object_graph(
    simclr_kit, official_names, tmp_path
):
    rows = small_simclr(simclr_kit.rule)
    tf.saved_model.save(_tree(rows, simclr_kit.rule), str(tmp_path / "m"))
    reader = tf.train.load_checkpoint(str(tmp_path / "m" / "variables" / "variables"))
    keys = reader.get_variable_to_shape_map()
    assert any(key.startswith("trainable_variables_list/") for key in keys)
    published = open_published("simclr", tmp_path / "m")
    assert "SavedModel" in published.form
    want = expected(simclr_kit, official_names, rows, "resnet18x0.125_cifar")
    assert_same(published.matched.read(), want)


# --- strictness -------------------------------------------------------------------


def refused(kit, path, rows) -> str:
    write(kit, path, rows)
    with pytest.raises(CheckpointError) as caught:
        open_published("simclr", path)
    return str(caught.value)


def test_missing_surplus_and_misshaped_tensors_are_listed(simclr_kit, tmp_path):
    rows = small_simclr(simclr_kit.rule)
    names = [row.name for row in rows]
    lost = names.index("base_model/batch_normalization_7/beta")
    bent = names.index("base_model/conv2d_3/kernel")
    rows[bent] = rows[bent]._replace(shape=(1, 1, 8, 9))
    rows.append(rows[lost]._replace(name="base_model/squeeze/beta"))
    del rows[lost]
    text = refused(simclr_kit, tmp_path / "m", rows)
    assert "missing base_model/batch_normalization_7/beta [16]" in text
    assert "surplus base_model/squeeze/beta [16]" in text
    assert "base_model/conv2d_3/kernel has shape [1, 1, 8, 9] instead of" in text
    # The slots of surplus tensors are slots.
    assert "Momentum" not in text


def test_an_average_does_not_stand_in_for_a_lost_weight(simclr_kit, tmp_path):
    rows = small_simclr(simclr_kit.rule)
    prefix = str(tmp_path / "m")
    simclr_kit.writer.write_tf1(prefix, rows, ema=True)
    reader = tf.train.load_checkpoint(prefix)
    names = set(reader.get_variable_to_shape_map()) - {"base_model/conv2d_1/kernel"}
    simclr_kit.writer._save(
        str(tmp_path / "n"), [(n, reader.get_tensor(n)) for n in sorted(names)]
    )
    with pytest.raises(CheckpointError, match="missing base_model/conv2d_1/kernel"):
        open_published("simclr", tmp_path / "n")


def test_other_files_are_refused(tmp_path, simclr_kit):
    (tmp_path / "m.index").write_bytes(b"no table" * 20)
    with pytest.raises(CheckpointError, match="whole TensorFlow checkpoint"):
        open_published("simclr", tmp_path / "m")
    simclr_kit.writer._save(str(tmp_path / "o"), [("weights", np.ones(3, np.float32))])
    with pytest.raises(CheckpointError, match="1 tensors without base_model/conv2d"):
        open_published("simclr", tmp_path / "o")


def test_nan_is_refused(simclr_kit, tmp_path):
    bad = [("base_model/conv2d/kernel", np.full((3, 3, 3, 8), np.nan, np.float32))]
    rows = small_simclr(simclr_kit.rule)
    simclr_kit.writer._save(
        str(tmp_path / "m"),
        bad + [(r.name, simclr_kit.rule.weight(r.name, r.shape)) for r in rows[1:]],
    )
    with pytest.raises(CheckpointError, match="NaN or infinity in base_model/conv2d/k"):
        open_published("simclr", tmp_path / "m").matched.read()
