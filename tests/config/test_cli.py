"""The command line: parse, complete, --help, exit codes; all without TensorFlow."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from tfssl import main
from tfssl.config import SPECS, Config, resolve
from tfssl.config import command_line as cli
from tfssl.config.complete import completed
from tfssl.config.flagfile import to_flagfile
from tfssl.config.help_text import help_text
from tfssl.config.inherit import stored_config
from tfssl.config.ownership import readers, unread_flags
from tfssl.errors import ConfigError, Stopped, TfsslError


def parse(*arguments: str):
    return cli.parse(["tfssl", *arguments])


def problems_of(*arguments: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        cli.read(["tfssl", *arguments])
    return caught.value.problems


def test_no_flags_are_the_defaults():
    assert parse() == (Config(), frozenset(), (), frozenset())


def test_every_type_and_both_forms():
    got = parse("--seed", "3", "--learning_rate=1e-3", "--noprogress", "--baselines")
    assert not got.problems
    assert got.given == {"seed", "learning_rate", "progress", "baselines"}
    assert (got.config.seed, got.config.learning_rate) == (3, 1e-3)
    assert (got.config.progress, got.config.baselines) == (False, True)


def test_given_the_default_is_given():
    assert parse("--seed=0").given == {"seed"}


def test_flagfile_then_overrides(tmp_path):
    inner = tmp_path / "inner.cfg"
    inner.write_text("--epochs=1\n--seed=1\n")
    outer = tmp_path / "outer.cfg"
    outer.write_text(
        f"# why\n--flagfile={inner}\n--seed=2\n// also\n\n--batch_size=8\n"
    )
    got = parse(f"--flagfile={outer}", "--batch_size=16")
    assert not got.problems
    assert (got.config.epochs, got.config.seed, got.config.batch_size) == (1, 2, 16)
    assert got.given == {"epochs", "seed", "batch_size"}


def test_a_flagfile_names_another_beside_it(tmp_path, monkeypatch):
    """From any working directory; a path of that directory works too."""
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "family.cfg").write_text("--epochs=3\n--seed=1\n")
    recipe = tmp_path / "recipe.cfg"
    recipe.write_text("--flagfile=base/family.cfg\n--seed=2\n")
    monkeypatch.chdir("/")
    got = parse("--flagfile", str(recipe))
    assert not got.problems
    assert (got.config.epochs, got.config.seed) == (3, 2)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base" / "outer.cfg").write_text("--flagfile=recipe.cfg\n")
    assert parse("--flagfile=base/outer.cfg").config.seed == 2
    recipe.write_text("--flagfile=recipe.cfg\n")
    (problem,) = parse("--flagfile=recipe.cfg").problems
    assert "names itself" in problem


@pytest.mark.parametrize(
    ("encoding", "newline"),
    [("utf-8-sig", "\r\n"), ("utf-16", "\r\n"), ("utf-8", "\r"), ("utf-8", "\n")],
)
def test_a_flagfile_of_any_editor(tmp_path, encoding, newline):
    file = tmp_path / "a.cfg"
    lines = ["--epochs=3", "# höher", "--run_dir=läufe/a b", ""]
    file.write_bytes(newline.join(lines).encode(encoding))
    got = parse(f"--flagfile={file}")
    assert not got.problems and got.given == {"epochs", "run_dir"}
    assert (got.config.epochs, got.config.run_dir) == (3, "läufe/a b")
    run = tmp_path / "run"
    run.mkdir()
    (run / "flags.cfg").write_bytes(file.read_bytes())
    assert stored_config(str(run)).epochs == 3


def test_flagfiles_that_are_none(tmp_path):
    file = tmp_path / "flags.cfg"
    file.write_bytes(b"--epochs=3\n--run_dir=\xff\n")
    (problem,) = parse(f"--flagfile={file}").problems
    assert "a text file with a flag a line" in problem
    with pytest.raises(ConfigError, match=r"flags.cfg: .*the flags of a run"):
        stored_config(str(tmp_path))
    for quote in "\"'":
        file.write_text(f"--epochs=3\n--run_dir={quote}a b{quote}\n")
        (problem,) = parse(f"--flagfile={file}").problems
        assert "without quotes" in problem and "; try --run_dir=a b" in problem


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("run_dir", "~/a"), ("init_from", "~/a"), ("index_dir", "~"),
        ("teacher", "~/a/finetune"), ("embeddings", "~/a"), ("query", "~/a.png"),
        ("query", "list:~/a.txt"), ("labelled", "list:~/a.txt"),
        ("label_fraction", "~/a.txt"), ("source", "byol:~/a.pkl"),
        ("transfer_runs", "~/a,b,~/c"), ("dense_runs", "random,~/a"),
    ],
)  # fmt: skip
def test_the_home_directory_is_the_same_for_every_path(monkeypatch, flag, text):
    """No shell expands it behind `--flag=`."""
    monkeypatch.setenv("HOME", "/home/me")
    got = parse(f"--{flag}={text}")
    assert not got.problems
    assert got.config.text(flag) == text.replace("~", "/home/me")


@pytest.mark.parametrize("word", ["9" * 400, "-" + "9" * 5000, "1e3", "0x10", "nan"])
def test_whole_numbers_are_counted(word):
    for flag in ("epochs", "seed", "finetune_epochs", "label_seeds"):
        problems = problems_of(f"--{flag}={word}", "--run_dir=x", "--mode=finetune")
        (problem,) = [text for text in problems if f"got --{flag}=" in text]
        assert "whole number" in problem


@pytest.mark.parametrize("word", ["nan", "inf", "-inf", "1e999", "0.5,nan"])
def test_numbers_of_a_list_are_finite(word):
    for flag in ("segment_scales", "transfer_shots", "linear_learning_rates"):
        (problem,) = parse(f"--{flag}={word}").problems
        assert "expected numbers with commas" in problem


@pytest.mark.parametrize("method", ["byol", "simclr", "moco"])
def test_the_written_flagfile_runs_again(tmp_path, method):
    stored = resolve(Config(method=method, run_dir="runs/a b", progress=False))
    file = tmp_path / "flags.cfg"
    file.write_text(to_flagfile(stored))
    got = parse(f"--flagfile={file}")
    assert got.config == stored and not got.problems


def test_everything_wrong_at_once():
    text = "\n".join(
        problems_of(
            "--batchsize=3",
            "--temprature",
            "0.4",
            "--noprogres",
            "--finetune_layer=1",
            "--such=1",
            "--epochs=ten",
            "--baselines=maybe",
            "--method=bylo",
            "--mode=pretain,linear",
            "--virtual_devices=2",
            "stray",
        )
    )
    for part in (
        "--batchsize; expected a flag that --help lists; try --batch_size (did you",
        "--temprature; expected a flag that --help lists; try --temperature (did you",
        "--noprogress (did you mean",
        "--mode=finetune, which alone",
        "--epochs=ten; expected a whole number",
        "--baselines=maybe; expected true or false",
        "--method=byol",
        "--mode=pretrain",
        "--run_dir",
        "--virtual_devices=2 with --strategy=auto",
        "'stray'",
    ):
        assert part in text, part
    assert "'0.4'" not in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--flagfile=no/such.cfg"], "no/such.cfg"),
        (["--flagfile"], "--flagfile"),
        (["--seed"], "--seed"),
        (["--noprogress=true"], "--noprogress=true"),
    ],
)
def test_what_absl_refuses_is_one_problem(arguments, words):
    (problem,) = problems_of(*arguments)
    assert words in problem and "; try " in problem


def test_read_resolves_and_tells_what_was_given(tmp_path):
    config, given = cli.read(["tfssl", f"--run_dir={tmp_path}", "--method=moco"])
    assert config.queue_size == 4096
    assert given == {"run_dir", "method"}


def test_evaluation_reads_the_run(tmp_path):
    stored = resolve(Config(method="moco", run_dir="elsewhere", batch_size=128))
    (tmp_path / "flags.cfg").write_text(to_flagfile(stored))
    run = f"--run_dir={tmp_path}"
    config, _ = cli.read(["tfssl", "--mode=knn,report", run, "--knn_k=9"])
    assert (config.method, config.batch_size, config.knn_k) == ("moco", 128, 9)
    assert (config.run_dir, config.mode) == (str(tmp_path), "knn,report")
    # A MoCo flag is fine without --method=moco: the run says that it is MoCo.
    cli.read(["tfssl", "--mode=knn", run, "--queue_size=4096"])
    (problem,) = problems_of("--mode=knn", run, "--queue_size=8192")
    assert "--queue_size=8192" in problem and "--queue_size=4096" in problem


def test_evaluation_without_a_run(tmp_path):
    (problem,) = problems_of("--mode=linear", f"--run_dir={tmp_path}")
    assert "holds no run" in problem and "--mode=pretrain first" in problem


def test_pretraining_in_another_runs_directory(tmp_path):
    stored = resolve(Config(run_dir=str(tmp_path), seed=4))
    (tmp_path / "flags.cfg").write_text(to_flagfile(stored))
    run = f"--run_dir={tmp_path}"
    (problem,) = problems_of(run, "--epochs=7", "--seed=4", "--mode=pretrain,knn")
    assert "--epochs=7" in problem and "--epochs=100" in problem
    assert "--seed" not in problem
    again, _ = cli.read(["tfssl", run, "--seed=4", "--noprogress", "--log_every=1"])
    assert again.log_every == 1


@pytest.mark.parametrize(
    ("mode", "fraction", "refused"),
    [
        ("pretrain", "0.1", True),
        ("pretrain", "1", False),
        ("pretrain,linear", "0.1", False),
        ("pretrain,knn", "0.1", True),
    ],
)
def test_a_flag_that_no_mode_reads_is_refused(tmp_path, mode, fraction, refused):
    words = [f"--mode={mode}", f"--run_dir={tmp_path}", f"--label_fraction={fraction}"]
    parsed = cli.parse(["tfssl", *words])
    problems = unread_flags(parsed)
    assert len(problems) == refused
    if refused:
        with pytest.raises(ConfigError, match="--label_fraction=0.1 with --mode"):
            completed(parsed)


def test_the_other_linear_evaluation_of_a_run_is_asked_for_by_one_flag(tmp_path):
    stored = resolve(Config(run_dir="x", linear_epochs=2, linear_learning_rates=(1.0,)))
    (tmp_path / "flags.cfg").write_text(to_flagfile(stored))
    words = ["--mode=linear", f"--init_from={tmp_path}", f"--run_dir={tmp_path}/new"]
    got, *_ = cli.read(["tfssl", *words, "--linear_features=cached"])
    assert got.linear_features == "cached"


@pytest.mark.parametrize("detector", ["retinanet", "rcnn_c4"])
def test_flags_of_another_detector_are_refused(tmp_path, detector):
    words = ["--mode=detect", f"--run_dir={tmp_path}", f"--detector={detector}"]
    own = {"retinanet": "--detect_width=64", "rcnn_c4": "--detect_regions=64"}
    assert not unread_flags(cli.parse(["tfssl", *words, own.pop(detector)]))
    found = unread_flags(cli.parse(["tfssl", *words, *own.values()]))
    assert len(found) == 1
    assert all("--mode=detect with --detector" in problem for problem in found)


READ_BY = [
    # (mode, typed, part of the answer): REVIEW's accepted-and-ignored flags among them
    (
        "linear",
        "--knn_k=3",
        "--mode=pretrain with --knn_every or knn or transfer, which alone",
    ),
    ("pretrain", "--knn_k=3", "--mode=pretrain with --knn_every or knn"),
    ("pretrain", "--knn_train_limit=3", "--mode=pretrain"),
    ("linear", "--finetune_layer=1", "--mode=finetune, which alone"),
    ("supervised", "--freeze=P3", "--mode=finetune or detect or segment, which alone"),
    ("supervised", "--finetune_stage_rates=1,1,1,1,1", "--mode=finetune, which alone"),
    ("linear", "--precision=mixed_bfloat16", "--mode=pretrain or finetune or"),
    ("distill", "--label_fraction=0.5", "distill with --distill_alpha, which alone"),
    ("export,knn", "--export_on_error=zeros", None),
    (
        "search --search=outliers",
        "--search_threshold=0.9",
        "--mode=search with --search=duplicates, which alone",
    ),
    (
        "search --search=scores",
        "--search_k=3",
        "--mode=search with --search=neighbours or outliers, which alone",
    ),
    ("search --search=duplicates", "--search_outliers=3", "with --search=outliers"),
    ("search --search=scores", "--search_shown=3", "neighbours or duplicates"),
    (
        "export --format=keras",
        "--export_on_error=zeros",
        "--mode=export with --format=saved_model, which alone",
    ),
    ("finetune", "--knn_every=1", "--mode=pretrain, which alone reads it"),
    (
        "linear",
        "--micro_batches=2",
        "--mode=pretrain or finetune or supervised or distill or doctor",
    ),
    ("knn", "--rewind_on_nan=3", "--mode=pretrain or linear or finetune"),
    (
        "knn",
        "--notensorboard",
        "linear or finetune or supervised or distill or detect or segment or report",
    ),
    ("knn", "--batch_size=64", "--mode=pretrain or distill or doctor"),
    ("knn", "--jitter_strength=0.5", "--mode=pretrain or doctor"),
    ("report", "--label_fraction=0.1", "--mode=linear or finetune"),
    ("report", "--baselines", "--mode=knn or linear"),
    ("export", "--eval_split=x", "which alone reads it"),
    ("export", "--steps_per_loop=3", "which alone reads it"),
    (
        "pretrain",
        "--linear_epochs=3",
        "--mode=linear with --linear_features=augmented, which alone reads it",
    ),
    ("linear", "--linear_flips", "--mode=linear with --linear_features=cached, which"),
    ("linear --linear_features=cached", "--linear_epochs=3", "_features=augmented"),
    ("linear --linear_features=cached", "--linear_batch_size=8", "augmented, which"),
    ("pretrain", "--format=keras", "--mode=export, which alone reads it"),
    ("pretrain", "--doctor_images=3", "--mode=doctor, which alone reads it"),
    ("doctor", "--finetune_epochs=3", "--mode=finetune or supervised, which alone"),
]


@pytest.mark.parametrize(("mode", "flag", "answer"), READ_BY)
def test_every_flag_has_readers(tmp_path, mode, flag, answer):
    (tmp_path / "flags.cfg").write_text(to_flagfile(resolve(Config(run_dir="x"))))
    mode, *more = mode.split()
    words = [f"--mode={mode}", f"--run_dir={tmp_path / 'new'}", flag, *more]
    if mode == "distill":
        words.append(f"--teacher={tmp_path}")
    elif mode not in ("pretrain", "doctor"):
        words.append(f"--init_from={tmp_path}")
    if answer is None:
        cli.read(["tfssl", *words])
        return
    (problem,) = problems_of(*words)
    assert answer in problem and f"with --mode={mode}" in problem


def test_a_flag_waits_in_a_flagfile_and_repeats_the_run(tmp_path):
    """A recipe holds the flags of the modes to come; its values are not refused."""
    recipe = tmp_path / "recipe.cfg"
    recipe.write_text("--linear_epochs=3\n--batch_size=64\n--checkpoint_every=7\n")
    run = tmp_path / "run"
    run.mkdir()
    words = [f"--flagfile={recipe}", f"--run_dir={run}"]
    stored, _ = cli.read(["tfssl", "--mode=pretrain", *words])
    (run / "flags.cfg").write_text(to_flagfile(stored))
    cli.read(["tfssl", "--mode=knn", *words])
    # Typed, but what the run was trained with.
    cli.read(["tfssl", "--mode=knn", f"--run_dir={run}", "--checkpoint_every=7"])
    cli.read(["tfssl", f"--flagfile={run / 'flags.cfg'}", "--mode=report"])
    (problem,) = problems_of("--mode=knn", f"--run_dir={run}", "--checkpoint_every=8")
    assert "--checkpoint_every=8 with --mode=knn" in problem


def test_every_flag_is_read_by_some_mode():
    orphans = [name for name in SPECS if not readers(name)]
    assert orphans == []


@pytest.mark.parametrize(
    ("words", "has", "lacks"),
    [
        (["--mode=linear"], ["linear_epochs", "log_every"], ["knn_k", "temperature"]),
        (["--mode=report,export"], ["format"], ["linear_epochs", "batch_size"]),
        (["--mode=search"], ["search_k", "search_threshold"], ["select"]),
        (["--method=byol"], ["predictor", "learning_rate"], ["temperature", "seed"]),
        (
            ["--method=moco", "--mode=pretrain"],
            ["queue_size", "batch_size"],
            ["predictor", "finetune_layer"],
        ),
    ],
)
def test_help_of_a_mode_or_a_method(words, has, lacks):
    text = help_text(["tfssl", *words, "--help"])
    assert all(f"  --{name}=" in text for name in has)
    assert not any(f"  --{name}=" in text for name in lacks)


def test_help_into_head_ends_without_a_traceback():
    command = f"{sys.executable} -m tfssl.main --help | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stdout.startswith("tfssl: ") and done.stderr == ""


def test_help_lists_every_flag_by_group():
    text = help_text()
    for name, spec in SPECS.items():
        assert f"  --{name}=" in text
        assert f"\n{spec.group}:" in text
    assert "--temperature=(simclr: 0.1, moco: 0.2)" in text
    assert "--seed=0\n      source of all randomness (>= 0, <= 2147483647)" in text
    assert max(map(len, text.splitlines())) <= 88


# --- main -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TfsslError("got batch_size=3"), 1),
        (ConfigError(["a", "b"]), 2),
        (Stopped("SIGTERM", 3), 42),
    ],
)
def test_main_prints_our_errors_without_a_traceback(
    monkeypatch, tmp_path, capsys, error, code
):
    def fails(parsed, wording):
        raise error

    monkeypatch.setattr(main.tasks, "run", fails)
    assert main.main(["tfssl", f"--run_dir={tmp_path}"]) == code
    said = capsys.readouterr()
    if code == 42:
        assert said.out.startswith("stopped by SIGTERM after step 3, saved")
        return
    expected = {1: ["tfssl: got --batch_size=3"], 2: ["tfssl: a", "tfssl: b"]}
    assert said.err.splitlines() == expected[code]


def test_main_help_and_wrong_flags(capsys):
    assert main.main(["tfssl", "--help"]) == 0
    assert "optimiser:" in capsys.readouterr().out
    assert main.main(["tfssl", "--sed=1"]) == 2
    assert "--seed (did you mean" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--flagfile=gone.cfg", "--dataset=folder:gone"])
def test_a_working_folder_that_was_removed_is_said(monkeypatch, tmp_path, capsys, flag):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert main.main(["tfssl", flag, f"--run_dir={tmp_path / 'run'}"]) == 2
    assert "working folder: this one was removed" in capsys.readouterr().err


def test_a_wrong_flag_answers_in_a_process_without_tensorflow():
    code = (
        "import sys, tfssl.main\n"
        "code = tfssl.main.main(['tfssl', '--sed=1'])\n"
        "slow = {'tensorflow', 'keras', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'imported {slow}' if slow else code)\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 2, done.stderr
    # Seconds of CPU, not of the clock: other processes may hold the machine.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5
