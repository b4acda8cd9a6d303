"""SimCLR features, heads and statistics against the official code's numbers."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tfssl.config.encoder_name import EncoderSpec
from tfssl.models import Encoder, linear_head, simclr_head

FAST = ["r18_cifar_32_tame", "r18_cifar_32_plain", "r18_cifar_32_train_plain"]
SLOW = [
    "r50_1x_64_tame",
    "r50_1x_sk_64_tame",
    "r50_2x_64_tame",
    "r50_1x_64_plain",
    "r50_1x_sk_64_plain",
    "r50_2x_64_plain",
    "r50_1x_224_tame",
    "r50_1x_224_plain",
    "r50_1x_64_train_plain",
    "r50_1x_sk_64_train_plain",
]


def case_ids():
    return FAST + [pytest.param(name, marks=pytest.mark.slow) for name in SLOW]


def test_every_public_case_is_listed(simclr_kit):
    assert sorted(FAST + SLOW) == sorted(c["id"] for c in simclr_kit.cases["cases"])


def networks(arch, size):
    spec = EncoderSpec(
        arch["depth"],
        arch["width_multiplier"],
        arch["sk_ratio"] > 0,
        arch["cifar_stem"],
    )
    encoder = Encoder(spec.name, family="simclr", image_size=size, seed=1)
    head = simclr_head(
        spec.feature_dim, out=arch["proj_out_dim"], layers=arch["proj_layers"], seed=1
    )
    classifier = linear_head(spec.feature_dim, arch["num_classes"], seed=1)
    return spec, encoder, head, classifier


def official_variables(models, spec, names):
    encoder, head, classifier = models
    layers = names.simclr(spec)
    found = {names.simclr_variable(v.path, layers): v for v in encoder.variables}
    for model in (head, classifier):
        for v in model.variables:
            found[names.simclr_variable(f"{model.name}/{v.path}", layers)] = v
    return found


def probes(name, x):
    x = x.astype(np.float64)
    return {
        f"{name}/mean": x.mean((1, 2, 3)),
        f"{name}/std": x.std((1, 2, 3)),
        f"{name}/probe": x[:, x.shape[1] // 2, x.shape[2] // 2, :8],
    }


@pytest.mark.parametrize("case_id", case_ids())
def test_forward(case_id, simclr_kit, official_names):
    rule = simclr_kit.rule
    case = next(c for c in simclr_kit.cases["cases"] if c["id"] == case_id)
    arch, training = case["arch"], case.get("mode") == "training"
    spec, encoder, head, classifier = networks(arch, case["size"])
    variables = rule.variables(**arch)
    ours = official_variables((encoder, head, classifier), spec, official_names)
    assert set(ours) == {v.name for v in variables}
    trainable = sum(
        np.prod(v.shape, dtype=int)
        for m in (encoder, head, classifier)
        for v in m.trainable_variables
    )
    assert trainable == case["trainable_parameters"]
    for v in variables:
        ours[v.name].assign(rule.value(v, case["variant"]))

    images = rule.fixed_images(
        case["images"]["n"], case["size"], case["images"]["seed"]
    )
    stem = "stem_conv3" if spec.sk and not spec.cifar else "stem_conv"
    pool = "stem_relu" if spec.cifar else "stem_pool"
    taps = {
        "initial_conv": encoder.get_layer(stem).output,
        "initial_max_pool": encoder.get_layer(pool).output,
    }
    for level, output in encoder.pyramid_outputs.items():
        taps[f"block_group{int(level[1]) - 1}"] = output
    tapped = keras.Model(encoder.input, [encoder.output, *taps.values()])
    features, *maps = tapped(images, training=training)

    got = {"final_avg_pool": features.numpy()}
    for name, x in zip(taps, maps, strict=True):
        got.update(probes(name, x.numpy()))
    if training:
        for name, v in ours.items():
            if "moving" in name:
                got[f"after/{name}/norm"] = np.linalg.norm(v.numpy().astype(float))
                got[f"after/{name}/full"] = v.numpy()
    else:
        got["logits_sup"] = classifier(features).numpy()
        for index, z in enumerate(head(features)):
            got[f"proj_layer{index}"] = z.numpy()

    checked = 0
    for key in simclr_kit.arrays.files:
        if not key.startswith(case_id + "/"):
            continue
        leaf = key[len(case_id) + 1 :]
        group = "after" if leaf.startswith("after/") else leaf
        tolerance = case["tolerance_overrides"].get(group, case["tolerance"])
        if tolerance is None:
            continue
        want = np.asarray(simclr_kit.arrays[key], np.float64)
        value = got[leaf]
        if want.ndim == 2:
            value = value[:, : want.shape[1]]
        error = np.abs(value - want).max() / np.abs(want).max()
        assert error <= tolerance, (leaf, error)
        checked += 1
    assert checked >= 18
