"""torchvision's names and layouts of our encoder's variables (no PyTorch needed)."""

from __future__ import annotations

import re

import numpy as np

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


def torch_name(layer: str, leaf: str) -> str:
    """`("stage1_block0_conv2", "kernel")` to `"layer1.0.conv2.weight"`."""
    return f"{torch_layer(layer)}.{_LEAVES[leaf]}"


def torch_layer(layer: str) -> str:
    """`"stage1_block0_shortcut_bn"` to `"layer1.0.downsample.1"`."""
    if match := _BLOCK.fullmatch(layer):
        stage, block, part = match.groups()
        return f"layer{stage}.{block}.{_SHORTCUT.get(part, part)}"
    return {"stem_conv": "conv1", "stem_bn": "bn1"}[layer]


def torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Our shape of a tensor as torch has it: OIHW for HWIO, (out, in) for (in, out)."""
    return tuple(shape[i] for i in _TO_TORCH.get(len(shape), range(len(shape))))


def to_torch(array: np.ndarray) -> np.ndarray:
    """Our layout to torch's."""
    return array.transpose(_TO_TORCH[array.ndim]) if array.ndim in _TO_TORCH else array


def from_torch(array: np.ndarray) -> np.ndarray:
    """Torch's layout to ours: HWIO, (in, out)."""
    axes = _FROM_TORCH.get(array.ndim)
    return array if axes is None else array.transpose(axes)


_TO_TORCH = {4: (3, 2, 0, 1), 2: (1, 0)}
_FROM_TORCH = {4: (2, 3, 1, 0), 2: (1, 0)}
