"""The modes: their flags, and which shared flags each of them reads. No TensorFlow.

One row a mode; what it does is in `tfssl.tasks`. A new mode is a file there and a row
here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from tfssl.config import tables
from tfssl.config.detect_flags import DetectFlags, RegionFlags
from tfssl.config.distill_flags import DistillFlags
from tfssl.config.flag import (
    NUMBERS,
    PATH,
    PATHS,
    SHARE_OR_FILE,
    WHOLES,
    Flags,
    Spec,
    flag,
    specs_of,
)
from tfssl.config.groups import (
    Data,
    Images,
    Job,
    Machine,
    Network,
    Precision,
    Recording,
    Service,
    Training,
)
from tfssl.config.segment_flags import SegmentFlags
from tfssl.config.transfer_sets import TransferFlags
from tfssl.config.vector_flags import (
    EmbeddingsFlags,
    EmbedFlags,
    SearchFlags,
    SelectFlags,
)

FINETUNE_RATES: Mapping[str, tuple[float, str]] = {
    "sgd": (0.05, "linear"),
    "lars": (0.005, "sqrt"),
}
"""`--finetune_optimizer`: peak rate and `lr_scaling`, as published. SimCLR appendix B.5
(SGD with Nesterov momentum), google-research/simclr README for v2 (LARS)."""


@dataclasses.dataclass(frozen=True)
class ConvertFlags(Flags, title="convert", scope="encoder"):
    """Flags of `--mode=convert`."""

    source: str = flag(
        "",
        "the weights to import, KIND:PATH with KIND one of "
        + ", ".join(tables.SOURCE_KINDS),
        kind=PATH,
    )


@dataclasses.dataclass(frozen=True)
class OnlineKnnFlags(Flags, title="knn", scope="free"):
    """Flags of the kNN score while pre-training goes."""

    knn_every: float = flag(
        0.0, "epochs between kNN scores while training; 0: none", low=0
    )
    knn_train_limit: int = flag(
        10_000, "images in the bank of the kNN while training; 0: all", low=0
    )
    knn_eval_limit: int = flag(
        2_000, "images scored by the kNN while training; 0: all", low=0
    )


@dataclasses.dataclass(frozen=True)
class KnnFlags(Flags, title="knn", scope="free"):
    """Flags of every kNN."""

    knn_k: int = flag(200, "neighbours that vote", low=1)
    knn_temperature: float = flag(
        0.1, "of the votes: weight exp(similarity / T)", above=0
    )


@dataclasses.dataclass(frozen=True)
class BaselineFlags(Flags, title="linear and knn", scope="free"):
    """Flags of the evaluations of a frozen encoder."""

    baselines: bool = flag(False, "also score raw pixels and the untrained encoder")


@dataclasses.dataclass(frozen=True)
class LabelFlags(Flags, title="linear, finetune and distill", scope="free"):
    """Flags of everything that learns from labels."""

    label_fraction: float | str = flag(
        1.0,
        "share of the training labels that is used, class-balanced; or, above 1, how "
        "many images a class; or a file of file names; several with commas: a curve",
        kind=SHARE_OR_FILE,
    )
    label_seeds: int = flag(
        1,
        "draws of the labels of each fraction, from --seed on: a curve's spread",
        low=1,
        high=1000,
    )


@dataclasses.dataclass(frozen=True)
class StartFlags(Flags, title="detect and segment", scope="free"):
    """What dense tasks begin with, where that is more than one thing."""

    dense_runs: tuple[str, ...] = flag(
        (),
        "what to begin with, with commas: runs, imported ones too, or random; the same "
        "task from each, in one table",
        kind=PATHS,
    )
    dense_seeds: int = flag(
        1,
        "trainings from each start, from --seed on: the table's spread",
        low=1,
        high=1000,
    )


@dataclasses.dataclass(frozen=True)
class LinearFlags(Flags, title="linear", scope="free"):
    """Flags of `--mode=linear`."""

    linear_epochs: int = flag(90, "passes over the training images", low=1)
    linear_batch_size: int = flag(256, "images a step", low=1)
    linear_learning_rates: tuple[float, ...] = flag(
        (0.1, 0.3, 1.0, 3.0, 10.0, 30.0),
        "per 256 images; the best on a held-out tenth of the training images is "
        "reported",
        kind=NUMBERS,
    )
    linear_features: str = flag(
        "augmented",
        "augmented: a crop and a flip of every image each epoch, as published; cached: "
        "features of the centres, made once, and logistic regression by L-BFGS",
        choices=("augmented", "cached"),
    )
    linear_flips: bool = flag(False, "cached features also of the mirrored images")


@dataclasses.dataclass(frozen=True)
class FinetuneFlags(Flags, title="finetune and supervised", scope="free"):
    """Flags of `--mode=finetune` and `--mode=supervised`."""

    finetune_epochs: tuple[int, ...] = flag(
        (30,),
        "passes over the labelled images (published: 60 for 1 %, 30 for more); with "
        "several, as with several rates, the best on a held-out tenth trains on all",
        kind=WHOLES,
    )
    finetune_batch_size: int = flag(256, "images a step", low=2)
    finetune_optimizer: str = flag(
        "sgd",
        "sgd (SimCLR v1, BYOL) or lars (SimCLR v2)",
        choices=tuple(FINETUNE_RATES),
    )
    finetune_learning_rate: tuple[float, ...] = flag(
        (0.0,),
        "sgd: per 256 images; lars: times sqrt(batch); 0: the published .05 or .005; "
        "several with commas are tried",
        kind=NUMBERS,
    )
    finetune_weight_decay: float = flag(0.0, "none was published", low=0)
    finetune_layer: int = flag(
        0,
        "SimCLR: projector layers kept below the classifier; 1: v2 with 1 % or 10 % of "
        "the labels",
        low=0,
    )
    freeze: str = flag(
        "none",
        "stages below this one stay as they are, BatchNorm too: P2 (the stem stays) to "
        "P5; all: the whole encoder",
        choices=("none", "P2", "P3", "P4", "P5", "all"),
    )
    finetune_stage_rates: tuple[float, ...] = flag(
        (),
        "five factors of the rate: of the stem and of P2 to P5; the classifier keeps 1",
        kind=NUMBERS,
    )
    label_smoothing: float = flag(
        0.0, "share of each label that goes to all classes alike", low=0, high=0.9
    )
    class_balance: str = flag(
        "none",
        "loss: an image weighs inversely to how many its class has; sampling: images "
        "of rarer classes come again, until each class has as many as the largest",
        choices=("none", "loss", "sampling"),
    )


@dataclasses.dataclass(frozen=True)
class ExportFlags(Flags, title="export", scope="free"):
    """Flags of `--mode=export`."""

    format: str = flag(
        "saved_model",
        "saved_model (serving), keras (a .keras file), torchvision (a PyTorch state "
        "dict), onnx, litert (TFLite)",
        choices=tuple(tables.EXPORT_FORMATS),
    )
    export_on_error: str = flag(
        "fail",
        "what an undecodable image does to a request to the SavedModel: fail names "
        "it; zeros gives zeros for it, and an output `valid` for all",
        choices=("fail", "zeros"),
    )
    export_dtype: str = flag(
        "float32",
        "of the numbers in a litert file; int8 takes ranges from the run's own images",
        choices=("float32", "float16", "int8"),
    )
    export_versions: bool = flag(
        False,
        "put the SavedModel into serving/1, serving/2, ... of the run, the next number "
        "each time, as TensorFlow Serving wants it; it takes up a new one by itself",
    )
    export_verify: bool = flag(
        True,
        "open what was written in a process of its own, compare it with the encoder "
        "and time it",
    )


@dataclasses.dataclass(frozen=True)
class DoctorFlags(Flags, title="doctor", scope="free"):
    """Flags of `--mode=doctor`."""

    doctor_images: int = flag(
        10_000,
        "images of each split that the doctor looks at, spread evenly; 0: all",
        low=0,
    )


@dataclasses.dataclass(frozen=True)
class Task:
    """One mode.

    Attributes:
      run: `"module:function"`, of the resolved Config to `tfssl.tasks.Outcome`.
      reads: The groups of flags that it reads, beside `Job`, `Machine` and `Network`.
      also: Single flags that it reads.
      only_with: A flag of `reads` or of these groups, and the groups that are read
        where it is not its default.
      beside: Flag of `reads` to another one and the values of that with which it is
        read; no values: any but the default.
      without: Flags of `reads` that it does not read.
      method: It reads the method's own flags.
      on_a_run: It needs a trained encoder, and so reads the flags of the run that made
        it.
      first: It may stand before `pretrain`: it needs nothing that is trained.
      target: What its images must have beside a label, a key of `tables.TARGETS`.
      labels: It needs labelled training images and labelled held-out ones; passed over
        where there are none and the command asks for other modes, too.
      several_labels: Images may have several labels each.
      spares_images: It shows images where they are there, and does without.
      all_workers: Every worker of `--strategy=multiworker` joins; other modes are the
        chief's alone, on the devices of its own machine.
      check: `"module:function"`, of the resolved Config and the modes still to run to
        the problems that stand in the way, one sentence each; called before the first
        step of a command, once for all modes that name it.
    """

    run: str
    reads: tuple[type[Flags], ...] = ()
    also: tuple[str, ...] = ()
    only_with: Mapping[str, tuple[type[Flags], ...]] = dataclasses.field(
        default_factory=dict
    )
    beside: Mapping[str, tuple[str, tuple[str, ...]]] = dataclasses.field(
        default_factory=dict
    )
    without: tuple[str, ...] = ()
    method: bool = False
    on_a_run: bool = False
    first: bool = False
    target: str = ""
    labels: bool = False
    several_labels: bool = False
    spares_images: bool = False
    all_workers: bool = False
    check: str = ""

    @property
    def images(self) -> bool:
        """Reads images of the run's data set."""
        return Data in self.reads and (self.on_a_run or self.all_workers)

    def flags(self) -> set[str]:
        """Names of the flags that it may read, but for the method's own."""
        groups = (Job, Machine, Network, *self.reads, *sum(self.only_with.values(), ()))
        return (_names(groups) | set(self.also)) - set(self.without)

    def unread(self, values: Mapping[str, object]) -> set[str]:
        """Names of those of `flags` that it does not read beside these values.

        Args:
          values: Every flag's value.
        """
        beside = sum(self.only_with.values(), ())
        own = {n: s for g in (*self.reads, *beside) for n, s in specs_of(g).items()}
        found: set[str] = set()
        for name, groups in self.only_with.items():
            if values[name] == own[name].default:
                found |= _names(groups) - {name}
        for name, (other, wanted) in self.beside.items():
            value, default = values[other], own[other].default
            if value not in wanted if wanted else value == default:
                found.add(name)
        return found


def _names(groups: Iterable[type[Flags]]) -> set[str]:
    return {name for group in groups for name in specs_of(group)}


_PRETRAIN = (Data, Images, Training, Recording, Precision, Service)
_TFRECORD = ("tfrecord_image_key", "tfrecord_label_key", "tfrecord_first_label")
_ONLINE_KNN = MappingProxyType({"knn_every": (OnlineKnnFlags, KnnFlags)})

_REGIONS = MappingProxyType({"detector": (RegionFlags,)})
_LINEAR_WAYS = MappingProxyType(
    {
        "linear_epochs": ("linear_features", ("augmented",)),
        "linear_batch_size": ("linear_features", ("augmented",)),
        "linear_learning_rates": ("linear_features", ("augmented",)),
        "linear_flips": ("linear_features", ("cached",)),
    }
)
_VECTORS = "tfssl.tasks.vector_checks:check"

_FINETUNE = Task(
    "tfssl.tasks.finetune:run",
    (Data, Images, Recording, Precision, LabelFlags, FinetuneFlags),
    ("micro_batches",),
    on_a_run=True,
    labels=True,
    several_labels=True,
    all_workers=True,
)

TASKS: Mapping[str, Task] = {
    "pretrain": Task(
        "tfssl.tasks.pretrain:run",
        _PRETRAIN,
        only_with=_ONLINE_KNN,
        method=True,
        all_workers=True,
    ),
    # What is given is stored beside the weights, for the evaluations to come.
    "convert": Task(
        "tfssl.tasks.convert:run", (ConvertFlags, Data, Images), method=True
    ),
    "knn": Task(
        "tfssl.tasks.knn:run",
        (Data, Images, KnnFlags, BaselineFlags),
        on_a_run=True,
        labels=True,
    ),
    "linear": Task(
        "tfssl.tasks.linear:run",
        (Data, Images, Recording, Precision, LabelFlags, LinearFlags, BaselineFlags),
        beside=_LINEAR_WAYS,
        without=("precision",),  # its one layer is float32
        on_a_run=True,
        labels=True,
    ),
    "finetune": _FINETUNE,
    # The same training from the seed: it needs the flags of a run, and no weights.
    "supervised": dataclasses.replace(
        _FINETUNE,
        run="tfssl.tasks.finetune:supervised",
        without=("finetune_layer", "freeze", "finetune_stage_rates"),
    ),
    "distill": Task(
        "tfssl.tasks.distill:run",
        (Data, Images, Recording, Precision, LabelFlags, DistillFlags),
        # Its views are crop and flip, and it has no probe beside the classifier.
        tuple(sorted(_names([Training]) - {"jitter_strength", "online_probe"})),
        beside={"label_fraction": ("distill_alpha", ())},
        on_a_run=True,
        all_workers=True,
    ),
    "detect": Task(
        "tfssl.tasks.detect:run",
        (Data, Images, Recording, Precision, StartFlags, DetectFlags),
        ("freeze",),
        only_with=_REGIONS,
        beside={"detect_width": ("detector", ("retinanet",))},
        on_a_run=True,
        target="boxes",
        all_workers=True,
        check="tfssl.tasks.dense_table:check",
    ),
    "segment": Task(
        "tfssl.tasks.segment:run",
        (Data, Images, Recording, Precision, StartFlags, SegmentFlags),
        ("freeze",),
        on_a_run=True,
        target="mask",
        all_workers=True,
        check="tfssl.tasks.dense_table:check",
    ),
    "export": Task(
        "tfssl.tasks.export:run",
        (Images, ExportFlags),
        beside={"export_on_error": ("format", ("saved_model",))},
        on_a_run=True,
    ),
    "report": Task(
        "tfssl.tasks.report:run",
        (Data, Images),
        ("tensorboard",),
        on_a_run=True,
        spares_images=True,
    ),
    "embed": Task(
        "tfssl.tasks.embed:run",
        (Data, Images, EmbeddingsFlags, EmbedFlags),
        on_a_run=True,
        check=_VECTORS,
    ),
    "search": Task(
        "tfssl.tasks.search:run",
        (Images, EmbeddingsFlags, SearchFlags),
        beside={
            "search_k": ("search", ("neighbours", "outliers")),
            "search_threshold": ("search", ("duplicates",)),
            "search_outliers": ("search", ("outliers",)),
            "search_shown": ("search", ("neighbours", "duplicates")),
        },
        on_a_run=True,
        check=_VECTORS,
    ),
    "select": Task(
        "tfssl.tasks.selection:run",
        (EmbeddingsFlags, SelectFlags),
        on_a_run=True,
        check=_VECTORS,
    ),
    # The run's own data set is not read: data sets have usual names of splits.
    "transfer": Task(
        "tfssl.tasks.transfer:run",
        (Images, TransferFlags, KnnFlags, BaselineFlags),
        ("data_dir", "index_dir", "rebuild_index", *_TFRECORD),
        on_a_run=True,
        check="tfssl.tasks.transfer:check",
    ),
    # It looks before a training, and measures the step of the one asked for.
    "doctor": Task(
        "tfssl.tasks.doctor:run", (*_PRETRAIN, DoctorFlags), method=True, first=True
    ),
}
"""The modes by the value of `--mode`, in the order of `--help`."""


def _own_groups() -> list[type[Flags]]:
    shared = (Job, Data, Images, Network, Training, Recording, Precision, Machine)
    every = [
        group
        for task in TASKS.values()
        for group in (*sum(task.only_with.values(), ()), *task.reads)
    ]
    return [g for g in dict.fromkeys(every) if g not in (*shared, Service)]


def task_specs() -> dict[str, Spec]:
    """Returns the flags that belong to modes, in the order of `--help`."""
    return {n: spec for group in _own_groups() for n, spec in specs_of(group).items()}
