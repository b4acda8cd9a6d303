"""Every format gives the encoder's features in a process that knows its runtime."""

from __future__ import annotations

import dataclasses
import importlib.util
import json

import numpy as np
import pytest
import tensorflow as tf

from tests.exporters.test_saved_model import noisy
from tfssl.augment.recipes import EVAL_TRANSFORMS, IMAGENET_MEAN, IMAGENET_STD
from tfssl.config import tables
from tfssl.errors import TfsslError
from tfssl.exporters import CARD, METADATA, About, Inference, verify
from tfssl.exporters.onnx_file import export_onnx
from tfssl.exporters.reader import OPENERS
from tfssl.exporters.serving_files import BATCHING, WARM_UP, write_serving_files
from tfssl.exporters.verify import Sample, compared, verified
from tfssl.models import Encoder, linear_head

SIZE = 32
MODULES = {"onnx": "tf2onnx", "litert": "ai_edge_litert", "torchvision": "torch"}
CASES = [(kind, "float32") for kind in OPENERS] + [
    ("litert", "float16"),
    ("litert", "int8"),
]


@pytest.fixture(scope="module")
def given():
    """A network that all formats can express, but for its width in torchvision."""
    normal = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    encoder = noisy(Encoder("resnet18x0.125", family="moco", image_size=SIZE, **normal))
    images = np.random.default_rng(2).uniform(size=(12, SIZE, SIZE, 3))
    return Inference(
        encoder=encoder,
        classifier=linear_head(encoder.outputs[0].shape[-1], 5, seed=1, name="c"),
        transform=EVAL_TRANSFORMS["moco"],
        image_size=SIZE,
        max_pixels=10_000,
        sample=lambda: np.float32(images),
        linear=(np.eye(64, 5, dtype=np.float32), np.zeros(5, np.float32)),
    )


def encode(given, images):
    return np.asarray(given.encoder(images, training=False))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "dtype"), CASES)
def test_a_format_gives_the_features(kind, dtype, given, tmp_path):
    if kind in MODULES and importlib.util.find_spec(MODULES[kind]) is None:
        pytest.skip(f"{MODULES[kind]} is not installed")
    several = kind == "onnx" or dtype == "float16"
    given = dataclasses.replace(given, dtype=dtype, several_labels=several)
    sample = Sample(given.sample(), lambda x: encode(given, x), "noise")
    about = About(
        {"encoder": "tiny"},
        {CARD: lambda facts: f"{facts['verified']['images']} images\n"},
        lambda folder: {"verified": verified(folder, kind, given, sample)},
    )
    write = tables.find(tables.EXPORT_FORMATS, "format", kind)
    path = tmp_path / "export"
    write(given, path, about)
    assert (path / CARD).read_text() == "12 images\n"
    inside = "assets.extra" if kind == "saved_model" else ""
    found = json.loads((path / inside / METADATA).read_text())
    assert found["preprocessing"]["image_size"] == SIZE
    found = found["verified"]
    allowed = {"float32": 1e-5, "float16": 1e-2, "int8": 0.2}[dtype]
    assert 0 < found["largest_deviation"] < allowed * found["largest_feature"] or (
        kind == "keras" and found["largest_deviation"] < 1e-5
    )
    assert found["mean_deviation"] <= found["largest_deviation"]
    share = {"float32": 4, "float16": 2, "int8": 1}[dtype]
    assert found["bytes"] > share * given.encoder.count_params()
    if kind == "litert":
        assert found["bytes"] < share * given.encoder.count_params() + 100_000
    if kind == "keras":
        assert "probabilities" not in found
    else:
        shares = found["probabilities"]
        assert 0 <= shares["largest_deviation"] < allowed
        assert 0.2 <= shares["largest_probability"] <= 1
    assert found["milliseconds_an_image"] > 0 and found["milliseconds_one_image"] > 0


@pytest.mark.slow
def test_a_file_that_is_wrong_does_not_take_its_place(given, tmp_path):
    """Here: one of other weights."""
    if importlib.util.find_spec("onnxruntime") is None:
        pytest.skip("onnxruntime is not installed")
    path = tmp_path / "onnx"
    path.mkdir()
    (path / METADATA).write_text("{}")
    sample = Sample(given.sample(), lambda x: 2 * encode(given, x), "noise")
    about = About({}, {}, lambda folder: verified(folder, "onnx", given, sample))
    with pytest.raises(TfsslError, match="from the run's"):
        export_onnx(given, path, about)
    assert [p.name for p in path.iterdir()] == [METADATA]
    with pytest.raises(TfsslError, match="cannot run"):
        verified(path, "onnx", given, sample)


@pytest.mark.parametrize("kind", ["saved_model", "onnx", "litert", "torchvision"])
def test_other_probabilities_do_not_take_their_place(
    given, tmp_path, monkeypatch, kind
):
    """Of another classifier, and of a file that has none."""
    features = encode(given, given.sample())
    kernel, bias = given.linear
    shares = tf.nn.softmax(
        features @ kernel + bias
        if kind == "torchvision"
        else given.classifier(features)
    ).numpy()
    said = {"features": features, "probabilities": shares}
    said |= {f"{name}_of_bytes": array for name, array in said.items()}
    said |= {"seconds": 1.0, "one_seconds": 1.0}
    monkeypatch.setattr(verify, "_read", lambda *_: said)
    monkeypatch.setattr(verify, "_decoded", lambda *_: given.sample())
    sample = Sample(given.sample(), lambda x: encode(given, x), "noise")
    found = verified(tmp_path, kind, given, sample)
    assert found["probabilities"]["largest_deviation"] < 1e-6
    assert "probabilities by" in verify.line(found)
    said["probabilities"] = np.roll(shares, 1, axis=1)
    with pytest.raises(TfsslError, match="probabilities of .* from the run's"):
        verified(tmp_path, kind, given, sample)
    del said["probabilities"]
    with pytest.raises(TfsslError, match=r"probabilities \(0,\).*\(12, 5\)"):
        verified(tmp_path, kind, given, sample)


@pytest.mark.parametrize(
    ("got", "words"),
    [
        (np.full((2, 3), np.nan), "nan from the run's"),
        (np.ones((2, 3)), "at most 0.01"),
        (np.zeros((2, 4)), r"\(2, 3\), as the run gives"),
    ],
)
def test_what_is_compared_must_be_equal(got, words):
    want = np.zeros((2, 3))
    assert compared([(want, want)], "float32", "x")["largest_deviation"] == 0
    with pytest.raises(TfsslError, match=words):
        compared([(want, want), (got, want)], "float32", "x")


def test_every_format_has_a_reader_and_its_extra():
    assert set(tables.EXPORT_FORMATS) == set(OPENERS)
    assert set(tables.EXPORT_EXTRAS.values()) <= set(tables.EXTRAS)
    for kind in tables.EXPORT_FORMATS:
        assert callable(tables.find(tables.EXPORT_FORMATS, "format", kind))


def test_warm_up_requests_are_those_of_the_protocol(tmp_path):
    """Read by TensorFlow Serving's own messages."""
    protocol = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    write_serving_files(tmp_path, SIZE)
    records = list(tf.data.TFRecordDataset(str(tmp_path / WARM_UP)))
    sizes = []
    for record in records:
        log = protocol.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        assert request.model_spec.signature_name == "serving_default"
        (name,) = request.inputs
        images = tf.make_ndarray(request.inputs[name])
        assert name == "image_bytes" and images.dtype == object
        assert tf.io.decode_png(images[0]).shape == (SIZE, SIZE, 3)
        sizes.append(len(images))
    assert sizes[0] == 1 and f"max_batch_size {{ value: {sizes[-1]} }}" in (
        (tmp_path / BATCHING).read_text()
    )
