"""Opens an export as its users do, without tfssl, and runs it; a program of its own.

    python reader.py FORMAT FOLDER INPUTS.npz OUTPUTS.npz

`INPUTS` holds `images` float32 `[n, S, S, 3]`, `mean` and `std` (empty where the file
normalises by itself), and encoded images as `bytes` uint8 with their `lengths`.
`OUTPUTS` gets what the file says of the images, `features` and `probabilities` if it
has them, and of a SavedModel also `features_of_bytes` and so on; `seconds` of all
images at once, and `one_seconds` of the first alone. Of FORMAT `boxes`, a SavedModel
that gives boxes, it gets `boxes`, `scores`, `classes`, `count` of the encoded images,
and `seconds`; of `masks`, one that gives masks, `masks`: PNG files of the encoded
images, joined, their `lengths`, and `seconds`. See `exporters.verify`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]
Run = Callable[[np.ndarray], Arrays]
OUTPUTS = ("features", "probabilities")
SECONDS, MOST = 1.0, 20
"""A time is the median of so many seconds' calls, at most so many of them."""


def in_a_session(folder: Path) -> Callable[..., Arrays]:
    """Loads a SavedModel as TensorFlow Serving does.

    Returns:
      Function of (signature, input, value, outputs) to the arrays of those outputs
      that are there.
    """
    import tensorflow as tf

    session = tf.compat.v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        signatures = tf.compat.v1.saved_model.load(
            session, ["serve"], str(folder)
        ).signature_def

    def call(
        name: str, argument: str, value: Any, outputs: Sequence[str] = OUTPUTS
    ) -> Arrays:
        signature = signatures[name]
        there = signature.outputs
        fetch = {name: there[name].name for name in outputs if name in there}
        return session.run(fetch, {signature.inputs[argument].name: value})

    return call


def files_of(given: Mapping[str, Any]) -> list[bytes]:
    """The encoded images."""
    ends, joined = np.cumsum(given["lengths"]), given["bytes"].tobytes()
    pairs = zip(ends, given["lengths"], strict=True)
    return [joined[end - length : end] for end, length in pairs]


def saved_model(folder: Path, given: Mapping[str, Any]) -> tuple[Run, Arrays]:
    """In a session; also what it makes of bytes."""
    call = in_a_session(folder)
    of_bytes = call("serving_default", "image_bytes", files_of(given))
    return lambda images: call("features", "images", images), of_bytes


BOXES = ("boxes", "scores", "classes", "count")


def boxes(folder: Path, given: Mapping[str, Any], outputs: str) -> None:
    """Writes what a SavedModel finds in encoded images."""
    call, files = in_a_session(folder), files_of(given)
    start = time.perf_counter()
    found: dict[str, Any] = {**call("serving_default", "image_bytes", files, BOXES)}
    np.savez(outputs, seconds=time.perf_counter() - start, **found)


def masks(folder: Path, given: Mapping[str, Any], outputs: str) -> None:
    """Writes what a SavedModel says of the pixels of encoded images."""
    call, files = in_a_session(folder), files_of(given)
    start = time.perf_counter()
    found = call("serving_default", "image_bytes", files, ["mask_bytes"])["mask_bytes"]
    taken = time.perf_counter() - start
    whole = np.frombuffer(b"".join(found), np.uint8)
    np.savez(outputs, masks=whole, lengths=[*map(len, found)], seconds=taken)


ENDPOINTS: Mapping[str, Callable[..., None]] = {"boxes": boxes, "masks": masks}
"""Kinds of SavedModels that give no features."""


def keras_file(folder: Path, given: Mapping[str, Any]) -> tuple[Run, None]:
    """As `keras.saving.load_model` does after `import tfssl.models`."""
    import keras

    import tfssl.models  # noqa: F401

    del given
    model = keras.saving.load_model(folder / "encoder.keras")
    return lambda images: {"features": np.asarray(model(images, training=False))}, None


def onnx(folder: Path, given: Mapping[str, Any]) -> tuple[Run, None]:
    """By onnxruntime."""
    import onnxruntime

    del given
    session = onnxruntime.InferenceSession(
        folder / "encoder.onnx", providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]

    def run(images: np.ndarray) -> Arrays:
        return dict(zip(names, session.run(names, {"images": images}), strict=True))

    return run, None


def litert(folder: Path, given: Mapping[str, Any]) -> tuple[Run, None]:
    """By ai-edge-litert."""
    from ai_edge_litert.interpreter import Interpreter

    del given
    interpreter = Interpreter(
        str(folder / "encoder.tflite"), num_threads=os.cpu_count()
    )
    runner = interpreter.get_signature_runner("features")

    def run(images: np.ndarray) -> Arrays:
        return {name: array.copy() for name, array in runner(images=images).items()}

    return run, None


def torchvision(folder: Path, given: Mapping[str, Any]) -> tuple[Run, None]:
    """As the layers of torchvision's ResNet compute, found by their names in the file.

    PyTorch alone is needed for that.
    """
    import torch
    from torch.nn import functional

    state = torch.load(folder / "encoder.pth", weights_only=True)
    mean, std = (torch.tensor(given[name]) for name in ("mean", "std"))

    def convolve(x: Any, name: str, norm: str, stride: int = 1) -> Any:
        weight = state[f"{name}.weight"]
        x = functional.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        leaves = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(x, *(state[f"{norm}.{leaf}"] for leaf in leaves))

    def block(x: Any, name: str, stride: int) -> Any:
        last = 3 if f"{name}.conv3.weight" in state else 2
        out = x
        for i in range(1, last + 1):  # the convolution of 3x3 strides
            strides = stride if i == last - 1 else 1
            out = convolve(out, f"{name}.conv{i}", f"{name}.bn{i}", strides)
            out = out if i == last else out.relu()
        if f"{name}.downsample.0.weight" in state:
            x = convolve(x, f"{name}.downsample.0", f"{name}.downsample.1", stride)
        return (out + x).relu()

    def run(images: np.ndarray) -> Arrays:
        x = torch.from_numpy(images)
        x = ((x - mean) / std if len(mean) else x).permute(0, 3, 1, 2)
        x = convolve(x, "conv1", "bn1", 2).relu()
        x = functional.max_pool2d(x, 3, 2, 1)
        for stage in range(1, 5):
            number = 0
            while f"layer{stage}.{number}.conv1.weight" in state:
                stride = 2 if stage > 1 and number == 0 else 1
                x = block(x, f"layer{stage}.{number}", stride)
                number += 1
        found = {"features": x.mean((2, 3))}
        if "fc.weight" in state:
            logits = functional.linear(
                found["features"], state["fc.weight"], state["fc.bias"]
            )
            found["probabilities"] = logits.softmax(1)
        return {name: value.numpy() for name, value in found.items()}

    def without_gradient(images: np.ndarray) -> Arrays:
        with torch.inference_mode():
            return run(images)

    return without_gradient, None


OPENERS = {
    "saved_model": saved_model,
    "keras": keras_file,
    "torchvision": torchvision,
    "onnx": onnx,
    "litert": litert,
}


def seconds(run: Run, images: np.ndarray) -> float:
    """Median of a call's time, after a first one that may compile."""
    run(images)
    times: list[float] = []
    while len(times) < MOST and sum(times) < SECONDS:
        start = time.perf_counter()
        run(images)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def main(kind: str, folder: str, inputs: str, outputs: str) -> None:
    """Writes `OUTPUTS`."""
    given = np.load(inputs)
    if kind in ENDPOINTS:
        ENDPOINTS[kind](Path(folder), given, outputs)
        return
    run, of_bytes = OPENERS[kind](Path(folder), given)
    images = given["images"]
    found: dict[str, Any] = {**run(images)}
    found |= {f"{name}_of_bytes": array for name, array in (of_bytes or {}).items()}
    found["seconds"] = seconds(run, images)
    found["one_seconds"] = seconds(run, images[:1])
    np.savez(outputs, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
