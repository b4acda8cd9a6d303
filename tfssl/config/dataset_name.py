"""The grammar of `--dataset`: `KIND:ARGUMENT`, and what it names on this machine.

Layer 0, no TensorFlow. `folder:A,B` names two folders, `list:FILE` a text file of
paths, `arrays:FILE` arrays, `tfrecord:GLOB` files; `{split}` in FILE or GLOB stands
for the split's name.
"""

from __future__ import annotations

import glob
import os
import re

from tfssl.config.label_cells import fractions

SPLIT = "{split}"

SPELLINGS = {
    "train": ("train", "training", "trn"),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test", "testing", "tst", "eval", "evaluation"),
}
"""How the splits are called, in any case, also as `train_set`, `TestImages`, `val2017`.
"""

_ENDING = re.compile(r"[ _.-]*(set|split|data|images|imgs)?([ _.-]*(19|20)\d\d)?")


def role(name: str) -> str:
    """`"train"`, `"validation"` or `"test"`, if a name is one of a split; else ""."""
    lower = name.strip().lower()
    for split, spellings in SPELLINGS.items():
        for spelling in spellings:
            rest = lower.removeprefix(spelling)
            if rest != lower and _ENDING.fullmatch(rest):
                return split
    return ""


def is_own_name(split: str) -> bool:
    """Whether a name is a data set's own, such as `val2017`: it then means no other."""
    return not any(split.lower() in spelled for spelled in SPELLINGS.values())


def roles(split: str) -> tuple[str, ...]:
    """The splits that a name asks for, the first that is there counts; () for none."""
    asked = role(split)
    held_out = (
        ("validation", "test") if asked == "validation" else ("test", "validation")
    )
    return (asked,) if asked == "train" else held_out if asked else ()


def is_held_out(split: str) -> bool:
    """Whether a name asks for images that are not trained on."""
    return role(split) in ("validation", "test")


def names_of(split: str) -> tuple[str, ...]:
    """Returns the names that a split may have, the likeliest first."""
    spelled = [name for one in roles(split) for name in SPELLINGS[one]]
    ways = (str.lower, str.capitalize, str.upper)
    names = [split, *(way(name) for name in spelled for way in ways)]
    return tuple(dict.fromkeys(names))


def located(path: str, data_dir: str | None) -> str:
    """Returns a path as the user wrote it; a relative one below `data_dir`, if any."""
    path = os.path.expanduser(path)
    if data_dir and "://" not in path:
        path = os.path.join(os.path.expanduser(data_dir), path)
    return path if "://" in path else os.path.normpath(path)


def folders(argument: str, data_dir: str | None = None) -> list[str]:
    """Returns the folders of `folder:A,B`; one that is there may hold commas."""
    if not argument:
        return []
    whole = located(argument, data_dir)
    if "," not in argument or os.path.isdir(whole):
        return [whole]
    return [located(part.strip(), data_dir) for part in argument.split(",") if part]


def missing(dataset: str, data_dir: str | None = None) -> list[str]:
    """Returns the local paths that a data set names and that are not there."""
    kind, _, argument = dataset.partition(":")
    if kind == "folder":
        paths = folders(argument, data_dir)
        return [p for p in paths if "://" not in p and not os.path.isdir(p)]
    if kind in ("masks", "coco", "voc", "yolo") and argument:
        path = located(argument, data_dir)
        there = os.path.exists if kind == "coco" else os.path.isdir
        return [] if "://" in path or there(path) else [path]
    if kind in ("list", "tfrecord", "arrays") and argument:
        path = located(argument, None if kind == "list" else data_dir)
        if "://" in path:
            return []
        literal = kind != "tfrecord" and SPLIT not in path
        there = os.path.exists if kind == "arrays" else os.path.isfile
        found = there(path) if literal else glob.glob(path.replace(SPLIT, "*"))
        return [] if found else [path]
    return []


def annotated_folder(dataset: str, data_dir: str | None, targets: str) -> str:
    """The local folder of a data set whose opening reads annotations, else "".

    Args:
      dataset: `KIND:ARGUMENT`.
      data_dir: Of `--data_dir`.
      targets: What is wanted beside a label: `"boxes"`, `"mask"`, or nothing.
    """
    kind, _, argument = dataset.partition(":")
    if kind == "tfds" and targets:
        data_dir = data_dir or os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
        argument = re.split("[/:]", argument)[0]
    elif kind not in ("masks", "coco", "voc", "yolo"):
        return ""
    path = located(argument, data_dir) if argument else ""
    path = os.path.dirname(path) or "." if os.path.isfile(path) else path
    return path if os.path.isdir(path) else ""


def missing_list(label_fraction: float | str) -> str:
    """Returns the local file that `--label_fraction` names and is not there, or ""."""
    more = fractions(label_fraction)[1:]
    if isinstance(label_fraction, str) and "://" not in label_fraction and not more:
        path = label_fraction.removeprefix("list:")
        return "" if os.path.isfile(path) else path
    return ""
