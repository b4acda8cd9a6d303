"""Defaults as tables: what a method or a small image means when no flag says so.

Layer 0: imports nothing. The numbers are the published ones; each table says whose.
"""

from __future__ import annotations

from collections.abc import Mapping

MODES_AVAILABLE = (
    "pretrain",
    "convert",
    "knn",
    "linear",
    "finetune",
    "export",
    "report",
    "doctor",
)
"""The values of `--mode` that this version runs; `tfssl.tasks.TASKS` has the same."""

MODES_PLANNED = (
    "distill",
    "transfer",
    "detect",
    "segment",
    "embed",
)
"""Values of `--mode` that are reserved, and refused by name."""

MODES_OF_FLAG: Mapping[str, tuple[str, ...]] = {
    "label_fraction": ("linear", "finetune"),
    "finetune_epochs": ("finetune",),
    "finetune_batch_size": ("finetune",),
    "finetune_optimizer": ("finetune",),
    "finetune_learning_rate": ("finetune",),
    "finetune_weight_decay": ("finetune",),
    "finetune_layer": ("finetune",),
    "doctor_images": ("doctor",),
    "format": ("export",),
}
"""Flags that only these modes read; given for others alone they are refused, since they
would change nothing (pre-training uses no labels, and always all images)."""

MODES_BEFORE = ("doctor",)
"""Modes that may stand before `pretrain`: they need nothing that it trains."""

MODES_ON_A_RUN = ("knn", "linear", "finetune", "export", "report")
"""Modes that need a trained encoder, and so read the flags of the run that made it."""

MODES_ON_ALL_WORKERS = ("pretrain",)
"""Modes that every worker of `--strategy=multiworker` joins; the others are the
chief's alone, on the devices of its own machine."""

STRATEGIES_AVAILABLE = ("auto", "one", "mirrored", "multiworker", "tpu")

DATASET_FORMS = "shapes, shapes:N, folder:DIR, list:FILE, tfds:NAME, tfrecord:GLOB"

SOURCE_KINDS: Mapping[str, str] = {
    "simclr": "simclr",
    "byol": "byol",
    "moco": "moco",
    "torchvision": "moco",
}
"""Kinds of `--source=KIND:PATH`, and the method whose family and preprocessing they
have; `tfssl.weights.READERS` has the same kinds."""

EXPORT_FORMATS = ("saved_model", "torchvision", "keras")

METHODS = ("byol", "simclr", "moco")
FAMILIES = ("byol", "simclr", "moco")
NORMALIZATIONS = ("batch", "group_ws", "none")
OPTIMIZERS = ("lars", "sgd", "adamw", "lamb")
LR_SCALINGS = ("linear", "sqrt", "none")
LR_SCHEDULES = ("cosine", "epoch_cosine", "step", "exponential", "constant")
EMA_SCHEDULES = ("cosine", "constant")
DICTIONARIES = ("queue", "batch", "bank")
PREDICTORS = ("mlp", "none")
TARGET_INITS = ("copy", "random")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
TWO_VIEW_RECIPES = (
    "simclr",
    "simclr_v1",
    "simclr_cifar",
    "shapes",
    "byol",
    "byol_cifar",
    "moco_v1",
    "moco_v2",
    "moco_cifar",
)
"""Values of `--augment`, beside those of `tfssl.augment_name`: the recipes of
`tfssl.augment.RECIPES` that have two views."""

SMALL_IMAGE = 32
"""Images up to this side take `SMALL_IMAGE_DEFAULTS` (the official SimCLR's limit)."""

METHOD_FLAGS: Mapping[str, tuple[str, ...]] = {
    "temperature": ("simclr", "moco"),
    "dictionary": ("moco",),
    "queue_size": ("simclr", "moco"),
    "symmetric": ("moco",),
    "batch_norm_interleaved": ("moco",),
    "predictor": ("byol",),
    "target_init": ("byol",),
    "ema_momentum": ("simclr", "byol", "moco"),
    "ema_schedule": ("byol",),
    "predictor_hidden": ("byol",),
    "projector_hidden": ("simclr", "byol"),
    "projector_layers": ("simclr", "moco"),
}
"""Flags that only some methods have; given to another one they are refused."""

METHOD_DEFAULTS: Mapping[str, Mapping[str, object]] = {
    # google-research/simclr tf2/run.py, the defaults of its flags. Its README trains
    # ImageNet with .075 sqrt and decay 1e-4 instead: flags/simclr_tpu.cfg.
    "simclr": {
        "encoder_family": "simclr",
        "augment": "simclr",
        "projector_hidden": 0,
        "projector_dim": 128,
        "projector_layers": 3,
        "temperature": 0.1,
        "queue_size": 0,  # v2's memory (2006.10029): 65536
        "ema_momentum": 0.999,
        "optimizer": "lars",
        "learning_rate": 0.3,
        "weight_decay": 1e-6,
        "warmup_epochs": 10.0,
    },
    # deepmind-research/byol configs/byol.py; rate, decay and tau: BYOL_BY_EPOCHS.
    "byol": {
        "encoder_family": "byol",
        "augment": "byol",
        "projector_hidden": 4096,
        "projector_dim": 256,
        "predictor": "mlp",
        "predictor_hidden": 4096,
        "target_init": "copy",
        "ema_schedule": "cosine",
        "optimizer": "lars",
        "warmup_epochs": 10.0,
    },
    # MoCo v2: facebookresearch/moco main_moco.py --mlp --moco-t 0.2 --aug-plus --cos.
    "moco": {
        "encoder_family": "moco",
        "augment": "moco_v2",
        "projector_dim": 128,
        "projector_layers": 2,
        "temperature": 0.2,
        "dictionary": "queue",
        "queue_size": 65536,
        "ema_momentum": 0.999,
        "optimizer": "sgd",
        "learning_rate": 0.03,
        "weight_decay": 1e-4,
        "warmup_epochs": 0.0,
    },
}
"""What each method was published with on ImageNet, by flag."""

SMALL_IMAGE_DEFAULTS: Mapping[str, Mapping[str, object]] = {
    # google-research/simclr README, CIFAR-10 (strength .5, no blur: in the recipe).
    "simclr": {
        "augment": "simclr_cifar",
        "temperature": 0.5,
        "learning_rate": 1.0,
        "weight_decay": 1e-4,
    },
    # Nothing was published for BYOL at 32 pixels. Rate and decay are those of its
    # README for Imagenette (ResNet-18, batch 256); the recipe without blur is ours.
    "byol": {"augment": "byol_cifar", "learning_rate": 2.0, "weight_decay": 1e-6},
    # facebookresearch/moco, branch colab-notebook: .06 at batch 512.
    "moco": {
        "augment": "moco_cifar",
        "projector_layers": 1,
        "temperature": 0.1,
        "queue_size": 4096,
        "ema_momentum": 0.99,
        "learning_rate": 0.03,
        "weight_decay": 5e-4,
    },
}
"""What replaces `METHOD_DEFAULTS` for images up to `SMALL_IMAGE` pixels."""

DICTIONARY_DEFAULTS: Mapping[str, Mapping[str, object]] = {
    "queue": {},
    # The keys are the batch's; nothing follows.
    "batch": {"queue_size": None, "ema_momentum": None},
    # Wu et al. 2018: each feature moves half of the way.
    "bank": {"ema_momentum": 0.5},
}
"""What replaces MoCo's defaults for `--dictionary`; None: there is no such thing."""

BYOL_BY_EPOCHS: Mapping[int, Mapping[str, object]] = {
    40: {"learning_rate": 0.45, "weight_decay": 1e-6, "ema_momentum": 0.97},
    100: {"learning_rate": 0.45, "weight_decay": 1e-6, "ema_momentum": 0.99},
    300: {"learning_rate": 0.3, "weight_decay": 1e-6, "ema_momentum": 0.99},
    1000: {"learning_rate": 0.2, "weight_decay": 1.5e-6, "ema_momentum": 0.996},
}
"""deepmind-research/byol configs/byol.py. A short run with the rates of the long one
is the commonest way to a poor BYOL, so `--epochs` chooses the row."""

FINETUNE_RATES: Mapping[str, tuple[float, str]] = {
    "sgd": (0.05, "linear"),
    "lars": (0.005, "sqrt"),
}
"""`--finetune_optimizer`: peak rate and `lr_scaling`, as published. SimCLR appendix B.5
(SGD with Nesterov momentum), google-research/simclr README for v2 (LARS)."""

OTHER_OPTIMIZER_DEFAULTS: Mapping[str, Mapping[str, object]] = {
    "lars": {"learning_rate": 0.3, "weight_decay": 1e-6},
    "sgd": {"learning_rate": 0.03, "weight_decay": 1e-4},
    "adamw": {"learning_rate": 5e-4, "weight_decay": 1e-4},
    "lamb": {"learning_rate": 1e-3, "weight_decay": 1e-4},
}
"""Rates for an optimiser that is not the method's own (LARS' .3 would blow up AdamW).
Ours, not published."""

WARMUP_SHARE = 0.25
"""The default warm-up is at most this share of the run (BYOL's 10 of 40 epochs)."""


def method_defaults(
    method: str,
    *,
    image_size: int,
    epochs: int,
    optimizer: str,
    dictionary: str = "",
    queue_size: int | None = None,
) -> dict[str, object]:
    """The value of every flag that a method decides, as one flat table.

    Args:
      method: One of `METHODS`.
      image_size: Side of the images in pixels.
      epochs: Length of the run, for `BYOL_BY_EPOCHS` and the warm-up.
      optimizer: `--optimizer` as given; empty for the method's own.
      dictionary: `--dictionary` as given; empty for the method's own.
      queue_size: `--queue_size` as given; None for the method's own.

    Returns:
      Flag to value. A flag that the method does not have is absent.
    """
    table = dict(METHOD_DEFAULTS[method])
    if method == "byol":
        longer = [limit for limit in BYOL_BY_EPOCHS if epochs <= limit]
        table |= BYOL_BY_EPOCHS[min(longer, default=max(BYOL_BY_EPOCHS))]
    if image_size <= SMALL_IMAGE:
        table |= SMALL_IMAGE_DEFAULTS[method]
    if method == "simclr" and not queue_size:
        table["ema_momentum"] = None  # without a memory nothing follows
    if method == "moco":
        table |= DICTIONARY_DEFAULTS.get(dictionary, {})
    if optimizer and optimizer != table["optimizer"]:
        table |= OTHER_OPTIMIZER_DEFAULTS.get(optimizer, {})
        table["optimizer"] = optimizer
    warmup = float(METHOD_DEFAULTS[method]["warmup_epochs"])  # type: ignore[arg-type]
    table["warmup_epochs"] = min(warmup, WARMUP_SHARE * epochs)
    return table
