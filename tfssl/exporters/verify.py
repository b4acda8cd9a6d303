"""Opens an export in a process of its own and compares it with the run.

That process knows what a user of the file has: TensorFlow's session loader, Keras,
onnxruntime, LiteRT or PyTorch (`exporters.reader`). It uses no accelerator, which this
process holds.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

import tfssl
from tfssl.augment.geometry import eval_image
from tfssl.data.decode import decode
from tfssl.errors import TfsslError, message
from tfssl.exporters import reader
from tfssl.exporters.formats import Inference
from tfssl.models import normalization_of
from tfssl.models.heads import probabilities

BOUNDS = {"float32": 1e-2, "float16": 5e-2, "int8": 0.5}
"""Largest deviation, as a share of the largest feature, that a file may have: a file
that is wrong is far beyond, an accelerator's shorter multiplication is not."""

DIFFERENT = 0.01
"""Share of pixels whose class may differ in an export."""

TIMEOUT = 1800.0

_OF_DEVICES = ("TF_CONFIG", "TF_XLA_FLAGS", "PJRT_DEVICE",
               "NEXT_PLUGGABLE_DEVICE_USE_C_API", "TF_PLUGGABLE_DEVICE_LIBRARY_PATH"
               )  # fmt: skip
"""What `config.launch` sets, by which the process would ask for what this one holds."""


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """Images to compare on.

    Attributes:
      images: float32 `[n, S, S, 3]`, RGB in [0, 1].
      encode: Images to features `[n, F]`, float32.
      of: Where they are from, in words.
    """

    images: np.ndarray
    encode: Callable[[np.ndarray], np.ndarray]
    of: str


def verified(
    folder: Path, kind: str, given: Inference, sample: Sample
) -> dict[str, Any]:
    """Runs an export on a sample.

    Args:
      folder: Holds the export, not yet in its place.
      kind: Its `--format`.
      given: What was exported.
      sample: Images, and the encoder that it must equal.

    Returns:
      `images`, `images_of`, `bytes` on disk, `largest_deviation`, `mean_deviation` (of
      features, absolute) and `largest_feature` beside it, the same of `probabilities`
      where the file has them, `milliseconds_an_image` of all at once and
      `milliseconds_one_image` alone, on `cores`.

    Raises:
      TfsslError: It cannot be opened, or gives other features or probabilities.
    """
    files = _encoded(sample.images) if kind == "saved_model" else []
    norms = normalization_of(given.encoder)
    got = _read(folder, kind, sample.images, files, norms)
    wanted = {"": sample.encode(sample.images)}
    if files:
        wanted["_of_bytes"] = sample.encode(_decoded(files, given))
    what = f"the {kind} file of {given.encoder.name}"
    pairs = [(got[f"features{of}"], features) for of, features in wanted.items()]
    found: dict[str, Any] = compared(pairs, given.dtype, what)
    if say := _classifier(kind, given):
        pairs = [
            (got.get(f"probabilities{of}", np.empty(0)), say(features))
            for of, features in wanted.items()
        ]
        found["probabilities"] = compared(
            pairs, given.dtype, what, ("probabilities", "probability")
        )
    return {
        "images": len(sample.images),
        "images_of": sample.of,
        "bytes": _bytes_of(folder),
        **found,
        "milliseconds_an_image": 1000 * float(got["seconds"]) / len(sample.images),
        "milliseconds_one_image": 1000 * float(got["one_seconds"]),
        "cores": os.cpu_count(),
    }


def _classifier(
    kind: str, given: Inference
) -> Callable[[np.ndarray], np.ndarray] | None:
    """Features to the probabilities that a file serves; None where it serves none."""
    if kind == "keras" or (kind == "torchvision" and given.linear is None):
        return None
    if kind == "torchvision":
        kernel, bias = given.linear  # type: ignore[misc]
        return lambda features: tf.nn.softmax(features @ kernel + bias).numpy()
    if (classifier := given.classifier) is None:
        return None

    def say(features: np.ndarray) -> np.ndarray:
        logits = classifier(features, training=False)
        return probabilities(logits, given.several_labels).numpy()

    return say


APART = 0.5
"""Pixels by which a box of an export may differ."""


def verified_boxes(
    folder: Path, images: Sequence[np.ndarray], found: Sequence[dict[str, np.ndarray]]
) -> dict[str, Any]:
    """Runs an export that gives boxes on some images.

    Args:
      folder: Holds the export, not yet in its place.
      images: uint8 `[h, w, 3]` each.
      found: What it must say of each: `boxes`, `scores`, `classes`, `count`.

    Returns:
      `images`, `bytes` on disk, `pixels_apart` and `scores_apart` (the largest, over
      the boxes that both give), `exchanged` (how many of the better half of the boxes
      it does not give: of two that suppress each other, with scores as good as equal,
      rounding decides which is left; at most a tenth), `milliseconds_an_image` of all
      at once, on `cores`.

    Raises:
      TfsslError: It cannot be opened, or finds other things.
    """
    got, facts = _answers(folder, "boxes", images)
    pixels, scores, same = 0.0, 0.0, True
    exchanged, compared, farthest = 0, 0, 0.0
    for place, want in enumerate(found):
        count = int(got["count"][place])
        # Rounding may exchange boxes, or put the last ones below the threshold.
        same &= abs(int(want["count"]) - count) <= 2
        for number in range(int(want["count"]) // 2):
            apart = np.abs(got["boxes"][place][:count] - want["boxes"][number]).max(-1)
            alike = got["classes"][place][:count] == want["classes"][number]
            near = np.where(alike, apart, np.inf)
            nearest = float(near.min(initial=np.inf))
            compared, farthest = compared + 1, max(farthest, nearest)
            if nearest > APART:
                exchanged += 1
                continue
            pixels = max(pixels, nearest)
            score = got["scores"][place][int(near.argmin())]
            scores = max(scores, float(abs(score - want["scores"][number])))
    same &= 10 * exchanged <= compared
    if not (same and scores <= BOUNDS["float32"]):
        raise TfsslError(
            message(
                f"{exchanged} of {compared} boxes that differ, by up to {farthest:.2g} "
                f"pixels, and scores by {scores:.2g}",
                "those of the trained network",
                "export_verify=False to write it anyway; please report it",
            )
        )
    apart = {"pixels_apart": pixels, "scores_apart": scores, "exchanged": exchanged}
    return facts | apart


def verified_masks(
    folder: Path, images: Sequence[np.ndarray], masks: Sequence[np.ndarray]
) -> dict[str, Any]:
    """Runs an export that gives masks on some images.

    Args:
      folder: Holds the export, not yet in its place.
      images: uint8 `[h, w, 3]` each.
      masks: What it must say of them, uint8 `[h, w]` each.

    Returns:
      `images`, `bytes` on disk, `different_pixels` (share of those whose class
      differs: where two are as likely, rounding decides), `milliseconds_an_image` of
      all at once, on `cores`.

    Raises:
      TfsslError: It cannot be opened, or gives other masks.
    """
    got, facts = _answers(folder, "masks", images)
    given = reader.files_of({"bytes": got["masks"], "lengths": got["lengths"]})
    found = [tf.io.decode_png(data, 1).numpy()[..., 0] for data in given]
    shapes = [(a.shape, b.shape) for a, b in zip(found, masks, strict=True)]
    same = all(a == b for a, b in shapes)
    apart = 1.0
    if same:
        parts = [(a != b).ravel() for a, b in zip(found, masks, strict=True)]
        apart = float(np.concatenate(parts).mean())
    if not apart <= DIFFERENT:
        got_ = f"masks of which {100 * apart:.1f} % of the pixels are of another class"
        raise TfsslError(
            message(
                got_ if same else f"masks of other sizes: {shapes[:3]}",
                "those of the trained network",
                "export_verify=False to write it anyway; please report it",
            )
        )
    return facts | {"different_pixels": apart}


def _answers(
    folder: Path, kind: str, images: Sequence[np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What an export says of images of any size, and how large and fast it is."""
    files = [tf.io.encode_png(image).numpy() for image in images]
    got = _read(folder, kind, np.zeros(0, np.float32), files, (None, None))
    return got, {
        "images": len(images),
        "bytes": _bytes_of(folder),
        "milliseconds_an_image": 1000 * float(got["seconds"]) / max(len(images), 1),
        "cores": os.cpu_count(),
    }


def _bytes_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def compared(
    pairs: list[tuple[np.ndarray, np.ndarray]],
    dtype: str,
    what: str,
    name: tuple[str, str] = ("features", "feature"),
) -> dict[str, float]:
    """Deviations of features, or of probabilities, from what they should be.

    Args:
      pairs: Got and wanted, `[n, F]` each.
      dtype: A key of `BOUNDS`.
      what: For the message.
      name: Of all numbers, and of one.

    Raises:
      TfsslError: A shape differs, a number is not finite, or one is too far away.
    """
    for got, want in pairs:
        if got.shape != want.shape:
            raise TfsslError(
                message(
                    f"{name[0]} {got.shape} of {what}",
                    f"{want.shape}, as the run gives",
                    "another format; please report it",
                )
            )
    apart = np.concatenate([np.abs(got - want).ravel() for got, want in pairs])
    largest = max(float(np.abs(want).max()) for _, want in pairs)
    # `not <=`, since NaN is no number that is small enough.
    if not float(apart.max()) <= BOUNDS[dtype] * (largest or 1):
        raise TfsslError(
            message(
                f"{name[0]} of {what} that are up to {apart.max():.3g} from the "
                f"run's, of which the largest is {largest:.3g}",
                f"at most {BOUNDS[dtype]:g} of that for {dtype}",
                "another format or export_dtype; the older export is still there",
            )
        )
    return {
        "largest_deviation": float(apart.max()),
        "mean_deviation": float(apart.mean()),
        f"largest_{name[1]}": largest,
    }


def line(found: dict[str, Any]) -> str:
    """What `verified` found, as one line."""
    more = ""
    if "probabilities" in found:
        more = f", probabilities by {found['probabilities']['largest_deviation']:.2g}"
    return (
        f"{found['bytes'] / 1e6:.2f} MB; features of {found['images_of']} differ from "
        f"the encoder's by at most {found['largest_deviation']:.2g} (mean "
        f"{found['mean_deviation']:.2g}, largest feature "
        f"{found['largest_feature']:.3g}){more}; "
        f"{found['milliseconds_an_image']:.2f} ms an image, "
        f"{found['milliseconds_one_image']:.2f} ms one alone, on "
        f"{found['cores']} cores"
    )


def _read(
    folder: Path, kind: str, images: np.ndarray, files: list[bytes], norms: tuple
) -> dict[str, np.ndarray]:
    mean, std = norms
    with tempfile.TemporaryDirectory(prefix="tfssl-") as place:
        inputs, outputs = Path(place, "inputs.npz"), Path(place, "outputs.npz")
        np.savez(
            inputs,
            images=images,
            mean=np.array(mean or (), np.float32),
            std=np.array(std or (), np.float32),
            bytes=np.frombuffer(b"".join(files), np.uint8),
            lengths=np.array([len(file) for file in files], np.int64),
        )
        above = str(Path(tfssl.__file__).parents[1])
        paths = [above, os.environ.get("PYTHONPATH", "")]
        environment = {
            **{k: v for k, v in os.environ.items() if k not in _OF_DEVICES},
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "CUDA_VISIBLE_DEVICES": "-1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        try:
            done = subprocess.run(
                [sys.executable, reader.__file__, kind, folder, inputs, outputs],
                env=environment,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT,
            )
        except subprocess.TimeoutExpired as error:
            raise _unread(kind, f"no answer in {TIMEOUT:.0f} s") from error
        if done.returncode:
            said = done.stderr.strip().splitlines()
            raise _unread(kind, said[-1] if said else f"exit code {done.returncode}")
        with np.load(outputs) as found:
            return dict(found)


def _unread(kind: str, reason: str) -> TfsslError:
    return TfsslError(
        message(
            f"a {kind} file that a process of its own cannot run: {reason}",
            "one that opens and runs",
            "more memory, another format, or export_verify=False to write it anyway",
        )
    )


def _encoded(images: np.ndarray) -> list[bytes]:
    whole = np.rint(255 * images).astype(np.uint8)
    return [tf.io.encode_png(image).numpy() for image in whole]


def _decoded(files: list[bytes], given: Inference) -> np.ndarray:
    return np.stack(
        [eval_image(decode(f), given.transform, given.image_size) for f in files]
    )
