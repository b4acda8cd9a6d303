"""A recipe as text for the log (no TensorFlow)."""

from __future__ import annotations

from tfssl.augment.recipe_types import Recipe, ViewRecipe


def describe(recipe: Recipe) -> str:
    """A recipe as text for the log: one line per view, nothing left out."""
    lines = [f"augmentation {recipe.name} ({recipe.source})"]
    for number, view in enumerate(recipe.views, 1):
        lines.append(f"  view {number}: " + ", ".join(_steps(view)))
    mean = "none (input in [0, 1])"
    if recipe.mean is not None and recipe.std is not None:
        mean = f"mean {_numbers(recipe.mean)} std {_numbers(recipe.std)}"
    shared = ["  all views from one crop, the first view's"] * recipe.shared_crop
    return "\n".join([*lines, *shared, f"  normalise: {mean}"])


def _numbers(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ")"


def _steps(view: ViewRecipe) -> list[str]:
    steps = [
        f"crop {view.sampler} area {_numbers(view.area)} aspect "
        f"{_numbers(view.aspect)} {view.resize}",
        f"flip p={view.flip:g}",
    ]
    words = {
        "jitter": f"brightness {view.brightness:g} ({view.brightness_mode}) contrast "
        f"{view.contrast:g} saturation {view.saturation:g} hue {view.hue:g} "
        f"({'PIL' if view.pil_color else 'TF'} colour)",
        "blur": f"sigma {_numbers(view.blur_sigma)} per {view.blur_sigma_per}, "
        f"{view.blur_border} border",
        "solarize": f"threshold {view.solarize_threshold:g}",
        "recrop": f"area {_numbers(view.area)} flip p={view.flip:g}",
        "cutout": f"side {_numbers(view.cutout_side)}",
        "noise": f"sigma {_numbers(view.noise_sigma)}",
    }
    for name in view.active:
        step = f"{name} p={getattr(view, name):g} {words.get(name, '')}"
        steps.append(step.rstrip())
    return steps
