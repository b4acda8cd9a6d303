"""`--mode=doctor`: looks at the data before a training; says what limits its speed."""

from __future__ import annotations

import json
from typing import Any

import tensorflow as tf

from tfssl import build
from tfssl.config import Config
from tfssl.config.tables import TARGETS
from tfssl.config.tasks import TASKS
from tfssl.data import Source, audit
from tfssl.data.encoded import Encoded
from tfssl.data.source import first_line
from tfssl.errors import DataError
from tfssl.runs import RunDirectory
from tfssl.show import console
from tfssl.tasks import Outcome, speed
from tfssl.tasks.dense_table import SOURCES

FILE = "doctor.json"
_NO_HASH = "not looked for: pip install ImageHash"


def run(config: Config) -> Outcome:
    """Writes `run_dir/doctor.json` and prints it as a table; trains nothing.

    It needs no trained run and leaves none behind: no `flags.cfg`, no checkpoint.

    Returns:
      What it found, the content of that file.
    """
    with RunDirectory(config.run_dir) as directory:
        found = _examine(config)
        text = json.dumps(found, indent=1) + "\n"
        directory.write_atomic(directory.path / FILE, text)
    for line in report(found):
        console.say(line)
    console.say(f"all names: {directory.path / FILE}")
    return Outcome(value=found)


def report(found: dict[str, Any]) -> list[str]:
    """The content of `doctor.json` as lines for people."""
    rows = [("", "training", "held out")]
    parts = [found["train"], found["held_out"]]
    for key in ("images", *_FINDINGS):
        rows.append((key, *(_count(part, key) for part in parts)))
    for key in ("mean", "std"):
        rows.append((f"colour {key}", *(_colour(part, key) for part in parts)))
    if found["train"]["of"] > found["train"]["images"]:
        rows[1] = ("images looked at", *(f"{_count(p, 'images')} of {p['of']}" if p
                   else "-" for p in parts))  # fmt: skip
    lines = [console.table(rows)]
    if leaks := found["leakage"]:
        near = leaks["near"]
        close = _NO_HASH if near is None else f"{near['count']} nearly"
        lines.append(
            f"held-out images that are training images: {leaks['exact']['count']} "
            f"exactly, {close}"
        )
    if classes := found["train"]["classes"]:
        (low, fewest), (high, most) = classes["smallest"], classes["largest"]
        spread = f"{fewest} images of {low}, {most} of {high}, median "
        each = f"{most} images each"
        lines.append(
            f"{classes['classes']} classes: "
            + (f"{spread}{classes['median']:g}" if fewest < most else each)
            + f"; {classes['unlabelled']} without a label"
        )
    lines += sentences(found)
    read = [part["read"] for parts in found["targets"].values() for part in parts]
    lines += [text for text in read if text not in lines]
    lines += found["notes"]
    rates = found["images_per_second"]
    if rates:
        named = ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items() if rate)
        lines.append(f"images a second: {named}")
    return [*lines, found["verdict"]]


def sentences(found: dict[str, Any]) -> list[str]:
    """Says of each finding in one sentence what follows from it."""
    said = {
        "unreadable": "cannot be read and are left out; why stands in the file below",
        "tiny": f"are tiny ({found['train']['tiny means']}): they blur",
        **audit.KINDS,
        "exact duplicates": "are copies of others, byte for byte",
    }
    lines = []
    for title in ("train", "held_out"):
        if part := found[title]:
            where = "training" if title == "train" else "held-out"
            lines.append(part["read"])
            lines += [
                f"{part[key]['count']} {where} images {text}"
                for key, text in said.items()
                if part[key]["count"] and key != "grey"
            ]
    return lines


_FINDINGS = (
    "unreadable", "tiny", *audit.KINDS, "exact duplicates", "near duplicates"
)  # fmt: skip


def _count(part: dict[str, Any] | None, key: str) -> str:
    value = part[key] if part else None
    if value is None:
        return "-"
    return str(value["count"] if isinstance(value, dict) else value)


def _colour(part: dict[str, Any] | None, key: str) -> str:
    return " ".join(f"{x:.3f}" for x in part["colour"][key]) if part else "-"


def _examine(config: Config) -> dict[str, Any]:
    notes = []
    train = build.source(config, config.train_split, memory=0)
    seen = _look(config, train, "training images")
    first = _summary(config, train, seen)
    second, leaks = None, None
    try:
        held_out = build.evaluation_source(config, memory=0, classes=train.class_names)
        others = _look(config, held_out, "held-out images")
        second = _summary(config, held_out, others)
        leaks = audit.leakage(seen, others)
    except DataError as error:
        notes.append(f"no held-out images: {error}")
    targets = _targets(config, train, notes)
    found = {
        "dataset": config.dataset,
        "train": first,
        "held_out": second,
        "leakage": leaks,
        "targets": targets,
        "images_per_second": {},
        "notes": notes,
    }
    if found["train"]["near duplicates"] is None:
        notes.append(f"near duplicates {_NO_HASH}")
    try:
        source = build.training_source(config)
        console.say("measuring decoding, pipeline and step, ten seconds each")
        found["images_per_second"] = speed.rates(config, source)
        found["verdict"] = speed.verdict(found["images_per_second"])
    except (DataError, tf.errors.OpError) as error:
        found["verdict"] = f"Speed was not measured: {first_line(error)}"
    return found


def _targets(
    config: Config, train: Source, notes: list[str]
) -> dict[str, list[dict[str, Any]]]:
    """How boxes and masks were read where files hold some, for each mode that learns.

    What such a mode would refuse is a note.
    """
    kind, found = config.dataset.partition(":")[0], {}
    there = getattr(train, "targets", ("boxes", "mask"))
    for mode, open_both in SOURCES.items():
        target = TASKS[mode].target
        # Drawn ones are what they are.
        if not isinstance(train, Encoded) or kind not in TARGETS[target]:
            continue
        if target not in there:
            continue
        try:
            found[mode] = [
                {"read": source.summary().text, "left_out": source.skipped()}
                for source in open_both(config)
            ]
        except DataError as error:
            notes.append(f"mode={mode}: {error}")
    return found


def _look(config: Config, source: Source, title: str) -> list[audit.Looked]:
    total = source.num_examples
    count = min(total, config.doctor_images or total)
    with console.Counter(count, title, shown=config.progress) as bar:
        return audit.look(source, config.doctor_images, bar.show)


def _summary(
    config: Config, source: Source, seen: list[audit.Looked]
) -> dict[str, Any]:
    tiny = config.image_size // 2  # enlarged to more than twice its size
    return audit.summary(seen, tiny) | {
        "of": source.num_examples,
        "tiny means": f"shorter side below {tiny} pixels",
        "classes": audit.balance(source),
        "read": source.summary().text,
        "summary": source.summary().as_dict(),
    }
