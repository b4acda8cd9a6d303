"""An encoder's variables without building it: names, shapes, torchvision's names."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from tfssl.config.encoder_name import EncoderSpec
from tfssl.models.families import Family
from tfssl.models.selective_kernel import gate_width


class LayerRow(NamedTuple):
    """One layer that has weights.

    Attributes:
      name: As in `Encoder`, for example `"stage1_block0_conv2"`.
      shape: Of the kernel `(k, k, in, out)`, or of each vector of a batch norm `(C,)`.
    """

    name: str
    shape: tuple[int, ...]

    @property
    def is_norm(self) -> bool:
        """Returns whether it is a batch norm."""
        return len(self.shape) == 1


def encoder_table(spec: EncoderSpec, family: Family) -> list[LayerRow]:
    """Lists every layer with weights, in the order of the official SimCLR.

    That order puts the shortcut before the branch of its block; SimCLR's TensorFlow 1
    checkpoints number their layers by it.

    Args:
      spec: Depth, width, selective kernels, stem.
      family: Whether the first stage of basic blocks has a shortcut.

    Returns:
      The layers of `Encoder(spec.name, family=family.name)`.
    """
    rows = _stem(spec)
    channels = spec.channels(64)
    for stage, count in enumerate(spec.blocks, 1):
        filters = spec.channels(64 * 2 ** (stage - 1))
        out = filters * spec.expansion
        for block in range(count):
            prefix = f"stage{stage}_block{block}_"
            projects = family.project_first or stage > 1 or channels != out
            if block == 0 and projects:
                rows += _pair(prefix, "shortcut_conv", "shortcut_bn", 1, channels, out)
            rows += _branch(spec, prefix, channels, filters)
            channels = out
    return rows


def _pair(prefix: str, conv: str, norm: str, side: int, channels: int, out: int):
    kernel = LayerRow(f"{prefix}{conv}", (side, side, channels, out))
    return [kernel, LayerRow(f"{prefix}{norm}", (out,))]


def _stem(spec: EncoderSpec) -> list[LayerRow]:
    out = spec.channels(64)
    if spec.sk and not spec.cifar:
        half = max(out // 2, 8)
        sizes = [(3, half), (half, half), (half, out)]
        return [
            row
            for i, (a, b) in enumerate(sizes, 1)
            for row in _pair("stem_", f"conv{i}", f"bn{i}", 3, a, b)
        ]
    return _pair("stem_", "conv", "bn", 3 if spec.cifar else 7, 3, out)


def _branch(spec: EncoderSpec, prefix: str, channels: int, filters: int):
    if not spec.bottleneck:
        return [
            *_pair(prefix, "conv1", "bn1", 3, channels, filters),
            *_pair(prefix, "conv2", "bn2", 3, filters, filters),
        ]
    streams = 2 * filters if spec.sk else filters
    rows = [
        *_pair(prefix, "conv1", "bn1", 1, channels, filters),
        *_pair(prefix, "conv2", "bn2", 3, filters, streams),
    ]
    if spec.sk:
        gate = gate_width(filters)
        rows += _pair(prefix, "sk_reduce", "sk_bn", 1, filters, gate)
        rows += [LayerRow(f"{prefix}sk_expand", (1, 1, gate, streams))]
    return rows + _pair(prefix, "conv3", "bn3", 1, filters, filters * spec.expansion)


_BLOCK = re.compile(r"stage(\d)_block(\d+)_(.+)")
_LEAVES = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_SHORTCUT = {"shortcut_conv": "downsample.0", "shortcut_bn": "downsample.1"}

BATCH_COUNT = "num_batches_tracked"
"""Leaf of a torch batch norm that counts batches; nothing of ours corresponds."""
_TO_TORCH = {4: (3, 2, 0, 1), 2: (1, 0)}
_FROM_TORCH = {4: (2, 3, 1, 0), 2: (1, 0)}


def torch_name(layer: str, leaf: str) -> str:
    """Maps `("stage1_block0_conv2", "kernel")` to `"layer1.0.conv2.weight"`."""
    return f"{torch_layer(layer)}.{_LEAVES[leaf]}"


def torch_layer(layer: str) -> str:
    """Maps `"stage1_block0_shortcut_bn"` to `"layer1.0.downsample.1"`."""
    if match := _BLOCK.fullmatch(layer):
        stage, block, part = match.groups()
        return f"layer{stage}.{block}.{_SHORTCUT.get(part, part)}"
    return {"stem_conv": "conv1", "stem_bn": "bn1"}[layer]


def torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns a shape in torch's layout: OIHW of HWIO, (out, in) of (in, out)."""
    return tuple(shape[i] for i in _TO_TORCH.get(len(shape), range(len(shape))))


def to_torch(array: np.ndarray) -> np.ndarray:
    """Transposes from our layout to torch's."""
    return array.transpose(_TO_TORCH[array.ndim]) if array.ndim in _TO_TORCH else array


def from_torch(array: np.ndarray) -> np.ndarray:
    """Transposes from torch's layout to ours: HWIO, (in, out)."""
    axes = _FROM_TORCH.get(array.ndim)
    return array if axes is None else array.transpose(axes)
