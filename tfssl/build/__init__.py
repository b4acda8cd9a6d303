"""From `Config` to parts: the only place that turns flags into objects."""

from tfssl.build.data import (
    evaluation_source,
    labelled_source,
    on_device,
    source,
    training_batches,
    training_source,
)
from tfssl.build.devices import replica_batch, strategy
from tfssl.build.features import compiled_encode
from tfssl.build.optimizer import learning_rate, total_steps
from tfssl.build.training import state
from tfssl.build.views import photometric, recipe, transform, views_of_batches

__all__ = [
    "compiled_encode",
    "evaluation_source",
    "labelled_source",
    "learning_rate",
    "on_device",
    "photometric",
    "recipe",
    "replica_batch",
    "source",
    "state",
    "strategy",
    "total_steps",
    "training_batches",
    "training_source",
    "transform",
    "views_of_batches",
]
