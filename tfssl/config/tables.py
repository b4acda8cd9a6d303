"""Tables of names without TensorFlow: a name, and what stands for it in the code.

An entry is `"module:attribute"`; `find` imports it when it is wanted. Whoever adds one
adds it here, and flags, help and checks know it.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from typing import Any

from tfssl.errors import ConfigError, TfsslError, message, unknown

OPTIMIZERS: Mapping[str, str] = {
    "lars": "tfssl.optim.optimizers:lars",
    "sgd": "tfssl.optim.optimizers:sgd",
    "adamw": "tfssl.optim.optimizers:adamw",
    "lamb": "tfssl.optim.optimizers:lamb",
}
"""`--optimizer` to a function of the shared arguments to a Keras optimiser."""

SCHEDULES: Mapping[str, str] = {
    "cosine": "tfssl.optim.schedules:warmup_cosine",
    "epoch_cosine": "tfssl.optim.schedules:epoch_cosine",
    "step": "tfssl.optim.schedules:step_decay",
    "exponential": "tfssl.optim.schedules:exponential",
    "poly": "tfssl.optim.schedules:poly",
    "constant": "tfssl.optim.schedules:constant",
}
"""`--lr_schedule` to a function of the step."""

DICTIONARIES: Mapping[str, str] = {
    "queue": "tfssl.methods.moco:build_queue",
    "batch": "tfssl.methods.moco_dictionaries:build_end_to_end",
    "bank": "tfssl.methods.moco_dictionaries:build_memory_bank",
}
"""MoCo's `--dictionary` to what builds it."""

LR_SCALINGS = ("linear", "sqrt", "none")
FAMILIES = ("byol", "simclr", "moco")
NORMALIZATIONS = ("batch", "group_ws", "none")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
DATASET_FORMS = (
    "shapes[:N] (drawn by the program), folder:DIR[,DIR] (images, class folders if "
    "labelled), list:FILE (a path a line), tfds:NAME, tfrecord:GLOB, arrays:FILE "
    "(.npz, .npy or .h5), masks:DIR (images with a mask each), coco:DIR, voc:DIR or "
    "yolo:DIR (images with boxes)"
)

STRATEGIES: Mapping[str, str] = {
    "auto": "tfssl.core.runtime:auto",
    "one": "tfssl.core.runtime:one",
    "mirrored": "tfssl.core.runtime:mirrored",
    "multiworker": "tfssl.core.runtime:multiworker",
    "tpu": "tfssl.core.runtime:tpu",
}
"""`--strategy` to what makes it."""

DATASETS: Mapping[str, str] = {
    "shapes": "tfssl.data.shapes:open_shapes",
    "folder": "tfssl.data.folder:open_folder",
    "list": "tfssl.data.file_list:open_list",
    "tfds": "tfssl.data.tfds_source:open_tfds",
    "tfrecord": "tfssl.data.tfrecord_source:open_tfrecord",
    "arrays": "tfssl.data.arrays:open_arrays",
    "masks": "tfssl.data.masks:open_masks",
    "coco": "tfssl.data.box_folder:open_coco",
    "voc": "tfssl.data.box_folder:open_voc",
    "yolo": "tfssl.data.box_folder:open_yolo",
}
"""KIND of `--dataset=KIND:ARGUMENT` to a function of (argument, split, options)."""

TARGETS: Mapping[str, tuple[str, ...]] = {
    "mask": ("shapes", "masks", "tfds"),
    "boxes": ("shapes", "coco", "voc", "yolo", "tfds"),
}
"""What examples may have beside a label (`SourceOptions.targets`), to the KINDs that
have it."""

EXPORT_FORMATS: Mapping[str, str] = {
    "saved_model": "tfssl.exporters.saved_model:export_saved_model",
    "keras": "tfssl.exporters.keras_file:export_keras",
    "torchvision": "tfssl.exporters.torchvision_file:export_torchvision",
    "onnx": "tfssl.exporters.onnx_file:export_onnx",
    "litert": "tfssl.exporters.litert_file:export_litert",
}
"""`--format` to what writes it."""

EXPORT_EXTRAS: Mapping[str, str] = {
    "torchvision": "torch",
    "onnx": "onnx",
    "litert": "litert",
}
"""`--format` to the extra that it needs, where it needs one."""

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "torch": ("torch",),
    "parquet": ("pyarrow",),
    "search": ("faiss",),
    "dense": ("pycocotools",),
    "onnx": ("tf2onnx", "onnx", "onnxruntime"),
    "litert": ("ai_edge_litert",),
}
"""Extra of `pip install 'tfssl[EXTRA]'` to the modules that it brings."""

SOURCE_KINDS: Mapping[str, str] = {
    "simclr": "tfssl.weights.simclr:open_file",
    "byol": "tfssl.weights.byol:open_file",
    "moco": "tfssl.weights.moco:open_moco",
    "torchvision": "tfssl.weights.moco:open_torchvision",
}
"""KIND of `--source=KIND:PATH` to what opens such a file."""

METHOD_OF_SOURCE: Mapping[str, str] = {"torchvision": "moco"}
"""The method whose family and preprocessing a kind of source has, where it is not the
method of the same name."""

TWO_VIEW_RECIPES = (
    "simclr",
    "simclr_v1",
    "simclr_cifar",
    "shapes",
    "byol",
    "byol_cifar",
    "moco_v1",
    "moco_v2",
    "moco_cifar",
)
"""Values of `--augment`, beside those of `augment_name`: the recipes of
`tfssl.augment.RECIPES` that have two views."""


def find(
    table: Mapping[str, str],
    kind: str,
    name: str,
    error: type[Exception] = ConfigError,
) -> Any:
    """Imports what a name stands for.

    Args:
      table: Name to `"module:attribute"`.
      kind: What the table is of, for the message.
      name: The name asked for.
      error: To raise where the table does not know it.
    """
    if name not in table:
        raise error(unknown(kind, name, table))
    return attribute(table[name])


def attribute(path: str) -> Any:
    """Imports what a row names, `"module:attribute"`."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def without_extra(extra: str, what: str, reason: object = "") -> str:
    """The problem of something that needs an extra; empty where that is installed.

    Nothing is imported: what a command needs is known before its first step.

    Args:
      extra: A name in `EXTRAS`.
      what: What needs it, as the user named it.
      reason: Why it cannot be imported, where that was tried.
    """
    lacking = [m for m in EXTRAS[extra] if importlib.util.find_spec(m) is None]
    if not lacking and not reason:
        return ""
    modules = ", ".join(EXTRAS[extra])
    why = f"without {', '.join(lacking)}" if lacking else f"and {reason}"
    return message(f"{what} {why}", modules, f"pip install 'tfssl[{extra}]'")


def import_extra(
    module: str, extra: str, what: str, error: type[TfsslError] = TfsslError
) -> Any:
    """Imports a module that an extra brings.

    Raises:
      TfsslError: It is missing or broken; or the `error` named.
    """
    try:
        return importlib.import_module(module)
    except ImportError as reason:
        raise error(without_extra(extra, what, reason)) from reason
