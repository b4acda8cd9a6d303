"""Fine-tuning as the command line runs it: protocol, resuming, what comes out."""

import json

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
