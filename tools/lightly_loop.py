"""lightly's input and training loop, for bench_lightly.py, which starts it.

    python tools/lightly_loop.py --what=train --method=byol --images=PHOTOS

Needs lightly 1.6 and torchvision, and nothing of tfssl. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable, Iterator

import lightly
import torch
import torchvision
from lightly.data import LightlyDataset
from lightly.loss import NegativeCosineSimilarity, NTXentLoss
from lightly.models.modules import (
    BYOLPredictionHead,
    BYOLProjectionHead,
    MoCoProjectionHead,
    SimCLRProjectionHead,
)
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.transforms.byol_transform import (
    BYOLTransform,
    BYOLView1Transform,
    BYOLView2Transform,
)
from lightly.transforms.moco_transform import MoCoV2Transform
from lightly.transforms.simclr_transform import SimCLRTransform

Views = tuple[torch.Tensor, torch.Tensor]
Loss = Callable[[Views], torch.Tensor]


def transform(method: str, size: int) -> Callable:
    """Returns lightly's own two views for a method."""
    if method == "byol":
        first, second = BYOLView1Transform, BYOLView2Transform
        return BYOLTransform(first(input_size=size), second(input_size=size))
    return {"simclr": SimCLRTransform, "moco": MoCoV2Transform}[method](input_size=size)


def network(head: torch.nn.Module) -> torch.nn.Sequential:
    """Returns ResNet-18 with a projection head."""
    resnet = torchvision.models.resnet18()
    layers = [*resnet.children()][:-1]
    return torch.nn.Sequential(*layers, torch.nn.Flatten(), head)


def simclr() -> tuple[torch.nn.Module, Loss]:
    """Returns what learns, and its loss."""
    online, loss = network(SimCLRProjectionHead(512, 512, 128)), NTXentLoss()
    return online, lambda views: loss(online(views[0]), online(views[1]))


def byol() -> tuple[torch.nn.Module, Loss]:
    """Returns what learns, and its loss, which moves the target first."""
    online = network(BYOLProjectionHead(512, 4096, 256))
    target = copy.deepcopy(online)
    deactivate_requires_grad(target)
    predictor, loss = BYOLPredictionHead(256, 4096, 256), NegativeCosineSimilarity()

    def both(views: Views) -> torch.Tensor:
        update_momentum(online, target, m=0.99)
        said = [predictor(online(x)) for x in views]
        with torch.no_grad():
            seen = [target(x) for x in views]
        return (loss(said[0], seen[1]) + loss(said[1], seen[0])) / 2

    return torch.nn.ModuleList([online, predictor]), both


def moco() -> tuple[torch.nn.Module, Loss]:
    """Returns what learns, and its loss, which moves the key network first."""
    query = network(MoCoProjectionHead(512, 512, 128))
    key = copy.deepcopy(query)
    deactivate_requires_grad(key)
    loss = NTXentLoss(temperature=0.2, memory_bank_size=(4096, 128))

    def one(views: Views) -> torch.Tensor:
        update_momentum(query, key, m=0.999)
        with torch.no_grad():
            keys = key(views[1])
        return loss(query(views[0]), keys)

    return query, one


def batches(options: argparse.Namespace) -> Iterator[Views]:
    """Yields two views `[b, 3, S, S]` each, for ever."""
    size = 224 if options.what == "input" else options.image_size
    loader = torch.utils.data.DataLoader(
        LightlyDataset(options.images, transform=transform(options.method, size)),
        batch_size=options.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=options.workers,
        persistent_workers=True,
    )
    while True:
        for views, _, _ in loader:
            yield views


def training(options: argparse.Namespace, views: Iterator[Views]) -> Iterator[None]:
    """Trains a step at each turn."""
    learner, loss = {"simclr": simclr, "byol": byol, "moco": moco}[options.method]()
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.06, momentum=0.9)
    for pair in views:
        optimizer.zero_grad()
        loss(pair).backward()
        optimizer.step()
        yield


def main() -> None:
    """Prints one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--what", choices=("input", "train"), default="train")
    parser.add_argument("--method", choices=("simclr", "byol", "moco"), required=True)
    parser.add_argument("--images", required=True)
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    turns = batches(options)
    if options.what == "train":
        turns = training(options, turns)
    for _ in range(max(2, options.steps // 4)):  # workers start, memory is allocated
        next(turns)
    begun = time.perf_counter()
    for _ in range(options.steps):
        next(turns)
    rate = options.steps * options.batch_size / (time.perf_counter() - begun)
    print(json.dumps({"images_per_second": rate, "version": lightly.__version__}))


if __name__ == "__main__":
    main()
