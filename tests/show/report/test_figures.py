"""The drawings: crisp, the same twice, and never stopped by odd data."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib import image as mpl_image

from tfssl.show.report import figures


def pixels(png):
    return mpl_image.imread(io.BytesIO(png))


@pytest.mark.parametrize(
    "values",
    [
        [1.0],
        [2.0, 2.0, 2.0],
        [1.0, float("nan"), 3.0],
        [float("inf"), 1.0],
        list(np.random.default_rng(0).normal(size=5000)),
        [0.0, 1e9],
    ],
)
def test_curve_of_odd_values(values):
    steps = [10 * i for i in range(len(values))]
    draw = lambda: figures.curve(steps, values, figures.LIGHT, smooth=True)  # noqa: E731
    drawn = pixels(draw())
    assert drawn.shape == (400, 720, 4)
    assert drawn[..., 3].max() > 0 and drawn[0, 0, 3] == 0  # ink on a clear ground
    assert draw() == draw()


def test_histogram_scatter_and_mark():
    assert pixels(figures.histogram(np.zeros(4), figures.DARK)).shape[:2] == (440, 1040)
    groups = [0, 1, None, 29, 0]
    points = np.random.default_rng(0).normal(size=(5, 2))
    assert pixels(figures.scatter(points, groups, figures.DARK)).shape[:2] == (
        920,
        1240,
    )
    for shade in ("light", "dark"):
        marks = [figures.mark(i) for i in range(figures.MOST_CLASSES)]
        assert len({(m["path"], m[shade]) for m in marks}) == len(marks) == 28


def test_running_mean_leaves_out_nan_and_keeps_a_constant():
    y = np.full(100, 3.0)
    y[40] = np.nan
    got = figures._running_mean(y, 9)
    assert np.isnan(got[40])
    np.testing.assert_allclose(np.delete(got, 40), 3.0)


@pytest.mark.parametrize(
    ("side", "kind", "shown"),
    [(32, "image/png", 32), (64, "image/png", 64), (96, "image/jpeg", 96),
     (224, "image/jpeg", 112), (500, "image/jpeg", 125)],
)  # fmt: skip
def test_tile_size_and_type(side, kind, shown):
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    content, got = figures.tile(image)
    assert got == kind
    drawn = mpl_image.imread(
        io.BytesIO(content), "png" if kind == "image/png" else "jpg"
    )
    assert drawn.shape[:2] == (shown, shown)
    if shown == side == 32:
        np.testing.assert_array_equal(np.rint(drawn[..., :3] * 255), image)
