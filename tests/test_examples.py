"""A method from outside the package, through `--method=MODULE:NAME`, in all modes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.worker_processes import ROOT

SIMSIAM = "examples.simsiam:SIMSIAM"
TINY = [
    f"--flagfile={ROOT}/examples/simsiam.cfg",
    "--dataset=shapes:64",
    "--image_size=16",
    "--encoder=resnet10x0.125_cifar",
    "--projector_dim=16",
    "--predictor_hidden=8",
    "--batch_size=16",
    "--train_steps=6",
    "--steps_per_loop=3",
    "--checkpoint_every=3",
    "--log_every=1",
    "--noprogress",
    "--notensorboard",
]
AFTER = ["--linear_epochs=1", "--finetune_epochs=1", "--finetune_batch_size=16"]


def run(*words, cwd=ROOT, code=0):
    """The program in a process of its own; what it wrote to both streams."""
    command = [sys.executable, "-m", "tfssl.main", *map(str, words)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def log(run_dir: Path) -> list[dict]:
    return [json.loads(line) for line in (run_dir / "log.jsonl").open()]


def weights(run_dir: Path, step: int) -> dict[str, np.ndarray]:
    from tfssl.runs import checkpoint

    return checkpoint.read(run_dir / "checkpoints" / f"step-{step:09d}")


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["--method=no_such_module:ROW"], "No module named 'no_such_module'"),
        (["--method=examples:simsiam:x"], "MODULE:NAME, the import path"),
        (["--method=json:loads"], "which is a function"),
        (["--method=json:ROW"], "has no attribute 'ROW'"),
    ],
)
def test_a_path_that_leads_nowhere_is_one_problem(words, answer):
    from tfssl.config import command_line
    from tfssl.errors import ConfigError

    with pytest.raises(ConfigError) as caught:
        command_line.read(["tfssl", "--run_dir=x", *words])
    (problem,) = caught.value.problems
    assert answer in problem and "; try " in problem


@pytest.mark.slow
def test_its_flags_are_flags():
    text = run(f"--method={SIMSIAM}", "--help")
    assert "--predictor_decay=false" in text and "simsiam:SIMSIAM: 0.05" in text
    text = run(f"--method={SIMSIAM}", "--predictor_decy", "--run_dir=x", code=2)
    assert "--predictor_decay (did you mean" in text
    text = run(f"--method={SIMSIAM}", "--temperature=.1", "--run_dir=x", code=2)
    assert "--temperature only with simclr or moco" in text
    text = run("--method=byol", "--predictor_decay", "--run_dir=x", code=2)
    assert "unknown flag --predictor_decay" in text


@pytest.mark.slow
def test_all_modes_and_an_exact_resume(tmp_path):
    whole = tmp_path / "whole"
    run(*TINY, *AFTER, f"--run_dir={whole}", "--optimizer=sgd", "--learning_rate=0.05")
    flags = (whole / "flags.cfg").read_text()
    assert f"--method={SIMSIAM}" in flags and "--predictor_hidden=8" in flags
    assert (whole / "report/index.html").exists()
    # What was fine-tuned is what is exported.
    assert (whole / "finetune/saved_model").is_dir()
    assert "knn" in (whole / "results.json").read_text()
    rows = log(whole)
    assert all(-1 <= row["simsiam_loss"] <= 1 for row in rows)
    half = tmp_path / "half"
    # Three steps of the same run, then the rest: nothing may tell the difference.
    stop = (
        "import os, signal, sys\nfrom tfssl.train import loop\nfrom tfssl import main\n"
    )
    stop += "real = loop._next_size\n"
    stop += "def size(step, *more):\n"
    stop += "    if step == 3: os.kill(os.getpid(), signal.SIGINT)\n"
    stop += "    return real(step, *more)\n"
    stop += "loop._next_size = size\nsys.exit(main.main(sys.argv))\n"
    words = [*TINY, f"--run_dir={half}", "--mode=pretrain"]
    words += ["--optimizer=sgd", "--learning_rate=0.05"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", stop, *words], cwd=ROOT, env=environ)
    assert done.returncode == 42
    run(*words)
    a, b = weights(whole, 6), weights(half, 6)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    # A later evaluation finds the method, and its flags, in the run.
    run("--mode=knn", f"--run_dir={half}", "--noprogress", "--predictor_hidden=8")
    text = run("--mode=knn", f"--run_dir={half}", "--predictor_hidden=9", code=2)
    assert "--predictor_hidden=8, with which it was trained" in text


@pytest.mark.slow
def test_one_replica_is_two(tmp_path):
    common = [*TINY, "--mode=pretrain", "--learning_rate=0.0005", "--train_steps=4"]
    more = {"one": [], "two": ["--strategy=mirrored", "--virtual_devices=2"]}
    for name, words in more.items():
        run(*common, *words, f"--run_dir={tmp_path / name}")
    one, two = (log(tmp_path / name) for name in more)
    for a, b in zip(one, two, strict=True):
        # One minus a cosine near 1: the rounding is that of the cosine.
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4, abs=5e-6)
    a, b = weights(tmp_path / "one", 4), weights(tmp_path / "two", 4)
    # As tests/methods/test_replicas.py: by norm, and without the optimiser's slots, in
    # which one activation that rounding moves across a ReLU's kink counts in full.
    for name in (n for n in a if not n.startswith("optimizer/")):
        gap = np.linalg.norm(a[name] - b[name])
        assert gap <= 1e-4 * max(1e-2, np.linalg.norm(a[name])), name


@pytest.mark.slow
def test_choices_of_what_to_label_are_compared(tmp_path, monkeypatch, capsys):
    from examples import choose_labels

    trained, out = tmp_path / "run", tmp_path / "chosen"
    words = [w for w in TINY if "flagfile" not in w and "predictor" not in w]
    run(*words, "--mode=pretrain", "--train_steps=1", f"--run_dir={trained}")
    monkeypatch.setattr(choose_labels, "STRATEGIES", ("random",))
    words = [f"--runs={trained}", f"--out={out}", "--select=12"]
    words += ["--linear_learning_rates=1", "--finetune_epochs=1"]
    monkeypatch.setattr(sys, "argv", ["choose_labels.py", *words])
    choose_labels.main()
    said = capsys.readouterr().out
    # Neither the run's epochs nor those of all labels.
    stored = (out / "seed-0/random-12/linear/flags.cfg").read_text()
    assert "--linear_epochs=90\n" in stored
    rows = (out / "table.csv").read_text().splitlines()
    assert len(rows) == 3 and rows[1].startswith("linear,random,12,")
    assert (out / "accuracy.png").stat().st_size > 5000
    chosen = (out / "seed-0/random-12/select/chosen.txt").read_text().split("\n")
    assert len([line for line in chosen if line]) == 12
    assert "12 of 64 images" in said or "12 images" in said
    # What has its score is not done again.
    monkeypatch.setattr(choose_labels, "WAYS", dict.fromkeys(choose_labels.WAYS))
    choose_labels.main()
    assert (out / "table.csv").read_text().splitlines() == rows
