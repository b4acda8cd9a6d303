"""BYOL's training step in plain PyTorch, for bench_torch.py, which starts it.

python tools/torch_byol.py --seconds=30 --batch_size=64 --image_size=32

Finished float32 views, forward and backward, a fused SGD with momentum in place of
LARS, and the moving average of the target, channels last. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import time

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016)."""

    def __init__(self, width_in: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Identity()
        if stride > 1 or width_in != width:
            convolution = nn.Conv2d(width_in, width, 1, stride, bias=False)
            self.shortcut = nn.Sequential(convolution, nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One block."""
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        return functional.relu(self.bn2(self.conv2(y)) + self.shortcut(x), inplace=True)


def encoder() -> nn.Module:
    """ResNet-18 with the 32-pixel stem."""
    layers = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(True)]
    width_in = 64
    for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Block(width_in, width, stride), Block(width, width, 1)]
        width_in = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def mlp(dim: int) -> nn.Module:
    """BYOL's projector or predictor."""
    first = nn.Linear(dim, 4096)
    return nn.Sequential(
        first, nn.BatchNorm1d(4096), nn.ReLU(True), nn.Linear(4096, 256)
    )


class TorchByol:
    """The training step in PyTorch, channels last.

    Args:
      views: Two `[b, S, S, 3]` float32 tensors.
    """

    def __init__(self, views: list[torch.Tensor]):
        self._views = [view.permute(0, 3, 1, 2) for view in views]
        online = nn.Sequential(encoder(), mlp(512))
        layout = {"memory_format": torch.channels_last}
        self._online = online.to(**layout)
        self._target = copy.deepcopy(self._online)
        self._predictor = mlp(256)
        self._weights = [*self._online.parameters(), *self._predictor.parameters()]
        self._optimizer = torch.optim.SGD(
            self._weights, 0.01, momentum=0.9, weight_decay=1e-6, fused=True
        )

    def step(self) -> None:
        """One update."""
        with torch.no_grad():
            targets = [self._target(view) for view in self._views]
        predictions = [self._predictor(self._online(view)) for view in self._views]
        loss = sum(
            2 - 2 * functional.cosine_similarity(prediction, target).mean()
            for prediction, target in zip(predictions, reversed(targets), strict=True)
        )
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        with torch.no_grad():
            online = list(self._online.parameters())
            torch._foreach_lerp_(list(self._target.parameters()), online, 0.004)


def main() -> None:
    """Prints one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--image_size", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    side = options.image_size
    byol = TorchByol([torch.rand(options.batch_size, side, side, 3) for _ in "12"])
    byol.step()
    times: list[float] = []
    end = time.perf_counter() + options.seconds
    while time.perf_counter() < end or len(times) < 3:
        began = time.perf_counter()
        byol.step()
        times.append(time.perf_counter() - began)
    found = {"step_ms": 1e3 * statistics.median(times), "rounds": len(times)}
    print(json.dumps(found | {"version": torch.__version__}))


if __name__ == "__main__":
    main()
