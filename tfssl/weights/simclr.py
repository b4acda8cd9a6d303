"""SimCLR v1 and v2: what a TensorFlow 1 or TensorFlow 2 checkpoint of them holds."""

from __future__ import annotations

import re
from pathlib import Path

from tfssl.config.encoder_name import EncoderSpec
from tfssl.errors import CheckpointError, message
from tfssl.models.table import encoder_table
from tfssl.weights import match, tensorflow_file
from tfssl.weights.published import (
    CLASSIFIER,
    Licence,
    Matched,
    Network,
    NotThis,
    Published,
    Tensors,
    Wanted,
    norm_leaves,
)
from tfssl.weights.simclr_names import FAMILY, TF1, TF2, Style

LICENCE = Licence(
    "Apache-2.0",
    "google-research/simclr (gs://simclr-checkpoints, gs://simclr-checkpoints-tf2)",
    "Keep this notice; commercial use is allowed.",
    "https://www.apache.org/licenses/LICENSE-2.0",
)


def open_file(path: Path) -> Published:
    """Reads a TensorFlow 1 or 2 checkpoint, or a SavedModel, of SimCLR.

    Args:
      path: Prefix, file, or folder.

    Returns:
      The network in it.

    Raises:
      CheckpointError: It is damaged, or holds something else.
    """
    prefix, where = tensorflow_file.find_prefix(path)
    found, by_object = tensorflow_file.read_tensors(prefix)
    style = TF2 if by_object else TF1
    kind = f"{where} of {style.name}"
    network = _network(found, style)
    what = f"{path} ({kind}) and SimCLR's {network.spec.name}"
    wanted = [
        *_encoder(network.spec, style),
        *_projector(found, style, network.spec.feature_dim),
        *_classifier(found, style, network.spec.feature_dim),
    ]
    matched = match.match(found, wanted, lambda name: _reason(style, name), what=what)
    steps = (
        int(found[name].read())
        for name in ("global_step", "global_step/.ATTRIBUTES/VARIABLE_VALUE")
        if name in found and not found[name].shape
    )
    files = tensorflow_file.files_of(prefix)
    return Published(
        network, matched, kind, files, LICENCE, next(steps, 0), _notes(matched)
    )


def _network(found: Tensors, style: Style) -> Network:
    encoder = {n: t for n, t in found.items() if style.in_encoder.match(n)}
    stem = encoder.get(style.stem)
    if stem is None or len(stem.shape) != 4:
        raise NotThis("a SimCLR checkpoint", style.stem, found)
    # With selective kernels the first of three stem convolutions has half the width.
    widths = {"plain": stem.shape[-1] / 64, "sk": stem.shape[-1] / 32}
    specs = match.candidates(widths)
    spec = match.nearest(encoder, specs, lambda spec: _encoder(spec, style))
    layers = _projector_layers(found, style)
    heads: dict[str, int] = {}
    if layers:
        hidden = _out(found, style, 0) if layers > 1 else 0
        heads = {
            "projector_layers": layers,
            "projector_hidden": 0 if hidden == spec.feature_dim else hidden,
            "projector_dim": _out(found, style, layers - 1),
        }
    return Network("simclr", "simclr", spec, heads)


def _encoder(spec: EncoderSpec, style: Style) -> list[Wanted]:
    paths = style.encoder(spec)
    rows = []
    for row in encoder_table(spec, FAMILY):
        for leaf in norm_leaves(FAMILY) if row.is_norm else ("kernel",):
            ours = f"online/encoder/{row.name}/{leaf}"
            rows.append(Wanted(ours, f"{paths[row.name]}/{leaf}", row.shape))
    return rows


def _projector_layers(found: Tensors, style: Style) -> int:
    numbers = [int(m[1]) for name in found if (m := style.projector.match(name))]
    return max(numbers, default=-1) + 1


def _out(found: Tensors, style: Style, layer: int) -> int:
    kernel = found.get(f"{style.dense.format(layer)}/kernel")
    if kernel is None or len(kernel.shape) != 2:
        raise CheckpointError(
            message(
                f"a projector without {style.dense.format(layer)}/kernel",
                "every layer of the projector",
                "another copy of the file",
            )
        )
    return kernel.shape[1]


def _projector(found: Tensors, style: Style, dim: int) -> list[Wanted]:
    rows, layers, width = [], _projector_layers(found, style), dim
    for layer in range(layers):
        out = _out(found, style, layer)
        ours = f"online/projector/projector_layer{layer}"
        kernel = f"{style.dense.format(layer)}/kernel"
        rows.append(Wanted(f"{ours}_dense/kernel", kernel, (width, out)))
        for leaf in norm_leaves(FAMILY):
            if layer == layers - 1 and leaf == "beta":
                continue  # the last batch norm has none
            official = f"{style.norm.format(layer)}/{leaf}"
            rows.append(Wanted(f"{ours}_bn/{leaf}", official, (out,)))
        width = out
    return rows


def _classifier(found: Tensors, style: Style, dim: int) -> list[Wanted]:
    names = {leaf: f"{style.classifier}/{leaf}" for leaf in ("kernel", "bias")}
    sizes = [found[name].shape[-1] for name in names.values() if name in found]
    if not sizes:
        return []
    shapes = {"kernel": (dim, sizes[0]), "bias": (sizes[0],)}
    return [
        Wanted(f"{CLASSIFIER}/{leaf}", names[leaf], shapes[leaf]) for leaf in shapes
    ]


def _reason(style: Style, name: str) -> str | None:
    return next((why for text, why in style.reasons if re.search(text, name)), None)


def _notes(matched: Matched) -> list[str]:
    if not any(row.name.startswith(CLASSIFIER) for row, _ in matched.pairs):
        return []
    return [
        "the linear classifier is kept as the online probe, on the encoder's features; "
        "in SimCLR v2's finetuned_1pct and finetuned_10pct it belongs on the first "
        "layer of the projector instead (ft_proj_selector=1), which no file says"
    ]
