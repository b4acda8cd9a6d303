"""Tensors of TensorFlow checkpoints and SavedModels, read without running any graph.

A name-based checkpoint (TensorFlow 1) names its tensors itself. An object-based one
(TensorFlow 2) stores a graph of objects; a variable may have a shorter path than the
official one (a SavedModel's `trainable_variables_list/7`), so it is found by walking
that graph and not by its key.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

from tfssl.errors import CheckpointError, message
from tfssl.weights.published import Tensor, Tensors

_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_FILE = re.compile(r"(.+)\.(index|meta|data-\d+-of-\d+)")
_DEPTH = 12


def find_prefix(path: Path) -> tuple[Path, str]:
    """The prefix of the checkpoint that a path means, and what it lies in.

    Args:
      path: A prefix, one of its files, the folder of one checkpoint, or a SavedModel.

    Returns:
      The prefix, and `"checkpoint"` or `"SavedModel"`.

    Raises:
      CheckpointError: There is none, or a folder holds several and does not say which.
    """
    if (path / "saved_model.pb").exists():
        return path / "variables" / "variables", "SavedModel"
    if path.is_dir():
        return _in_folder(path), "checkpoint"
    if match := _FILE.fullmatch(path.name):
        path = path.with_name(match[1])
    return path, "checkpoint"


def _in_folder(folder: Path) -> Path:
    found = sorted(file.with_suffix("") for file in folder.glob("*.index"))
    if len(found) > 1 and (folder / "checkpoint").exists():
        # Its path may be one of the machine that wrote it; the name is enough.
        text = (folder / "checkpoint").read_text(errors="replace")
        newest = re.search(r'^model_checkpoint_path: "(.*)"', text, re.M)
        found = [p for p in found if newest and p.name == Path(newest[1]).name]
    if len(found) != 1:
        names = ", ".join(p.name for p in found[:5]) or "none"
        raise CheckpointError(
            message(
                f"source in {folder}, with the checkpoints: {names}",
                "one TensorFlow checkpoint or a SavedModel",
                f"the prefix itself, such as {folder}/model.ckpt-250228",
            )
        )
    return found[0]


def files_of(prefix: Path) -> list[Path]:
    """The files of a checkpoint, for its checksums."""
    return sorted(
        file
        for file in prefix.parent.glob(f"{prefix.name}.*")
        if _FILE.fullmatch(file.name) and file.suffix != ".meta"
    )


def read_tensors(prefix: Path) -> tuple[Tensors, bool]:
    """All tensors of a checkpoint by official name.

    Args:
      prefix: Of the checkpoint.

    Returns:
      The tensors, and whether it is object-based. Then variables below the model carry
      every path that leads to them from the model, all others their key.

    Raises:
      CheckpointError: It is missing or damaged.
    """
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        shapes = reader.get_variable_to_shape_map()
        dtypes = reader.get_variable_to_dtype_map()
        graph = reader.get_tensor(_GRAPH) if _GRAPH in shapes else None
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        raise _damaged(prefix, error) from error
    tensors = {
        key: Tensor(
            tuple(shape),
            dtypes[key].name,
            functools.partial(_read, reader, prefix, key),
            key,
        )
        for key, shape in shapes.items()
        if key != _GRAPH
    }
    if graph is None:
        return tensors, False
    return _by_path(tensors, graph, prefix), True


def _read(reader: Any, prefix: Path, key: str) -> Any:
    try:
        return reader.get_tensor(key)
    except (tf.errors.OpError, RuntimeError) as error:
        raise _damaged(prefix, error) from error


def _damaged(prefix: Path, error: Exception) -> CheckpointError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return CheckpointError(
        message(
            f"{reason} while reading {prefix}",
            "a whole TensorFlow checkpoint: PREFIX.index and all PREFIX.data-*",
            "another copy of the files, or another kind in source=KIND:PATH",
        )
    )


def _by_path(tensors: Tensors, serialized: bytes, prefix: Path) -> Tensors:
    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    try:
        graph.ParseFromString(serialized)
        paths = dict(_paths(graph))
    except Exception as error:  # protobuf's own error class differs by version
        raise _damaged(prefix, error) from error
    found = {p: tensors[key] for p, key in paths.items() if key in tensors}
    named = {tensor.key for tensor in found.values()}
    return found | {key: t for key, t in tensors.items() if key not in named}


def _paths(
    graph: trackable_object_graph_pb2.TrackableObjectGraph,
) -> Iterator[tuple[str, str]]:
    """Path below the model, and key, of every variable."""
    children = [
        {child.local_name: child.node_id for child in node.children}
        for node in graph.nodes
    ]
    level = [(_model(children), "")]
    for _ in range(_DEPTH):
        below = []
        for node, path in level:
            for attribute in graph.nodes[node].attributes:
                if attribute.name == "VARIABLE_VALUE":
                    yield path, attribute.checkpoint_key
            below += [
                (child, f"{path}/{name}".lstrip("/"))
                for name, child in children[node].items()
                if _OFFICIAL.fullmatch(name)
            ]
        level = below


_OFFICIAL = re.compile(
    r"\d+|resnet_model|initial_conv_relu_max_pool|block_groups|layers"
    r"|projection_layers|shortcut_layers|conv2d_bn_layers|conv_relu_dropblock_layers"
    r"|conv2d(_0|_1|_fixed_padding)?|batch_norm_relu(_1)?|bn|bn_relu|dense|kernel|bias"
    r"|gamma|beta|moving_mean|moving_variance"
    r"|_projection_head|linear_layers|supervised_head|linear_layer"
)
"""Attributes of the official objects (google-research/simclr tf2/{model,resnet}.py);
Keras adds others (`layer-0`, `keras_api`, `variables`) that lead to the same nodes."""


def _model(children: list[dict[str, int]]) -> int:
    """The node of the official `Model`: the nearest one that has a `resnet_model`."""
    seen, level = {0}, [0]
    while level:
        for node in level:
            if "resnet_model" in children[node]:
                return node
        level = [c for node in level for c in children[node].values() if c not in seen]
        seen.update(level)
    return 0
