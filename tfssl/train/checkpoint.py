"""Checkpoints: one tensor bundle a step under our own names, complete or absent."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfssl.core import variables
from tfssl.errors import CheckpointError, DivergenceError, message

_FOLDER = re.compile(r"step-(\d{9})$")
_MANIFEST = "manifest.json"
_Tensors = Mapping[str, np.ndarray | tf.Tensor]
_LOGGER = logging.getLogger(__name__)


class CheckpointStore:
    """Writes, finds and reads the checkpoints of one run.

    `folder/step-000001000/` holds `tensors.index` and `tensors.data-*` (TensorFlow's
    bundle format, tensor names as in `RunState.items`) and `manifest.json` (names,
    shapes, sizes and SHA-256 of the files). A checkpoint is written beside and
    renamed, so it is complete or not there.

    Args:
      folder: `run_dir/checkpoints`.
      keep: Number of newest checkpoints to keep, >= 1.
    """

    def __init__(self, folder: Path, *, keep: int = 3):
        self.folder = Path(folder)
        self._keep = keep

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, ascending."""
        if not self.folder.is_dir():
            return []
        found = (_FOLDER.match(entry.name) for entry in self.folder.iterdir())
        return sorted(int(match[1]) for match in found if match)

    def path(self, step: int) -> Path:
        """Folder of one step's checkpoint."""
        return self.folder / f"step-{step:09d}"

    def save(self, step: int, items: dict[str, tf.Variable]) -> Path:
        """Writes one checkpoint and removes the oldest beyond `keep`.

        Args:
          step: Number of updates made.
          items: Name to variable.

        Returns:
          Folder of the checkpoint.

        Raises:
          DivergenceError: A tensor holds NaN or infinity; nothing is written.
          CheckpointError: The disk is full or not writable; older ones survive.
        """
        return self.save_tensors(step, {n: i.numpy() for n, i in items.items()})

    def save_tensors(self, step: int, tensors: _Tensors) -> Path:
        """`save` for what is in no variable: imported weights.

        Writing copies a NumPy array once more, and a TensorFlow tensor not.
        """
        _refuse_non_finite(tensors, step)
        target = self.path(step)
        writing = self.folder / f".writing-{step:09d}-{os.getpid()}"
        try:
            self._remove_abandoned()
            writing.mkdir(parents=True)
            _write_bundle(writing, tensors)
            _write_manifest(writing, step, tensors)
            if target.exists():
                shutil.rmtree(target)
            os.replace(writing, target)
        except (OSError, tf.errors.OpError) as error:
            shutil.rmtree(writing, ignore_errors=True)
            raise self._cannot_write(error, tensors) from error
        for old in self.steps()[: -self._keep]:
            shutil.rmtree(self.path(old), ignore_errors=True)
        return target

    def restore_newest(self, items: dict[str, tf.Variable]) -> int | None:
        """Assigns the newest undamaged checkpoint to the variables.

        Args:
          items: Name to variable, the names and shapes of the checkpoint.

        Returns:
          The step restored, or None where there is no checkpoint at all.

        Raises:
          CheckpointError: All are damaged, or names or shapes differ.
        """
        steps = self.steps()
        for step in reversed(steps):
            problem = damage(self.path(step))
            if problem is None:
                assign(read(self.path(step)), items, self.path(step))
                return step
            _LOGGER.warning(
                "checkpoint %s is damaged (%s); trying the one before",
                self.path(step),
                problem,
            )
        if steps:
            raise CheckpointError(
                message(
                    f"{len(steps)} damaged checkpoints in {self.folder}",
                    "one that is whole",
                    "a backup, or an empty --run_dir to start again",
                )
            )
        return None

    def _remove_abandoned(self) -> None:
        if self.folder.is_dir():
            for left in self.folder.glob(".writing-*"):
                shutil.rmtree(left, ignore_errors=True)

    def _cannot_write(self, error: Exception, tensors: _Tensors) -> CheckpointError:
        need = sum(np.asarray(t).nbytes for t in tensors.values())
        where = next(p for p in [self.folder, *self.folder.parents] if p.exists())
        free = shutil.disk_usage(where).free
        return CheckpointError(
            message(
                f"{error} while writing a checkpoint to {self.folder}",
                f"about {need / 1e6:.1f} MB of writable disk, {free / 1e6:.1f} MB free",
                "freeing space or another --run_dir; older checkpoints are untouched",
            )
        )


def _refuse_non_finite(tensors: _Tensors, step: int) -> None:
    for name, tensor in tensors.items():
        value = np.asarray(tensor)
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise DivergenceError(
                message(
                    f"NaN or infinity in {name} at step {step}",
                    "finite weights",
                    "a smaller --learning_rate; the checkpoint before is kept",
                )
            )


def _write_bundle(folder: Path, tensors: _Tensors) -> None:
    tf.raw_ops.SaveV2(
        prefix=str(folder / "tensors"),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=list(tensors.values()),
    )


def _write_manifest(folder: Path, step: int, tensors: _Tensors) -> None:
    files = {
        file.name: {"bytes": file.stat().st_size, "sha256": _sha256(file)}
        for file in sorted(folder.iterdir())
    }
    shapes = {n: [str(np.asarray(t).dtype), *t.shape] for n, t in tensors.items()}
    manifest = {"format": 1, "step": step, "files": files, "tensors": shapes}
    with open(folder / _MANIFEST, "w") as out:
        json.dump(manifest, out, indent=1)
        out.flush()
        os.fsync(out.fileno())


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with open(file, "rb") as data:
        while block := data.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint's files, or None if they are whole."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text())
        files = manifest["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{_MANIFEST}: {error}"
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


def read(folder: Path, prefix: str = "") -> dict[str, np.ndarray]:
    """Reads the tensors of a checkpoint whose names begin with `prefix`, by name."""
    reader = tf.train.load_checkpoint(str(folder / "tensors"))
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if name.startswith(prefix)
    }


def assign(
    tensors: dict[str, np.ndarray], items: dict[str, tf.Variable], source: Path
) -> None:
    """Assigns tensors to variables by name; strict. `tensors` is emptied on the way.

    Raises:
      CheckpointError: Names are missing or surplus, or shapes differ; all are listed.
    """
    problems = [f"missing {n}" for n in items if n not in tensors]
    problems += [f"surplus {n}" for n in tensors if n not in items]
    problems += [
        f"{n} has shape {tensors[n].shape} instead of {tuple(v.shape)}"
        for n, v in items.items()
        if n in tensors and tensors[n].shape != tuple(v.shape)
    ]
    if problems:
        shown = "; ".join(problems[:12]) + (" …" if len(problems) > 12 else "")
        raise CheckpointError(
            message(
                f"{len(problems)} differences between {source} and this run: {shown}",
                "the same names and shapes",
                "the flags that the checkpoint was made with",
            )
        )
    for name, variable in items.items():
        variables.raw(variable).assign(tensors.pop(name))
