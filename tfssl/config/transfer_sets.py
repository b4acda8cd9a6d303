"""The data sets of `--mode=transfer`: the papers' twelve, and the user's own.

Sizes, metrics and numbers are those of SimCLR's appendix B.8 and table 8 and of BYOL's
appendix D and table 3. Layer 0, no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence

from tfssl.config import tables
from tfssl.config.dataset_name import located
from tfssl.config.flag import NAMES, NUMBERS, PATHS, Flags, flag
from tfssl.errors import ConfigError, message, unknown

PAPERS = "papers"
"""Stands for all twelve in `--transfer`."""

TOP1, PER_CLASS, MAP_11, MAP = "top1", "mean_per_class", "map_11", "map"


@dataclasses.dataclass(frozen=True)
class TransferFlags(Flags, title="transfer", scope="free"):
    """Flags of `--mode=transfer`."""

    transfer: tuple[str, ...] = flag(
        (),
        "data sets, with commas: papers (SimCLR's and BYOL's twelve), names of those, "
        "folder:DIR and whatever else --dataset takes, NAME=folder:DIR",
        kind=NAMES,
    )
    transfer_runs: tuple[str, ...] = flag(
        (), "other runs to compare with, with commas: rows of one table", kind=PATHS
    )
    transfer_shots: tuple[float, ...] = flag(
        (1, 2, 5, 10, 25),
        "images a class of the few-shot tables; empty: none",
        kind=NUMBERS,
    )
    transfer_draws: int = flag(5, "draws of the few-shot images", low=1)
    transfer_sweep: str = flag(
        "none",
        "fine-tuning beside the linear classifiers: none; papers (SimCLR's B.8.2: 56 "
        "trainings of 20,000 steps a set); short (3 of 1,000 steps)",
        choices=("none", "short", "papers"),
    )


@dataclasses.dataclass(frozen=True)
class Sweep:
    """What fine-tuning tries on each data set.

    Attributes:
      steps: Updates of each training.
      rates: Learning rates, at a batch of 256.
      decays: Weight decays, to be divided by the learning rate.
    """

    steps: int
    rates: tuple[float, ...]
    decays: tuple[float, ...]


def _spaced(low: float, high: float, count: int) -> tuple[float, ...]:
    step = (high - low) / (count - 1)
    return tuple(round(10 ** (low + i * step), 10) for i in range(count))


SWEEPS: Mapping[tuple[str, bool], Sweep] = {
    ("papers", True): Sweep(20_000, _spaced(-4, -1, 7), (0.0, *_spaced(-6, -3, 7))),
    ("papers", False): Sweep(40_000, _spaced(-3, 0, 7), _spaced(-5, -1.5, 8)),
    ("short", True): Sweep(1_000, (1e-3, 1e-2, 1e-1), (0.0,)),
    ("short", False): Sweep(1_000, (1e-2, 1e-1, 1.0), (0.0,)),
}
"""`--transfer_sweep`, and whether the encoder is trained, to the sweep."""


@dataclasses.dataclass(frozen=True)
class TransferSet:
    """One data set to transfer to.

    Attributes:
      name: In `--transfer` and in tables.
      title: In words.
      sources: `--dataset`s that it may be, the first that is there counts.
      metric: The leading one; "": accuracy, or mean average precision where images
        have several labels.
      train: Splits' sizes in the papers, 0 where there are none: images to train on,
      validation: to choose the L2 value with,
      test: and to score.
      validates: The split to choose with; "": a part of the training split.
      tests: The split to score.
    """

    name: str
    title: str
    sources: tuple[str, ...]
    metric: str = ""
    train: int = 0
    validation: int = 0
    test: int = 0
    validates: str = ""
    tests: str = "test"

    @property
    def prepare(self) -> str:
        """The command, or the folders, that put it on a machine."""
        kind, _, argument = self.sources[0].partition(":")
        if kind == "tfds":
            return f"tfds build {argument} --data_dir=DATA_DIR"
        return (
            f"class folders in DATA_DIR/{self.name}/train and /test, or lists "
            f"DATA_DIR/{self.name}/train.txt and test.txt (list: format)"
        )


def _of_the_papers(
    name: str,
    title: str,
    tfds: str,
    metric: str,
    sizes: tuple[int, int, int],
    validates: str = "",
    tests: str = "test",
) -> TransferSet:
    sources = (f"tfds:{tfds}",) if tfds else ()
    own = (f"folder:{name}", f"list:{name}/{{split}}.txt")
    return TransferSet(
        name, title, (*sources, *own), metric, *sizes, validates, tests
    )  # fmt: skip


_OFFICIAL = "validation"

SUITE: Mapping[str, TransferSet] = {
    row.name: row
    for row in (
        _of_the_papers("food101", "Food-101", "food101", TOP1,
                       (68_175, 7_575, 25_250), tests="validation"),
        _of_the_papers("cifar10", "CIFAR-10", "cifar10", TOP1,
                       (45_000, 5_000, 10_000)),
        _of_the_papers("cifar100", "CIFAR-100", "cifar100", TOP1,
                       (44_933, 5_067, 10_000)),
        _of_the_papers("birdsnap", "Birdsnap", "", TOP1, (42_405, 4_981, 2_443)),
        _of_the_papers("sun397", "SUN397", "sun397/standard-part1-120k", TOP1,
                       (15_880, 3_970, 19_850)),
        _of_the_papers("cars", "Stanford Cars", "cars196", TOP1,
                       (6_494, 1_650, 8_041)),
        _of_the_papers("aircraft", "FGVC Aircraft", "", PER_CLASS,
                       (3_334, 3_333, 3_333), _OFFICIAL),
        _of_the_papers("voc2007", "VOC 2007", "voc/2007", MAP_11,
                       (2_501, 2_510, 4_952), _OFFICIAL),
        _of_the_papers("dtd", "DTD", "dtd", TOP1, (1_880, 1_880, 1_880), _OFFICIAL),
        _of_the_papers("pets", "Oxford-IIIT Pets", "oxford_iiit_pet", PER_CLASS,
                       (2_940, 740, 3_669)),
        # TFDS has 3,059 and 6,085: its own draw of 30 a class.
        _of_the_papers("caltech101", "Caltech-101", "caltech101", PER_CLASS,
                       (2_550, 510, 6_084)),
        _of_the_papers("flowers", "Oxford 102 Flowers", "oxford_flowers102", PER_CLASS,
                       (1_020, 1_020, 6_149), _OFFICIAL),
    )
}  # fmt: skip
"""The twelve, in the order of the papers' tables."""

_LINEAR = {
    ("SimCLR", "resnet50"): (68.4, 90.6, 71.6, 37.4, 58.8, 50.3, 50.3, 80.5, 74.5,
                             83.6, 90.3, 91.2),
    ("SimCLR", "resnet50x4"): (76.9, 95.3, 80.2, 48.4, 65.9, 60.0, 61.2, 84.2, 78.9,
                               89.2, 93.9, 95.0),
    ("BYOL", "resnet50"): (75.3, 91.3, 78.4, 57.2, 62.2, 67.8, 60.6, 82.5, 75.5, 90.4,
                           94.2, 96.1),
}  # fmt: skip

_FINETUNED = {
    ("SimCLR", "resnet50x4"): (89.4, 98.6, 89.0, 78.2, 68.1, 92.1, 87.0, 86.6, 77.8,
                               92.1, 94.1, 97.6),
    ("BYOL", "resnet50"): (88.5, 97.8, 86.1, 76.3, 63.7, 91.6, 88.1, 85.4, 76.2, 91.7,
                           93.8, 97.0),
}  # fmt: skip
_PUBLISHED = {"linear": _LINEAR, "finetune": _FINETUNED}
"""Per cent, after 1,000 epochs on ImageNet, in SUITE's order."""


def published(
    encoder: str, names: Sequence[str], protocol: str = "linear"
) -> dict[str, list[float | None]]:
    """Returns what the papers report for a protocol on a backbone.

    Args:
      encoder: `--encoder`.
      protocol: `"linear"` or `"finetune"`; of others there is nothing.
      names: Of data sets; others than the twelve have no number.

    Returns:
      Row in a table to a share for each name.
    """
    return {
        f"{method} {backbone}, published": [
            dict(zip(SUITE, (v / 100 for v in row), strict=True)).get(name)
            for name in names
        ]
        for (method, backbone), row in _PUBLISHED.get(protocol, {}).items()
        if backbone == encoder and set(names) & set(SUITE)
    }


def chosen_sets(entries: Sequence[str], data_dir: str = "") -> list[TransferSet]:
    """Reads `--transfer`.

    Args:
      entries: `papers`, names of the twelve, `--dataset`s, or `NAME=--dataset`, which
        gives a name to one's own, or another place to one of the twelve.
      data_dir: Where relative folders of the twelve are.

    Raises:
      ConfigError: A name that is none, or the same one twice; all of them.
    """
    problems: list[str] = []
    found: dict[str, TransferSet] = {}
    for entry in entries:
        for row in _sets(entry, data_dir, problems):
            if row.name in found:
                problems.append(
                    message(f"{row.name} twice in --transfer", "each set once", "one")
                )
            found[row.name] = row
    if problems:
        raise ConfigError(problems)
    return list(found.values())


def _sets(entry: str, data_dir: str, problems: list[str]) -> list[TransferSet]:
    if entry == PAPERS:
        return [_placed(row, data_dir) for row in SUITE.values()]
    if entry in SUITE:
        return [_placed(SUITE[entry], data_dir)]
    name, equal, spec = entry.partition("=")
    if not equal or ":" in name:  # a path may hold "="
        name, spec = entry, entry
    kind, colon, argument = spec.partition(":")
    if kind not in tables.DATASETS or not (argument or kind == "shapes"):
        if colon or equal:
            problems.append(
                message(f"--transfer={entry}", tables.DATASET_FORMS, "folder:DIR")
            )
        else:
            known = [PAPERS, *SUITE, *(f"{k}:…" for k in tables.DATASETS)]
            problems.append(unknown("--transfer", entry, known))
        return []
    if name in SUITE:
        return [dataclasses.replace(SUITE[name], sources=(spec,))]
    return [TransferSet(name, name, (spec,))]


def _placed(row: TransferSet, data_dir: str) -> TransferSet:
    """The row with its folder and its lists where `--data_dir` says."""
    sources = []
    for spec in row.sources:
        kind, _, argument = spec.partition(":")
        if kind != "tfds":
            spec = f"{kind}:{os.path.abspath(located(argument, data_dir))}"
        sources.append(spec)
    return dataclasses.replace(row, sources=tuple(sources))
