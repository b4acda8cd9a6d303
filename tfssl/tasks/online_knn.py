"""kNN score of the encoder while it trains, on a part of the images."""

from __future__ import annotations

from tfssl import build
from tfssl.build import trained
from tfssl.build.features import features
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
        require_labels(train, "--knn_every (0 switches it off)")
        self._config = config
        self._train = train
        self._eval = build.evaluation_source(config)
        self._method = method
        self._encoder = trained.fresh_encoder(config)
        self._transform = build.transform(config)
        self._encode = build.compiled_encode(self._encoder, self._transform)

    def score(self, step: int) -> dict[str, float]:
        """Top-1 accuracy now, as `knn_top1` in [0, 1]."""
        del step
        config = self._config
        variables.copy_values(self._method.encoder.weights, self._encoder.weights)
        bank, queries = (
            features(
                self._encode,
                source,
                self._transform,
                image_size=config.image_size,
                limit=limit,
            )
            for source, limit in (
                (self._train, config.knn_train_limit),
                (self._eval, config.knn_eval_limit),
            )
        )
        result = knn(
            bank,
            queries,
            k=config.knn_k,
            temperature=config.knn_temperature,
            num_classes=self._train.num_classes,
        )
        return {"knn_top1": result.top1}
