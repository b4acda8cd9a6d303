"""Distillation on the command line: whose flags are whose, and what is refused."""

import dataclasses

import pytest

from tfssl.config import command_line as cli
from tfssl.config.flagfile import to_flagfile
from tfssl.errors import ConfigError


def read(*words):
    return cli.read(["tfssl", *words])[0]


def problems_of(*words):
    with pytest.raises(ConfigError) as caught:
        read(*words)
    return caught.value.problems


@pytest.fixture
def tuned(tmp_path):
    """The flags of a fine-tuned run that was itself distilled once."""
    run = tmp_path / "run"
    words = ["--mode=pretrain", f"--run_dir={run}", "--epochs=7", "--learning_rate=.5"]
    stored = dataclasses.replace(
        read(*words, "--label_fraction=1"),
        mode="distill",
        teacher="/gone",
        distill_temperature=0.1,
        label_fraction=0.1,
    )
    run.mkdir()
    (run / "flags.cfg").write_text(to_flagfile(stored))
    return run


def test_flags_not_given_are_the_teachers_but_for_its_own_distillation(tuned, tmp_path):
    new = f"--run_dir={tmp_path / 'new'}"
    got = read("--mode=distill", f"--teacher={tuned}", new)
    assert (got.epochs, got.learning_rate, got.label_fraction) == (7, 0.5, 0.1)
    assert (got.teacher, got.distill_temperature) == (str(tuned), 0)
    small = "--encoder=resnet18x0.25_cifar"
    got = read("--mode=distill,knn", f"--teacher={tuned}", new, small, "--epochs=3")
    assert (got.encoder, got.epochs) == ("resnet18x0.25_cifar", 3)
    # Of an imported model, the method's own.
    got = read("--mode=distill", "--teacher=tests.foreign_models:teacher", new)
    assert (got.epochs, got.learning_rate) == (100, 1.0)


def test_a_chain_needs_no_teacher(tmp_path):
    run = f"--run_dir={tmp_path / 'new'}"
    student = "--student_encoder=resnet18_cifar,resnet18x0.25_cifar"
    got = read("--mode=pretrain,finetune,distill,distill,export", run, student)
    assert got.student_encoder == ("resnet18_cifar", "resnet18x0.25_cifar")


REFUSED = [
    (["--mode=pretrain,distill"], "a teacher with a classifier before distill"),
    (["--mode=pretrain,finetune,distill", "--student_encoder=a"], "_encoder=a; exp"),
    (
        ["--mode=pretrain,finetune,distill", "--student_encoder=resnet18,resnet34"],
        "at most one encoder for each",
    ),
    (
        ["--mode=pretrain,distill", "--distill_target=features", "--distill_alpha=.5"],
        "labels need a classifier",
    ),
    (
        ["--mode=pretrain,distill", "--distill_target=features",
         "--distill_temperature=2"],
        "features have none",
    ),
    (
        ["--mode=pretrain,finetune,distill", "--distill_labelled_share=.5"],
        "--distill_alpha below 1",
    ),
    (["--mode=distill", "--teacher=no_such_module:net"], "no module no_such_module"),
    (["--mode=distill", "--teacher=no/such/run"], "which holds no run"),
    (["--mode=distill", "--dataset=shapes:300"], "finetune first, or --teacher"),
    (["--mode=pretrain,finetune,distill", "--teacher=gone"], "gone is not there"),
    (["--mode=pretrain", "--distill_epochs=3"], "--mode=distill, which alone reads it"),
    (["--mode=distill", "--teacher=tests.foreign_models:teacher",
      "--jitter_strength=2"], "--mode=pretrain or doctor"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "answer"), REFUSED)
def test_what_cannot_be_is_said_at_once(tmp_path, words, answer):
    if "student_encoder=resnet18,resnet34" in words[-1]:
        words = [*words, "--image_size=64"]
    found = problems_of(*words, f"--run_dir={tmp_path / 'new'}")
    assert any(answer in problem for problem in found), found


def test_a_student_starts_only_from_its_own_kind(tuned, tmp_path):
    run = f"--run_dir={tmp_path / 'new'}"
    start = ["--mode=distill", f"--teacher={tuned}", f"--init_from={tuned}", run]
    assert read(*start).init_from == str(tuned)
    found = problems_of(*start, "--student_encoder=resnet18x0.5_cifar")
    assert "--encoder=resnet18x0.5_cifar with --init_from" in found[0]
