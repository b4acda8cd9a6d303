"""Which mask belongs to which image, in the folders that data sets come in.

COCO's panoptic masks, which a JSON lists, are in `panoptic`. Others:

* PASCAL VOC: `JPEGImages/`, `SegmentationClass/`, and lists of names for each split in
  `ImageSets/Segmentation/`;
* Cityscapes: `leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png` and
  `gtFine/SPLIT/CITY/NAME_gtFine_labelIds.png`, whose numbers become the 19 classes of
  the benchmark (`_labelTrainIds` where they are so already);
* plain: `images/` and `masks/`, or others of the names below, with the split's folder
  above them, below them, in their names (`images_train/`, `train_masks/`, `valannot/`),
  or nowhere: then a tenth is held out, by a hash.

A mask has its image's path, but for the extension and one of `ENDINGS`. Where no exact
name fits, one that differs by upper and lower case does. Nothing is read but names. No
TensorFlow.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tfssl.augment.dense import IGNORED
from tfssl.config.dataset_name import is_own_name, role, roles
from tfssl.data.scan import EXTENSIONS, LEFTOVERS, files_below, is_image
from tfssl.data.text_files import canonical, listed_names, path_lines, text_of
from tfssl.errors import DataError, message, printable, unknown

IMAGES = ("images", "image", "imgs", "img", "jpegimages", "leftimg8bit", "photos")
MASKS = (
    "masks", "mask", "segmentationclass", "segmentationclassaug",
    "segmentationclasspng", "annotations", "labels", "labelmaps", "gtfine", "gtcoarse",
    "segmentation", "stuffthingmaps",
)  # fmt: skip
ENDINGS = ("_gtfine_labelids", "_gtfine_labeltrainids", "_gtcoarse_labelids",
           "_gtcoarse_labeltrainids", "_labelids", "_labeltrainids",
           "_mask", "_masks", "_label", "_labels", "_seg", "_segmentation", "_gt",
           "_annotation", "_l", "-mask", "-label", "-seg", "-gt")  # fmt: skip
"""What a mask's name may have behind its image's; of several the first counts."""
ENDINGSEXTENSIONS = ("_leftimg8bit",)
_OF_MASKS = (".png", ".bmp", ".gif", ".tif", ".tiff", ".jpg", ".jpeg")
CLASS_FILES = ("classes.txt", "class_names.txt", "labels.txt")

VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat",
    "chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant",
    "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
CITYSCAPES: Mapping[int, str] = {
    7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole",
    19: "traffic light", 20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky",
    24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 31: "train",
    32: "motorcycle", 33: "bicycle",
}  # fmt: skip
"""labelIds of the classes that the benchmark scores, in the order of its trainIds; all
others are ignored (mcordts/cityscapesScripts, `helpers/labels.py`)."""


def require_few(names: Sequence[str]) -> None:
    """Refuses more classes than a mask has numbers for.

    Raises:
      DataError: So many are there.
    """
    if len(names) > IGNORED:
        got = f"{len(names)} names of classes"
        hint = "a file of the names of these masks' numbers"
        raise DataError(message(got, f"at most {IGNORED}: 255 is no class", hint))


def numbered(ids: Mapping[int, str]) -> np.ndarray:
    """Returns uint8 `[256]`: the place of each number among `ids`, else `IGNORED`."""
    table = np.full(256, IGNORED, np.uint8)
    table[list(ids)] = np.arange(len(ids))
    return table


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Images of one split with their masks.

    Attributes:
      images: Paths below the root, in order.
      masks: Likewise, one an image.
      bare: Images without a mask.
      lone: Masks without an image.
      notes: What was decided, one sentence each.
      held_out: Where held-out images come from, in words.
      pooled: Images and masks have no splits: a tenth is to be held out.
      names: Of the classes, where the layout or a file tells; else empty.
      sure: A file of the data set, or its numbers, tell the names; the layout alone
        only suggests them.
      table: uint8 `[256]`, from a file's numbers to classes; None: they are classes.
      segments: Where a mask's colours are ids of segments: the class of each id, one
        table a mask.
    """

    images: list[str]
    masks: list[str]
    bare: list[str]
    lone: list[str]
    notes: tuple[str, ...]
    held_out: str
    pooled: bool
    names: tuple[str, ...]
    sure: bool
    table: np.ndarray | None
    segments: Sequence[Mapping[int, int]] | None = None


def pairs(root: str, split: str) -> Pairs:
    """Finds the images of a split and their masks.

    Args:
      root: Folder of the data set.
      split: `train`, a held-out one, another that is there, or `all`.

    Raises:
      DataError: No such split, no folders of images and masks, or no pair in them.
    """
    places, held_out = _places(root, split)
    images: dict[str, str] = {}
    masks: dict[str, str] = {}
    doubles: list[str] = []
    double_masks: list[str] = []
    for image_folder, mask_folder in places:
        for path in _files(root, image_folder, EXTENSIONS):
            name = _name(path, image_folder, ENDINGSEXTENSIONS)
            if name in images:
                doubles.append(path)
            images.setdefault(name, path)
        for path in sorted(_files(root, mask_folder, _OF_MASKS), key=_kind):
            name = _name(path, mask_folder)
            if name in masks:
                double_masks.append(path)
            masks.setdefault(name, path)
    in_gt = any(_within(folder, "gt") for _, folder in places)
    if in_gt:  # Cityscapes' colours, instances and polygons stand there too
        masks = {n: p for n, p in masks.items() if _ending(n)}
    notes = []
    if doubles:
        notes.append(
            f"{len(doubles)} images have the name of another image and are left out, "
            f"such as {printable(doubles[0])}"
        )
    if double_masks:
        notes.append(
            f"{len(double_masks)} masks have the name of another mask and are left "
            f"out, such as {printable(double_masks[0])}"
        )
    there = {name.casefold(): name for name in images}
    wanted = _listed_names(root, split, there)
    if wanted is not None:
        names, held_out = wanted
        named = [there.get(name.casefold(), "") for name in names]
        if lost := [n for n, found in zip(names, named, strict=True) if not found]:
            notes.append(
                f"{len(lost)} names of {held_out} have no image, such as "
                f"{printable(lost[0])}"
            )
        images = {name: images[name] for name in named if name}
        kept = {name.casefold() for name in names}
        masks = {n: p for n, p in masks.items() if n.casefold() in kept}
    found, lone, differing = _paired(images, masks)
    if differing:
        notes.append(
            f"{len(differing)} masks have the name of their image but for upper and "
            f"lower case, such as {printable(differing[0])}"
        )
    if not found:
        raise DataError(_no_pair(root, split, images, masks))
    used = {image for image, _ in found}
    of_ids = in_gt and any("_labelids" in mask.lower() for _, mask in found)
    classes, sure = _class_names(root, in_gt, [folder for _, folder in places])
    return Pairs(
        [image for image, _ in found],
        [mask for _, mask in found],
        [path for path in images.values() if path not in used],
        lone,
        tuple(notes),
        held_out,
        not held_out,
        classes,
        sure or of_ids,
        numbered(CITYSCAPES) if of_ids else None,
    )


def _no_pair(
    root: str, split: str, images: Mapping[str, str], masks: Mapping[str, str]
) -> str:
    some = [next(iter(found.values()), "none") for found in (images, masks)]
    return message(
        f"masks:{root} with {len(images)} images and {len(masks)} masks for split "
        f"{split}, and no name in common (such as {printable(some[0])} and "
        f"{printable(some[1])})",
        "a mask named as its image, as PNG",
        "images/a.jpg with masks/a.png",
    )


def _folders(place: str) -> dict[str, str]:
    """Lower-case name to name of the folders in a folder; hidden ones are none."""
    with os.scandir(place) as found:
        return {
            e.name.lower(): e.name
            for e in found
            if e.is_dir() and e.name[0] != "_" and not LEFTOVERS.fullmatch(e.name)
        }


def _first(place: str, names: tuple[str, ...]) -> str:
    there = _folders(place) if os.path.isdir(place) else {}
    return next((there[name] for name in names if name in there), "")


def plain_splits(root: str) -> dict[str, tuple[str, str]]:
    """Split to its folder of images and that of masks, where these are apart."""
    images, masks = _first(root, IMAGES), _first(root, MASKS)
    if images and masks:
        of_masks = _folders(os.path.join(root, masks))
        inside = {
            name: (f"{images}/{name}", f"{masks}/{of_masks[same]}")
            for lower, name in _folders(os.path.join(root, images)).items()
            if (same := _same(lower, of_masks))
        }
    else:
        inside = {
            name: (f"{name}/{i}", f"{name}/{m}")
            for name in _folders(root).values()
            if (i := _first(os.path.join(root, name), IMAGES))
            and (m := _first(os.path.join(root, name), MASKS))
        } or _side_by_side(_folders(root))
    return {name: place for name, place in inside.items() if role(name)}


def _places(root: str, split: str) -> tuple[list[tuple[str, str]], str]:
    """The folders of images and of masks of a split; where held-out ones are."""
    if not os.path.isdir(root):
        raise DataError(message(f"masks:{root}", "a folder", "an existing path"))
    by_split = plain_splits(root)
    images, masks = _first(root, IMAGES), _first(root, MASKS)
    if by_split and all(role(name) == "train" for name in by_split):
        return [*by_split.values()], ""
    lists = split_lists(root)
    if images and masks and (not by_split or lists):
        return [(images, masks)], ""
    if not by_split:
        there = ", ".join(sorted(_folders(root).values())[:8]) or "no folders"
        raise DataError(
            message(
                f"masks:{root}, which holds {there}",
                "a folder of images beside one of masks, PASCAL VOC's or Cityscapes' "
                "folders, or COCO's panoptic_SPLIT.json",
                "images/ and masks/ with files of the same names",
            )
        )
    if split == "all":
        return list(by_split.values()), ", ".join(sorted(by_split))
    name = chosen_split(split, [*by_split], f"masks:{root}")
    return [by_split[name]], name if role(split) != "train" else other_splits(by_split)


def _same(name: str, there: Mapping[str, str]) -> str:
    """The folder of that name, or the only one that is called after the same split."""
    if name in there:
        return name
    alike = [other for other in there if role(name) and role(other) == role(name)]
    return alike[0] if len(alike) == 1 else ""


def _side_by_side(there: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Splits whose folders say in one name what they hold: `val_images`, `val_masks`.

    Where a name has a split alone, as in `val` beside `val_labels` or `valannot`, these
    are images.
    """
    found: dict[str, list[str]] = {}
    for lower, name in there.items():
        words = re.split(r"[ _.-]+", re.sub(r"(?<=[a-z])annot$", "_annotations", lower))
        split = "_".join(word for word in words if word not in (*IMAGES, *MASKS))
        if role(split):
            places = found.setdefault(split, ["", ""])
            places[any(word in MASKS for word in words)] = name
    return {split: (i, m) for split, (i, m) in found.items() if i and m}


def other_splits(by_split: Mapping[str, object]) -> str:
    """Names of those that are not trained on."""
    return ", ".join(sorted(n for n in by_split if role(n) != "train"))


def chosen_split(split: str, there: list[str], what: str) -> str:
    """The split's name among those that are there.

    What is held out is the validation split before the test split, whose masks the
    benchmarks keep for themselves.
    """
    lower = {name.lower(): name for name in there}
    if is_own_name(split) and split.lower() in lower:
        return lower[split.lower()]
    if role(split) == "test":
        asked: tuple[str, ...] = ("validation", "test")
    else:
        if split.lower() in lower:
            return lower[split.lower()]
        asked = roles(split)
    for one in asked:
        fitting = sorted((n for n in there if role(n) == one), key=len)
        if fitting:
            return fitting[0]
    raise DataError(unknown(f"split of {what}", split, [*sorted(there), "all"]))


def split_lists(root: str) -> dict[str, str]:
    """Split to the file of VOC's list of names."""
    folder = os.path.join(root, "ImageSets", "Segmentation")
    if not os.path.isdir(folder):
        return {}
    names = [n for n in sorted(os.listdir(folder)) if n.endswith(".txt")]
    return {n[:-4]: os.path.join(folder, n) for n in names}


def _listed_names(
    root: str, split: str, there: Mapping[str, str]
) -> tuple[list[str], str] | None:
    """The names that VOC's list of a split holds, and the list's name.

    Args:
      root: Folder of the data set.
      split: The split.
      there: Names of images, in lower case: of those with blanks.
    """
    lists = split_lists(root)
    if not lists or split == "all":
        return None
    name = chosen_split(split, [*lists], f"masks:{root}")
    with open(lists[name], "rb") as file:
        lines = filter(None, map(str.strip, path_lines(file.read())))
    names = []
    for line in lines:
        forms = [form.rsplit("/", 1)[-1] for form in (line, line.split()[0])]
        forms = [os.path.splitext(f)[0] if is_image(f) else f for f in forms]
        forms = list(map(canonical, forms))
        names.append(next((f for f in forms if f.casefold() in there), forms[-1]))
    return list(dict.fromkeys(names)), f"ImageSets/Segmentation/{name}.txt"


def _files(root: str, folder: str, extensions: tuple[str, ...]) -> Iterator[str]:
    """Paths below the root of the files in a folder that are not hidden, in order."""
    for path in files_below(root, folder):
        inside = path[len(folder) + 1 :]
        if inside.lower().endswith(extensions) and "/_" not in f"/{inside}".rpartition(
            "/"
        )[0]:  # fmt: skip
            yield path


def _within(folder: str, prefix: str) -> bool:
    """Whether a folder of a path has a name that begins so."""
    return any(part.lower().startswith(prefix) for part in folder.split("/"))


def _kind(path: str) -> int:
    """PNG before others: of two masks of a name the first counts."""
    return _OF_MASKS.index(os.path.splitext(path)[1].lower())


def _name(path: str, folder: str, endings: tuple[str, ...] = ()) -> str:
    """A file's path below its folder, without extension and ending."""
    stem = canonical(os.path.splitext(path)[0][len(folder) + 1 :])
    return stem[: len(stem) - len(_ending(stem, endings))]


def _ending(name: str, endings: tuple[str, ...] = ENDINGS) -> str:
    return next((e for e in endings if name.lower().endswith(e)), "")


def _paired(
    images: Mapping[str, str], masks: Mapping[str, str]
) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    """Pairs of paths; masks without an image; masks that differ by case."""
    # In the order of `ENDINGS`: of a mask in several forms the first one counts.
    ranked = sorted(
        masks, key=lambda n: (ENDINGS.index(e) if (e := _ending(n)) else -1, n)
    )
    forms: dict[str, str] = {}
    loose: dict[str, list[str]] = {}
    for name in ranked:
        for form in (name, name[: len(name) - len(_ending(name))]):
            forms.setdefault(form, name)
            loose.setdefault(form.casefold(), []).append(name)
    found, used, differing = [], set(), []
    for name, path in images.items():
        mask = name if name in masks else forms.get(name, "")
        if not mask and (near := loose.get(name.casefold())):
            mask = near[0]
            differing.append(masks[mask])
        if mask:
            found.append((path, masks[mask]))
            used |= {*loose[name.casefold()]}
    return found, [masks[name] for name in masks if name not in used], differing


def _class_names(
    root: str, cityscapes: bool, folders: list[str]
) -> tuple[tuple[str, ...], bool]:
    """Names of the classes, and whether the data set itself tells them."""
    for name in CLASS_FILES:
        path = os.path.join(root, name)
        if os.path.isfile(path):
            return _names_in(path), True
    if cityscapes:
        return tuple(CITYSCAPES.values()), False
    voc = any(_within(folder, "segmentationclass") for folder in folders)
    return (VOC_CLASSES if voc and split_lists(root) else ()), False


def _names_in(path: str) -> tuple[str, ...]:
    """Names of a file, see `listed_names`; one of number 255 is none.

    Those that stand there twice have their number behind them.
    """
    with open(path, "rb") as file:
        text, _ = text_of(file.read())
    names = listed_names(text.splitlines())
    names = names[:IGNORED] if len(names) == IGNORED + 1 else names
    while names and not names[-1]:
        names = names[:-1]
    if len(names) > IGNORED:
        return names  # refused
    twice = {"", *(name for name in names if names.count(name) > 1)}
    return tuple(
        f"{name or 'class'} {number}" if name in twice else name
        for number, name in enumerate(names)
    )
