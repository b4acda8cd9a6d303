"""The methods: their flags, their published defaults, their rules. No TensorFlow.

One row a method; its network and loss are in `tfssl.methods`. A new method is a file
there and a row here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from tfssl.config.flag import Flags, flag
from tfssl.config.method_row import MethodRow
from tfssl.config.tables import DICTIONARIES
from tfssl.errors import message

if TYPE_CHECKING:
    from tfssl.config.config import Config

# --- SimCLR -------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class SimCLRFlags(Flags):
    """SimCLR's own flags."""

    projector_hidden: int = flag(
        0, "width inside the projector; 0: the encoder's", low=0, scope="encoder"
    )
    projector_dim: int = flag(128, "width of the projection", low=1, scope="encoder")
    projector_layers: int = flag(
        3, "linear layers in the projector", low=1, high=8, scope="encoder"
    )
    temperature: float = flag(0.1, "divides the similarities", above=0, small=0.5)
    queue_size: int = flag(
        0, "keys in SimCLR v2's memory, published: 65536; 0: none", low=0
    )
    ema_momentum: float | None = flag(
        0.999, "how slowly the memory's network follows", low=0, high=1
    )


def _simclr_memory(config: Config, small: bool) -> Mapping[str, object]:
    del small
    # Without a memory nothing follows.
    return {} if config.queue_size else {"ema_momentum": None}


def _simclr_queue(config: Config) -> Iterator[str]:
    yield from _whole_steps(config, 2)
    momentum = config.ema_momentum
    if not config.queue_size and momentum is not None:
        yield message(
            f"--ema_momentum={momentum} with --method={config.method} without a memory",
            "--ema_momentum only with byol, moco, or SimCLR v2's memory",
            "--queue_size=65536",
        )


# google-research/simclr tf2/run.py, the defaults of its flags. Its README trains
# ImageNet with .075 sqrt and decay 1e-4 instead: flags/simclr_tpu.cfg.
SIMCLR = MethodRow(
    build="tfssl.methods.simclr:build",
    flags=SimCLRFlags,
    defaults={
        "encoder_family": "simclr",
        "augment": "simclr",
        "optimizer": "lars",
        "learning_rate": 0.3,
        "weight_decay": 1e-6,
        "warmup_epochs": 10.0,
    },
    # Its README, CIFAR-10 (strength .5, no blur: in the recipe).
    small={"augment": "simclr_cifar", "learning_rate": 1.0, "weight_decay": 1e-4},
    adapt=_simclr_memory,
    rules=(_simclr_queue,),
    rounding="floor_plus_one",
    decays_probe=False,
    couples_rows=lambda config: True,
    keeps_projector=True,
)

# --- BYOL ---------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class BYOLFlags(Flags):
    """BYOL's own flags."""

    projector_hidden: int = flag(
        4096, "width inside the projector", low=0, scope="encoder"
    )
    projector_dim: int = flag(256, "width of the projection", low=1, scope="encoder")
    predictor_hidden: int = flag(
        4096, "width inside the predictor", low=1, scope="encoder"
    )
    predictor: str = flag(
        "mlp",
        "mlp, or none (an ablation that collapses)",
        choices=("mlp", "none"),
    )
    target_init: str = flag(
        "copy",
        "of the target: copy of the online network, or random (the official code's own "
        "draw)",
        choices=("copy", "random"),
    )
    ema_momentum: float = flag(
        0.996, "how slowly the target follows at the start", low=0, high=1
    )
    ema_schedule: str = flag(
        "cosine", "of ema_momentum: cosine rises to 1", choices=("cosine", "constant")
    )


BYOL_BY_EPOCHS: Mapping[int, Mapping[str, float]] = {
    40: {"learning_rate": 0.45, "weight_decay": 1e-6, "ema_momentum": 0.97},
    100: {"learning_rate": 0.45, "weight_decay": 1e-6, "ema_momentum": 0.99},
    300: {"learning_rate": 0.3, "weight_decay": 1e-6, "ema_momentum": 0.99},
    1000: {"learning_rate": 0.2, "weight_decay": 1.5e-6, "ema_momentum": 0.996},
}
"""deepmind-research/byol configs/byol.py. A short run with the rates of the long one
is the commonest way to a poor BYOL, so `--epochs` chooses the row."""


def _byol_by_epochs(config: Config, small: bool) -> Mapping[str, object]:
    longer = [limit for limit in BYOL_BY_EPOCHS if config.epochs <= limit]
    row = BYOL_BY_EPOCHS[min(longer, default=max(BYOL_BY_EPOCHS))]
    return {"ema_momentum": row["ema_momentum"]} if small else row


# deepmind-research/byol configs/byol.py.
BYOL = MethodRow(
    build="tfssl.methods.byol:build",
    flags=BYOLFlags,
    defaults={
        "encoder_family": "byol",
        "augment": "byol",
        "optimizer": "lars",
        "learning_rate": 0.2,
        "weight_decay": 1.5e-6,
        "warmup_epochs": 10.0,
    },
    # Nothing was published for 32 pixels. Rate and decay are those of the README for
    # Imagenette (ResNet-18, batch 256); the recipe without blur is ours.
    small={"augment": "byol_cifar", "learning_rate": 2.0, "weight_decay": 1e-6},
    adapt=_byol_by_epochs,
    rounding="floor",
    lr_in_velocity=False,
)

# --- MoCo ---------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class MoCoFlags(Flags):
    """MoCo's own flags."""

    projector_dim: int = flag(128, "width of the projection", low=1, scope="encoder")
    projector_layers: int = flag(
        2,
        "linear layers in the projector (MoCo v1: 1, v2: 2)",
        low=1,
        high=8,
        scope="encoder",
        small=1,
    )
    temperature: float = flag(0.2, "divides the similarities", above=0, small=0.1)
    dictionary: str = flag(
        "queue",
        "the keys: queue, or the paper's comparisons batch (end-to-end) and bank (a "
        "feature per image)",
        choices=tuple(DICTIONARIES),
    )
    queue_size: int | None = flag(
        65536, "keys in the queue, or drawn from the bank", low=0, small=4096
    )
    ema_momentum: float | None = flag(
        0.999, "how slowly key encoder or bank follows", low=0, high=1, small=0.99
    )
    symmetric: bool = flag(False, "both views are query and key")
    batch_norm_interleaved: bool = flag(
        False,
        "group of row i is i mod groups (SplitBatchNorm of the CIFAR demo), not a run "
        "of rows; one replica",
    )


_OF_DICTIONARY: Mapping[str, Mapping[str, object]] = {
    # The keys are the batch's; nothing follows.
    "batch": {"queue_size": None, "ema_momentum": None},
    # Wu et al. 2018: each feature moves half of the way.
    "bank": {"ema_momentum": 0.5},
}


def _moco_dictionary(config: Config, small: bool) -> Mapping[str, object]:
    del small
    return _OF_DICTIONARY.get(config.dictionary or "queue", {})


def _moco_layers(config: Config) -> Iterator[str]:
    layers = config.projector_layers
    if layers is not None and layers > 2:
        yield message(
            f"--projector_layers={layers} with --method={config.method}",
            "1 (MoCo v1) or 2 (MoCo v2)",
            "--projector_layers=2",
        )


def _moco_queue(config: Config) -> Iterator[str]:
    if config.dictionary != "batch" and config.queue_size == 0:
        yield message(
            f"--queue_size=0 with --method={config.method}", "keys", "--queue_size=4096"
        )
    if config.dictionary == "queue":
        yield from _whole_steps(config, 2 if config.symmetric else 1)


def _moco_batch(config: Config) -> Iterator[str]:
    if config.dictionary != "batch":
        return
    for name in ("queue_size", "ema_momentum"):
        if getattr(config, name) is not None:
            yield message(
                f"--{name}={getattr(config, name)} with --dictionary=batch",
                "neither: the keys are the batch's, and nothing follows",
                f"leaving --{name} away, or --dictionary=queue",
            )


def _moco_bank(config: Config) -> Iterator[str]:
    if config.dictionary == "bank" and config.symmetric:
        yield message(
            "--symmetric with --dictionary=bank",
            "one direction: the key is the image's own feature, not a view's",
            "--nosymmetric, or --dictionary=batch",
        )


def _moco_interleaved(config: Config) -> Iterator[str]:
    if not config.batch_norm_interleaved:
        return
    if config.batch_norm_groups < 2:
        yield message(
            f"--batch_norm_interleaved with "
            f"--batch_norm_groups={config.batch_norm_groups}",
            "groups to interleave",
            "--batch_norm_groups=8",
        )
    if config.virtual_devices > 1:
        yield message(
            f"--batch_norm_interleaved with --virtual_devices={config.virtual_devices}",
            "one replica: interleaved groups cross from one to the other",
            "--nobatch_norm_interleaved, or --strategy=one --virtual_devices=0",
        )


# MoCo v2: facebookresearch/moco main_moco.py --mlp --moco-t 0.2 --aug-plus --cos.
MOCO = MethodRow(
    build="tfssl.methods.moco:build",
    flags=MoCoFlags,
    defaults={
        "encoder_family": "moco",
        "augment": "moco_v2",
        "optimizer": "sgd",
        "learning_rate": 0.03,
        "weight_decay": 1e-4,
        "warmup_epochs": 0.0,
    },
    # facebookresearch/moco, branch colab-notebook: .06 at batch 512.
    small={"augment": "moco_cifar", "learning_rate": 0.03, "weight_decay": 5e-4},
    adapt=_moco_dictionary,
    rules=(_moco_layers, _moco_queue, _moco_batch, _moco_bank, _moco_interleaved),
    rounding="drop_last",
    cosine_by_epoch=True,  # main_moco.py sets the rate once per epoch
    couples_rows=lambda config: bool(config.dictionary == "batch"),
)

METHODS: Mapping[str, MethodRow] = {"byol": BYOL, "simclr": SIMCLR, "moco": MOCO}
"""The methods by the value of `--method`."""


def _whole_steps(config: Config, views: int) -> Iterator[str]:
    """Refuses a queue that a step's keys do not fill evenly."""
    size = config.queue_size
    if config.source or size is None or size < 0 or config.batch_size < 1:
        return  # imported weights train nothing; the others are already reported
    keys = config.batch_size * views
    if size % keys:
        why = " (both views are enqueued)" if views == 2 else ""
        yield message(
            f"--queue_size={size} with --batch_size={config.batch_size}",
            f"a multiple of {'twice ' * (views == 2)}--batch_size{why}: a step "
            f"replaces {keys} keys whole",
            f"--queue_size={max(1, round(size / keys)) * keys}",
        )
