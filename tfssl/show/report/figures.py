"""The drawings of the report, as PNG bytes, each for a light and a dark page.

matplotlib's object interface only: no pyplot, no global state, so it is safe in a
thread beside training.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence

import numpy as np
from matplotlib import image as mpl_image
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from tfssl.show.label_curves import Curve

# Okabe and Ito's colours, told apart with any colour vision; seven of them times four
# markers name 28 classes.
CLASS_COLORS_LIGHT = ("#0072B2", "#D55E00", "#009E73", "#B5179E", "#56B4E9", "#C98A00",
                      "#5C5C5C")  # fmt: skip
CLASS_COLORS_DARK = ("#5AA9E6", "#F28444", "#2EC4A0", "#E27BC1", "#A9DDF7", "#F2C14E",
                     "#B8B8B8")  # fmt: skip
MARKERS = ("o", "^", "s", "D")
PATHS = {
    "o": "M7 2.5a4.5 4.5 0 1 0 .01 0z",
    "^": "M7 2.2l4.8 9H2.2z",
    "s": "M2.9 2.9h8.2v8.2H2.9z",
    "D": "M7 1.6l5.4 5.4L7 12.4 1.6 7z",
}
# Ticks are round numbers, not 0.08 and 0.24.
ROUND = (1, 2, 5, 10)
MOST_CLASSES = len(CLASS_COLORS_LIGHT) * len(MARKERS)


@dataclasses.dataclass(frozen=True)
class Theme:
    """Colours of a drawing on a transparent ground."""

    text: str
    faint: str
    line: str
    raw: str
    classes: tuple[str, ...]


LIGHT = Theme("#33383f", "#d9dde3", "#1f5fa8", "#a9c4e4", CLASS_COLORS_LIGHT)
DARK = Theme("#c9d0d9", "#343b45", "#7ab4f5", "#3d5a7d", CLASS_COLORS_DARK)


def curve(
    steps: Sequence[float],
    values: Sequence[float],
    theme: Theme,
    *,
    percent: bool = False,
    from_zero: bool = False,
    points: bool = False,
    smooth: bool = False,
    width: float = 3.6,
) -> bytes:
    """Draws one quantity over the training steps.

    Args:
      steps: `[n]`, increasing.
      values: `[n]`; NaN and infinity leave a gap.
      theme: Colours.
      percent: Values are shares, shown as percentages.
      from_zero: The axis begins at 0.
      points: Marks each value; for quantities measured now and then.
      smooth: Long noisy curves get a running mean over the raw values.
      width: In hundreds of pixels on the page; the height is 200.

    Returns:
      A PNG of twice that size.
    """
    x, y = np.asarray(steps, float), np.asarray(values, float)
    y = np.where(np.isfinite(y), y, np.nan)
    figure, axes = _axes(width, 2.0, theme)
    if smooth and len(x) > 80:
        axes.plot(*_thin(x, y), color=theme.raw, lw=0.8)
        axes.plot(*_thin(x, _running_mean(y, len(x) // 40)), color=theme.line, lw=1.6)
    else:
        marker = "o" if points or len(x) < 3 else None
        axes.plot(*_thin(x, y), color=theme.line, lw=1.6, marker=marker, ms=3.5)
    if len(x) > 1:
        axes.set_xlim(x[0], x[-1])
    _y_limits(axes, y, from_zero)
    axes.xaxis.set_major_formatter(FuncFormatter(_thousands))
    if percent:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:g} %"))
    else:
        axes.yaxis.set_major_formatter(FuncFormatter(_plain))
    return _png(figure)


def label_curves(curves: Sequence[Curve], theme: Theme) -> bytes:
    """Draws accuracy over labelled images, with its deviation over draws.

    Args:
      curves: At most 28; their marks in the legend are `mark` of their numbers.
      theme: Colours.

    Returns:
      A PNG, 1240 x 680 pixels.
    """
    figure, axes = _axes(6.2, 3.4, theme)
    axes.set_xscale("log")
    for number, curve in enumerate(curves):
        color, marker = style(number, theme)
        images = [point.images for point in curve.points]
        means = [point.mean for point in curve.points]
        spread = [point.deviation for point in curve.points]
        axes.errorbar(images, means, spread, color=color, marker=marker, lw=1.6,
                      ms=4.5, elinewidth=1.0, capsize=2.5)  # fmt: skip
    places = sorted({point.images for curve in curves for point in curve.points})
    axes.xaxis.set_major_locator(FixedLocator(places))
    axes.xaxis.set_minor_locator(FixedLocator([]))
    axes.xaxis.set_major_formatter(FuncFormatter(_thousands))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:g} %"))
    axes.set_xlabel("labelled images", color=theme.text, fontsize=8)
    return _png(figure)


def histogram(std: np.ndarray, theme: Theme) -> bytes:
    """Draws how the per-dimension deviations are spread; 1 is an even spread.

    Args:
      std: `[F]`, times sqrt(F).
      theme: Colours.

    Returns:
      A PNG, 1040 x 440 pixels.
    """
    std = np.asarray(std, float)
    figure, axes = _axes(5.2, 2.2, theme)
    high = max(1.25, float(std.max()) * 1.05) if std.size else 1.25
    axes.hist(std, bins=np.linspace(0, high, 41).tolist(), color=theme.line, rwidth=0.9)
    axes.axvline(1, color=theme.text, lw=1, ls=(0, (4, 3)))
    axes.annotate("even spread", (1, 1), xycoords=("data", "axes fraction"),
                  xytext=(4, -9), textcoords="offset points", color=theme.text,
                  fontsize=7.5)  # fmt: skip
    axes.set_xlim(0, high)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=ROUND))
    axes.xaxis.set_major_formatter(FuncFormatter(_plain))
    axes.set_xlabel("deviation of one dimension × √dimensions", color=theme.text,
                    fontsize=8)  # fmt: skip
    axes.set_ylabel("dimensions", color=theme.text, fontsize=8)
    return _png(figure)


def scatter(points: np.ndarray, groups: Sequence[int | None], theme: Theme) -> bytes:
    """Draws the flat map of the features.

    Args:
      points: `[n, 2]`.
      groups: `[n]`, the place of each point's class in the legend; None is drawn
        faintly.
      theme: Colours.

    Returns:
      A PNG, 1240 x 920 pixels, without a legend; its entries are `mark`.
    """
    figure, axes = _axes(6.2, 4.6, theme)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    group = np.array([-1 if g is None else g for g in groups])
    size = float(np.clip(9000 / max(len(points), 1), 7, 42))
    other = group < 0
    x, y = points[other].T
    axes.scatter(x, y, s=size, color=theme.text, alpha=0.35, lw=0)
    for g in np.unique(group[~other]):
        color, marker = style(int(g), theme)
        x, y = points[group == g].T
        axes.scatter(x, y, s=size, color=color, marker=marker,
                     alpha=0.85, lw=0)  # fmt: skip
    return _png(figure)


def style(group: int, theme: Theme) -> tuple[str, str]:
    """Colour and marker of a class; `group` counts from 0 and wraps at 28."""
    colors = theme.classes
    marker = MARKERS[group // len(colors) % len(MARKERS)]
    return colors[group % len(colors)], marker


def mark(group: int) -> dict[str, str]:
    """One legend entry's mark: an SVG path in a 14 x 14 box, and both colours."""
    (light, marker), (dark, _) = style(group, LIGHT), style(group, DARK)
    return {"path": PATHS[marker], "light": light, "dark": dark}


def tile(image: np.ndarray, most: int = 112) -> tuple[bytes, str]:
    """Encodes a picture for a small tile.

    Args:
      image: uint8 `[S, S, 3]`.
      most: Larger ones are shrunk by a whole factor to at least this side.

    Returns:
      The bytes and their type: PNG up to 64 pixels, JPEG beyond (a fifth of the size).
    """
    factor = max(1, min(image.shape[:2]) // most)
    if factor > 1:
        h, w = (side // factor * factor for side in image.shape[:2])
        blocks = image[:h, :w].reshape(h // factor, factor, w // factor, factor, 3)
        image = np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)
    small = max(image.shape[:2]) <= 64
    out = io.BytesIO()
    kind = {"format": "png"} if small else {
        "format": "jpeg", "pil_kwargs": {"quality": 88}}  # fmt: skip
    mpl_image.imsave(out, np.ascontiguousarray(image), **kind)
    return out.getvalue(), "image/png" if small else "image/jpeg"


def _axes(width: float, height: float, theme: Theme) -> tuple[Figure, Axes]:
    # 100 units an inch on the page, drawn at twice that.
    figure = Figure(figsize=(width, height), dpi=200, layout="constrained")
    axes = figure.add_subplot()
    axes.set_facecolor("none")
    axes.grid(True, axis="y", color=theme.faint, lw=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=theme.text, labelsize=7.5, length=0, pad=3)
    for name, side in axes.spines.items():
        side.set_visible(name == "bottom")
        side.set_color(theme.faint)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=ROUND, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=ROUND))
    return figure, axes


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    FigureCanvasAgg(figure)
    # No Software chunk: the same data gives the same bytes.
    figure.savefig(out, format="png", transparent=True, metadata={"Software": None})
    return out.getvalue()


def _y_limits(axes: Axes, y: np.ndarray, from_zero: bool) -> None:
    known = y[np.isfinite(y)]
    if not known.size:
        return
    low, high = float(known.min()), float(known.max())
    low = min(low, 0.0) if from_zero else low
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    axes.set_ylim(low if from_zero and low == 0 else low - room, high + room)


def _thin(
    x: np.ndarray, y: np.ndarray, most: int = 2_000
) -> tuple[np.ndarray, np.ndarray]:
    """Leaves out rows that no pixel would show; the last one stays."""
    stride = -(-len(x) // most)
    keep = np.unique(np.append(np.arange(0, len(x), stride), len(x) - 1))
    return x[keep], y[keep]


def _running_mean(y: np.ndarray, width: int) -> np.ndarray:
    """Mean over `width` rows around each, fewer at the ends; NaN is left out."""
    known = np.isfinite(y)
    kernel = np.ones(2 * (max(width, 2) // 2) + 1)
    total = np.convolve(np.where(known, y, 0), kernel, "same")
    count = np.convolve(known.astype(float), kernel, "same")
    return np.where(known, total / np.maximum(count, 1), np.nan)


def _thousands(value: float, _: object) -> str:
    for size, name in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{name}"
    return f"{value:g}"


def _plain(value: float, _: object) -> str:
    return f"{value:g}" if abs(value) < 1e4 else _thousands(value, None)
