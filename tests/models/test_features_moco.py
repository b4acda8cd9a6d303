"""MoCo features and head outputs against the official code's numbers."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tfssl.models import Encoder, moco_head

FAST = ["r18_v1_64", "r18_v2_64", "r18_v2_57x75"]
SLOW = [
    "r50_v1_64",
    "r50_v2_64",
    "r50_v2_64_key",
    "r50_v2_64_cal",
    "r50_v1_224",
    "r50_v2_224",
]
CASES = FAST + [pytest.param(name, marks=pytest.mark.slow) for name in SLOW]


def l2_error(got, want):
    want = np.asarray(want, np.float64)
    got = np.asarray(got, np.float64)
    if want.ndim == 2:
        got = got[:, : want.shape[1]]
    return np.linalg.norm(got - want) / np.linalg.norm(want)


def test_every_public_case_is_listed(moco_kit):
    names = [c["name"] for c in moco_kit.cases["features"]]
    assert sorted(FAST + SLOW) == sorted(names)


@pytest.mark.parametrize("name", CASES)
def test_forward(name, moco_kit, official_names):
    rule, values = moco_kit.rule, moco_kit.arrays
    case = next(c for c in moco_kit.cases["features"] if c["name"] == name)
    depth, mlp = case["depth"], case["mlp"]
    size = case["size"] if isinstance(case["size"], int) else tuple(case["size"])
    encoder = Encoder(f"resnet{depth}", family="moco", image_size=size, seed=1)
    head = moco_head(rule.feature_dim(depth), mlp=mlp, seed=1)
    ours = {official_names.moco_variable(v.path, mlp): v for v in encoder.variables}
    for v in head.variables:
        ours[official_names.moco_variable(f"projector/{v.path}", mlp)] = v
    prefix = rule.K if case["encoder"] == "k" else rule.Q
    weights = rule.make_encoder(depth, 128, mlp, prefix)
    tracked = {n for n in weights if n.endswith("num_batches_tracked")}
    assert set(ours) == set(weights) - tracked
    for key, variable in ours.items():
        variable.assign(official_names.moco_layout(weights[key]))

    def images(count, seed):
        return rule.normalize(rule.fixed_images(count, size, seed)).astype(np.float32)

    calibrated = case["state"] == "calibrated"
    tolerance = 1e-3 if calibrated else 1e-5
    if calibrated:
        check_calibration(case, values, ours, weights, images, encoder, head)

    taps = {
        "conv1": encoder.get_layer("stem_conv").output,
        "maxpool": encoder.get_layer("stem_pool").output,
        **{
            f"layer{int(level[1]) - 1}": output
            for level, output in encoder.pyramid_outputs.items()
        },
    }
    model = keras.Model(encoder.input, [encoder.output, *taps.values()])
    pooled, *maps = model(images(case["images"], case["image_seed"]))
    fc = head(pooled).numpy()
    z = fc / np.maximum(np.linalg.norm(fc, axis=1, keepdims=True), 1e-12)
    for key, got in {"pooled": pooled, "fc": fc, "z": z}.items():
        assert l2_error(got, values[f"{name}/{key}"]) < tolerance, key
    for (key, _), x in zip(taps.items(), maps, strict=True):
        group = case["groups"][key]
        x = np.asarray(x, np.float64).transpose(0, 3, 1, 2)
        assert list(x.shape) == group["shape"]
        np.testing.assert_allclose(x.mean(), group["mean"], rtol=tolerance)
        np.testing.assert_allclose(x.std(), group["std"], rtol=tolerance)
        assert l2_error(x[0, :3, 0, 0], group["corner"]) < 10 * tolerance
        assert l2_error(x[3, -3:, -1, -1], group["last"]) < 10 * tolerance


def check_calibration(case, values, ours, weights, images, encoder, head):
    """40 training passes from fresh statistics, then exactly the official ones."""
    name = case["name"]
    for key, variable in ours.items():
        if key.endswith(("running_mean", "running_var")):
            variable.assign(np.full(variable.shape, float(key.endswith("var"))))
    batches = [images(16, seed) for seed in case["calibration_seeds"]]
    for step in range(case["calibration_passes"]):
        fc = head(encoder(batches[step % 2], training=True))
        if step < 2:
            want = values[f"{name}/train_fc_{1000 * (step + 1)}"]
            assert l2_error(fc, want) < 3e-3
    for which, leaf in (("mean", "running_mean"), ("var", "running_var")):
        keys = [k for k in weights if k.endswith(leaf)]
        got = np.concatenate([ours[k].numpy() for k in keys])
        want = values[f"{name}/state_{which}"]
        assert l2_error(got, want) < 1e-3, which
        at = 0
        for key in keys:
            size = weights[key].size
            ours[key].assign(want[at : at + size])
            at += size
