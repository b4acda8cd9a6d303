"""From `Config` to parts: the only place that turns flags into objects."""

from tfssl.build.data import (
    TrainingInput,
    evaluation_source,
    labelled_source,
    source,
    training_input,
    training_source,
)
from tfssl.build.devices import replica_batch, strategy
from tfssl.build.features import compiled_encode
from tfssl.build.optimizer import learning_rate, total_steps
from tfssl.build.training import state
from tfssl.build.views import pretraining_input, recipe, transform

__all__ = [
    "TrainingInput",
    "compiled_encode",
    "evaluation_source",
    "labelled_source",
    "learning_rate",
    "pretraining_input",
    "recipe",
    "replica_batch",
    "source",
    "state",
    "strategy",
    "total_steps",
    "training_input",
    "training_source",
    "transform",
]
