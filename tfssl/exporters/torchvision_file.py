"""Writes the encoder as a PyTorch state dict for torchvision's ResNet."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from tfssl.core import variables
from tfssl.core.paths import AnyPath
from tfssl.core.torch_extra import import_torch
from tfssl.errors import TfsslError, message
from tfssl.exporters.formats import BEFORE, About, Inference, write_file
from tfssl.models import Encoder
from tfssl.models.table import BATCH_COUNT, to_torch, torch_layer, torch_name

FILE = "encoder.pth"


def export_torchvision(given: Inference, path: AnyPath, about: About) -> None:
    """Writes `path/encoder.pth`, which torchvision's ResNet loads.

    ::

        model = torchvision.models.resnet50()
        model.fc = torch.nn.Identity()      # where the file has no fc.*
        model.load_state_dict(torch.load("encoder.pth"))
        model.eval()

    Its output is then our features, of the same images (NCHW), which the caller
    normalises: a state dict holds weights only. `metadata.json` has mean and std.

    The encoder is of the family `moco`, of width 1, without selective kernels.

    Raises:
      TfsslError: torchvision has no such network, or PyTorch is missing.
    """
    torch = import_torch("format=torchvision")
    state = _state(given.encoder)
    if given.linear is not None:
        kernel, bias = given.linear
        state |= {"fc.weight": to_torch(kernel), "fc.bias": bias}

    def write(folder: Path) -> None:
        tensors = {
            name: torch.from_numpy(np.array(value, order="C"))
            for name, value in state.items()
        }
        torch.save(tensors, folder / FILE)

    write_file(given, path, about, BEFORE, write)


def _state(encoder: keras.Model) -> dict[str, np.ndarray]:
    made_of = encoder.get_config()
    family, norm = made_of.get("family"), made_of.get("normalization")
    if not isinstance(encoder, Encoder) or (family, norm) != ("moco", "batch"):
        raise TfsslError(
            message(
                f"an encoder of the family {family} with {norm} normalisation for "
                "torchvision",
                "the family moco with BatchNorm: torchvision cannot pad or normalise "
                "as the others do",
                "format=saved_model or format=keras",
            )
        )
    state = {}
    for variable in encoder.weights:
        layer, leaf = variables.path(variable).split("/")
        name = torch_name(layer, leaf)
        state[name] = to_torch(np.asarray(variables.raw(variable)))
        if leaf == "moving_variance":
            count = f"{torch_layer(layer)}.{BATCH_COUNT}"
            state[count] = np.zeros((), np.int64)
    return state
