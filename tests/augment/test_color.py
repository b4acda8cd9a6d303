"""Colour operations against the official codes' numbers and slow oracles."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import tensorflow as tf

from tfssl.augment import color

NAMES = ("brightness", "contrast", "saturation", "hue")


def run(operation, images, *parameters):
    """Applies an operation on planes to `[b, H, W, 3]` or `[H, W, 3]`, as NumPy."""
    images = np.asarray(images, np.float32)
    batch = images if images.ndim == 4 else images[None]
    parameters = [tf.fill([len(batch)], np.float32(p)) for p in parameters]
    out = color.join(operation(color.split(tf.constant(batch)), *parameters)).numpy()
    return out if images.ndim == 4 else out[0]


def run_jitter(images, order, amounts, mode, pil=False):
    batch = images if images.ndim == 4 else images[None]
    n = len(batch)
    planes = color.jitter(
        color.split(tf.constant(batch)),
        tf.constant([order] * n, tf.int32),
        {k: tf.fill([n], np.float32(v)) for k, v in amounts.items()},
        brightness_mode=mode,
        pil=pil,
    )
    out = color.join(planes).numpy()
    return out if images.ndim == 4 else out[0]


def test_simclr_goldens(simclr):
    operations = {
        "brightness_mul": color.multiplicative_brightness,
        "brightness_add": color.additive_brightness,
        "contrast": color.tf_contrast,
        "saturation": color.tf_saturation,
        "hue": color.tf_hue,
    }
    image, checked = simclr.rule.colour_image(), 0
    for entry in simclr.cases["entries"]:
        if entry["op"] in operations:
            amount = entry.get("factor", entry.get("delta"))
            got = run(operations[entry["op"]], image, amount)
        elif entry["op"] == "grayscale":
            got = run(color.tf_grayscale, image)
        elif entry["op"] == "jitter":
            mode = "additive" if entry["impl"] == "simclrv1" else "multiplicative"
            amounts = {name: entry[name] for name in NAMES}
            got = run_jitter(image, entry["order"], amounts, mode)
        else:
            continue
        want = simclr.arrays[entry["key"]] / 65535.0
        np.testing.assert_allclose(got, want, atol=1.5e-5, err_msg=str(entry))
        checked += 1
    assert checked == 35


def byol_images(byol):
    images = byol.rule.fixed_images(2, (24, 20), 4000)
    images[1, 0:4], images[1, 4:8], images[1, 8:12] = 0.5, 0.0, 1.0
    return images


def test_byol_goldens(byol):
    operations = {
        "brightness": color.additive_brightness,
        "contrast": color.tf_contrast,
        "saturation": color.tf_saturation,
        "hue": color.tf_hue,
    }
    images, arrays = byol_images(byol), byol.arrays
    for name, values in byol.cases["aug"]["ops"].items():
        for value in values:
            if name == "solarize":
                planes = color.split(tf.constant(images))
                got = color.join(color.solarize(planes, value)).numpy()
            else:
                got = run(operations[name], images, value)
            want = arrays[f"aug/{name}/{value}"]
            np.testing.assert_allclose(got, want, atol=1e-5, err_msg=f"{name} {value}")
    np.testing.assert_allclose(
        run(color.tf_grayscale, images), arrays["aug/grayscale"], atol=1e-5
    )


@pytest.mark.parametrize("number", range(4))
def test_byol_chains(byol, number):
    chain = byol.cases["aug"]["chains"][number]
    order = [NAMES.index(name) for name, _ in chain]
    got = run_jitter(byol_images(byol), order, dict(chain), "additive")
    want = byol.arrays[f"aug/chain{number}"]
    np.testing.assert_allclose(got, want, atol=1e-5)


def moco_image(moco):
    image = np.round(255 * moco.rule.fixed_images(1, (24, 20), 900)[0])
    image[0:3], image[3:6], image[6:9] = 128, 0, 255
    return (image / 255.0).astype(np.float32)


def test_pil_goldens(moco):
    operations = {
        "brightness": color.pil_brightness,
        "contrast": color.pil_contrast,
        "saturation": color.pil_saturation,
        "hue": color.pil_hue,
    }
    image = moco_image(moco)
    for name, values in moco.cases["pil"]["ops"].items():
        for value in values:
            got = 255 * run(operations[name], image, value)
            want = moco.arrays[f"pil/{name}/{value}"]
            limit = 2.01 if name == "hue" else 1.01  # the kit's own
            np.testing.assert_allclose(got, want, atol=limit, err_msg=f"{name} {value}")
            assert np.mean(np.abs(got - want)) < 0.02, (name, value)
    got = 255 * run(color.pil_grayscale, image)
    np.testing.assert_allclose(got, moco.arrays["pil/grayscale"], atol=0.01)


def test_random_pil_chain_is_pillow(moco):
    enhance = pytest.importorskip("PIL.ImageEnhance")
    from PIL import Image

    image = moco_image(moco)
    amounts = {"brightness": 1.3, "contrast": 0.7, "saturation": 1.37, "hue": 0.0}
    pil = Image.fromarray(np.round(255 * image).astype(np.uint8))
    for kind, name in (
        (enhance.Color, "saturation"),
        (enhance.Brightness, "brightness"),
        (enhance.Contrast, "contrast"),
    ):
        pil = kind(pil).enhance(amounts[name])
    planes = color.split(tf.constant(image[None]))
    for operation, name in (
        (color.pil_saturation, "saturation"),
        (color.pil_brightness, "brightness"),
        (color.pil_contrast, "contrast"),
    ):
        planes = operation(planes, tf.constant([amounts[name]]))
    got = 255 * color.join(planes)[0].numpy()
    np.testing.assert_allclose(got, np.asarray(pil, np.float32), atol=1.01)


def test_hue_and_saturation_are_colorsys(byol):
    image = byol_images(byol)[:1]
    hue, saturation = (
        run(color.tf_hue, image, 0.37),
        run(color.tf_saturation, image, 1.6),
    )
    for y in range(0, 24, 5):
        for x in range(0, 20, 3):
            h, s, v = colorsys.rgb_to_hsv(*(float(c) for c in image[0, y, x]))
            want = colorsys.hsv_to_rgb((h + 0.37) % 1, s, v)
            np.testing.assert_allclose(hue[0, y, x], want, atol=1e-5)
            want = colorsys.hsv_to_rgb(h, min(1.6 * s, 1), v)
            np.testing.assert_allclose(saturation[0, y, x], want, atol=1e-5)


def test_each_image_has_its_own_parameters(byol):
    images = byol_images(byol)
    planes = color.tf_hue(color.split(tf.constant(images)), tf.constant([0.1, -0.2]))
    both = color.join(planes).numpy()
    for i, delta in enumerate((0.1, -0.2)):
        np.testing.assert_array_equal(both[i], run(color.tf_hue, images[i], delta))
