"""From `Config` to parts: the only place that turns flags into objects."""

from tfssl.build.data import (
    TrainingInput,
    begin_command,
    evaluation_source,
    how_read,
    labelled_source,
    require_batch,
    require_readable,
    source,
    training_source,
)
from tfssl.build.devices import replica_batch, strategy
from tfssl.build.distillation import distillation
from tfssl.build.optimizer import learning_rate, total_steps
from tfssl.build.trained import Trained, load
from tfssl.build.training import (
    is_chief,
    pretraining,
    recorder,
    refuse_other_flags,
    state,
    supervised,
)
from tfssl.build.views import pretraining_input, recipe, transform

__all__ = [
    "Trained",
    "TrainingInput",
    "begin_command",
    "distillation",
    "evaluation_source",
    "how_read",
    "is_chief",
    "labelled_source",
    "learning_rate",
    "load",
    "pretraining",
    "pretraining_input",
    "recipe",
    "recorder",
    "refuse_other_flags",
    "replica_batch",
    "require_batch",
    "require_readable",
    "source",
    "state",
    "strategy",
    "supervised",
    "total_steps",
    "training_source",
    "transform",
]
