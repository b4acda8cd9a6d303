"""The variables of an encoder as a table, without building it: names and shapes."""

from __future__ import annotations

from typing import NamedTuple

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
        """Whether it is a batch norm."""
        return len(self.shape) == 1


def encoder_table(spec: EncoderSpec, family: Family) -> list[LayerRow]:
    """Every layer with weights, in the order in which the official SimCLR makes them.

    That order puts the shortcut before the branch of its block; SimCLR's TensorFlow 1
    checkpoints number their layers by it.

    Args:
      spec: Depth, width, selective kernels, stem.
      family: Whether the first stage of basic blocks has a shortcut.

    Returns:
      The layers of `build_encoder(spec.name, family=family.name)`.
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
