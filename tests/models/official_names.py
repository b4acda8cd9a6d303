"""The official name of each of our variables; pure functions of names.

A variable of ours is `layer/leaf` inside the encoder, or `model/layer/leaf` of a head.
"""

from __future__ import annotations

import re

_BLOCK = re.compile(r"stage(\d)_block(\d+)_(.+)")


def encoder_layers(spec, project_first: bool) -> list[str]:
    """Layers with weights, in the order in which the official SimCLR makes them."""
    deep = spec.sk and not spec.cifar
    names = []
    for index in (1, 2, 3) if deep else ("",):
        names += [f"stem_conv{index}", f"stem_bn{index}"]
    for stage, count in enumerate(spec.blocks, 1):
        for block in range(count):
            leaves = []
            if block == 0 and (project_first or stage > 1 or spec.bottleneck):
                leaves += ["shortcut_conv", "shortcut_bn"]
            leaves += ["conv1", "bn1", "conv2", "bn2"]
            if spec.sk:
                leaves += ["sk_reduce", "sk_bn", "sk_expand"]
            if spec.bottleneck:
                leaves += ["conv3", "bn3"]
            names += [f"stage{stage}_block{block}_{leaf}" for leaf in leaves]
    return names


def simclr(spec) -> dict[str, str]:
    """Layer -> `base_model/conv2d_N` or `base_model/batch_normalization_N`."""
    counts = {"conv2d": 0, "batch_normalization": 0}
    names = {}
    for layer in encoder_layers(spec, project_first=True):
        kind = "batch_normalization" if "bn" in layer else "conv2d"
        suffix = f"_{counts[kind]}" if counts[kind] else ""
        counts[kind] += 1
        names[layer] = f"base_model/{kind}{suffix}"
    return names


def _split(path: str) -> tuple[list[str], str]:
    """Owners and leaf of `role/layer/leaf` or `layer/leaf`; heads repeat the role."""
    *owner, leaf = path.split("/")
    if len(owner) > 1:
        owner[1] = owner[1].removeprefix(f"{owner[0]}_")
    return owner, leaf


def simclr_variable(path: str, layers: dict[str, str]) -> str:
    """TF1-style name of one variable; `layers` is `simclr(spec)`."""
    owner, leaf = _split(path)
    if owner[0] == "projector":
        index, kind = re.fullmatch(r"layer(\d+)_(\w+)", owner[1]).groups()
        kind = {"dense": "dense", "bn": "batch_normalization"}[kind]
        return f"head_contrastive/nl_{index}/{kind}/{leaf}"
    if owner[0] == "classifier":
        return f"head_supervised/linear_layer/dense/{leaf}"
    return f"{layers[owner[0]]}/{leaf}"


def byol_variable(path: str, depth: int) -> str:
    """haiku name of one variable: `module/leaf`; averages end in `/average`."""
    owner, leaf = _split(path)
    if owner[0] in ("projector", "predictor"):
        module = {
            "layer0_dense": "linear",
            "layer0_bn": "batch_norm",
            "layer1_dense": "linear_1",
        }[owner[1]]
        module = f"{owner[0]}/{module}"
    elif owner[0] == "classifier":
        module = "classifier"
    else:
        module = f"res_net{depth}/~/{_byol_module(owner[0])}"
    leaf = {
        "kernel": "w",
        "bias": "b",
        "gamma": "scale",
        "beta": "offset",
        "moving_mean": "~/mean_ema/average",
        "moving_variance": "~/var_ema/average",
        "counter": "~/mean_ema/counter",
    }[leaf]
    return f"{module}/{leaf}"


def _byol_module(layer: str) -> str:
    block = _BLOCK.fullmatch(layer)
    if block is None:
        return {"stem_conv": "initial_conv", "stem_bn": "initial_batchnorm"}[layer]
    stage, index, part = block.groups()
    part = part.replace("bn", "batchnorm")
    if not part.startswith("shortcut"):
        kind, number = re.fullmatch(r"(\D+)(\d)", part).groups()
        part = f"{kind}_{int(number) - 1}"
    return f"block_group_{int(stage) - 1}/~/block_{index}/~/{part}"


def moco_variable(path: str, mlp: bool) -> str:
    """torch name of one variable, without `module.encoder_q.`."""
    owner, leaf = _split(path)
    if owner[0] == "projector":
        index = int(re.fullmatch(r"layer(\d)_dense", owner[1])[1])
        module = f"fc.{2 * index}" if mlp else "fc"
        return f"{module}.{'weight' if leaf == 'kernel' else 'bias'}"
    block = _BLOCK.fullmatch(owner[0])
    if block is None:
        module = {"stem_conv": "conv1", "stem_bn": "bn1"}[owner[0]]
    else:
        stage, index, part = block.groups()
        part = {"shortcut_conv": "downsample.0", "shortcut_bn": "downsample.1"}.get(
            part, part
        )
        module = f"layer{stage}.{index}.{part}"
    leaf = {
        "kernel": "weight",
        "gamma": "weight",
        "beta": "bias",
        "moving_mean": "running_mean",
        "moving_variance": "running_var",
    }[leaf]
    return f"{module}.{leaf}"


def moco_layout(array):
    """torch's OIHW or (out, in) to HWIO or (in, out)."""
    return {4: lambda a: a.transpose(2, 3, 1, 0), 2: lambda a: a.T}.get(
        array.ndim, lambda a: a
    )(array)
