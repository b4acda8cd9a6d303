"""`--mode=knn`: weighted nearest neighbours on frozen features."""

from __future__ import annotations

from typing import Any

from tfssl import build
from tfssl.build.features import features
from tfssl.config import Config
from tfssl.data import Source, require_labels
from tfssl.evaluate import knn
from tfssl.runs import RunDirectory
from tfssl.show import console
from tfssl.tasks.subjects import Subject, add_score, subjects


def run(config: Config) -> int:
    """Scores the trained encoder, with `--baselines` also pixels and the untrained one.

    Returns:
      0.
    """
    console.route_warnings()
    with RunDirectory(config.run_dir) as directory:
        train = build.source(config, config.train_split)
        evaluation = build.evaluation_source(config)
        require_labels(train, "--mode=knn")
        for subject in subjects(config):
            scores = _score(config, subject, train, evaluation)
            add_score(directory, subject, "knn", scores)
            console.say(f"kNN top-1 of {subject.title}: {100 * scores['top1']:.1f} %")
    return 0


def _score(
    config: Config, subject: Subject, train: Source, evaluation: Source
) -> dict[str, Any]:
    encode = build.compiled_encode(subject.encoder, subject.transform)
    bank, queries = (
        features(encode, source, subject.transform, image_size=config.image_size)
        for source in (train, evaluation)
    )
    result = knn(
        bank,
        queries,
        k=config.knn_k,
        temperature=config.knn_temperature,
        num_classes=train.num_classes,
    )
    if result.note:
        console.say(result.note)
    return {
        "top1": result.top1,
        "top5": result.top5,
        "k": result.k,
        "temperature": result.temperature,
        "protocol": (
            f"weighted kNN, cosine similarity, k={result.k}, T={result.temperature}, "
            f"{len(bank)} training and {len(queries)} held-out images, "
            "encoder in float32 with moving statistics"
        ),
        "note": result.note,
    }
