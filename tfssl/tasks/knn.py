"""`--mode=knn`: weighted nearest neighbours on frozen features."""

from __future__ import annotations

from tfssl import build
from tfssl.build import Trained, trained
from tfssl.config import Config
from tfssl.data import Source, require_labels
from tfssl.evaluate import knn
from tfssl.runs import RunDirectory
from tfssl.runs.scores import Score, add_score, measured
from tfssl.show import console
from tfssl.show.scores import score_line
from tfssl.tasks import Outcome


def run(config: Config) -> Outcome:
    """Scores the trained encoder, with `--baselines` also pixels and the untrained one.

    Returns:
      The trained encoder's `Score`.
    """
    score = None
    with RunDirectory(config.run_dir) as directory:
        train = build.source(config, config.train_split)
        evaluation = build.evaluation_source(config, classes=train.class_names)
        require_labels(train, "mode=knn")
        for key, subject in trained.subjects(config).items():
            score = _score(config, key, subject, train, evaluation)
            add_score(directory, score, subject.checkpoint)
            console.say(score_line(score))
    return Outcome(value=score)


def _score(
    config: Config, key: str, subject: Trained, train: Source, evaluation: Source
) -> Score:
    bank, queries = subject.features(train), subject.features(evaluation)
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
    return Score(
        "knn",
        evaluation.name,
        key,
        settings={"k": config.knn_k, "temperature": config.knn_temperature},
        found={"k": result.k},
        description=f"weighted kNN, cosine similarity, k={result.k}, "
        f"T={config.knn_temperature}, {len(bank)} training images, scored on "
        f"{found.counts}, encoder in float32 with moving statistics",
        note=result.note,
        **measured(found),
    )
