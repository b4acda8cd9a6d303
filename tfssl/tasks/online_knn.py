"""kNN score of the encoder while it trains, on a part of the images."""

from __future__ import annotations

from tfssl import build
from tfssl.build import trained
from tfssl.config import Config
from tfssl.core import variables
from tfssl.data import Source, require_labels
from tfssl.evaluate import knn
from tfssl.methods import Method


class OnlineKnn:
    """Scores `method.encoder` in float32 with its moving statistics.

    It copies the weights to an encoder outside the strategy, so that training
    precision and replicas do not matter.

    Args:
      config: Resolved configuration; `knn_train_limit` and `knn_eval_limit` images.
      train: The training images.
      method: The method in training.

    Raises:
      DataError: The data set has no labels.
    """

    def __init__(self, config: Config, train: Source, method: Method):
        require_labels(train, "knn_every (0 switches it off)")
        self._config = config
        self._train = train
        self._eval = build.evaluation_source(config, classes=train.class_names)
        self._method = method
        self._run = trained.untrained(config)

    def score(self, step: int) -> dict[str, float]:
        """Top-1 accuracy now, as `knn_top1` in [0, 1]."""
        del step
        config, run = self._config, self._run
        variables.copy_values(self._method.encoder.weights, run.encoder.weights)
        result = knn(
            run.features(self._train, limit=config.knn_train_limit),
            run.features(self._eval, limit=config.knn_eval_limit),
            k=config.knn_k,
            temperature=config.knn_temperature,
            num_classes=self._train.num_classes,
        )
        return {"knn_top1": result.top1}
