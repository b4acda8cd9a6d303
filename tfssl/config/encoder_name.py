"""The grammar of encoder names: `resnet50`, `resnet18x0.25_cifar`, `resnet152x3_sk`.

Others than ours are named by import path: `keras.applications:MobileNetV3Small`.

Layer 0: no TensorFlow, so that a wrong `--encoder` is refused at once.
"""

from __future__ import annotations

import dataclasses
import re
from typing import NamedTuple

from tfssl.errors import ConfigError, message

BLOCKS: dict[int, tuple[int, int, int, int]] = {
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
"""Residual blocks per stage, by depth (SimCLR `tf2/resnet.py`, haiku `ResNet`).

10 is ours, the smallest of this form: for a CPU, and as a student.
"""

BOTTLENECK_FROM = 50
MIN_CHANNELS = 8
MAX_WIDTH = 16.0
GRAMMAR = "resnetDEPTH[xWIDTH][_sk][_cifar]"

_NAME = re.compile(r"resnet(\d+)(?:x(\d+(?:\.\d+)?|\.\d+))?(_sk)?(_cifar)?")


FOREIGN_GRAMMAR = "MODULE:FUNCTION"
_DOTTED = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"
_FOREIGN = re.compile(f"({_DOTTED}):({_DOTTED})", re.ASCII)


class ForeignName(NamedTuple):
    """An encoder that is not ours.

    Attributes:
      module: To import, such as `"keras.applications"`.
      attribute: In it, such as `"MobileNetV3Small"`.
    """

    module: str
    attribute: str


def is_foreign(name: str) -> bool:
    """Returns True for an import path, well formed or not."""
    return ":" in name


def is_import_path(name: str) -> bool:
    """Returns True for `MODULE:NAME`; a path of a disk or a bucket is none."""
    return _FOREIGN.fullmatch(name) is not None


def parse_foreign(name: str) -> ForeignName:
    """Reads an import path.

    Args:
      name: `MODULE:FUNCTION`, both possibly with dots.

    Returns:
      Its two parts.

    Raises:
      ConfigError: It is not of this form.
    """
    match = _FOREIGN.fullmatch(name)
    if match is None:
        expected = f"{FOREIGN_GRAMMAR}, an import path, or {GRAMMAR}"
        example = "keras.applications:MobileNetV3Small"
        raise ConfigError(message(f"--encoder={name}", expected, example))
    return ForeignName(*match.groups())


@dataclasses.dataclass(frozen=True)
class EncoderSpec:
    """An encoder of ours, as its name describes it.

    Attributes:
      depth: One of `BLOCKS`; below 50 basic blocks, from 50 on bottlenecks.
      width: Factor on every number of channels, in (0, 16].
      sk: Selective kernels with the ResNet-D stem and shortcuts (SimCLR v2).
      cifar: Stem of one 3x3/1 convolution and no pooling, for images near 32 pixels.
    """

    depth: int
    width: float = 1.0
    sk: bool = False
    cifar: bool = False

    @property
    def name(self) -> str:
        """The canonical name; `parse_encoder(spec.name) == spec`."""
        width = "" if self.width == 1 else f"x{self.width:g}"
        sk, cifar = "_sk" * self.sk, "_cifar" * self.cifar
        return f"resnet{self.depth}{width}{sk}{cifar}"

    @property
    def bottleneck(self) -> bool:
        """True where a block is 1x1, 3x3, 1x1; else it is 3x3, 3x3."""
        return self.depth >= BOTTLENECK_FROM

    @property
    def blocks(self) -> tuple[int, int, int, int]:
        """Residual blocks in each of the four stages."""
        return BLOCKS[self.depth]

    def channels(self, base: int) -> int:
        """`int(base * width)`, at least 8."""
        return max(MIN_CHANNELS, int(base * self.width))

    @property
    def expansion(self) -> int:
        """Channels that leave a block, divided by those of its 3x3 convolution."""
        return 4 if self.bottleneck else 1

    @property
    def feature_dim(self) -> int:
        """Length F of the feature vector: 512 or 2048, times the width."""
        return self.expansion * self.channels(512)

    @property
    def total_stride(self) -> int:
        """Input pixels per position of the last feature map, along one axis."""
        return 8 if self.cifar else 32


def parse_encoder(name: str) -> EncoderSpec:
    """Reads an encoder name.

    Args:
      name: `resnetDEPTH[xWIDTH][_sk][_cifar]`, for example `"resnet50x2"`.

    Returns:
      The `EncoderSpec` that the name stands for.

    Raises:
      ConfigError: The name is not of this form, its depth is unknown, its width is
        out of (0, 16], or it asks for selective kernels without bottlenecks.
    """
    match = _NAME.fullmatch(name)
    known = ", ".join(str(depth) for depth in BLOCKS)
    if match is None or int(match[1]) not in BLOCKS:
        expected = f"{GRAMMAR} with DEPTH one of {known} and WIDTH a number"
        if not is_foreign(name):
            expected += f", or {FOREIGN_GRAMMAR}"
        example = "resnet50, resnet50x2, resnet18x0.25_cifar or resnet152x3_sk"
        raise ConfigError(message(f"--encoder={name}", expected, example))
    spec = EncoderSpec(
        depth=int(match[1]),
        width=float(match[2] or 1),
        sk=match[3] is not None,
        cifar=match[4] is not None,
    )
    if not 0 < spec.width <= MAX_WIDTH:
        expected = f"a width above 0 and at most {MAX_WIDTH:g}"
        raise ConfigError(message(f"--encoder={name}", expected, "resnet50x2"))
    if spec.sk and not spec.bottleneck:
        # SimCLR `tf2/resnet.py` gives selective kernels to bottlenecks only.
        expected = f"a depth of {BOTTLENECK_FROM} or more with _sk"
        hint = name.replace(f"resnet{spec.depth}", f"resnet{BOTTLENECK_FROM}")
        raise ConfigError(message(f"--encoder={name}", expected, hint))
    return spec


def check_image_size(spec: EncoderSpec, size: int) -> None:
    """Refuses images on which the last feature map would have less than one position.

    Args:
      spec: The encoder.
      size: Height or width of the images, in pixels.

    Raises:
      ConfigError: `size < spec.total_stride`.
    """
    if size >= spec.total_stride:
        return
    small = dataclasses.replace(spec, cifar=True)
    hint = f"--image_size={spec.total_stride}"
    if not spec.cifar and size >= small.total_stride:
        hint = f"--encoder={small.name}, whose stem keeps the resolution, or {hint}"
    expected = f"at least {spec.total_stride} pixels for --encoder={spec.name}"
    raise ConfigError(message(f"--image_size={size}", expected, hint))
