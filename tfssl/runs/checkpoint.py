"""One checkpoint on disk: a tensor bundle under our own names, and its manifest."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfssl.core import variables
from tfssl.core.paths import AnyPath, named_errors, sync
from tfssl.errors import CheckpointError, DivergenceError, RemoteError, message

Tensors = Mapping[str, np.ndarray | tf.Tensor]

MANIFEST = "manifest.json"
"""Written last: a folder without it is half a checkpoint."""
NAME = r"step-(\d{9})"
"""Pattern of a checkpoint's folder; see `name_of`."""
_ADDED_LATER = {"rate_factor": np.float32(1.0)}
"""Names that older checkpoints lack, with the value that they meant."""


def name_of(step: int) -> str:
    """Returns the name of the folder of one step's checkpoint."""
    return f"step-{step:09d}"


def write(folder: Path, step: int, tensors: Tensors) -> None:
    """Writes one checkpoint, through to the disk.

    Args:
      folder: An empty folder of this disk.
      step: Number of updates made.
      tensors: Name to value.

    Raises:
      OSError: Or `tf.errors.OpError`: the disk is full or not writable.
    """
    tf.raw_ops.SaveV2(
        prefix=str(folder / "tensors"),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=list(tensors.values()),
    )
    files = {}
    for file in sorted(folder.iterdir()):
        sync(file)
        files[file.name] = {"bytes": file.stat().st_size, "sha256": _sha256(file)}
    shapes = {n: [str(np.asarray(t).dtype), *t.shape] for n, t in tensors.items()}
    manifest = {"format": 1, "step": step, "files": files, "tensors": shapes}
    with open(folder / MANIFEST, "w", encoding="utf-8") as out:
        json.dump(manifest, out, indent=1)
    sync(folder / MANIFEST)
    sync(folder)


def refuse_non_finite(tensors: Tensors, step: int) -> None:
    """Raises `DivergenceError` where a tensor holds NaN or infinity."""
    for name, tensor in tensors.items():
        value = np.asarray(tensor)
        # A sum is finite only if all terms are, and needs no array of flags; where it
        # overflows, the slow way decides.
        if (
            value.dtype.kind == "f"
            and not math.isfinite(value.sum(dtype=np.float64))
            and not np.isfinite(value).all()
        ):
            raise DivergenceError(
                message(
                    f"NaN or infinity in the weights ({name}) at step {step}",
                    "finite weights",
                    "a smaller learning_rate; the checkpoint before is kept",
                )
            )


def _sha256(file: AnyPath) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as data:
        while block := data.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def damage(folder: AnyPath) -> str | None:
    """Returns what is wrong with a checkpoint's files, or None if they are whole.

    Raises:
      RemoteError: It cannot be told: a bucket is out of reach.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        files = manifest["files"]
    except RemoteError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{MANIFEST}: {error}"
    for name, expected in files.items():
        file = folder / name
        if not file.is_file():
            return f"{name} is missing"
        size = file.stat().st_size
        if size != expected["bytes"]:
            return f"{name} has {size} bytes instead of {expected['bytes']}"
        if _sha256(file) != expected["sha256"]:
            return f"{name} has another checksum"
    return None


def read(folder: AnyPath, prefix: str = "") -> dict[str, np.ndarray]:
    """Reads the tensors whose names begin with `prefix`, by name."""
    with _reader(folder) as reader:
        return {
            name: reader.get_tensor(name)
            for name in reader.get_variable_to_shape_map()
            if name.startswith(prefix)
        }


@contextlib.contextmanager
def _reader(folder: AnyPath) -> Iterator[tf.train.CheckpointReader]:
    # tf.train.load_checkpoint takes a prefix for a folder on some file systems.
    with named_errors(folder):
        yield tf.compat.v1.train.NewCheckpointReader(str(folder / "tensors"))


def assign(
    folder: AnyPath,
    items: dict[str, tf.Variable],
    concerns: Callable[[str], bool] = lambda name: True,
) -> None:
    """Assigns a checkpoint's tensors to variables by name; strict.

    One after the other, so that a large network is not in memory twice.

    Args:
      folder: The checkpoint.
      items: Name to variable.
      concerns: Which of the checkpoint's names must have a variable.

    Raises:
      CheckpointError: Names are missing or surplus, or shapes differ; all are listed.
    """
    with _reader(folder) as reader:
        shapes = {
            name: tuple(shape)
            for name, shape in reader.get_variable_to_shape_map().items()
            if concerns(name)
        }
        added = {
            name: value
            for name, value in _ADDED_LATER.items()
            if name in items and name not in shapes
        }
        shapes |= {name: value.shape for name, value in added.items()}
        problems = [f"missing {n}" for n in items if n not in shapes]
        problems += [f"surplus {n}" for n in shapes if n not in items]
        problems += [
            f"{n} has shape {shapes[n]} instead of {tuple(v.shape)}"
            for n, v in items.items()
            if n in shapes and shapes[n] != tuple(v.shape)
        ]
        if problems:
            shown = "; ".join(problems[:12]) + (" …" if len(problems) > 12 else "")
            raise CheckpointError(
                message(
                    f"{len(problems)} differences between {folder} and this run: "
                    + shown,
                    "the same names and shapes",
                    "the flags that the checkpoint was made with",
                )
            )
        for name, variable in items.items():
            value = added[name] if name in added else reader.get_tensor(name)
            variables.raw(variable).assign(value)
