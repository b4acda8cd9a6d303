"""Fine-tuning as the command line runs it: protocol, resuming, what comes out."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.tasks.test_end_to_end import StopAfterOneCall, argv
from tfssl.main import main
from tfssl.runs import checkpoint
from tfssl.train import job

pytestmark = pytest.mark.slow

FLAGS = {
    "finetune_epochs": 2,
    "finetune_batch_size": 16,
    "label_fraction": 0.5,
    "finetune_layer": 1,
    "finetune_optimizer": "lars",
}


def words(run_dir, mode="finetune", **flags):
    return [
        "tfssl",
        f"--mode={mode}",
        f"--run_dir={run_dir}",
        "--noprogress",
        *(f"--{name}={value}" for name, value in flags.items()),
    ]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("simclr")
    assert main(argv("simclr", run_dir, train_steps=2)) == 0
    return run_dir


def tensors(run_dir):
    (folder,) = sorted((run_dir / "finetune" / "checkpoints").glob("step-*"))[-1:]
    return folder.name, checkpoint.read(folder)


def test_stopped_and_resumed_is_bit_identical(pretrained, tmp_path, monkeypatch):
    """Both are new folders: the source is `--init_from`."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    common = {**FLAGS, "init_from": pretrained, "checkpoint_every": 1}
    assert main(words(whole, **common)) == 0
    with monkeypatch.context() as patch:
        patch.setattr(job, "StopRequest", StopAfterOneCall)
        assert main(words(parts, **common)) == 42
    assert main(words(parts, **common)) == 0
    name, want = tensors(whole)
    assert tensors(parts)[0] == name == "step-000000004"
    got = tensors(parts)[1]
    assert got.keys() == want.keys()
    for tensor in want:
        np.testing.assert_array_equal(got[tensor], want[tensor], err_msg=tensor)
    a, b = (json.loads((d / "results.json").read_text()) for d in (whole, parts))
    assert a["finetune"] == b["finetune"]


def test_starts_from_the_pretrained_weights_and_moves_them(pretrained, tmp_path):
    flags = {**FLAGS, "init_from": pretrained, "finetune_learning_rate": 1e-12}
    assert main(words(tmp_path, **flags)) == 0
    before = checkpoint.read(pretrained / "checkpoints" / "step-000000002")
    after = tensors(tmp_path)[1]
    kernels = [n for n in before if n.startswith("online/encoder") and "kernel" in n]
    kept = [n for n in after if n.startswith("online/projector") and "layer0" in n]
    assert (
        kernels
        and kept
        and "online/projector/projector_layer1_dense/kernel" not in (after)
    )
    for name in kernels + [n for n in kept if "kernel" in n]:
        np.testing.assert_allclose(before[name], after[name], atol=1e-6)
    assert any(
        not np.array_equal(before[n], after[n])
        for n in before
        if "moving_mean" in n and n in after
    )


def test_result_is_a_run_directory_and_serves_probabilities(pretrained, capsys):
    assert main(words(pretrained, **FLAGS)) == 0
    results = json.loads((pretrained / "results.json").read_text())
    assert results["finetune"]["label_fraction"] == "0.5"
    assert "32 labelled images" in results["finetune"]["protocol"]
    own = pretrained / "finetune"
    assert main(words(own, mode="knn,export", export_verify=False)) == 0
    served = tf.saved_model.load(str(own / "saved_model"))
    out = served.signatures["features"](tf.zeros([2, 16, 16, 3]))
    np.testing.assert_allclose(tf.reduce_sum(out["probabilities"], -1), 1, rtol=1e-5)
    # Other flags are another fine-tuning, and the first one stays.
    capsys.readouterr()
    assert main(words(pretrained, **FLAGS | {"finetune_epochs": 3})) == 1
    assert "--finetune_epochs=3 instead of 2" in capsys.readouterr().err


def test_learns_what_a_random_classifier_does_not_know(pretrained, tmp_path):
    flags = {**FLAGS, "init_from": pretrained, "finetune_epochs": 30}
    flags |= {"finetune_optimizer": "sgd", "finetune_learning_rate": 1.0}
    assert main(words(tmp_path, **flags)) == 0
    rows = [json.loads(line) for line in (tmp_path / "finetune" / "log.jsonl").open()]
    assert rows[-1]["train_accuracy"] > 0.4 > rows[0]["train_accuracy"]


def test_a_sweep_chooses_on_a_tenth_and_goes_on_after_a_kill(
    pretrained, tmp_path, capsys
):
    flags = {**FLAGS, "finetune_epochs": "1,2", "finetune_learning_rate": "0.001,0.1"}
    flags |= {"label_fraction": 1, "checkpoint_every": 1}
    flags |= {"freeze": "P3", "label_smoothing": 0.1, "init_from": pretrained}
    flags |= {"finetune_stage_rates": "1,1,1,0.5,1", "class_balance": "sampling"}
    own = tmp_path / "finetune" / "sweep"
    words_of = words(tmp_path, **flags)
    assert main(words_of) == 0
    said = capsys.readouterr().out
    assert said.count("on held-out images") == 4
    (score,) = [
        s
        for s in json.loads((tmp_path / "finetune" / "results.json").read_text())[
            "scores"
        ]
        if s["subject"] == "trained"
    ]
    assert "best of 4 on 6 held-out images" in score["description"]
    assert score["settings"]["freeze"] == "P3" and "learning_rate" in score["found"]
    accuracies = {
        folder.name: json.loads((folder / "results.json").read_text())["finetune"][
            "top1"
        ]
        for folder in own.iterdir()
    }
    assert len(accuracies) == 4 and not list(own.glob("*/checkpoints/step-*"))
    best = f"rate-{score['found']['learning_rate'] / 4:g}"  # times sqrt(16)
    chosen = [name for name in accuracies if name.startswith(best)]
    assert max(accuracies[name] for name in chosen) == max(accuracies.values())
    # What has its score is not trained again; what lacks it is.
    shutil.rmtree(own / "rate-0.1-epochs-2")
    kept = (own / "rate-0.001-epochs-1" / "log.jsonl").stat().st_mtime_ns
    assert main(words_of) == 0
    assert (own / "rate-0.1-epochs-2" / "results.json").exists()
    assert (own / "rate-0.001-epochs-1" / "log.jsonl").stat().st_mtime_ns == kept


def test_the_supervised_baseline_stands_in_the_table_of_the_fine_tuned(tmp_path):
    flags = {"finetune_epochs": 1, "finetune_batch_size": 16, "label_fraction": 2}
    flags |= {"class_balance": "loss", "encoder": "tests.foreign_models:small"}
    run = tmp_path / "run"
    mode = "pretrain,supervised,finetune"
    assert main(argv("simclr", run, mode=mode, train_steps=1, **flags)) == 0
    tuned = json.loads((run / "finetune" / "results.json").read_text())["scores"]
    assert [s["subject"] for s in tuned] == ["trained", "scratch"]
    assert tuned[0]["settings"] == tuned[1]["settings"]
    assert "20 labelled images" in tuned[1]["description"]
    assert "from the seed" in tuned[1]["description"]
    assert main(words(run / "supervised", mode="knn,export")) == 0
    # Alone it needs no run, and starts from the same draw.
    alone = tmp_path / "alone"
    flags |= {"dataset": "shapes:64", "image_size": 16, "seed": 5}
    assert main(words(alone, mode="supervised", **flags)) == 0
    a, b = (
        checkpoint.read(sorted((d / "supervised" / "checkpoints").glob("step-*"))[-1])
        for d in (run, alone)
    )
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_images_with_several_labels(tmp_path, capsys):
    """Which of three colours are in an image; columns of the test split by name."""
    rng = np.random.default_rng(0)
    arrays = {"class_names": np.array(["red", "green", "blue"])}
    for split, count in (("train", 48), ("test", 24)):
        has = rng.integers(0, 2, (count, 3))
        noise = rng.integers(0, 60, (count, 16, 16, 3))
        arrays[f"{split}_images"] = (noise + 190 * has[:, None, None]).astype(np.uint8)
        arrays[f"{split}_labels"] = has
    np.savez(tmp_path / "colours.npz", **arrays)
    flags = {"dataset": f"arrays:{tmp_path}/colours.npz", "image_size": 16}
    flags |= {"encoder": "resnet10x0.125_cifar", "finetune_batch_size": 16, "seed": 1}
    flags |= {"finetune_epochs": 10, "finetune_learning_rate": 1.0}
    run = tmp_path / "run"
    assert main(words(run, mode="supervised", label_smoothing=0.1, **flags)) == 0
    own = run / "supervised"
    (score,) = json.loads((own / "results.json").read_text())["scores"]
    assert next(iter(score["metrics"])) == "map" and score["metrics"]["map"] > 0.9
    assert json.loads((own / "classes.json").read_text()) == {
        "several_labels": ["red", "green", "blue"]
    }
    more = {"embed_also": "probabilities", "embed_split": "test"}
    assert main(words(own, mode="export,embed", **more)) == 0
    vectors = np.load(next((own / "embeddings").glob("probabilities*.npy")))
    served = tf.saved_model.load(str(own / "saved_model")).signatures["features"]
    images = arrays["test_images"].astype(np.float32) / 255
    got = served(tf.constant(images))["probabilities"].numpy()
    assert np.abs(got.sum(1) - 1).max() > 0.5  # a sigmoid each
    assert ((got > 0.5) == arrays["test_labels"]).mean() > 0.8
    np.testing.assert_allclose(np.sort(vectors, 0), np.sort(got, 0), atol=1e-4)
    # What shares a softmax cannot learn from it, and its classes cannot be weighed.
    capsys.readouterr()
    teach = {"teacher": own, "student_encoder": "resnet10x0.125_cifar", **flags}
    for name in ("finetune_batch_size", "finetune_epochs", "finetune_learning_rate"):
        del teach[name]
    del teach["encoder"]
    assert main(words(tmp_path / "b", mode="distill", batch_size=16, **teach)) != 0
    assert "several of its classes" in capsys.readouterr().err
    weighed = words(tmp_path / "c", mode="supervised", class_balance="loss", **flags)
    assert main(weighed) == 2
    assert "try --class_balance=none" in capsys.readouterr().err
