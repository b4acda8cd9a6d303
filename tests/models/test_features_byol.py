"""BYOL features, heads and averages against the official code's numbers."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tfssl.models import Encoder, byol_mlp, linear_head

FAST = ["r18_64", "r18_57x75"]
SLOW = ["r50_64", "r50_64_cal", "r50_224"]
CASES = FAST + [pytest.param(name, marks=pytest.mark.slow) for name in SLOW]


def l2_error(got, want):
    want = np.asarray(want, np.float64)
    got = np.asarray(got, np.float64)
    if want.ndim == 2:
        got = got[:, : want.shape[1]]
    return np.linalg.norm(got - want) / np.linalg.norm(want)


class Network:
    def __init__(self, case, kit, names):
        size = case["size"]
        self.size = size if isinstance(size, int) else tuple(size)
        name = f"resnet{case['depth']}"
        self.encoder = Encoder(name, family="byol", image_size=self.size, seed=1)
        dim = self.encoder.output_shape[-1]
        self.projector = byol_mlp(dim, seed=1, name="projector")
        self.predictor = byol_mlp(256, seed=1, name="predictor")
        self.classifier = linear_head(dim, 1000, seed=1, family="byol")
        depth = case["depth"]
        self.variables = {
            names.byol_variable(v.path, depth): v for v in self.encoder.variables
        }
        for model in (self.projector, self.predictor, self.classifier):
            for v in model.variables:
                path = f"{model.name}/{v.path}"
                self.variables[names.byol_variable(path, depth)] = v
        self.spec = kit.rule.param_spec(depth, case["width"])
        self.norms = [m for m, leaves in self.spec.items() if "scale" in leaves]
        self.kit = kit

    def assign(self, name, value):
        variable = self.variables[name]
        variable.assign(np.reshape(value, variable.shape))

    def load_params(self):
        for module, leaves in self.spec.items():
            for leaf, shape in leaves.items():
                name = f"{module}/{leaf}"
                self.assign(name, self.kit.rule.weight(name, shape))

    def images(self, count, seed):
        rule = self.kit.rule
        x = rule.fixed_images(count, self.size, seed)
        mean, std = np.float32(rule.IMAGENET_MEAN), np.float32(rule.IMAGENET_STD)
        return (x - mean) / std

    def outputs(self, images, training=False, taps=None):
        # A dictionary: Keras unwraps a list of one output.
        outputs = {"pooled": self.encoder.output, **(taps or {})}
        maps = keras.Model(self.encoder.input, outputs)(images, training=training)
        pooled = maps.pop("pooled")
        projection = self.projector(pooled, training=training)
        return {
            "pooled": pooled,
            "logits": self.classifier(pooled),
            "projection": projection,
            "prediction": self.predictor(projection, training=training),
        }, maps


@pytest.mark.parametrize("name", CASES)
def test_forward(name, byol_kit, official_names):
    case = next(c for c in byol_kit.cases["features"] if c["name"] == name)
    net = Network(case, byol_kit, official_names)
    wanted = {f"{m}/{leaf}" for m, leaves in net.spec.items() for leaf in leaves}
    for m in net.norms:
        ema = ("mean_ema/average", "var_ema/average", "mean_ema/counter")
        wanted |= {f"{m}/~/{leaf}" for leaf in ema}
    assert set(net.variables) == wanted
    assert case["params"] == sum(
        np.prod(s, dtype=int) for leaves in net.spec.values() for s in leaves.values()
    )
    net.load_params()
    calibrated = case["state"] == "calibrated"
    if calibrated:
        check_training(case, net, byol_kit.arrays)
    at = 0
    for m in net.norms:
        shape = net.spec[m]["scale"]
        size = shape[-1]
        for kind in ("mean", "var"):
            leaf = f"{m}/~/{kind}_ema/average"
            if calibrated:
                value = byol_kit.arrays[f"{name}/state_{kind}"][at : at + size]
            else:
                value = byol_kit.rule.weight(leaf, shape)
            net.assign(leaf, value)
        at += size

    taps = {
        "initial_conv": net.encoder.get_layer("stem_conv").output,
        **{
            f"block_group_{int(level[1]) - 2}": output
            for level, output in net.encoder.pyramid_outputs.items()
        },
    }
    images = net.images(case["images"], case["image_seed"])
    got, maps = net.outputs(images, taps=taps)
    tolerance = 1e-3 if calibrated else 1e-5
    for key, value in got.items():
        assert l2_error(value, byol_kit.arrays[f"{name}/{key}"]) < tolerance, key
    for key, x in maps.items():
        group, x = case["groups"][key], np.asarray(x, np.float64)
        assert list(x.shape) == group["shape"]
        np.testing.assert_allclose(x.mean(), group["mean"], rtol=tolerance)
        np.testing.assert_allclose(x.std(), group["std"], rtol=tolerance)
        assert l2_error(x[0, 0, 0, :3], group["corner"]) < 10 * tolerance
        assert l2_error(x[-1, -1, -1, -3:], group["last"]) < 10 * tolerance


def check_training(case, net, values):
    """Two views are two updates of fresh averages; the state is then compared."""
    count = case["calibration_images"]
    for view in (1, 2):
        images = net.images(count, case[f"calibration_seed_view{view}"])
        got, _ = net.outputs(images, training=True)
        for key in ("logits", "projection", "prediction"):
            want = values[f"{case['name']}/train/{key}_view{view}"]
            assert l2_error(got[key], want) < 3e-3, (key, view)
    for kind in ("mean", "var"):
        state = np.concatenate(
            [net.variables[f"{m}/~/{kind}_ema/average"].numpy() for m in net.norms]
        )
        assert l2_error(state, values[f"{case['name']}/state_{kind}"]) < 1e-3
    example = case["state_hidden_example"]
    for path, state in example.items():
        module, kind = path.rsplit("/~/", 1)
        average = net.variables[f"{module}/~/{kind}/average"].numpy()
        counter = net.variables[f"{module}/~/mean_ema/counter"].numpy()
        assert counter == state["counter"]
        # haiku keeps the uncorrected average too; ours is derived.
        hidden = average * (1 - 0.9**counter)
        np.testing.assert_allclose(hidden[:5], state["hidden"], rtol=1e-4, atol=1e-6)
