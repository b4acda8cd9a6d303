"""Detection as the command line runs it: chain, resuming, what comes out."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tests.tasks.test_distill import equal, newest, words
from tests.tasks.test_end_to_end import StopAfterOneCall, argv
from tfssl.build import detection
from tfssl.data import open_source
from tfssl.exporters import reader
from tfssl.main import main
from tfssl.train import job

pytestmark = pytest.mark.slow

SMALL = {
    "detect_steps": 2,
    "detect_batch_size": 4,
    "detect_warmup_steps": 1,
    "detect_learning_rate": 0.01,
    "checkpoint_every": 1,
    "eval_split": "test[:20]",
}
RUN = {"dataset": "shapes:24", "image_size": 64, "encoder": "resnet10x0.125"}


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """Pre-trained, detecting, exported, reported."""
    run_dir = tmp_path_factory.mktemp("chain")
    modes = "pretrain,detect,export,report"
    more = {**SMALL, **RUN, "train_steps": 2}
    assert main(argv("simclr", run_dir, mode=modes, **more)) == 0
    return run_dir


def test_scores_pictures_and_report(chain):
    own = chain / "detect"
    for folder in (chain, own):
        found = json.loads((folder / "results.json").read_text())
        (score,) = [s for s in found["scores"] if s["protocol"] == "detect"]
        assert score["subject"] == "trained"
        assert {"ap", "ap50", "ap75", "voc_ap50"} <= score["metrics"].keys()
        assert score["counts"]["scored"] == 20
        assert len(score["found"]["precision"]) == 101
        objects = sum(row["objects"] for row in score["found"]["by_class"].values())
        assert objects == score["found"]["objects"] > 20
    assert len(list((own / "pictures").glob("*.png"))) > 5
    page = (chain / "report" / "index.html").read_text()
    for text in ("Detection AP", "AP50", "precision over recall", "Predictions"):
        assert text in page
    rows = [json.loads(line) for line in (own / "log.jsonl").open()]
    assert {"loss", "class_loss", "box_loss"} <= rows[-1].keys()
    assert json.loads((own / "classes.json").read_text())[0] == "disk"


def test_the_export_says_what_the_network_says(chain):
    own = chain / "detect"
    place = own / "saved_model" / "assets.extra" / "metadata.json"
    metadata = json.loads(place.read_text())
    assert metadata["classes"][0] == "disk"
    assert metadata["num_classes"] == 10
    assert metadata["verified"]["pixels_apart"] < 0.1
    detector = detection.load(own)
    rng = np.random.default_rng(0)
    sizes = ((20, 33, 3), (70, 40, 3))
    images = [rng.integers(0, 256, size, np.uint8) for size in sizes]
    files = [tf.io.encode_png(image).numpy() for image in images]
    call = reader.in_a_session(own / "saved_model")

    def served(output, given):
        return call("serving_default", "image_bytes", given, [output])[output]

    boxes, counts = served("boxes", files), served("count", files)
    assert boxes.shape == (2, 100, 4)
    scores = served("scores", files)
    for place, (rows, columns, _) in enumerate(sizes):
        inside = boxes[place][: counts[place]]
        assert (inside >= 0).all()
        assert (inside <= [rows, columns, rows, columns]).all()
        assert (np.diff(scores[place]) <= 0).all()
        assert (scores[place][counts[place] :] == 0).all()
    assert served("boxes", []).shape == (0, 100, 4)
    assert detector.class_names == tuple(metadata["classes"])
    assert main(words("export", own, format="keras")) == 1


def test_stopped_and_resumed_is_bit_identical(chain, tmp_path, monkeypatch, capsys):
    """The chain's own began from the same encoder, and was not stopped."""
    common, parts = {**SMALL, "init_from": chain}, tmp_path
    with monkeypatch.context() as patch:
        patch.setattr(job, "StopRequest", StopAfterOneCall)
        assert main(words("detect", parts, **common)) == 42
    assert main(words("detect", parts, **common)) == 0
    assert newest(parts / "detect")[0] == "step-000000002"
    equal(newest(chain / "detect")[1], newest(parts / "detect")[1])
    capsys.readouterr()
    assert main(words("detect", parts, **common | {"detect_batch_size": 8})) == 1
    assert "--detect_batch_size=8 instead of 4" in capsys.readouterr().err


def test_faster_rcnn_resumes_is_scored_and_exported(chain, tmp_path, monkeypatch):
    """Of the export the boxes are compared with the network's before it is kept."""
    c4 = {"detector": "rcnn_c4", "detect_anchors": "8,16,32", "detect_regions": 16}
    common = {**SMALL, **c4, "init_from": chain}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    modes = "detect,export"
    assert main(words(modes, whole, **common, freeze="P3")) == 0
    with monkeypatch.context() as patch:
        patch.setattr(job, "StopRequest", StopAfterOneCall)
        assert main(words("detect", parts, **common, freeze="P3")) == 42
    assert main(words("detect", parts, **common, freeze="P3")) == 0
    trained = newest(whole / "detect")[1]
    equal(trained, newest(parts / "detect")[1])
    began = newest(chain)[1]
    encoder = [n for n in trained if n.startswith("online/encoder/")]
    still = {n for n in encoder if np.array_equal(trained[n], began[n])}
    below = {n for n in encoder if n.split("/")[2].startswith(("stem", "stage1"))}
    assert below <= still
    # The last stage has seen regions: its weights and its statistics moved.
    last = [n for n in encoder if n.split("/")[2].startswith("stage4")]
    kernels = {n for n in last if n.endswith(("kernel", "moving_mean"))}
    assert kernels
    assert not kernels & still
    (score,) = json.loads((parts / "results.json").read_text())["scores"]
    assert score["settings"]["detector"] == "rcnn_c4"
    assert score["metrics"].keys() >= {"ap", "ap50", "voc_ap50"}
    place = whole / "detect" / "saved_model" / "assets.extra" / "metadata.json"
    metadata = json.loads(place.read_text())
    assert metadata["detector"] == "rcnn_c4"
    assert metadata["verified"]["pixels_apart"] < 0.1


def test_random_weights_frozen_stages_and_annotations_of_ones_own(
    chain, tmp_path, files
):
    place = tmp_path / "set"
    names = ["cat", "dog"]
    for split, count in (("train", 8), ("val", 4)):
        (place / split).mkdir(parents=True)
        rows = []
        for number in range(count):
            picture = np.full((40, 50, 3), 30 * number, np.uint8)
            data = files.encoded(picture, "PNG")
            (place / split / f"{number}.png").write_bytes(data)
            box = {"id": number, "image_id": number, "bbox": [5, 5, 30, 30]}
            rows.append(box | {"category_id": number % 2})
        content = {
            "images": [{"id": n, "file_name": f"{n}.png"} for n in range(count)],
            "annotations": rows,
            "categories": [{"id": n, "name": name} for n, name in enumerate(names)],
        }
        file = place / split / "_annotations.coco.json"
        file.write_text(json.dumps(content))
    data = {**SMALL, "dataset": f"coco:{place}", "init_from": chain}
    data |= {"eval_split": "test", "detect_steps": 1, "detect_warmup_steps": 0}
    assert main(words("detect", tmp_path, **data, freeze="P4")) == 0
    tuned, began = newest(tmp_path / "detect")[1], newest(chain)[1]
    encoder = [n for n in tuned if n.startswith("online/encoder/")]
    same = {n for n in encoder if np.array_equal(tuned[n], began[n])}
    below = {
        n for n in encoder if n.split("/")[2].startswith(("stem", "stage1", "stage2"))
    }
    assert below <= same != set(encoder)
    random = {**data, "detect_weights": "random"}
    assert main(words("detect", tmp_path, **random)) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert [s["subject"] for s in results["scores"]] == ["trained", "scratch"]
    detector = detection.load(tmp_path / "detect")
    assert detector.class_names == ("cat", "dog")
    source = open_source(data["dataset"], "test", image_size=64, targets="boxes")
    for found in detector.find(source).values():
        assert (found.boxes <= [40, 50, 40, 50]).all()


def test_what_cannot_be_done_is_said_before_the_first_step(chain, tmp_path, capsys):
    cases = {
        "boxes": {"dataset": f"folder:{chain}"},
        "detect_shorter": {"detect_shorter": "9,2"},
        "detect_decay_steps": {"detect_decay_steps": "4,2"},
        "detect_batch_size": {"detect_batch_size": 1000},
        "a multiple of 32": {"image_size": 40},
        "shorter than the training": {"detect_warmup_steps": 2},
        "one of test, train": {"eval_split": "other"},
        "--detect_anchors": {"detector": "rcnn_c4", "detect_anchors": "8,8"},
        "detect with --detector": {"detect_regions": 32},
        "frozen part": {"detect_weights": "random", "freeze": "P3"},
    }
    for text, flags in cases.items():
        given = {**SMALL, "init_from": chain, **flags}
        assert main(words("detect", tmp_path, **given)) in (1, 2)
        error = capsys.readouterr().err
        assert text in error, (text, error)
    assert not (tmp_path / "detect").exists()
