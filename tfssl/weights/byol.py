"""BYOL: names of the official checkpoints, and which of their networks are ours.

Source of the names: google-deepmind/deepmind-research `byol/` @f5de0ed with dm-haiku.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.config.encoder_name import EncoderSpec
from tfssl.errors import CheckpointError, message
from tfssl.models.families import FAMILIES
from tfssl.models.table import encoder_table
from tfssl.weights import byol_pickle, match
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

FAMILY = FAMILIES["byol"]
LICENCE = Licence(
    "CC BY-NC 4.0",
    "deepmind-research, byol (storage.googleapis.com/deepmind-byol/checkpoints)",
    "Name the source and that the file was converted; NO COMMERCIAL USE.",
    "https://creativecommons.org/licenses/by-nc/4.0/legalcode",
)
_FIELDS = (
    "online_params",
    "target_params",
    "online_state",
    "target_state",
    "opt_state",
)
_HEADS = ("projector", "predictor", "classifier")
_LEAVES = {
    "kernel": "w",
    "bias": "b",
    "gamma": "scale",
    "beta": "offset",
    "moving_mean": "~/mean_ema/average",
    "moving_variance": "~/var_ema/average",
    "counter": "~/mean_ema/counter",
}


def open_file(path: Path) -> Published:
    """Reads a pre-training checkpoint of the official BYOL (`pretrain_res50x1.pkl`).

    Args:
      path: The `.pkl` file. Nothing in it is executed.

    Returns:
      The network in it.

    Raises:
      CheckpointError: It is damaged, asks for more than data, or holds something else.
    """
    tree = byol_pickle.load_tree(path)
    if type(tree) is not dict or "experiment_state" not in tree:
        raise CheckpointError(
            message(
                f"{path} without experiment_state",
                "a pre-training checkpoint of deepmind-research/byol",
                "another kind in source=KIND:PATH",
            )
        )
    found = _tensors(byol_pickle.record(tree["experiment_state"], _FIELDS))
    torso = _torso(found)
    network = _network(found, torso)
    wanted = [
        *_networks(found, torso, "online", network, ("projector", "predictor")),
        *_networks(found, torso, "target", network, ("projector",)),
        *_classifier(found, network.spec.feature_dim),
    ]
    what = f"{path} and BYOL's {network.spec.name}"
    matched = match.match(found, wanted, _reason, what=what)
    matched.ignored["state of the optimiser (momentum)"] = ["opt_state"]
    matched.ignored["random key of the training program"] = ["rng"]
    _require_equal_counters(found)
    step = tree.get("step")
    step = int(byol_pickle.array(step, "step").read()) if step is not None else 0
    return Published(network, matched, "pickle of BYOL", [path], LICENCE, step)


def _tensors(state: dict[str, Any]) -> Tensors:
    """Every array by `online|target/module/leaf`, the stem without its optional _1."""
    found = {}
    for field in _FIELDS[:4]:
        if field not in state:
            raise CheckpointError(
                message(
                    f"experiment_state without {field}",
                    ", ".join(_FIELDS),
                    "a pre-training checkpoint, not one of the linear evaluation",
                )
            )
        role = field.partition("_")[0]
        for module, leaves in byol_pickle.mapping(state[field]).items():
            # Published files are said to call it initial_conv_1.
            module = re.sub(
                r"/initial_(conv|batchnorm)_1(?=/|$)", r"/initial_\1", module
            )
            for leaf, value in byol_pickle.mapping(leaves).items():
                name = f"{role}/{module}/{leaf}"
                if name in found:
                    raise CheckpointError(
                        message(f"{name} twice", "one of each", "another copy")
                    )
                found[name] = byol_pickle.array(value, name)
    return found


def _torso(found: Tensors) -> str:
    """The module of the encoder: `res_net50`."""
    for name in found:
        role, torso, rest = [*name.split("/", 2), "", ""][:3]
        if role == "online" and torso not in _HEADS and rest == "~/initial_conv/w":
            return torso
    raise NotThis("a BYOL checkpoint", "res_net50/~/initial_conv", found)


def _network(found: Tensors, torso: str) -> Network:
    prefix = f"online/{torso}/"
    encoder = {n: t for n, t in found.items() if n.startswith(prefix)}
    # Their hidden averages and second counters have no counterpart.
    encoder = {n: t for n, t in encoder.items() if not _reason(n)}
    width = found[f"{prefix}~/initial_conv/w"].shape[-1] / 64
    spec = match.nearest(
        encoder,
        match.candidates({"plain": width}),
        lambda spec: _encoder(spec, torso, "online"),
    )
    return Network("byol", "byol", spec, _head_sizes(found))


def _head_sizes(found: Tensors) -> dict[str, int]:
    """Width and length of the online projector and predictor."""
    sizes = {}
    for flag, name in (
        ("projector_hidden", "projector/linear"),
        ("projector_dim", "projector/linear_1"),
        ("predictor_hidden", "predictor/linear"),
    ):
        kernel = found.get(f"online/{name}/w")
        if kernel is None or len(kernel.shape) != 2:
            raise CheckpointError(
                message(
                    f"no {name}/w in online_params",
                    "projector and predictor beside the encoder",
                    "another copy of the file",
                )
            )
        sizes[flag] = kernel.shape[1]
    return sizes


def _networks(
    found: Tensors, torso: str, role: str, network: Network, heads: tuple[str, ...]
) -> list[Wanted]:
    rows = _encoder(network.spec, torso, role)
    dim, sizes = network.spec.feature_dim, network.heads
    out = sizes["projector_dim"]
    for head in heads:
        rows += _mlp(role, head, dim, sizes[f"{head}_hidden"], out)
        dim = out
    return rows


def _encoder(spec: EncoderSpec, torso: str, role: str) -> list[Wanted]:
    rows = []
    for row in encoder_table(spec, FAMILY):
        module = f"{role}/{torso}/~/{_module(row.name)}"
        ours = f"{role}/encoder/{row.name}"
        if row.is_norm:
            rows += _norm(ours, module, (1, 1, 1, *row.shape))
        else:
            rows.append(Wanted(f"{ours}/kernel", f"{module}/w", row.shape))
    return rows


def _norm(ours: str, module: str, shape: tuple[int, ...]) -> list[Wanted]:
    rows = []
    for leaf in norm_leaves(FAMILY):
        official = f"{module}/{_LEAVES[leaf]}"
        if leaf == "counter":
            # A whole number of theirs, a float of ours.
            rows.append(Wanted(f"{ours}/{leaf}", official, (), np.float32))
        else:
            # (1, 1, 1, C) or (1, C) to (C,)
            rows.append(Wanted(f"{ours}/{leaf}", official, shape, np.ravel))
    return rows


def _mlp(role: str, head: str, dim: int, hidden: int, out: int) -> list[Wanted]:
    ours, module = f"{role}/{head}/{head}_layer", f"{role}/{head}"
    return [
        Wanted(f"{ours}0_dense/kernel", f"{module}/linear/w", (dim, hidden)),
        Wanted(f"{ours}0_dense/bias", f"{module}/linear/b", (hidden,)),
        *_norm(f"{ours}0_bn", f"{module}/batch_norm", (1, hidden)),
        Wanted(f"{ours}1_dense/kernel", f"{module}/linear_1/w", (hidden, out)),
    ]


def _classifier(found: Tensors, dim: int) -> list[Wanted]:
    sizes = [
        found[name].shape[-1]
        for leaf in "wb"
        if (name := f"online/classifier/{leaf}") in found and found[name].shape
    ]
    if not sizes:
        return []
    kernel, bias = (dim, sizes[0]), (sizes[0],)
    return [
        Wanted(f"{CLASSIFIER}/kernel", "online/classifier/w", kernel),
        Wanted(f"{CLASSIFIER}/bias", "online/classifier/b", bias),
    ]


def _module(layer: str) -> str:
    """`"stage1_block0_conv2"` to `"block_group_0/~/block_0/~/conv_1"`."""
    if layer.startswith("stem_"):
        return {"conv": "initial_conv", "bn": "initial_batchnorm"}[layer[5:]]
    stage, block, part = layer.split("_", 2)
    part = part.replace("bn", "batchnorm")
    if not part.startswith("shortcut"):
        part = f"{part[:-1]}_{int(part[-1]) - 1}"
    group = int(stage.removeprefix("stage")) - 1
    return f"block_group_{group}/~/{block.replace('block', 'block_')}/~/{part}"


def _reason(name: str) -> str | None:
    if name.endswith("_ema/hidden"):
        return "average before its bias was removed; `average` is what inference reads"
    if name.endswith("/var_ema/counter"):
        return "the same number as mean_ema/counter"
    if name.startswith(("target/predictor/", "target/classifier/")):
        return "part of the target network that nothing reads"
    return None


def _require_equal_counters(found: Tensors) -> None:
    for name, tensor in found.items():
        if name.endswith("/var_ema/counter"):
            other = found.get(name.replace("/var_ema/", "/mean_ema/"))
            if other is None or not np.array_equal(tensor.read(), other.read()):
                raise CheckpointError(
                    message(
                        f"{name} unlike the counter of mean_ema",
                        "one number of updates for both averages",
                        "another copy of the file",
                    )
                )
