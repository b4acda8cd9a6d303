"""What is served equals what was trained, in a process that knows nothing of us."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from tests.gallery import gallery, jpeg_header, png_header, saved
from tfssl.augment.geometry import eval_image
from tfssl.augment.recipes import EVAL_TRANSFORMS, IMAGENET_MEAN, IMAGENET_STD
from tfssl.data.decode import decode
from tfssl.errors import RunDirectoryError
from tfssl.exporters import About, Inference, export_saved_model, inference_clone
from tfssl.models import Encoder, linear_head

SIZE = 48
BYOL = EVAL_TRANSFORMS["byol"]
NORMAL = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
METADATA = {"licence": "Apache-2.0", "source": "a test", "encoder": "tiny"}


def noisy(model, seed=0):
    """Gives every weight and moving statistic a value of its own."""
    rng = np.random.default_rng(seed)
    model.set_weights(
        [
            # Variances stay positive, scales near one.
            np.float32(w + 0.2 * rng.uniform(size=w.shape))
            for w in model.get_weights()
        ]
    )
    return model


@pytest.fixture(scope="module")
def encoder():
    return noisy(Encoder("resnet10x0.125_cifar", family="byol",
                               image_size=SIZE, seed=3, **NORMAL))  # fmt: skip


@pytest.fixture(scope="module")
def classifier(encoder):
    head = linear_head(encoder.outputs[0].shape[-1], 7, seed=1, name="classifier")
    return noisy(head, 1)


@pytest.fixture(scope="module")
def files():
    """Mixed formats and sizes: what a served batch may hold."""
    rng = np.random.default_rng(4)

    def picture(h, w, c):
        # Smooth, so that JPEG keeps it and resizing is well conditioned.
        grid = np.linspace(0, 3, h)[:, None, None] + np.linspace(0, 5, w)[None, :, None]
        wave = 127 + 120 * np.sin(grid * rng.uniform(0.5, 2, c) + rng.uniform(0, 6, c))
        return tf.constant(wave.astype(np.uint8))

    return [
        tf.io.encode_jpeg(picture(90, 60, 3)).numpy(),
        tf.io.encode_jpeg(picture(33, 120, 3), quality=80).numpy(),
        tf.io.encode_jpeg(picture(70, 50, 1), "grayscale").numpy(),
        tf.io.encode_png(picture(SIZE, SIZE, 3)).numpy(),
        tf.io.encode_png(picture(20, 31, 1)).numpy(),
        tf.io.encode_png(picture(64, 40, 4)).numpy(),
    ]


def expected(encoder, images):
    """Of the same network for images that are normalised already."""
    config = encoder.get_config()
    if config["mean"] is not None:
        images = (images - np.float32(config["mean"])) / np.float32(config["std"])
    plain = Encoder.from_config(
        {**config, "image_size": None, "mean": None, "std": None}
    )
    plain.set_weights(encoder.get_weights())
    return plain(images, training=False)


def exported(encoder, transform, path, image_size, metadata, **more):
    given = Inference(encoder, transform, image_size, **more)
    return export_saved_model(given, path, About(metadata, {}, None))


def in_a_session(model, folder, files, images):
    given = {f"images_{i}": x for i, x in enumerate(images)}
    joined = np.frombuffer(b"".join(files), np.uint8)
    np.savez(folder / "in.npz", bytes=joined, lengths=[len(f) for f in files], **given)
    program = Path(__file__).with_name("session_reader.py")
    subprocess.run(
        [sys.executable, program, model, folder / "in.npz", folder / "out.npz"],
        check=True, cwd=folder,
    )  # fmt: skip
    return np.load(folder / "out.npz")


def test_session_loader_gives_what_the_encoder_gives(
    tmp_path, encoder, classifier, files
):
    path = exported(
        encoder, BYOL, str(tmp_path / "model"), image_size=SIZE, metadata=METADATA,
        classifier=classifier,
    )  # fmt: skip
    rng = np.random.default_rng(5)
    shapes = [(2, 40, 64, 3), (3, 33, 32, 3)]
    images = [rng.uniform(size=s).astype(np.float32) for s in shapes]
    got = in_a_session(path, tmp_path, files, images)

    one_by_one = tf.stack([eval_image(decode(f), BYOL, SIZE) for f in files])
    want = expected(encoder, one_by_one).numpy()
    np.testing.assert_allclose(got["0/features"], want, rtol=1e-4, atol=1e-4)
    logits = classifier(want)
    np.testing.assert_allclose(
        got["0/probabilities"], tf.nn.softmax(logits), rtol=1e-4, atol=1e-5
    )
    assert got["0/features"].dtype == np.float32
    # The features must tell the files apart, or equality says little.
    assert np.ptp(want, axis=0).max() > 0.1 * np.abs(want).max()

    for i, x in enumerate(images):  # of any height and width
        want = expected(encoder, x)
        np.testing.assert_allclose(got[f"{i + 1}/features"], want, rtol=1e-4, atol=1e-4)
        assert got[f"{i + 1}/probabilities"].shape == (len(x), 7)

    assert got["serving_default/inputs"].tolist() == ["image_bytes"]
    assert got["features/inputs"].tolist() == ["images"]
    assert got["features/method"] == "tensorflow/serving/predict"


@pytest.mark.parametrize("family", ["simclr", "moco"])
def test_every_family_in_python(tmp_path, family, files):
    transform = EVAL_TRANSFORMS[family]
    name = "resnet18x0.125"
    normal = NORMAL if family == "moco" else {}
    encoder = noisy(Encoder(name, family=family, image_size=SIZE, seed=3, **normal))
    path = exported(
        encoder, transform, str(tmp_path / "1"), image_size=SIZE, metadata={}
    )
    loaded = tf.saved_model.load(path)
    images = tf.stack([eval_image(decode(f), transform, SIZE) for f in files])
    want = expected(encoder, images)
    got = loaded.signatures["serving_default"](image_bytes=tf.constant(files))
    assert set(got) == {"features"}
    # oneDNN, which the tests switch on, normalises no empty batch.
    none = loaded.signatures["serving_default"](image_bytes=tf.constant([], tf.string))
    assert none["features"].shape == (0, want.shape[-1])
    np.testing.assert_allclose(got["features"], want, rtol=1e-4, atol=1e-4)
    got = loaded.signatures["features"](images=images)
    np.testing.assert_allclose(got["features"], want, rtol=1e-4, atol=1e-4)


def test_mixed_precision_is_exported_in_float32(tmp_path, files):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = Encoder("resnet10x0.125_cifar", family="simclr",
                             image_size=SIZE, seed=3)  # fmt: skip
    finally:
        keras.config.set_dtype_policy(before)
    noisy(half)
    full = Encoder("resnet10x0.125_cifar", family="simclr",
                         image_size=SIZE, seed=3)  # fmt: skip
    full.set_weights(half.get_weights())
    images = np.random.default_rng(0).uniform(size=(2, SIZE, SIZE, 3))
    images = tf.constant(images, tf.float32)
    want = full(images, training=False)
    rounded = tf.cast(half(images, training=False), tf.float32)
    assert np.abs(rounded - want).max() > 1e-4  # else the test could not see it
    got = inference_clone(half)(images, training=False)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_clone_leaves_the_encoder_alone_and_takes_nested_models():
    inside = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
    inputs = keras.Input((8, 8, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(inside(inputs))
    outer = keras.Model(inputs, pooled)
    clone = inference_clone(outer)
    x = tf.random.stateless_uniform([2, 8, 8, 3], [1, 2])
    np.testing.assert_allclose(clone(x), outer(x), rtol=1e-6)
    other = tf.random.stateless_uniform([2, 13, 9, 3], [1, 2])
    assert clone(other).shape == (2, 4)
    for variable in clone.variables:
        variable.assign(tf.zeros(variable.shape))
    assert np.abs(outer(x)).max() > 0


def test_metadata_travels_with_the_weights(tmp_path, encoder):
    path = exported(
        encoder, BYOL, str(tmp_path / "m"), image_size=SIZE, metadata=METADATA
    )
    found = json.loads(Path(path, "assets.extra", "metadata.json").read_text())
    assert METADATA.items() <= found.items()
    assert found["preprocessing"]["image_size"] == SIZE
    assert found["preprocessing"]["mean"] == pytest.approx(IMAGENET_MEAN)
    assert found["preprocessing"]["images"] == "RGB in [0, 1]; normalised inside"
    assert found["feature_dim"] == encoder.outputs[0].shape[-1]
    assert [p.name for p in tmp_path.iterdir()] == ["m"]  # nothing left beside it


def test_a_bomb_is_refused_before_decoding(tmp_path):
    """In a session, as TensorFlow Serving loads it."""
    path = exported(
        small_model(), BYOL, str(tmp_path / "m"), image_size=8, metadata={},
        max_pixels=1000,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (25, 40, 3), np.uint8)
    fits = tf.io.encode_jpeg(image).numpy()
    large = [
        encode(np.concatenate([image, image[:1]])).numpy()  # 1040 pixels
        for encode in (tf.io.encode_jpeg, tf.io.encode_png)
    ]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], path)
        signature = meta.signature_def["serving_default"]
        fetch = signature.outputs["features"].name
        feed = signature.inputs["image_bytes"].name
        assert session.run(fetch, {feed: [fits, fits]}).shape == (2, 3)
        for refused in (*large, png_header(20000, 20000), jpeg_header(20000, 20000)):
            with pytest.raises(
                tf.errors.InvalidArgumentError, match="at most 1000 pixels"
            ):
                session.run(fetch, {feed: [fits, refused]})
    found = json.loads(Path(path, "assets.extra", "metadata.json").read_text())
    assert found["max_image_pixels"] == 1000


def small_model():
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))


def test_an_older_export_is_replaced(tmp_path):
    path = tmp_path / "m"
    path.mkdir()
    for source in ("first", "second"):
        exported(
            small_model(), BYOL, f"{path}/", image_size=8, metadata={"source": source}
        )
        found = json.loads((path / "assets.extra" / "metadata.json").read_text())
        assert found["source"] == source
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_something_else_is_not_overwritten(tmp_path, kind):
    path = tmp_path / "m"
    if kind == "file":
        path.write_text("mine")
    else:
        path.mkdir()
        (path / "thesis.txt").write_text("mine")
    with pytest.raises(RunDirectoryError, match="SavedModel; try"):
        exported(small_model(), BYOL, str(path), image_size=8, metadata={})
    assert "mine" in (path if kind == "file" else path / "thesis.txt").read_text()


def test_a_failed_write_leaves_the_old_model(tmp_path, monkeypatch):
    path = tmp_path / "m"
    exported(small_model(), BYOL, str(path), image_size=8, metadata={})
    before = (path / "saved_model.pb").read_bytes()

    def full_disk(model, target, **_):
        Path(target).mkdir(exist_ok=True)
        (Path(target) / "part").write_text("")
        raise OSError("no space left on device")

    monkeypatch.setattr(tf.saved_model, "save", full_disk)
    with pytest.raises(OSError, match="no space"):
        exported(small_model(), BYOL, str(path), image_size=8, metadata={})
    assert (path / "saved_model.pb").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


@pytest.fixture(scope="module")
def forgiving(tmp_path_factory):
    """A model with a classifier that turns pictures and gives zeros for bad ones."""
    head_in = keras.Input((3,))
    head = keras.Model(head_in, keras.layers.Dense(4)(head_in))
    path = exported(
        small_model(), BYOL, str(tmp_path_factory.mktemp("m") / "m"), image_size=8,
        metadata={}, classifier=head, orient="exif", on_error="zeros",
    )  # fmt: skip
    return tf.saved_model.load(path).signatures["serving_default"]


def test_a_request_without_an_image_is_answered(forgiving, tmp_path):
    out = forgiving(image_bytes=tf.constant([], tf.string))
    shapes = {name: tuple(value.shape) for name, value in out.items()}
    assert shapes == {"features": (0, 3), "probabilities": (0, 4), "valid": (0,)}
    strict = exported(
        small_model(), BYOL, str(tmp_path / "m"), image_size=8, metadata={}
    )
    serve = tf.saved_model.load(strict).signatures["serving_default"]
    assert serve(image_bytes=tf.constant([], tf.string))["features"].shape == (0, 3)
    good = gallery()["png"].data
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"image_bytes\[1, 3\]"):
        serve(image_bytes=tf.constant([good, b"", good, b"text"]))


def test_bad_images_give_zeros_and_good_ones_what_they_give_alone(forgiving):
    cases = list(gallery().items())
    out = forgiving(image_bytes=tf.constant([case.data for _, case in cases]))
    for row, (name, case) in enumerate(cases):
        served = case.served and not case.refused
        assert bool(out["valid"][row]) == served, name
        if not served:
            assert not out["features"][row].numpy().any(), name
            assert not out["probabilities"][row].numpy().any(), name
            continue
        assert out["probabilities"][row].numpy().sum() == pytest.approx(1)
        if name in ("png text", "png 16 bits grey"):  # Pillow is no oracle of these
            continue
        with Image.open(io.BytesIO(case.data)) as image:
            stands = ImageOps.exif_transpose(image).convert("RGB")
        same = forgiving(image_bytes=tf.constant([saved(stands, "PNG")]))
        np.testing.assert_allclose(
            out["features"][row], same["features"][0], atol=0 if case.exact else 0.04
        )
