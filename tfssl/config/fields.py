"""`Config`: everything a run depends on. One field is one flag, on one line.

Layer 0, no TensorFlow. Name, default, help, bounds and choices stand together; the
rules that tie several flags are in `tfssl.config.rules`, defaults of a method in
`presets`, the flagfile form in `flagfile`, and what a stored run means for
a new command in `inherit`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tfssl.config import presets


class Spec(NamedTuple):
    """What is known of one flag beside its value.

    Attributes:
      group: Heading in `--help`.
      help: One sentence.
      kind: Type of the value: str, int, float or bool.
      default: Value when not given; None or "" lets the method decide, or is "none".
      choices: Allowed values, or empty.
      low: Smallest allowed number, or None.
      high: Largest allowed number, or None.
      above: Number that the value must exceed, or None.
      scope: `"encoder"` (what the weights mean; never changes), `"run"` (what made
        the weights; a run keeps it, an evaluation with `--init_from` may differ), or
        `"free"` (may change whenever a run is resumed or evaluated).
    """

    group: str
    help: str
    kind: type
    default: Any
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    above: float | None = None
    scope: str = "run"


def _group(group: str, scope: str = "run") -> Any:
    def flag(default: Any, help: str, *, kind: type | None = None, **rest: Any) -> Any:
        kind = kind or type(default)
        spec = Spec(group, help, kind, default, **{"scope": scope, **rest})
        return dataclasses.field(default=default, metadata={"spec": spec})

    return flag


_job = _group("job", scope="free")
_data = _group("data")
_method = _group("method", scope="encoder")
_train = _group("method")
_opt = _group("optimiser")
_eval = _group("evaluation", scope="free")
_machine = _group("machine", scope="free")


# fmt: off
@dataclasses.dataclass(frozen=True)
class Config:
    """One run: frozen, comparable, written to `run_dir/flags.cfg`.

    `None` (numbers) and `""` (text) leave the value to the method; `resolve` fills
    them in, and the types are those after it. `--help` describes each field.
    """

    mode: str = _job("pretrain", "what to do, several with commas, in order: " + ", ".join(presets.MODES_AVAILABLE))
    run_dir: str = _job("", "where everything of this run is written, also gs://BUCKET/PATH; needed")
    init_from: str = _job("", "run directory or checkpoint to start from or to evaluate", scope="run")
    source: str = _job("", "--mode=convert: the weights to import, KIND:PATH with KIND one of " + ", ".join(presets.SOURCE_KINDS), scope="encoder")
    format: str = _job("saved_model", "--mode=export: saved_model (serving), torchvision (a PyTorch state dict), keras (a .keras file)", choices=presets.EXPORT_FORMATS)
    seed: int = _job(0, "source of all randomness", low=0, high=2**31 - 1, scope="run")

    dataset: str = _data("shapes", "shapes[:N] (drawn by the program), folder:DIR[,DIR] (images, class folders if labelled), list:FILE (a path a line), tfds:NAME, tfrecord:GLOB")
    data_dir: str = _data("", "where relative paths, or the data of tensorflow_datasets, are", scope="free")
    index_dir: str = _data("", "where indexes of large data sets are kept; empty: ~/.cache/tfssl", scope="free")
    rebuild_index: bool = _data(False, "make indexes anew (gs:// tells no changes)", scope="free")
    tfrecord_image_key: str = _data("image/encoded", "feature of tfrecord: files that holds the encoded image")
    tfrecord_label_key: str = _data("image/class/label", "feature that holds the label, an integer; empty: no labels")
    tfrecord_first_label: int = _data(0, "the first class's number in tfrecord: files; 1 in some of ImageNet", low=0)
    max_image_pixels: int = _data(100_000_000, "files that declare more are skipped undecoded; 0: no limit", low=0)
    train_split: str = _data("train", "split to train on")
    eval_split: str = _data("", "split to evaluate on; empty: the source's held-out one")
    image_size: int = _data(32, "side of the square images in pixels", low=8, high=1024)

    method: str = _method("simclr", "how to learn", choices=presets.METHODS)
    encoder: str = _method("resnet18_cifar", "resnet18 ... resnet200, then xW (width), _sk, _cifar (32-pixel stem); or MODULE:FUNCTION, such as keras.applications:MobileNetV3Small")
    encoder_family: str = _method("", "whose padding, initialisation and BatchNorm; empty: the method's", choices=presets.FAMILIES)
    normalization: str = _method("batch", "BatchNorm as published, group norm with weight standardisation, or scale and shift alone; everywhere", choices=presets.NORMALIZATIONS)
    projector_hidden: int = _method(None, "width inside the projector; 0: the encoder's", kind=int, low=0)
    projector_dim: int = _method(None, "width of the projection", kind=int, low=1)
    projector_layers: int = _method(None, "linear layers in the projector (MoCo v1: 1, v2: 2)", kind=int, low=1, high=8)
    predictor_hidden: int = _method(None, "width inside BYOL's predictor", kind=int, low=1)
    predictor: str = _train("", "of BYOL: mlp, or none (an ablation that collapses)", choices=presets.PREDICTORS)
    target_init: str = _train("", "of BYOL's target: copy of the online network, or random (the official code's own draw)", choices=presets.TARGET_INITS)
    zero_init_last_gamma: str = _train("auto", "start each residual branch at zero; auto: as the family does", choices=("auto", "true", "false"))
    batch_norm_groups: int = _train(0, "groups of the global batch that BatchNorm normalises apart; 0: the whole", low=0)
    batch_norm_interleaved: bool = _train(False, "MoCo: group of row i is i mod groups (SplitBatchNorm of its CIFAR demo), not a run of rows; one replica")
    temperature: float = _train(None, "divides the similarities", kind=float, above=0)
    dictionary: str = _train("", "MoCo's keys: queue, or the paper's comparisons batch (end-to-end) and bank (a feature per image)", choices=presets.DICTIONARIES)
    queue_size: int = _train(None, "keys in MoCo's queue, or drawn from its bank, or in SimCLR v2's memory (0: none)", kind=int, low=0)
    symmetric: bool = _train(False, "MoCo: both views are query and key")
    ema_momentum: float = _train(None, "how slowly target, key encoder, memory or bank follows (BYOL: at the start)", kind=float, low=0, high=1)
    ema_schedule: str = _train("", "of BYOL's ema_momentum: cosine rises to 1", choices=presets.EMA_SCHEDULES)
    augment: str = _train("", "recipe of the views; empty: the method's; one of " + ", ".join(presets.TWO_VIEW_RECIPES) + "; or figure5:FIRST[+SECOND] (SimCLR's ablation: operators on one branch only)")
    jitter_strength: float = _train(1.0, "multiplies the recipe's colour jitter", low=0, high=4)
    online_probe: bool = _train(True, "train a linear classifier along; the encoder gets none of its gradient")

    optimizer: str = _opt("", "empty: the method's", choices=presets.OPTIMIZERS)
    learning_rate: float = _opt(None, "per 256 images, see lr_scaling", kind=float, above=0)
    lr_scaling: str = _opt("linear", "times batch/256, times sqrt(batch), or as it is", choices=presets.LR_SCALINGS)
    lr_schedule: str = _opt("cosine", "after the warm-up; epoch_cosine: MoCo's, one rate an epoch; step: a tenth at 60 % and at 80 %; exponential: .9 every 62,500 steps", choices=presets.LR_SCHEDULES)
    lr_milestones: str = _opt("", "of step: the epochs at which the rate falls, with commas; empty: at 60 % and 80 % of the run")
    lr_decay: float = _opt(0.0, "factor by which step and exponential fall; 0: .1 and .9", low=0, high=1)
    lr_decay_steps: int = _opt(62_500, "of exponential: steps in which the rate falls by lr_decay", low=1)
    lr_staircase: bool = _opt(False, "exponential falls at once every lr_decay_steps, not a little at every step")
    warmup_epochs: float = _opt(None, "epochs in which the rate rises from 0", kind=float, low=0)
    weight_decay: float = _opt(None, "L2 or decoupled, as the optimiser does it", kind=float, low=0)
    momentum: float = _opt(0.9, "of the gradient", low=0, high=1)
    batch_size: int = _opt(256, "images a step, over all replicas", low=2)
    micro_batches: int = _opt(1, "parts of a step's images in memory one after the other; BatchNorm sees a part at a time", low=1)
    epochs: int = _opt(100, "passes over the training images", low=1)
    train_steps: int = _opt(0, "steps instead of epochs, when > 0", low=0)

    knn_k: int = _eval(200, "neighbours that vote", low=1)
    knn_temperature: float = _eval(0.1, "of the votes: weight exp(similarity / T)", above=0)
    knn_every: float = _eval(0.0, "epochs between kNN scores while training; 0: none", low=0)
    knn_train_limit: int = _eval(10_000, "images in the bank of the kNN while training; 0: all", low=0)
    knn_eval_limit: int = _eval(2_000, "images scored by the kNN while training; 0: all", low=0)
    doctor_images: int = _eval(10_000, "images of each split that the doctor looks at, spread evenly; 0: all", low=0)
    label_fraction: str = _eval("1", "share of the training labels that linear and finetune use, class-balanced; or a file of file names")
    linear_epochs: int = _eval(90, "passes over the training images", low=1)
    linear_batch_size: int = _eval(256, "images a step", low=1)
    linear_learning_rates: str = _eval("0.1,0.3,1,3,10,30", "per 256 images; the best on a held-out tenth of the training images is reported")
    finetune_epochs: int = _eval(30, "passes over the labelled images (published: 60 for 1 %, 30 for more)", low=1)
    finetune_batch_size: int = _eval(256, "images a step", low=2)
    finetune_optimizer: str = _eval("sgd", "sgd (SimCLR v1, BYOL) or lars (SimCLR v2)", choices=tuple(presets.FINETUNE_RATES))
    finetune_learning_rate: float = _eval(0.0, "sgd: per 256 images; lars: times sqrt(batch); 0: the published .05 or .005", low=0)
    finetune_weight_decay: float = _eval(0.0, "none was published", low=0)
    finetune_layer: int = _eval(0, "SimCLR: projector layers kept below the classifier; 1: v2 with 1 % or 10 % of the labels", low=0)
    baselines: bool = _eval(False, "also score raw pixels and the untrained encoder")

    strategy: str = _machine("auto", "replicas: one device, all of this machine, those of all workers (TF_CONFIG or srun), or a TPU", choices=presets.STRATEGIES_AVAILABLE)
    tpu_name: str = _machine("local", "of --strategy=tpu; local: the TPU of this machine (TPU VM, Colab)")
    virtual_devices: int = _machine(0, "split the CPU into N devices, to try mirrored anywhere", low=0, high=64)
    data_service: str = _machine("", "grpc://HOST:PORT of a tf.data service that decodes and crops (tools/data_service.py); then steps come in no exact order")
    precision: str = _machine("float32", "of the layers; weights and losses stay float32", choices=presets.PRECISIONS, scope="run")
    steps_per_loop: int = _machine(10, "steps between two returns to Python", low=1)
    checkpoint_every: int = _machine(0, "steps between checkpoints; 0: every epoch", low=0)
    keep_checkpoints: int = _machine(2, "how many of the last checkpoints stay", low=1)
    rewind_on_nan: int = _machine(0, "times to go back to the last checkpoint, with half the learning rate, when NaN appears", low=0, high=30)
    keep_every: int = _machine(0, "every M-th checkpoint stays for ever; 0: none", low=0)
    async_checkpoint: bool = _machine(True, "write checkpoints in a thread while training goes on")
    log_every: int = _machine(10, "steps between lines of log.jsonl", low=1)
    profile_steps: int = _machine(0, "steps of which the report shows where the time goes, timed before training; 0: none", low=0, high=1000)
    progress: bool = _machine(True, "show a progress line")
    tensorboard: bool = _machine(True, "write TensorBoard files")
# fmt: on


SPECS: Mapping[str, Spec] = {
    field.name: field.metadata["spec"] for field in dataclasses.fields(Config)
}
"""Flag to what is known of it, in the order of `--help`."""

RESUMABLE = frozenset(name for name, spec in SPECS.items() if spec.scope == "free")
"""Flags that may change when a run is resumed."""

IDENTITY = frozenset(SPECS) - RESUMABLE
"""Flags that make a run what it is."""


def modes(config: Config) -> list[str]:
    """The modes to run, in order; `[]` where `--mode` is empty."""
    return [mode for part in config.mode.split(",") if (mode := part.strip())]


def left_open(name: str, value: object) -> bool:
    """Whether a flag has the value that leaves the choice to the method."""
    return value is None or value == "" == SPECS[name].default


def resolve(config: Config) -> Config:
    """Fills in what the flags leave to the method (`presets.method_defaults`).

    Args:
      config: Any configuration. An unknown method is left alone; `checks` names it.

    Returns:
      A configuration in which every flag that its method has, has a value.
      `resolve` of it is itself.
    """
    if config.method not in presets.METHODS:
        return config
    table = presets.method_defaults(
        config.method,
        image_size=config.image_size,
        epochs=config.epochs,
        optimizer=config.optimizer,
        dictionary=config.dictionary,
        queue_size=config.queue_size,
    )
    open_ = {k: v for k, v in table.items() if left_open(k, getattr(config, k))}
    return dataclasses.replace(config, **open_)  # type: ignore[arg-type]


def difference(
    a: Config, b: Config, only: Iterable[str] = SPECS
) -> list[tuple[str, Any, Any]]:
    """The flags in which two configurations differ, as (flag, a's, b's)."""
    names = [name for name in SPECS if name in set(only)]
    pairs = [(name, getattr(a, name), getattr(b, name)) for name in names]
    return [(name, left, right) for name, left, right in pairs if left != right]
