"""The flags that no single method or mode owns, by group; one field is one flag.

`Config` inherits them all. A function that reads the flags of one group only says so
by its annotation: `def source(config: Data)`. Layer 0, no TensorFlow.
"""

from __future__ import annotations

import dataclasses

from tfssl.config import tables
from tfssl.config.flag import AUTO_SWITCH, NUMBER, NUMBERS, PATH, Flags, flag


@dataclasses.dataclass(frozen=True)
class Job(Flags, title="job", scope="free"):
    """The command itself; every mode reads these."""

    mode: str = flag("pretrain", "what to do, several with commas, in order")
    run_dir: str = flag(
        "",
        "where everything of this run is written, also gs://BUCKET/PATH; needed",
        kind=PATH,
    )
    init_from: str = flag(
        "",
        "run directory or checkpoint to start from or to evaluate",
        scope="run",
        kind=PATH,
    )
    seed: int = flag(0, "source of all randomness", low=0, high=2**31 - 1, scope="run")
    progress: bool = flag(True, "show a progress line")


@dataclasses.dataclass(frozen=True)
class Data(Flags, title="data"):
    """Which images, and how they are split."""

    dataset: str = flag(
        "shapes",
        tables.DATASET_FORMS,
    )
    data_dir: str = flag(
        "",
        "where relative paths, or the data of tensorflow_datasets, are",
        scope="free",
    )
    index_dir: str = flag(
        "",
        "where indexes of large data sets are kept; empty: ~/.cache/tfssl",
        scope="free",
        kind=PATH,
    )
    rebuild_index: bool = flag(
        False, "make indexes anew (gs:// tells no changes)", scope="free"
    )
    tfrecord_image_key: str = flag(
        "image/encoded", "feature of tfrecord: files that holds the encoded image"
    )
    tfrecord_label_key: str = flag(
        "image/class/label",
        "feature that holds the label, an integer; empty: no labels",
    )
    tfrecord_first_label: int = flag(
        0,
        "the first class's number in tfrecord: files; 1 in some of ImageNet",
        low=0,
    )
    train_split: str = flag("train", "split to train on")
    eval_split: str = flag("", "split to evaluate on; empty: the source's held-out one")


@dataclasses.dataclass(frozen=True)
class Images(Flags, title="data"):
    """Images as the encoder gets them, whatever data set they come from."""

    max_image_pixels: int = flag(
        100_000_000,
        "files that declare more are skipped undecoded; 0: no limit",
        low=0,
        high=2**53,
    )
    orient: str = flag(
        "none",
        "exif turns pictures upright by the orientation in EXIF, else in XMP, on every "
        "path; none leaves them as they lie in the file, as the official codes do",
        choices=("none", "exif"),
    )
    image_size: int = flag(32, "side of the square images in pixels", low=8, high=1024)
    augment: str = flag(
        "",
        "recipe of the views; empty: the method's; one of "
        + ", ".join(tables.TWO_VIEW_RECIPES)
        + "; or figure5:FIRST[+SECOND] (SimCLR's ablation: operators on one branch "
        "only)",
    )


@dataclasses.dataclass(frozen=True)
class Network(Flags, title="network", scope="encoder"):
    """Method and network: without these, weights are numbers."""

    method: str = flag(
        "simclr", "how to learn: one of the names below, or MODULE:NAME, a method row"
    )
    encoder: str = flag(
        "resnet18_cifar",
        "resnet10 ... resnet200, then xW (width), _sk, _cifar (32-pixel stem); or "
        "MODULE:FUNCTION, such as keras.applications:MobileNetV3Small",
    )
    encoder_family: str = flag(
        "",
        "whose padding, initialisation and BatchNorm; empty: the method's",
        choices=tuple(tables.FAMILIES),
    )
    normalization: str = flag(
        "batch",
        "BatchNorm as published, group norm with weight standardisation, or scale and "
        "shift alone; everywhere",
        choices=tuple(tables.NORMALIZATIONS),
    )
    zero_init_last_gamma: bool | None = flag(
        None,
        "start each residual branch at zero; auto: as the family does",
        kind=AUTO_SWITCH,
        scope="run",
    )
    batch_norm_groups: int = flag(
        0,
        "groups of the global batch that BatchNorm normalises apart; 0: the whole",
        low=0,
        scope="run",
    )


@dataclasses.dataclass(frozen=True)
class Training(Flags, title="optimiser"):
    """How a method is optimised, on which views."""

    optimizer: str = flag("", "empty: the method's", choices=tuple(tables.OPTIMIZERS))
    learning_rate: float = flag(
        None, "per 256 images, see lr_scaling", kind=NUMBER, above=0
    )
    lr_scaling: str = flag(
        "linear",
        "times batch/256, times sqrt(batch), or as it is",
        choices=tuple(tables.LR_SCALINGS),
    )
    lr_schedule: str = flag(
        "cosine",
        "after the warm-up; epoch_cosine: MoCo's, one rate an epoch; step: a tenth at "
        "60 % and at 80 %; exponential: .9 every 62,500 steps; poly: DeepLab's",
        choices=tuple(tables.SCHEDULES),
    )
    lr_milestones: tuple[float, ...] = flag(
        (),
        "of step: the epochs at which the rate falls, with commas; empty: at 60 % and "
        "80 % of the run",
        kind=NUMBERS,
    )
    lr_decay: float = flag(
        0.0, "factor by which step and exponential fall; 0: .1 and .9", low=0, high=1
    )
    lr_decay_steps: int = flag(
        62_500, "of exponential: steps in which the rate falls by lr_decay", low=1
    )
    lr_staircase: bool = flag(
        False,
        "exponential falls at once every lr_decay_steps, not a little at every step",
    )
    warmup_epochs: float = flag(
        None, "epochs in which the rate rises from 0", kind=NUMBER, low=0
    )
    weight_decay: float = flag(
        None, "L2 or decoupled, as the optimiser does it", kind=NUMBER, low=0
    )
    lamb_decay: str = flag(
        "keras",
        "of lamb: decoupled, as Keras has it, or inside the trust ratio, as the paper",
        choices=("keras", "paper"),
    )
    momentum: float = flag(0.9, "of the gradient", low=0, high=1)
    batch_size: int = flag(256, "images a step, over all replicas", low=2)
    micro_batches: int = flag(
        1,
        "parts of a step's images in memory one after the other; BatchNorm sees a part "
        "at a time",
        low=1,
    )
    epochs: int = flag(100, "passes over the training images", low=1)
    train_steps: int = flag(0, "steps instead of epochs, when > 0", low=0)
    jitter_strength: float = flag(
        1.0, "multiplies the recipe's colour jitter", low=0, high=4
    )
    online_probe: bool = flag(
        True,
        "train a linear classifier along; the encoder gets none of its gradient",
    )


@dataclasses.dataclass(frozen=True)
class Precision(Flags, title="machine"):
    """Of every training."""

    precision: str = flag(
        "float32",
        "of the layers; weights and losses stay float32",
        choices=tables.PRECISIONS,
    )
    steps_per_loop: int = flag(
        10, "steps between two returns to Python", low=1, scope="free"
    )


@dataclasses.dataclass(frozen=True)
class Machine(Flags, title="machine", scope="free"):
    """The devices that the process uses, whatever the mode."""

    strategy: str = flag(
        "auto",
        "replicas: one device, all of this machine, those of all workers (TF_CONFIG or "
        "srun), or a TPU",
        choices=tuple(tables.STRATEGIES),
    )
    tpu_name: str = flag(
        "local",
        "of --strategy=tpu; local: the TPU of this machine (TPU VM, Colab)",
    )
    virtual_devices: int = flag(
        0, "split the CPU into N devices, to try mirrored anywhere", low=0, high=64
    )


@dataclasses.dataclass(frozen=True)
class Service(Flags, title="machine", scope="free"):
    """Where views are cut."""

    data_service: str = flag(
        "",
        "grpc://HOST:PORT of a tf.data service that decodes and crops "
        "(tools/data_service.py); then steps come in no exact order",
    )


@dataclasses.dataclass(frozen=True)
class Recording(Flags, title="recording", scope="free"):
    """Checkpoints, log and displays of a training."""

    checkpoint_every: int = flag(0, "steps between checkpoints; 0: every epoch", low=0)
    keep_checkpoints: int = flag(2, "how many of the last checkpoints stay", low=1)
    keep_every: int = flag(0, "every M-th checkpoint stays for ever; 0: none", low=0)
    rewind_on_nan: int = flag(
        0,
        "times to go back to the last checkpoint, with half the learning rate, when "
        "NaN appears",
        low=0,
        high=30,
    )
    accept_changed_data: bool = flag(
        False, "go on with a run whose training images have changed since it began"
    )
    async_checkpoint: bool = flag(
        True, "write checkpoints in a thread while training goes on"
    )
    log_every: int = flag(10, "steps between lines of log.jsonl", low=1)
    profile_steps: int = flag(
        0,
        "steps of which the report shows where the time goes, timed before training; "
        "0: none",
        low=0,
        high=1000,
    )
    tensorboard: bool = flag(True, "write TensorBoard files")


GROUPS: tuple[type[Flags], ...] = (
    Job,
    Data,
    Images,
    Network,
    Training,
    Recording,
    Precision,
    Machine,
    Service,
)
"""The shared groups in the order of `--help`."""
