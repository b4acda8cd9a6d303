"""MoCo and supervised torchvision ResNets: state dicts with torchvision's names.

Source of the names: facebookresearch/moco @7397dfe `moco/builder.py`, torchvision.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.config.encoder_name import EncoderSpec
from tfssl.errors import CheckpointError, message
from tfssl.models.families import FAMILIES
from tfssl.models.table import (
    BATCH_COUNT,
    encoder_table,
    from_torch,
    torch_name,
    torch_shape,
)
from tfssl.weights import match, torch_file
from tfssl.weights.published import (
    CLASSIFIER,
    Licence,
    Network,
    NotThis,
    Published,
    Tensors,
    Wanted,
    norm_leaves,
)

FAMILY = FAMILIES["moco"]
MOCO = Licence(
    "not stated for the weights: MIT for the code since January 2023, CC BY-NC 4.0 "
    "in the README",
    "facebookresearch/moco (dl.fbaipublicfiles.com/moco/moco_checkpoints)",
    "Treat them as CC BY-NC 4.0 (name the source, no commercial use) unless you "
    "know better.",
    "https://github.com/facebookresearch/moco",
)
TORCHVISION = Licence(
    "that of the file's author",
    "a supervised ResNet with torchvision's names",
    "Ask where the file comes from; terms of the training images may apply too.",
    "https://github.com/pytorch/vision",
)
_QUERY, _KEY = "encoder_q.", "encoder_k."


def open_moco(path: Path) -> Published:
    """Reads a checkpoint of the official MoCo (`moco_v2_800ep_pretrain.pth.tar`).

    Args:
      path: The file, of either format of PyTorch.

    Returns:
      Both encoders, both heads and the queue.

    Raises:
      CheckpointError: It is damaged, asks for more than tensors, or is no MoCo.
    """
    content = torch_file.load(path, f"source=moco:{path}")
    state = _state_dict(content, path)
    found = torch_file.tensors_of(state, "module.")
    network = _moco_network(found)
    wanted = _queue(found, network)
    for role, prefix in (("online", _QUERY), ("key", _KEY)):
        if role == "key" and not any(name.startswith(prefix) for name in found):
            continue  # published without it: then there is nothing to go on from
        wanted += _encoder(network.spec, role, prefix)
        wanted += _projector(network, role, prefix)
    what = f"{path} and MoCo's {network.spec.name}"
    matched = match.match(found, wanted, _reason, what=what)
    if "optimizer" in content:
        matched.ignored["state of the optimiser"] = ["optimizer"]
    return Published(network, matched, _form(path), [path], MOCO, facts=_facts(content))


def open_torchvision(path: Path) -> Published:
    """Reads the state dict of a supervised ResNet with torchvision's names.

    Args:
      path: A file of a state dict, or of a dictionary with one as `state_dict`.

    Returns:
      The encoder, and its classifier if the file has one.

    Raises:
      CheckpointError: It is damaged, asks for more than tensors, or is no ResNet.
    """
    content = torch_file.load(path, f"source=torchvision:{path}")
    found = torch_file.tensors_of(_state_dict(content, path), "module.")
    if any(name.startswith((_QUERY, _KEY)) for name in found):
        raise NotThis("a supervised ResNet", "conv1.weight", found)
    spec = _spec(found, "", "a ResNet with torchvision's names")
    network = Network("moco", "moco", spec, {})
    wanted = [*_encoder(spec, "online", ""), *_classifier(found, spec.feature_dim)]
    what = f"{path} and torchvision's {spec.name}"
    matched = match.match(found, wanted, _reason, what=what)
    notes = [
        "supervised weights: method=moco only names the family (torchvision's "
        "padding) and the preprocessing (ImageNet mean and deviation)"
    ]
    facts = _facts(content) if content.get("state_dict") is not None else {}
    return Published(
        network, matched, _form(path), [path], TORCHVISION, 0, notes, facts
    )


def _state_dict(content: Any, path: Path) -> Mapping[str, Any]:
    if isinstance(content, Mapping):
        inner = content.get("state_dict", content)
        if isinstance(inner, Mapping):
            return inner
    raise CheckpointError(
        message(
            f"{type(content).__name__} in {path}",
            "a state dict, or a dictionary with one as state_dict",
            "another kind in source=KIND:PATH",
        )
    )


def _form(path: Path) -> str:
    import zipfile

    return f"PyTorch file, {'zip' if zipfile.is_zipfile(path) else 'legacy'} format"


def _facts(content: Mapping[str, Any]) -> dict[str, object]:
    known = ("epoch", "arch", "best_acc1")
    return {
        name: content[name]
        for name in known
        if isinstance(content.get(name), int | float | str)
    }


def _spec(found: Tensors, prefix: str, kind: str) -> EncoderSpec:
    encoder = {
        name: tensor
        for name, tensor in found.items()
        if name.startswith(prefix)
        and not name.endswith(BATCH_COUNT)
        and not re.match(r"fc\.", name.removeprefix(prefix))
    }
    stem = encoder.get(f"{prefix}conv1.weight")
    if stem is None or len(stem.shape) != 4:
        raise NotThis(kind, f"{prefix}conv1.weight", found)
    return match.nearest(
        encoder,
        match.candidates({"plain": stem.shape[0] / 64}),
        lambda spec: _encoder(spec, "online", prefix),
    )


def _moco_network(found: Tensors) -> Network:
    spec = _spec(found, _QUERY, "a MoCo checkpoint")
    last = [
        (layers, found[name])
        for layers, name in ((2, f"{_QUERY}fc.2.weight"), (1, f"{_QUERY}fc.weight"))
        if name in found
    ]
    if not last or len(last[0][1].shape) != 2:
        raise NotThis("a MoCo checkpoint", f"{_QUERY}fc.weight or fc.2.weight", found)
    layers, kernel = last[0]
    heads = {"projector_layers": layers, "projector_dim": kernel.shape[0]}
    if "queue" in found and len(found["queue"].shape) == 2:
        heads["queue_size"] = found["queue"].shape[1]
    return Network("moco", "moco", spec, heads)


def _row(ours: str, official: str, shape: tuple[int, ...]) -> Wanted:
    return Wanted(ours, official, torch_shape(shape), from_torch)


def _encoder(spec: EncoderSpec, role: str, prefix: str) -> list[Wanted]:
    if spec.sk:
        return []
    return [
        _row(
            f"{role}/encoder/{row.name}/{leaf}",
            f"{prefix}{torch_name(row.name, leaf)}",
            row.shape,
        )
        for row in encoder_table(spec, FAMILY)
        for leaf in (norm_leaves(FAMILY) if row.is_norm else ("kernel",))
    ]


def _projector(network: Network, role: str, prefix: str) -> list[Wanted]:
    layers, out = network.heads["projector_layers"], network.heads["projector_dim"]
    dim = network.spec.feature_dim
    rows = []
    for layer in range(layers):
        width = out if layer == layers - 1 else dim
        theirs = f"{prefix}fc.{2 * layer}" if layers > 1 else f"{prefix}fc"
        ours = f"{role}/projector/projector_layer{layer}_dense"
        rows += [
            _row(f"{ours}/kernel", f"{theirs}.weight", (dim, width)),
            _row(f"{ours}/bias", f"{theirs}.bias", (width,)),
        ]
    return rows


def _queue(found: Tensors, network: Network) -> list[Wanted]:
    if "queue" not in found and "queue_ptr" not in found:
        return []
    shape = (network.heads.get("queue_size", 0), network.heads["projector_dim"])
    return [
        _row("queue/keys", "queue", shape),
        Wanted("queue/head", "queue_ptr", (1,), np.squeeze),
    ]


def _classifier(found: Tensors, dim: int) -> list[Wanted]:
    sizes = [found[n].shape[0] for n in ("fc.weight", "fc.bias") if n in found]
    if not sizes:
        return []
    return [
        _row(f"{CLASSIFIER}/kernel", "fc.weight", (dim, sizes[0])),
        _row(f"{CLASSIFIER}/bias", "fc.bias", (sizes[0],)),
    ]


def _reason(name: str) -> str | None:
    if name.endswith(f".{BATCH_COUNT}"):
        return "count of batches, which an average with a fixed rate does not use"
    return None
