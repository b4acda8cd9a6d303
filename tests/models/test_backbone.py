"""Our encoders as backbones of detectors: pyramids, copies, files, fresh processes."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.worker_processes import ROOT
from tfssl.models import FAMILIES, NORMALIZATIONS, Encoder

LEVELS = ["P2", "P3", "P4", "P5"]


def encoder(name="resnet18x0.125", size=64, family="moco", **options):
    return Encoder(name, family=family, image_size=size, seed=0, **options)


def images(size=64, rows=2):
    draw = np.random.default_rng(0).random((rows, size, size, 3))
    return draw.astype(np.float32)


def detector(backbone, width=8):
    """A feature pyramid (Lin et al. 2017) and a head that its levels share."""
    head = keras.layers.Conv2D(5, 3, padding="same", name="head")
    found, above = {}, None
    for level in reversed(LEVELS):
        lateral = keras.layers.Conv2D(width, 1, name=f"{level}_lateral")
        x = lateral(backbone.pyramid_outputs[level])
        if above is not None:
            up = keras.layers.UpSampling2D(name=f"{level}_up")(above)
            x = keras.layers.Add(name=f"{level}_sum")([x, up])
        above = found[level] = x
    outputs = {level: head(x) for level, x in found.items()}
    return keras.Model(backbone.input, outputs, name="detector")


def test_a_detector_trains_the_backbone():
    backbone = encoder()
    model = detector(backbone)
    kernels = [
        backbone.get_layer(name).kernel
        for name in ("stem_conv", "stage1_block0_conv1", "stage4_block1_conv2")
    ]
    raw = [k.value for k in kernels]
    with tf.GradientTape() as tape:
        outputs = model(images(), training=True)
        loss = sum(tf.reduce_mean(tf.square(x)) for x in outputs.values())
    assert {level: tuple(x.shape) for level, x in outputs.items()} == {
        level: (2, 64 // 2**k, 64 // 2**k, 5) for k, level in enumerate(LEVELS, 2)
    }
    for kernel, gradient in zip(kernels, tape.gradient(loss, raw), strict=True):
        assert np.abs(gradient).max() > 0, kernel.path


def test_level_names_are_those_of_the_layers_and_summary_prints_them():
    backbone = encoder()
    names = backbone.pyramid_level_inputs
    assert list(names) == list(backbone.pyramid_outputs) == LEVELS
    by_name = keras.Model(
        backbone.input, {k: backbone.get_layer(n).output for k, n in names.items()}
    )
    by_tensor = keras.Model(backbone.input, backbone.pyramid_outputs)
    for level, x in by_name(images()).items():
        np.testing.assert_array_equal(x, by_tensor(images())[level])
    lines: list[str] = []
    backbone.summary(
        print_fn=lambda line, **_: lines.append(str(line)), line_length=100
    )
    text = "\n".join(lines)
    assert all(name in text for name in names.values())


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_from_config_is_the_same_network(normalization):
    first = encoder("resnet18x0.125_cifar", 16, normalization=normalization)
    second = type(first).from_config(first.get_config())
    assert second.get_config() == first.get_config()
    assert second.pyramid_level_inputs == first.pyramid_level_inputs
    second.set_weights(first.get_weights())
    np.testing.assert_array_equal(first(images(16)), second(images(16)))


_FRESH = """
import sys
import keras, numpy as np
import tfssl.models
folder = sys.argv[1]
x = np.load(f"{folder}/images.npy")
found = {}
for name in sys.argv[2:]:
    model = keras.saving.load_model(f"{folder}/{name}.keras")
    out = model(x)
    found |= {f"{name}/{k}": v for k, v in out.items()} if isinstance(out, dict) \\
        else {name: out}
    if name in tfssl.models.FAMILIES:
        assert list(model.pyramid_outputs) == ["P2", "P3", "P4", "P5"]
np.savez(f"{folder}/out.npz", **found)
"""


@pytest.mark.slow
def test_files_give_equal_outputs_in_a_fresh_process(tmp_path):
    """Encoders of every family, a detector built from one, and one inside a model."""
    models = {family: encoder(family=family) for family in FAMILIES}
    models["detector"] = detector(encoder())
    inputs = keras.Input((64, 64, 3))
    nested = keras.layers.Dense(3, name="classifier")(encoder()(inputs))
    models["nested"] = keras.Model(inputs, nested)
    expected = {}
    for name, model in models.items():
        model(images(), training=True)  # statistics that are not the initial ones
        model.save(tmp_path / f"{name}.keras")
        out = model(images())
        expected |= (
            {f"{name}/{k}": v for k, v in out.items()}
            if isinstance(out, dict)
            else {name: out}
        )
    np.save(tmp_path / "images.npy", images())
    command = [sys.executable, "-c", _FRESH, str(tmp_path), *models]
    subprocess.run(command, check=True, cwd=ROOT)
    found = np.load(tmp_path / "out.npz")
    assert set(found.files) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6, err_msg=name)


@pytest.mark.slow
def test_keras_cv_detects_with_it():
    keras_cv = pytest.importorskip("keras_cv")
    backbone = encoder()
    model = keras_cv.models.RetinaNet(
        num_classes=3, bounding_box_format="xyxy", backbone=backbone
    )
    model.compile(
        classification_loss="focal",
        box_loss="smoothl1",
        optimizer="sgd",
        jit_compile=False,
    )
    kernel = backbone.get_layer("stage3_block0_conv1").kernel
    before = kernel.numpy()
    boxes = np.float32([[[4, 4, 30, 30]], [[10, 10, 50, 60]]])
    labels = {"boxes": boxes, "classes": np.float32([[1], [2]])}
    model.fit(images(), labels, batch_size=2, verbose=0)
    assert np.abs(kernel.numpy() - before).max() > 0
