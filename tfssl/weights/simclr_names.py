"""How SimCLR's two generations of code name their variables.

Source: google-research/simclr @383d414, `resnet.py` and `tf2/{model,resnet}.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from tfssl.config.encoder_name import EncoderSpec
from tfssl.models.families import FAMILIES
from tfssl.models.table import encoder_table

FAMILY = FAMILIES["simclr"]


class Style(NamedTuple):
    """How one generation of the code names its variables: a layer's path.

    Attributes:
      name: For the record.
      encoder: Encoder to the path of each of our layers.
      in_encoder: Matches the names of the encoder.
      stem: Kernel of the first convolution.
      dense: Layer of the projector to the path of its linear layer.
      norm: Layer of the projector to the path of its batch norm.
      projector: Matches the names of the projector; group 1 is the layer.
      classifier: Path of the linear classifier.
      reasons: Pattern of names that are not needed, and why.
    """

    name: str
    encoder: Callable[[EncoderSpec], dict[str, str]]
    in_encoder: re.Pattern[str]
    stem: str
    dense: str
    norm: str
    projector: re.Pattern[str]
    classifier: str
    reasons: tuple[tuple[str, str], ...]


def _tf1_encoder(spec: EncoderSpec) -> dict[str, str]:
    counts = {"conv2d": 0, "batch_normalization": 0}
    paths = {}
    for row in encoder_table(spec, FAMILY):
        kind = "batch_normalization" if row.is_norm else "conv2d"
        suffix = f"_{counts[kind]}" if counts[kind] else ""
        counts[kind] += 1
        paths[row.name] = f"base_model/{kind}{suffix}"
    return paths


def _tf2_encoder(spec: EncoderSpec) -> dict[str, str]:
    paths = {}
    for row in encoder_table(spec, FAMILY):
        if match_ := re.fullmatch(r"stage(\d)_block(\d+)_(.+)", row.name):
            stage, block, part = match_.groups()
            group = int(stage) - 1
            base = f"resnet_model/block_groups/{group}/layers/{block}"
            paths[row.name] = f"{base}/{_tf2_part(spec, group, part)}"
        else:
            stem = _STEM[spec.sk and not spec.cifar][row.name]
            paths[row.name] = f"resnet_model/initial_conv_relu_max_pool/{stem}"
    return paths


def _tf2_part(spec: EncoderSpec, group: int, part: str) -> str:
    """Path of a block's layer: the lists also hold pooling, padding and DropBlock."""
    if part.startswith("shortcut"):
        place = (2 if group else 1) if spec.sk else 0
        layers = "projection_layers" if spec.bottleneck else "shortcut_layers"
        place, kind = (place, "conv2d") if part.endswith("conv") else (place + 1, "bn")
        return f"{layers}/{place}/{kind}"
    if not spec.bottleneck:
        return "conv2d_bn_layers/" + _BASIC[part]
    table = _SELECTIVE if spec.sk else _BOTTLENECK
    return "conv_relu_dropblock_layers/" + table[part]


_STEM = {
    False: {"stem_conv": "0/conv2d", "stem_bn": "2/bn"},
    True: {
        "stem_conv1": "0/conv2d",
        "stem_bn1": "1/bn",
        "stem_conv2": "2/conv2d",
        "stem_bn2": "3/bn",
        "stem_conv3": "4/conv2d",
        "stem_bn3": "6/bn",
    },
}
_BASIC = {"conv1": "0/conv2d", "bn1": "1/bn", "conv2": "2/conv2d", "bn2": "3/bn"}
_BOTTLENECK = {
    "conv1": "0/conv2d",
    "bn1": "1/bn",
    "conv2": "3/conv2d",
    "bn2": "4/bn",
    "conv3": "6/conv2d",
    "bn3": "7/bn",
}
_SELECTIVE = {
    "conv1": "0/conv2d",
    "bn1": "1/bn",
    "conv2": "3/conv2d_fixed_padding/conv2d",
    "bn2": "3/batch_norm_relu/bn",
    "sk_reduce": "3/conv2d_0",
    "sk_bn": "3/batch_norm_relu_1/bn",
    "sk_expand": "3/conv2d_1",
    "conv3": "5/conv2d",
    "bn3": "6/bn",
}

TF1 = Style(
    name="SimCLR, TensorFlow 1",
    encoder=_tf1_encoder,
    in_encoder=re.compile(
        r"base_model/(conv2d|batch_normalization)(_\d+)?"
        r"/(kernel|gamma|beta|moving_mean|moving_variance)$"
    ),
    stem="base_model/conv2d/kernel",
    dense="head_contrastive/nl_{}/dense",
    norm="head_contrastive/nl_{}/batch_normalization",
    projector=re.compile(r"head_contrastive/nl_(\d+)/"),
    classifier="head_supervised/linear_layer/dense",
    reasons=(
        # First, because the copies have slots and the model's names inside.
        (r"^ema_model/|/ExponentialMovingAverage$", "moving average of the weights"),
        (r"/(Momentum|Adam|Adam_1|LARS\w*)$", "slot of the optimiser"),
        (r"^(beta[12]_power)$", "state of the optimiser"),
        (r"^global_step$", "step, which the checkpoint's name keeps"),
    ),
)
TF2 = Style(
    name="SimCLR, TensorFlow 2",
    encoder=_tf2_encoder,
    in_encoder=re.compile(r"resnet_model/(initial_conv_relu_max_pool|block_groups)/"),
    stem="resnet_model/initial_conv_relu_max_pool/0/conv2d/kernel",
    dense="_projection_head/linear_layers/{}/dense",
    norm="_projection_head/linear_layers/{}/bn_relu/bn",
    projector=re.compile(r"_projection_head/linear_layers/(\d+)/"),
    classifier="supervised_head/linear_layer/dense",
    reasons=(
        (r"/\.OPTIMIZER_SLOT/", "slot of the optimiser"),
        (r"^optimizer/", "state of the optimiser"),
        (r"^global_step/", "step, which the checkpoint's name keeps"),
        (r"^save_counter/", "number of checkpoints written"),
        (r"keras_api/metrics/", "metric of the training program"),
    ),
)
