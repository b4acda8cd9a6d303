"""Residual blocks, built layer by layer under names that checkpoints rely on."""

from __future__ import annotations

import dataclasses

import keras

from tfssl.models.convolution import Conv, MaxPool
from tfssl.models.families import Family, conv_initializer
from tfssl.models.normalization import Normalization
from tfssl.models.selective_kernel import (
    ShortcutPool,
    StreamMix,
    StreamPool,
    gate_width,
)


@dataclasses.dataclass(frozen=True)
class Parts:
    """Makes the layers of one network of one family.

    Attributes:
      family: Paddings, initialisers and batch norm rules.
      seed: The run's seed; every kernel draws from (seed, its name).
      zero_last_gamma: Whether residual branches start at zero.
      normalization: What stands where the official networks have BatchNorm.
      norm_options: Further rules of every `BatchNorm`.
      dtype: Dtype or policy of every layer; None for Keras's global policy.
    """

    family: Family
    seed: int
    zero_last_gamma: bool
    normalization: Normalization
    norm_options: dict
    dtype: str | None

    def conv(
        self,
        x: keras.KerasTensor,
        name: str,
        filters: int,
        kernel_size: int,
        stride: int = 1,
        *,
        gate: bool = False,
        dilation: int = 1,
    ) -> keras.KerasTensor:
        """Adds a convolution without bias; no normalisation follows a `gate`."""
        fan_in = kernel_size * kernel_size * x.shape[-1]
        initializer = conv_initializer(
            self.family, fan_in=fan_in, seed=self.seed, weight=f"{name}/kernel"
        )
        make = Conv if gate else self.normalization.conv
        return make(
            filters,
            kernel_size,
            stride,
            padding=self.family.conv_padding,
            kernel_initializer=initializer,
            dilation=dilation,
            name=name,
            dtype=self.dtype,
        )(x)

    def norm(
        self, x: keras.KerasTensor, name: str, last: bool = False
    ) -> keras.KerasTensor:
        """Adds batch norm or what replaces it; `last`: at the end of a branch."""
        rules = {**self.family.batch_norm(), **self.norm_options}
        start = "zeros" if last and self.zero_last_gamma else "ones"
        return self.normalization.norm(
            rules, gamma_initializer=start, name=name, dtype=self.dtype
        )(x)

    def relu(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        """Adds max(x, 0)."""
        return keras.layers.ReLU(name=name, dtype=self.dtype)(x)

    def conv_norm_relu(
        self,
        x: keras.KerasTensor,
        prefix: str,
        index: int | str,
        filters: int,
        kernel_size: int,
        stride: int = 1,
        *,
        dilation: int = 1,
    ) -> keras.KerasTensor:
        """Adds layers `{prefix}_conv{index}`, `_bn{index}`, `_relu{index}`."""
        name = f"{prefix}_conv{index}"
        x = self.conv(x, name, filters, kernel_size, stride, dilation=dilation)
        x = self.norm(x, f"{prefix}_bn{index}")
        return self.relu(x, f"{prefix}_relu{index}")

    def max_pool(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        """Adds the 3x3 maximum with stride 2."""
        padding = self.family.pool_padding
        return MaxPool(padding, name=name, dtype=self.dtype)(x)

    def residual(
        self, branch: keras.KerasTensor, shortcut: keras.KerasTensor, prefix: str
    ) -> keras.KerasTensor:
        """Adds the ReLU of the sum; `{prefix}_out` is the block's output."""
        add = keras.layers.Add(name=f"{prefix}_add", dtype=self.dtype)
        return self.relu(add([branch, shortcut]), f"{prefix}_out")


def stem(
    parts: Parts, x: keras.KerasTensor, channels: int, *, cifar: bool, deep: bool
) -> keras.KerasTensor:
    """Adds the layers from images to the first feature map, a quarter of their size.

    Args:
      parts: The layer maker.
      x: `[b, H, W, 3]`.
      channels: Channels out.
      cifar: One 3x3/1 convolution and no pooling: the size stays.
      deep: Three 3x3 convolutions for the 7x7/2 one (ResNet-D); not with `cifar`.

    Returns:
      `[b, H/4, W/4, channels]`; `[b, H, W, channels]` with `cifar`.
    """
    if cifar:
        return parts.conv_norm_relu(x, "stem", "", channels, 3)
    if deep:
        half = max(channels // 2, 8)
        x = parts.conv_norm_relu(x, "stem", 1, half, 3, stride=2)
        x = parts.conv_norm_relu(x, "stem", 2, half, 3)
        x = parts.conv_norm_relu(x, "stem", 3, channels, 3)
    else:
        x = parts.conv_norm_relu(x, "stem", "", channels, 7, stride=2)
    return parts.max_pool(x, "stem_pool")


def shortcut(
    parts: Parts,
    x: keras.KerasTensor,
    prefix: str,
    filters: int,
    stride: int,
    *,
    pool: bool,
) -> keras.KerasTensor:
    """Adds 1x1 convolution and batch norm; `pool` averages first, then strides by 1."""
    if pool:
        layer = ShortcutPool(stride, name=f"{prefix}_shortcut_pool", dtype=parts.dtype)
        x, stride = layer(x), 1
    x = parts.conv(x, f"{prefix}_shortcut_conv", filters, 1, stride)
    return parts.norm(x, f"{prefix}_shortcut_bn")


def basic(
    parts: Parts, x: keras.KerasTensor, prefix: str, filters: int, stride: int
) -> keras.KerasTensor:
    """Adds the branch 3x3, 3x3 of depths 18 and 34 (He et al. 2016)."""
    x = parts.conv_norm_relu(x, prefix, 1, filters, 3, stride)
    x = parts.conv(x, f"{prefix}_conv2", filters, 3)
    return parts.norm(x, f"{prefix}_bn2", last=True)


def bottleneck(
    parts: Parts,
    x: keras.KerasTensor,
    prefix: str,
    filters: int,
    stride: int,
    *,
    sk: bool,
) -> keras.KerasTensor:
    """Adds the branch 1x1, 3x3, 1x1, the stride in the 3x3 ("v1.5") in all families.

    Args:
      parts: The layer maker.
      x: `[b, H, W, C]`.
      prefix: `stage1_block0` and so on.
      filters: Channels of the 3x3; 4 times as many leave.
      stride: 1 or 2.
      sk: Selective kernels in place of the 3x3.

    Returns:
      `[b, H/s, W/s, 4 * filters]`, before the sum with the shortcut.
    """
    x = parts.conv_norm_relu(x, prefix, 1, filters, 1)
    x = parts.conv_norm_relu(x, prefix, 2, filters * (2 if sk else 1), 3, stride)
    if sk:
        x = _mix_streams(parts, x, prefix, filters)
    x = parts.conv(x, f"{prefix}_conv3", 4 * filters, 1)
    return parts.norm(x, f"{prefix}_bn3", last=True)


def _mix_streams(parts: Parts, streams, prefix: str, filters: int):
    gate = StreamPool(name=f"{prefix}_sk_pool", dtype=parts.dtype)(streams)
    gate = parts.conv(gate, f"{prefix}_sk_reduce", gate_width(filters), 1)
    gate = parts.norm(gate, f"{prefix}_sk_bn")
    gate = parts.relu(gate, f"{prefix}_sk_relu")
    gate = parts.conv(gate, f"{prefix}_sk_expand", 2 * filters, 1, gate=True)
    return StreamMix(name=f"{prefix}_sk_mix", dtype=parts.dtype)([streams, gate])
