"""`--mode=knn`: weighted nearest neighbours on frozen features."""

from __future__ import annotations

from tfssl import build
from tfssl.build.features import features
from tfssl.config import Config
from tfssl.data import Source, require_labels
from tfssl.evaluate import knn
from tfssl.runs import RunDirectory
from tfssl.runs.scores import Confusion, Score, add_score
from tfssl.show import console
from tfssl.show.scores import score_line
from tfssl.tasks.subjects import Subject, subjects


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
            score, confusion = _score(config, subject, train, evaluation)
            add_score(directory, score, confusion)
            console.say(score_line(score))
    return 0


def _score(
    config: Config, subject: Subject, train: Source, evaluation: Source
) -> tuple[Score, Confusion]:
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
        class_names=train.class_names,
        images=evaluation.num_examples,
    )
    if result.note:
        console.say(result.note)
    found = result.classification
    score = Score(
        "knn",
        evaluation.name,
        subject.key,
        found.metrics,
        {"k": config.knn_k, "temperature": config.knn_temperature},
        found.intervals,
        found.counts,
        {"k": result.k},
        f"weighted kNN, cosine similarity, k={result.k}, T={config.knn_temperature}, "
        f"{len(bank)} training images, scored on {found.counts}, "
        "encoder in float32 with moving statistics",
        result.note,
    )
    return score, found.confusion
