"""The model card tells counts and scores, and no name of the user's data."""

import pytest

from tfssl.runs.scores import Counts, Score
from tfssl.show.model_card import model_card

FACTS = {
    "tfssl": "1.2.3",
    "format": "onnx",
    "dtype": "int8",
    "method": "byol",
    "encoder": "resnet18",
    "encoder_family": "byol",
    "feature_dim": 512,
    "num_classes": None,
    "image_size": 64,
    "orient": "exif",
    "weights_sha256": "abc",
    "provenance": None,
    "preprocessing": {
        "images": "RGB",
        "resize": "bicubic",
        "antialias": True,
        "crop_fraction": 0.875,
    },
    "verified": {
        "images": 16,
        "largest_deviation": 0.00123,
        "mean_deviation": 0.0001,
        "largest_feature": 2.5,
        "bytes": 2_500_000,
        "milliseconds_an_image": 1.25,
        "cores": 2,
    },
}
DATA = [
    {
        "name": "folder:/home/ann/patients/train",
        "images": 1200,
        "classes": {"ill": 600, "well": 500},
        "unlabelled": 100,
    }
]
SCORE = Score(
    "knn",
    "folder:/home/ann/patients/val",
    "trained",
    {"top1": 0.75, "top5": 1.0},
    intervals={"top1": (0.7, 0.8)},
    counts=Counts(100, 90, skipped=10),
    description="kNN, k = 20",
)


def card(**more):
    given = {"recipe": {"epochs": 7}, "scores": [SCORE], "data": DATA, "unreadable": 3}
    return model_card({**FACTS, **more.pop("facts", {})}, **{**given, **more})


def test_it_says_what_there_is():
    text = card()
    for words in (
        "512 numbers for an image",
        "differ from the trained encoder's by at most 0.0012",
        "| folder: images of one's own | 1,200 | 2 | 100 |",
        "3 files could not be read",
        "--epochs=7",
        "top-1 75.0 % [70.0 %, 80.0 %]",
        "90 of 100 images (10 unreadable)",
        "kNN, k = 20",
        "The numbers are int8",
        "has not said",
    ):
        assert words in text, words
    for secret in ("ann", "patients", "ill", "well"):
        assert f"/{secret}" not in text and f" {secret}" not in text


def test_what_is_missing_is_said():
    text = card(scores=[], data=[], facts={"verified": None})
    assert "None were measured" in text and "not compared" in text
    assert "keeps no record of the images" in text


@pytest.mark.parametrize("provenance", [None, "MIT"])
def test_the_head_is_what_the_hub_reads(provenance):
    yaml = pytest.importorskip("yaml")
    licence = {
        "weights": 'M"IT',
        "origin": "A: b",
        "asks": "Say so.",
        "url": "http://x",
    }
    facts = {"provenance": provenance and {"licence": licence}, "encoder": "a: <b>|c"}
    text = card(facts=facts)
    head = yaml.safe_load(text.split("---\n")[1])
    assert head["license"] == ("other" if provenance else "unknown")
    assert head.get("license_name") == (provenance and 'M"IT')
    assert head["pipeline_tag"] == "image-feature-extraction"
    (model,) = head["model-index"]
    (result,) = model["results"]
    assert result["metrics"][0] == {"type": "top1", "name": "top-1", "value": 0.75}
    assert result["dataset"]["name"] == "folder: held-out images"
    assert "<b>" not in text.split("---\n")[2]
