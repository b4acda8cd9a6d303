"""Draws what each recipe makes of the same images, and says what was drawn.

    python tools/show_views.py --out=docs/views
    python tools/show_views.py --recipes=byol --dataset=folder:PHOTOS --out=/tmp/views

Writes OUT/RECIPE.png, a column per image and a row per view, and OUT/images.png, the
images themselves; prints every parameter of every view. They are the views of step 0
of a run with this seed whose global batch were these images.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import find_tfssl  # noqa: F401
import numpy as np
from PIL import Image

SMALL, LARGE = 32, 224  # sides that the published recipes are for
COLOURS = 128  # of a strip's palette


def main(argv: list[str]) -> int:
    """Writes all strips; the exit code."""
    arguments = _parse(argv)
    from tfssl.config import startup
    from tfssl.errors import TfsslError

    startup.prepare_environment()  # as every run does
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    try:
        for number, name in enumerate(arguments.recipes.split(",")):
            _show(name, arguments, out, also_images=number == 0)
    except TfsslError as error:
        print(f"show_views: {error}", file=sys.stderr)
        return 1
    return 0


def _parse(argv: list[str]) -> argparse.Namespace:
    from tfssl.augment import RECIPES
    from tfssl.config.augment_name import FIGURE5, FIGURE5_OPERATORS

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", required=True, help="folder for the pictures")
    names = [*RECIPES, *(f"{FIGURE5}{operator}" for operator in FIGURE5_OPERATORS)]
    parser.add_argument("--recipes", default=",".join(names), help="with commas")
    parser.add_argument("--dataset", default="shapes", help="shapes, folder:DIR, …")
    parser.add_argument("--split", default="train")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--image_size", type=int, default=0, help="0: the recipe's")
    parser.add_argument("--side", type=int, default=64, help="pixels in the picture")
    return parser.parse_args(argv)


def _show(
    name: str, arguments: argparse.Namespace, out: Path, also_images: bool
) -> None:
    from tfssl.augment import RECIPES, describe, named
    from tfssl.data import open_source

    recipe = RECIPES[name] if name in RECIPES else named(name)
    seed = arguments.seed
    size = arguments.image_size or usual_size(name)
    source = open_source(arguments.dataset, arguments.split, image_size=size)
    views, lines, images = shown(source, recipe, seed, arguments.images, size)
    print(describe(recipe), *lines, sep="\n")
    save(strip(views, arguments.side), out / f"{name.replace(':', '_')}.png")
    if also_images:
        save(strip([[image] for image in images], arguments.side), out / "images.png")


def usual_size(name: str) -> int:
    """The side of the images that a recipe was made for."""
    return SMALL if name == "shapes" or name.endswith("_cifar") else LARGE


def shown(source, recipe, seed: int, images: int, size: int):
    """Views of the first images of a run, and all that was drawn for them.

    Args:
      source: The data set, see `tfssl.data.open_source`.
      recipe: See `tfssl.augment.RECIPES`.
      seed: The run's seed.
      images: How many.
      size: Side S of the views.

    Returns:
      Views uint8 `[images, V, S, S, 3]`; a line of text for every view; the images
      uint8 `[h, w, 3]`.
    """
    import tensorflow as tf

    from tfssl.augment import crops, matrix_views
    from tfssl.build.first_views import first_views
    from tfssl.core import seeds
    from tfssl.train import drawn_photometry

    found = first_views(source, recipe, seed=seed, images=images, image_size=size)
    table = drawn_photometry(recipe, seed=seed, global_batch=len(found.ids), step=0)
    lines, originals = [], []
    for row, example in enumerate(found.ids):
        (index,) = np.flatnonzero(source.ids == example)
        image = source.example(tf.constant(index, tf.int64))["image"].numpy()
        originals.append(image)
        for number, view in enumerate(recipe.views):
            # The row's place in the stream is what identifies it: step 0, so `row`.
            own = seeds.step_seed(seed, "geometry", row)
            own = crops.view_seed(own, 0 if recipe.shared_crop else number)
            *crop, flip, _ = crops.draw_one(view, own, *image.shape[:2])
            drawn = {name: rows[number, row].numpy() for name, rows in table.items()}
            text = [cut(crop, bool(flip), image.shape), *coloured(view, drawn)]
            again = crops.crop_flip_resize(image, view, own, size)
            if not np.array_equal(again, found.cut[row, number]):
                # Then it is one of the small images that are cut a batch at a time.
                batch = matrix_views.sample(
                    recipe, seeds.step_seed(seed, "geometry", 0), len(found.ids),
                    *image.shape[:2],
                )  # fmt: skip
                *crop, flip = (
                    batch[n][number, row] for n in ("y", "x", "h", "w", "flip")
                )
                text[0] = cut(crop, bool(flip), image.shape)
            where = f"image {row} (id {example}) view {number + 1}"
            lines.append(f"    {where}: " + ", ".join(text))
    return found.views, lines, originals


def cut(crop, flip: bool, shape: tuple[int, ...]) -> str:
    """What the geometry drew, in words."""
    y, x, h, w = (int(value) for value in crop)
    whole = f"{shape[0]}x{shape[1]}"
    return f"{h}x{w} of {whole} at ({y}, {x})" + (", flipped" if flip else "")


def coloured(view, drawn: dict[str, np.ndarray]) -> list[str]:
    """What the photometry drew, in words; only what was applied."""
    order = [_JITTER[number] for number in drawn["order"]]
    numbers = " ".join(f"{name} {drawn[name]:.3f}" for name in order)
    words = {
        "jitter": f"jitter {numbers}",
        "blur": f"blur sigma {drawn['sigma']:.2f}",
    }
    if "noise" in drawn:
        y, x, h, w = (f"{share:.2f}" for share in drawn["recrop_box"])
        mirrored = ", flipped" if drawn["mirrored"] else ""
        words |= {
            "recrop": f"recrop {h}x{w} at ({y}, {x}){mirrored}",
            "cutout": f"cutout side {drawn['cutout_side']:.2f} around "
            "({:.2f}, {:.2f})".format(*drawn["cutout_center"]),
            "noise": f"noise sigma {drawn['noise_sigma']:.3f}",
            "rotate": f"rotate {90 * drawn['turns']} degrees",
        }
    return [words.get(name, name) for name in view.active if drawn[name]]


_JITTER = ("brightness", "contrast", "saturation", "hue")


def strip(views, side: int) -> Image.Image:
    """One picture: a column per image, a row per view, each shrunk to a square."""
    rows = []
    for number in range(len(views[0])):
        pictures = [Image.fromarray(of_image[number]) for of_image in views]
        grow = pictures[0].width < side
        how = Image.Resampling.NEAREST if grow else Image.Resampling.BOX
        rows.append(np.hstack([p.resize((side, side), how) for p in pictures]))
    return Image.fromarray(np.vstack(rows))


def save(picture: Image.Image, path: Path) -> None:
    """Writes a PNG with a palette, a third of the size of one without."""
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
