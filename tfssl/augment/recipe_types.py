"""Classes of the recipes' tables: a view, a recipe, an evaluation's input."""

from __future__ import annotations

import dataclasses

from tfssl.errors import ConfigError, message

SAMPLERS = ("simclr", "torchvision", "byol")
ABLATION_STEPS = ("recrop", "cutout", "sobel", "noise", "rotate")
"""Steps of SimCLR's Figure 5 that no published recipe trains with (`ablation`)."""
STEPS = ("jitter", "gray", "blur", "solarize", *ABLATION_STEPS)
"""Everything that `photometry` can do to a view, by the name of its probability."""


@dataclasses.dataclass(frozen=True)
class ViewRecipe:
    """Numbers by which one view of an image is drawn.

    Attributes:
      sampler: Which crop sampler, one of `SAMPLERS` (`boxes.sample_crop`).
      area: Bounds of the crop's share of the image's area, in (0, 1].
      aspect: Bounds of width / height of the crop.
      resize: `"bicubic"` (TF2: half-pixel centres, a = -0.5, no antialias) or
        `"bilinear"` (as PIL: antialiased when shrinking).
      flip: Probability of a horizontal flip.
      jitter: Probability of the colour jitter.
      brightness: Largest change of brightness, >= 0.
      contrast: Largest change of the contrast factor from 1, >= 0.
      saturation: Largest change of the saturation factor from 1, >= 0.
      hue: Largest turn of the colour circle, in [0, 0.5] turns.
      brightness_mode: `"additive"` (x + d) or `"multiplicative"` (x * (1 + d)).
      pil_color: Colour operations as PIL does them on bytes: contrast around the
        mean of the grey image, saturation = blend with grey, results cut to
        multiples of 1/255. False: contrast around the mean of each channel,
        saturation in HSV.
      gray: Probability of a grey image.
      blur: Probability of the blur.
      blur_sigma: Bounds of the blur's standard deviation, in pixels.
      blur_sigma_per: `"batch"` (one sigma for all images of this view, SimCLR) or
        `"image"`.
      blur_border: `"zero"` (Gaussian of 2 * (size // 20) + 1 taps, zeros outside:
        dark borders, as SimCLR and BYOL) or `"edge"` (PIL's three box filters,
        the edge pixel repeated, as MoCo).
      solarize: Probability of solarisation.
      solarize_threshold: Pixels at or above it are inverted, in [0, 1].
      recrop: Probability of a second crop, by SimCLR's sampler and with the same
        `area`, `aspect` and `flip` (`recrop`).
      cutout: Probability of a grey square.
      cutout_side: Bounds of its side, as a share of the image's.
      sobel: Probability of Sobel's filter.
      noise: Probability of Gaussian noise.
      noise_sigma: Bounds of its standard deviation.
      rotate: Probability of a rotation by 90, 180 or 270 degrees.
      steps: The order of `STEPS`; those of probability 0 do nothing.
    """

    sampler: str = "byol"
    area: tuple[float, float] = (0.08, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    resize: str = "bicubic"
    flip: float = 0.5
    jitter: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    brightness_mode: str = "multiplicative"
    pil_color: bool = False
    gray: float = 0.0
    blur: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    blur_sigma_per: str = "image"
    blur_border: str = "zero"
    solarize: float = 0.0
    solarize_threshold: float = 0.5
    recrop: float = 0.0
    cutout: float = 0.0
    cutout_side: tuple[float, float] = (0.25, 0.5)
    sobel: float = 0.0
    noise: float = 0.0
    noise_sigma: tuple[float, float] = (0.05, 0.25)
    rotate: float = 0.0
    steps: tuple[str, ...] = ("jitter", "gray", "blur", "solarize")

    @property
    def active(self) -> tuple[str, ...]:
        """Returns the steps that ever happen, in order."""
        return tuple(name for name in self.steps if getattr(self, name))

    def __post_init__(self) -> None:
        """Refuses numbers that no operation could honour."""
        problems = [
            message(f"{name}={value}", "a probability in [0, 1]", f"{name}=0.5")
            for name in ("flip", *STEPS)
            if not 0 <= (value := getattr(self, name)) <= 1
        ]
        problems += [
            message(f"{name}={value!r}", "one of " + ", ".join(known), known[0])
            for name, known in (
                ("sampler", SAMPLERS),
                ("resize", ("bicubic", "bilinear")),
                ("brightness_mode", ("additive", "multiplicative")),
                ("blur_sigma_per", ("batch", "image")),
                ("blur_border", ("zero", "edge")),
            )
            if (value := getattr(self, name)) not in known
        ]
        if not 0 < self.area[0] <= self.area[1] <= 1:
            problems.append(
                message(f"area={self.area}", "0 < min <= max <= 1", "area=(0.08, 1)")
            )
        if not 0 <= self.hue <= 0.5:
            problems.append(message(f"hue={self.hue}", "turns in [0, 0.5]", "hue=0.1"))
        if self.pil_color and self.brightness_mode == "additive":
            problems.append(
                message(
                    "additive brightness with pil_color",
                    "multiplicative, PIL has no other",
                    "brightness_mode='multiplicative'",
                )
            )
        drawn = {name for name in STEPS if getattr(self, name)}
        missing = drawn - set(self.steps)
        if missing or len(set(self.steps) & set(STEPS)) < len(self.steps):
            problems.append(
                message(
                    f"steps={self.steps}",
                    "each once, out of " + ", ".join(STEPS),
                    f"steps={(*dict.fromkeys(self.steps), *sorted(missing))}",
                )
            )
        if problems:
            raise ConfigError(problems)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """All views of a method, and the normalisation that its encoder begins with.

    Attributes:
      name: Key in `RECIPES`, or `figure5:FIRST+SECOND`.
      views: One entry per view; a method for two views needs two.
      mean: RGB mean that the encoder subtracts first, or None (SimCLR takes [0, 1]).
      std: RGB deviation that it divides by, or None.
      source: Where the numbers come from.
      family: Key in `EVAL_TRANSFORMS`: how images are prepared when evaluating.
      shared_crop: All views start from one crop, the first view's.
    """

    name: str
    views: tuple[ViewRecipe, ...]
    mean: tuple[float, float, float] | None
    std: tuple[float, float, float] | None
    source: str
    family: str
    shared_crop: bool = False


@dataclasses.dataclass(frozen=True)
class EvalTransform:
    """Numbers by which `geometry.eval_image` prepares an image, without any chance.

    Attributes:
      crop_fraction: Share of the shorter side that the centre crop keeps. It
        counts as 1 when the size asked for is at most 32 (official SimCLR neither
        crops nor resizes then).
      resize: `"bicubic"` or `"bilinear"`, as in `ViewRecipe`.
      antialias: Whether shrinking averages (PIL does, `tf.image.resize` does not).
      resize_first: Resize the shorter side to size / crop_fraction and cut
        size x size (torchvision), not cut first and resize (SimCLR, BYOL).
      rounding: How the crop's side is made an integer: `"even"` (nearest, halves to
        even) or `"down"`.
    """

    crop_fraction: float
    resize: str
    antialias: bool
    resize_first: bool
    rounding: str = "even"
