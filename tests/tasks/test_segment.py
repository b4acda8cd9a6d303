"""Segmentation as the command line runs it: chain, resuming, what comes out."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tests.tasks.test_distill import equal, newest, words
from tests.tasks.test_end_to_end import StopAfterOneCall, argv
from tfssl.build.segmentation import load_segmenter
from tfssl.data import open_source
from tfssl.exporters import reader
from tfssl.main import main
from tfssl.train import job

pytestmark = pytest.mark.slow

PNG = ["mask_bytes"]

SMALL = {
    "segment_steps": 4,
    "segment_batch_size": 8,
    "segment_width": 8,
    "segment_learning_rate": 0.05,
    "checkpoint_every": 2,
}


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """Pre-trained, segmented, exported, reported."""
    run_dir = tmp_path_factory.mktemp("chain")
    more = {**SMALL, "tensorboard": True, "train_steps": 2}
    modes = "pretrain,segment,export,report"
    assert main(argv("simclr", run_dir, mode=modes, **more)) == 0
    return run_dir


def test_scores_pictures_and_report(chain):
    own = chain / "segment"
    results = [json.loads((d / "results.json").read_text()) for d in (chain, own)]
    for found in results:
        (score,) = [s for s in found["scores"] if s["protocol"] == "segment"]
        assert score["subject"] == "trained" and 0 <= score["metrics"]["miou"] <= 1
        assert len(score["found"]["iou"]) == 11
        assert score["counts"]["scored"] == score["counts"]["images"]
        # Four steps find no object, and that is said.
        lost = [name for name, iou in score["found"]["iou"].items() if iou == 0]
        assert f"of {len(lost)} of 11 classes" in score["note"]
        assert "segment_balance=0.5" in score["note"]
    assert len(list((own / "pictures").glob("*.png"))) > 2
    page = (chain / "report" / "index.html").read_text()
    for text in ("Segmentation mIoU", "Predictions", "image, truth, prediction", "IoU"):
        assert text in page
    rows = [json.loads(line) for line in (own / "log.jsonl").open()]
    assert {"loss", "pixel_accuracy"} <= rows[-1].keys()


def test_the_export_says_what_the_network_says(chain):
    own = chain / "segment"
    metadata = json.loads(
        (own / "saved_model" / "assets.extra" / "metadata.json").read_text()
    )
    assert metadata["classes"][0] == "background" and metadata["num_classes"] == 11
    assert metadata["verified"]["different_pixels"] < 0.01
    segmenter = load_segmenter(own)
    rng = np.random.default_rng(0)
    images = [
        rng.integers(0, 256, size, np.uint8) for size in ((20, 33, 3), (16, 9, 3))
    ]
    files = [tf.io.encode_png(image).numpy() for image in images]
    call = reader.in_a_session(own / "saved_model")
    found = call("serving_default", "image_bytes", files, PNG)["mask_bytes"]
    for image, data, file in zip(images, found, files, strict=True):
        mask = tf.io.decode_png(data).numpy()[..., 0]
        assert mask.shape == image.shape[:2]
        assert (mask != segmenter.mask(image)).mean() < 0.01
        alone = call("mask", "image_bytes", file, ["mask"])["mask"]
        np.testing.assert_array_equal(alone, mask)
    assert len(call("serving_default", "image_bytes", [], PNG)["mask_bytes"]) == 0
    assert main(words("export", own, format="keras")) == 1


def test_stopped_and_resumed_is_bit_identical(chain, tmp_path, monkeypatch, capsys):
    common = {**SMALL, "checkpoint_every": 1, "init_from": chain}
    parts = tmp_path
    with monkeypatch.context() as patch:
        patch.setattr(job, "StopRequest", StopAfterOneCall)
        assert main(words("segment", parts, **common)) == 42
    assert main(words("segment", parts, **common)) == 0
    assert newest(chain / "segment")[0] == "step-000000004"
    equal(newest(chain / "segment")[1], newest(parts / "segment")[1])
    capsys.readouterr()
    assert main(words("segment", parts, **common | {"segment_width": 16})) == 1
    assert "--segment_width=16 instead of 8" in capsys.readouterr().err


def test_random_weights_frozen_stages_and_a_folder_of_masks(chain, tmp_path):
    from tests.data.test_masks import plain, write

    write(tmp_path / "set", plain(24))
    data = {"dataset": f"masks:{tmp_path}/set", "init_from": chain, **SMALL}
    assert main(words("segment", tmp_path, **data, freeze="all")) == 0
    frozen, began = newest(tmp_path / "segment")[1], newest(chain)[1]
    encoder = [n for n in frozen if n.startswith("online/encoder/")]
    assert encoder
    for name in encoder:
        np.testing.assert_array_equal(frozen[name], began[name], err_msg=name)
    random = {**data, "segment_weights": "random", "segment_balance": 0.5}
    assert main(words("segment", tmp_path, **random)) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    subjects = [s["subject"] for s in results["scores"]]
    assert subjects == ["trained", "scratch"]
    texts = [s["description"] for s in results["scores"]]
    assert ["share ** -0.5" in text for text in texts] == [False, True]
    # The masks are scored at their own size: a network's answer is of that size, too.
    source = open_source(data["dataset"], "test", image_size=16, targets="mask")
    for index, mask in load_segmenter(tmp_path / "segment").masks(source):
        assert mask.shape == source.mask(tf.constant(index, tf.int64)).shape[:2]


def test_what_cannot_be_done_is_said_before_the_first_step(chain, tmp_path, capsys):
    cases = {
        "images have no mask|a mask: shapes": {"dataset": f"folder:{chain}"},
        "segment_scales": {"segment_scales": "2,1"},
        "segment_batch_size": {"segment_batch_size": 1000},
        "frozen part": {"segment_weights": "random", "freeze": "P3"},
    }
    for text, flags in cases.items():
        given = {**SMALL, "init_from": chain, **flags}
        assert main(words("segment", tmp_path, **given)) in (1, 2)
        error = capsys.readouterr().err
        assert any(part in error for part in text.split("|")), (text, error)
    assert not (tmp_path / "segment").exists()
