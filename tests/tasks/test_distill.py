"""Distillation as the command line runs it: chain, resuming, what comes out."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

import tfssl
from tests.exporters.test_saved_model import in_a_session
from tests.tasks.test_end_to_end import StopAfterOneCall, argv
from tests.tiny import OF_METHOD
from tfssl.build import trained
from tfssl.build.probe import keep_probe, load_probe
from tfssl.config import Config
from tfssl.config.flagfile import to_flagfile
from tfssl.config.inherit import stored_config
from tfssl.errors import CheckpointError
from tfssl.main import main
from tfssl.runs import RunDirectory, checkpoint
from tfssl.tasks.distill import behind
from tfssl.train import job

pytestmark = pytest.mark.slow

# Small, so that a test is seconds; a ResNet is distilled in test_replicas.
SMALL = {
    "encoder": "tests.foreign_models:small",
    "train_steps": 4,
    "checkpoint_every": 2,
    "steps_per_loop": 2,
}
STUDENT = "tests.foreign_models:vectors"
TUNING = {
    "finetune_epochs": 1,
    "finetune_batch_size": 16,
    "label_fraction": 0.5,
    "finetune_layer": 1,
}


def words(mode, run_dir, **flags):
    flags = {"mode": mode, "run_dir": run_dir, **flags}
    return ["tfssl", "--noprogress", *(f"--{k}={v}" for k, v in flags.items())]


def small(method, run_dir, **flags):
    """A distillation that begins without a run: flags of pre-training alone."""
    own = {f"--{name}={value}" for name, value in OF_METHOD[method].items()}
    return [w for w in argv(method, run_dir, mode="distill", **flags) if w not in own]


def newest(run_dir):
    folder = sorted((run_dir / "checkpoints").glob("step-*"))[-1]
    return folder.name, checkpoint.read(folder)


def equal(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """Pre-trained, fine-tuned, self-distilled, distilled into another network."""
    run_dir = tmp_path_factory.mktemp("chain")
    modes = "pretrain,finetune,distill,distill,export,report"
    students = f"{SMALL['encoder']},{STUDENT}"
    more = {**SMALL, **TUNING, "student_encoder": students, "tensorboard": False}
    assert main(argv("simclr", run_dir, mode=modes, **more)) == 0
    return run_dir


@pytest.fixture(scope="module")
def teacher(chain):
    return chain / "finetune"


@pytest.mark.parametrize(
    ("student", "decay", "words"),
    [
        (0.577, 0.6, ["57.7 %", "98.8 %", "distill_epochs", "weight_decay below 0.6"]),
        (0.577, 0.0, ["98.8 %", "distill_epochs, or"]),
        (0.848, 0.6, []),
        (0.99, 0.6, []),
    ],
)
def test_a_student_far_behind_its_teacher_is_told_of(student, decay, words):
    note = behind(Config(weight_decay=decay), 0.988, student)
    assert bool(note) == bool(words) and all(word in note for word in words), note


def test_a_chain_in_one_command_ends_in_a_served_student(chain):
    first = chain / "finetune" / "distill"
    second = first / "distill"
    flags = [(folder / "flags.cfg").read_text() for folder in (first, second)]
    assert f"--encoder={SMALL['encoder']}\n" in flags[0]
    assert f"--encoder={STUDENT}\n" in flags[1] and f"--teacher={first}" in flags[1]
    scores = {
        (s["subject"], s["settings"]["temperature"])
        for folder in (first, second)
        for s in json.loads((folder / "results.json").read_text())["scores"]
    }
    assert scores == {(s, t) for s in ("teacher", "trained") for t in (0.1, 1.0)}
    served = tf.saved_model.load(str(second / "saved_model"))
    out = served.signatures["features"](tf.zeros([2, 16, 16, 3]))
    np.testing.assert_allclose(tf.reduce_sum(out["probabilities"], -1), 1, rtol=1e-5)
    page = (chain / "report" / "index.html").read_text()
    assert "Distilled" in page and "Teacher" in page


def test_every_mode_takes_the_student(chain, tmp_path):
    student = chain / "finetune" / "distill" / "distill"
    flags = {"linear_epochs": 1, "linear_learning_rates": 1, "finetune_epochs": 1}
    flags |= {"finetune_batch_size": 16, "embed_also": "probabilities"}
    modes = "knn,linear,embed,finetune"
    assert main(words(modes, tmp_path, init_from=student, **flags)) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert {"knn", "linear", "finetune"} <= results.keys()
    assert tfssl.load(student).classify(np.zeros((2, 16, 16, 3))).shape == (2, 10)


def test_stopped_and_resumed_is_bit_identical_and_the_teacher_is_unmoved(
    teacher, tmp_path, monkeypatch, capsys
):
    before = newest(teacher)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    common = {"teacher": teacher, "distill_alpha": 0.5, "checkpoint_every": 1}
    common |= {"student_encoder": STUDENT}
    assert main(words("distill", whole, **common)) == 0
    with monkeypatch.context() as patch:
        patch.setattr(job, "StopRequest", StopAfterOneCall)
        assert main(words("distill", parts, **common)) == 42
    assert main(words("distill", parts, **common)) == 0
    assert newest(whole / "distill")[0] == "step-000000004"
    equal(newest(whole / "distill")[1], newest(parts / "distill")[1])
    equal(before[1], newest(teacher)[1])
    # Labels of half of the images, as the teacher had them, in a quarter of the rows.
    text = json.loads((whole / "results.json").read_text())["distill"]["protocol"]
    assert "4 of 16 rows of 32 labelled images with weight 0.5" in text
    capsys.readouterr()
    assert main(words("distill", whole, **common | {"distill_alpha": 0.7})) == 1
    assert "--distill_alpha=0.7 instead of 0.5" in capsys.readouterr().err


def test_the_outputs_of_centres_are_computed_once(teacher, tmp_path, monkeypatch):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    common = {"teacher": teacher, "distill_views": "center", "checkpoint_every": 1}
    common |= {"student_encoder": STUDENT}
    assert main(words("distill", whole, **common)) == 0
    table = np.load(whole / "distill" / "teacher_outputs.npy")
    assert table.shape == (64, 10) and np.isfinite(table).all()
    with monkeypatch.context() as patch:
        patch.setattr(job, "StopRequest", StopAfterOneCall)
        assert main(words("distill", parts, **common)) == 42
    from tfssl.build.teacher import Teacher

    with monkeypatch.context() as patch:
        patch.setattr(Teacher, "of_every_image", None)
        assert main(words("distill", parts, **common)) == 0
    equal(newest(whole / "distill")[1], newest(parts / "distill")[1])


def test_a_teacher_of_features_of_another_size_by_import_path(tmp_path):
    flags = {**SMALL, "distill_target": "features"}
    name = "tests.foreign_models:teacher_of_maps"
    assert main(small("moco", tmp_path, teacher=name, **flags)) == 0
    own = tmp_path / "distill"
    rows = [json.loads(line) for line in (own / "log.jsonl").open()]
    assert all(-1 <= row["cosine"] <= 1 for row in rows)
    tensors = newest(own)[1]
    assert any(name.startswith("online/regressor") for name in tensors)
    assert main(words("knn", own)) == 0


def test_a_teacher_that_has_changed_does_not_go_on(teacher, tmp_path, capsys):
    flags = {"teacher": teacher, "student_encoder": STUDENT}
    assert main(words("distill", tmp_path, **flags)) == 0
    file = tmp_path / "distill" / "teacher.json"
    record = json.loads(file.read_text())
    file.write_text(json.dumps(record | {"weights": "others"}))
    assert main(words("distill", tmp_path, **flags)) == 1
    assert "other weights" in capsys.readouterr().err


def test_what_is_missing_is_said_before_the_first_step(chain, tmp_path, capsys):
    assert main(words("distill", tmp_path / "a", teacher=chain)) == 2
    assert "without a classifier" in capsys.readouterr().err
    name = "tests.foreign_models:teacher_of_maps"
    flags = {**SMALL, "teacher": name}
    assert main(small("simclr", tmp_path / "b", **flags)) == 2
    assert "logits [b, classes]" in capsys.readouterr().err
    assert not (tmp_path / "b" / "distill").exists()


def test_a_linear_evaluation_teaches(chain, tmp_path, capsys):
    probe = tmp_path / "probe"
    flags = {"linear_epochs": 1, "linear_learning_rates": "0.1,1", "init_from": chain}
    assert main(words("linear", probe, **flags)) == 0
    score = json.loads((probe / "results.json").read_text())["linear"]["top1"]
    flags = {"teacher": probe / "linear", "student_encoder": STUDENT}
    assert main(words("distill", tmp_path, **flags)) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["baselines"]["teacher"]["distill"]["top1"] == score


def test_a_classifier_teaches_on_its_own_encoder_alone(chain, tmp_path):
    """The run was moved, and another one has its place."""
    run = RunDirectory(tmp_path / "moved")
    for place, seed in ((run.path, 0), (tmp_path / "run", 1)):
        (place / "checkpoints").mkdir(parents=True)
        shutil.copy(chain / "flags.cfg", place)
        source = trained.checkpoint_folder(chain)
        tensors = checkpoint.read(source)
        tensors = {n: v + np.asarray(seed, v.dtype) for n, v in tensors.items()}
        (place / "checkpoints" / source.name).mkdir()
        checkpoint.write(place / "checkpoints" / source.name, 6, tensors)
    gone = tmp_path / "run/checkpoints" / source.name
    own = RunDirectory(run.path / "linear")
    config = stored_config(str(chain))
    settings = dataclasses.replace(config, mode="linear", init_from=str(gone))
    own.write_atomic(own.flags, to_flagfile(settings))
    encoder = tfssl.load(run.path).encoder
    width = encoder.output_shape[-1]
    keep_probe(own, encoder, np.eye(width), np.zeros(width), list("abc"))
    found = load_probe(own.path)
    assert str(found.checkpoint) == str(run.path / "checkpoints" / source.name)
    assert found.path == str(own.path)
    shutil.rmtree(run.path / "checkpoints")
    with pytest.raises(CheckpointError, match="is gone or another one now"):
        load_probe(own.path)


def test_a_session_reads_what_the_student_says(chain, tmp_path):
    path = chain / "finetune" / "distill" / "distill"
    images = np.random.default_rng(0).random((2, 16, 16, 3)).astype(np.float32)
    files = [tf.io.encode_png(tf.zeros([20, 24, 3], tf.uint8)).numpy()]
    got = in_a_session(str(path / "saved_model"), tmp_path, files, [images])
    want = tfssl.load(path).classify(images)
    np.testing.assert_allclose(got["1/probabilities"], want, rtol=1e-4, atol=1e-6)
