"""Blur against the official kernels, their dark borders, and Pillow."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfssl.augment import blur, color


def filtered(image, matrix):
    planes = blur.blur(color.split(tf.constant(image[None])), matrix)
    return color.join(planes)[0].numpy()


def rectangle(image, sigma, radius):
    """Gaussian blur of an image that is not square, in a black square."""
    side = max(image.shape[:2])
    square = np.zeros((side, side, 3), np.float32)
    square[: image.shape[0], : image.shape[1]] = image
    matrix = blur.gaussian_matrix(tf.constant([sigma]), side, radius)
    return filtered(square, matrix)[: image.shape[0], : image.shape[1]]


@pytest.mark.parametrize(
    ("size", "taps"),
    [(32, 3), (48, 5), (64, 7), (96, 9), (128, 13), (192, 19), (224, 23), (299, 29)],
)
def test_number_of_taps(size, taps):
    assert 2 * blur.gaussian_radius(size) + 1 == taps


def test_simclr_goldens(simclr):
    for entry in simclr.cases["entries"]:
        want = simclr.arrays[entry["key"]] if "blur" in entry["op"] else None
        if entry["op"] == "blur":
            radius = entry["kernel_size"] // 2
            got = rectangle(simclr.rule.colour_image(), entry["sigma"], radius)
        elif entry["op"] == "blur_kernel":
            matrix = blur.gaussian_matrix(tf.constant([entry["sigma"]]), 224)
            np.testing.assert_allclose(matrix[0, 112, 97:128], want, atol=1e-6)
            continue
        elif entry["op"] == "batch_blur":
            start = 6 * entry["view"]
            batch = simclr.rule.fixed_images(12, 32, entry["seed"])[start : start + 6]
            matrix = blur.gaussian_matrix(tf.constant([entry["sigma"]]), 32)
            got = np.stack(
                [
                    filtered(image, matrix) if on else image
                    for image, on in zip(batch, entry["blurred"], strict=True)
                ]
            )
        else:
            continue
        np.testing.assert_allclose(got, want / 65535.0, atol=1e-5, err_msg=str(entry))


def test_byol_goldens(byol):
    image = byol.rule.fixed_images(1, (40, 40), 4100)[0]
    for case in byol.cases["aug"]["blur"]:
        radius = int(case["kernel_size"] / 2)
        assert case["taps"] == 2 * radius + 1
        matrix = blur.gaussian_matrix(tf.constant([case["sigma"]]), 40, radius)
        key = f"aug/blur/{case['kernel_size']}/{case['sigma']}"
        for name, source in (("img", image), ("ones", np.ones_like(image))):
            want = byol.arrays[f"{key}/{name}"]
            np.testing.assert_allclose(filtered(source, matrix), want, atol=1e-5)


def test_zero_border_is_dark_and_edge_border_is_not():
    ones = np.ones((224, 224, 3), np.float32)
    dark = filtered(ones, blur.gaussian_matrix(tf.constant([2.0]), 224))
    assert dark[0, 0, 0] == pytest.approx(0.36, abs=0.005)
    assert dark[112, 112, 0] == pytest.approx(1, abs=1e-6)
    same = filtered(ones, blur.pil_matrix(tf.constant([2.0]), 224))
    np.testing.assert_allclose(same, 1, atol=1e-5)


def test_pil_goldens(moco):
    image = np.round(255 * moco.rule.fixed_images(1, (40, 40), 901)[0]) / 255
    image = image.astype(np.float32)
    for sigma in moco.cases["pil"]["blur"]["sigma"]:
        got = 255 * filtered(image, blur.pil_matrix(tf.constant([sigma]), 40))
        want = moco.arrays[f"pil/blur/{sigma}"]
        np.testing.assert_allclose(np.round(got), want, atol=2)
        assert np.mean(np.abs(got - want)) < 0.6, sigma


def test_sigma_per_image():
    images = np.random.default_rng(0).random((3, 32, 32, 3), np.float32)
    sigma = np.array([0.3, 1.0, 2.0], np.float32)
    for maker in (blur.gaussian_matrix, blur.pil_matrix):
        planes = blur.blur(
            color.split(tf.constant(images)), maker(tf.constant(sigma), 32)
        )
        together = color.join(planes).numpy()
        for i in range(3):
            alone = filtered(images[i], maker(tf.constant(sigma[i : i + 1]), 32))
            np.testing.assert_allclose(together[i], alone, atol=1e-6)
