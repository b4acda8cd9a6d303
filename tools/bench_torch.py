"""Images/s of tfssl and of plain PyTorch: BYOL, the same network, batch and update.

python tools/bench_torch.py [--seconds=100]     (needs torch, CPU build)

One process, all parts timed in turn, medians. tfssl runs its whole step, photometry
included; PyTorch gets finished float32 views and runs forward, backward, a fused SGD
with momentum in place of LARS, and the moving average of the target. Prints the
JSON line of bench_step.py with the comparison added.
"""

from __future__ import annotations

import copy
import json

import bench_step
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
      views: Two `[b, S, S, 3]` float32 arrays.
    """

    def __init__(self, views):
        self._views = [
            torch.from_numpy(view.copy()).permute(0, 3, 1, 2) for view in views
        ]
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
    options = bench_step.arguments().parse_args()
    bench = bench_step.Bench(bench_step.configuration(options), options.steps_per_loop)
    torch.set_num_threads(2)
    theirs = TorchByol([view.numpy() for view in bench.views])
    row = bench_step.measure(bench, options.seconds, {"torch": theirs.step})
    row["images_per_second_over_torch"] = round(row["torch_ms"] / row["step_ms"], 4)
    row |= {"torch": torch.__version__, "torch_threads": torch.get_num_threads()}
    print(json.dumps(row))


if __name__ == "__main__":
    main()
