"""Runs in a bucket, for which `file://` and `ram://` stand in."""

import json
import logging
import shutil
import subprocess
import uuid

import pytest
import tensorflow as tf

from tests import worker_processes
from tests.tasks.test_end_to_end import (
    StopAfterOneCall,
    argv,
    assert_same_run,
    tensors,
)
from tests.tiny import COMMON, OF_METHOD, tiny
from tfssl.config import launch
from tfssl.config.flagfile import to_flagfile
from tfssl.core.paths import write_whole
from tfssl.errors import CheckpointError, InUseError, RemoteError, RunDirectoryError
from tfssl.main import main
from tfssl.runs import RunDirectory, checkpoint, lock, store
from tfssl.train import job

gfile = tf.io.gfile
OTHER_OWNER = {"process": 7, "host": "elsewhere", "started": "1", "beat": 3}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(lock, "TIE_SECONDS", 0.0)
    monkeypatch.setattr(store, "REMOTE_PAUSES", (0.0,))


@pytest.fixture(params=["file", "ram"])
def url(request, tmp_path):
    where = tmp_path if request.param == "file" else f"/{uuid.uuid4().hex}"
    return f"{request.param}://{where}/bucket/run"


@pytest.fixture
def disk(tmp_path):
    """A directory that is both remote and open to `Path`."""
    folder = tmp_path / "bucket" / "run"
    return f"file://{folder}", folder


def items(step):
    return {"step": tf.Variable(step), "w": tf.Variable([0.5 * step])}


def save(directory, *steps, keep=2, **options):
    with directory.checkpoint_store(keep=keep, **options) as checkpoints:
        for step in steps:
            checkpoints.save(step, items(step))
        checkpoints.wait()


def steps(url):
    return RunDirectory(url).checkpoint_store().steps()


def there(url):
    """All files below, hidden ones too."""
    return sorted(
        f"{folder.removeprefix(url).strip('/')}/{name}".strip("/")
        for folder, _, names in gfile.walk(url)
        for name in names
    )


@pytest.fixture
def copied(monkeypatch):
    """Targets of the copies made from now on."""
    targets, real = [], gfile.copy

    def copy(source, target, overwrite=False):
        targets.append(target)
        real(source, target, overwrite)

    monkeypatch.setattr(gfile, "copy", copy)
    return targets


def fails(monkeypatch, name, part, error=None):
    """`tf.io.gfile.NAME` fails for every path with `part` in it."""
    real = getattr(gfile, name)
    error = error or tf.errors.UnavailableError(None, None, "the network is away")

    def broken(*args, **kwargs):
        if any(part in str(argument) for argument in args):
            raise error
        return real(*args, **kwargs)

    monkeypatch.setattr(gfile, name, broken)


# --- files and checkpoints ----------------------------------------------------------


def test_what_is_written_is_read_back_and_nothing_else_is_left(url):
    with RunDirectory(url) as directory:
        directory.append_log({"step": 3})
        save(directory, 3, 6, 9)
        directory.write_atomic(directory.flags, "--seed=1\n")
        directory.write_atomic(directory.flags, "--seed=2\n")
        directory.write_atomic(directory.report / "index.html", "page")
        directory.add_results({"knn": {"top1": 0.5}})
        directory.append_log({"step": 9})
    again = RunDirectory(url)
    assert again.flags.read_text() == "--seed=2\n"
    assert again.read_results() == {"knn": {"top1": 0.5}}
    assert again.log.read_text() == '{"step": 3}\n{"step": 9}\n'
    fresh = items(0)
    assert again.checkpoint_store().restore_newest(fresh) == 9
    assert fresh["w"].numpy() == [4.5]
    assert there(url) == [
        *(
            f"checkpoints/step-{step:09d}/{name}"
            for step in (6, 9)
            for name in (
                "manifest.json",
                "tensors.data-00000-of-00001",
                "tensors.index",
            )
        ),
        "flags.cfg",
        "log.jsonl",
        "report/index.html",
        "results.json",
    ]


def test_a_checkpoint_has_the_bytes_of_a_local_one(disk, tmp_path):
    url, folder = disk
    save(RunDirectory(url), 3)
    save(RunDirectory(tmp_path / "local"), 3)
    name = "checkpoints/step-000000003"
    for file in (tmp_path / "local" / name).iterdir():
        assert (folder / name / file.name).read_bytes() == file.read_bytes()


def test_the_manifest_comes_last_and_the_log_before_it(url, copied, monkeypatch):
    with RunDirectory(url) as directory:
        directory.append_log({"step": 3})
        fails(monkeypatch, "copy", "manifest.json")
        save(directory, 3)
        assert directory.log.read_text() == '{"step": 3}\n'
    monkeypatch.undo()


def test_the_manifest_is_the_last_file(url, copied):
    save(RunDirectory(url), 3)
    assert len(copied) == 3 and copied[-1].endswith("manifest.json")


class Killed(BaseException):
    """As by SIGKILL: nothing that the code does afterwards can be relied on."""


@pytest.mark.parametrize("last", ["tensors.index", "manifest.json"])
def test_half_a_checkpoint_is_not_used_and_removed_by_the_next(
    url, last, monkeypatch, caplog
):
    save(RunDirectory(url), 3)
    with monkeypatch.context() as patch:
        fails(patch, "copy", f"step-000000006/{last}", Killed())
        with pytest.raises(Killed):
            save(RunDirectory(url), 6)
    assert any("step-000000006" in name for name in there(url))
    fresh = items(0)
    assert RunDirectory(url).checkpoint_store().restore_newest(fresh) == 3
    assert "damaged" not in caplog.text
    save(RunDirectory(url), 9)
    assert steps(url) == [3, 9]
    assert not any("step-000000006" in name for name in there(url))


def test_a_damaged_checkpoint_is_not_used(disk, caplog):
    url, folder = disk
    save(RunDirectory(url), 3, 6)
    data = next((folder / "checkpoints" / "step-000000006").glob("tensors.data*"))
    data.write_bytes(data.read_bytes()[:-1])
    assert RunDirectory(url).checkpoint_store().restore_newest(items(0)) == 3
    assert "step-000000006 is damaged" in caplog.text


def test_a_checkpoint_of_the_same_step_is_never_half_old(url, monkeypatch):
    save(RunDirectory(url), 3)
    with monkeypatch.context() as patch:
        fails(patch, "copy", "tensors.index")
        save(RunDirectory(url), 3)
    assert steps(url) == []
    save(RunDirectory(url), 3)
    assert checkpoint.damage(RunDirectory(url).checkpoints / "step-000000003") is None


def test_a_log_is_cut_and_goes_on(url):
    for _ in range(2):
        with RunDirectory(url) as directory:
            directory.cut_log(20)
            for step in (30, 40):
                directory.append_log({"step": step})
    rows = RunDirectory(url).log.read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [30, 40]
    directory = RunDirectory(url)
    directory.cut_log(30)
    assert directory.log.read_text() == '{"step": 30}\n'


# --- a network that fails -----------------------------------------------------------


@pytest.mark.parametrize("stat", ["fails", "works once more"])
def test_it_is_no_empty_folder(url, stat, monkeypatch):
    """`isdir` says no then, and `listdir`, which asks it, that there is no folder."""
    save(RunDirectory(url), 3)
    if stat == "fails":
        fails(monkeypatch, "stat", url)
    fails(monkeypatch, "listdir", url, tf.errors.NotFoundError(None, None, "none"))
    monkeypatch.setattr(gfile, "isdir", lambda path: False)
    with pytest.raises(RemoteError, match=f"at {url}"):
        RunDirectory(url).checkpoint_store().restore_newest(items(0))


def test_it_is_no_damage(url, monkeypatch):
    save(RunDirectory(url), 3, 6)
    fails(monkeypatch, "GFile", "step-000000006/manifest.json")
    with pytest.raises(RemoteError, match="the network is away"):
        RunDirectory(url).checkpoint_store().restore_newest(items(0))


@pytest.mark.parametrize("background", [False, True])
def test_the_run_goes_on_and_the_next_checkpoint_tries_again(
    url, background, monkeypatch, caplog
):
    with RunDirectory(url) as directory:
        with monkeypatch.context() as patch:
            for name in ("copy", "rename", "stat"):
                fails(patch, name, url)
            directory.append_log({"step": 3})
            save(directory, 3, background=background)
        assert "the network is away" in caplog.text and "the run goes on" in caplog.text
        assert steps(url) == []
        directory.append_log({"step": 6})
        save(directory, 6, background=background)
        assert directory.log.read_text() == '{"step": 3}\n{"step": 6}\n'
    assert steps(url) == [6]


def test_the_last_checkpoint_is_tried_again_after_pauses(url, monkeypatch, caplog):
    pauses = []
    monkeypatch.setattr(store, "REMOTE_PAUSES", (10.0, 60.0))
    with monkeypatch.context() as patch:
        fails(patch, "copy", url)
        patch.setattr(store.time, "sleep", pauses.append)
        with pytest.raises(CheckpointError, match="the network is away"):
            RunDirectory(url).checkpoint_store().finish(3, items(3))
    assert pauses == [10.0, 60.0]
    patch = pytest.MonkeyPatch()
    fails(patch, "copy", url)
    monkeypatch.setattr(store.time, "sleep", lambda _: patch.undo())
    RunDirectory(url).checkpoint_store().finish(3, items(3))
    assert "trying again in 10 s" in caplog.text
    assert steps(url) == [3]


def test_rows_that_never_arrive_end_the_run_with_an_error(url, monkeypatch):
    with (
        monkeypatch.context() as patch,
        pytest.raises(RunDirectoryError, match="1 rows of .*log.jsonl"),
        RunDirectory(url) as directory,
    ):
        fails(patch, "rename", "log.jsonl")
        directory.append_log({"step": 3})
    assert there(url) == []  # no lock either


def test_an_error_of_the_mode_is_not_hidden(url, monkeypatch):
    with (
        monkeypatch.context() as patch,
        pytest.raises(ZeroDivisionError),
        RunDirectory(url) as directory,
    ):
        directory.append_log({"step": 3})
        fails(patch, "rename", url)
        raise ZeroDivisionError
    with RunDirectory(url):  # nothing is held any more
        pass


# --- two hosts ----------------------------------------------------------------------


def test_a_second_host_is_refused_and_who_lost_the_lock_writes_no_checkpoint(url):
    with (
        pytest.raises(InUseError, match="process 7 on elsewhere"),
        RunDirectory(url) as directory,
    ):
        with pytest.raises(InUseError, match="in use by process"):
            RunDirectory(url).__enter__()
        save(directory, 3)
        write_whole(directory.path / "LOCK", json.dumps(OTHER_OWNER))
        save(directory, 6)
    assert steps(url) == [3]
    assert "LOCK" in there(url)


def test_log_rows_are_written_while_no_checkpoint_comes(url, monkeypatch):
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.01)
    with RunDirectory(url) as directory:
        directory.append_log({"step": 3})
        for _ in range(1000):
            if directory.log.exists():
                break
            lock.time.sleep(0.01)
        assert directory.log.read_text() == '{"step": 3}\n'


# --- the command line ---------------------------------------------------------------


@pytest.mark.slow
def test_a_run_goes_on_on_another_machine(disk, tmp_path, monkeypatch, capsys):
    url, folder = disk
    whole = tmp_path / "whole"
    assert main(argv("simclr", whole)) == 0
    flags = argv("simclr", url, tensorboard=True)
    with monkeypatch.context() as patch:
        patch.setattr(job, "StopRequest", StopAfterOneCall)
        assert main(flags) == 42
    assert "continue with the same command" in capsys.readouterr().out
    assert main(flags) == 0
    assert_same_run(whole, folder)
    assert f"--run_dir={url}\n" in (folder / "flags.cfg").read_text()
    assert list((folder / "tensorboard").glob("events*"))

    assert main(["tfssl", "--mode=knn", f"--run_dir={url}"]) == 0
    assert "knn" in json.loads((folder / "results.json").read_text())
    assert not list(folder.glob("**/.*")) and not (folder / "LOCK").exists()
    assert main([*flags, "--seed=6"]) == 2
    assert f"--seed=6 in --run_dir={url}" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_in_memory_alone(tmp_path, capsys):
    url = f"ram:///{uuid.uuid4().hex}/run"
    assert main(argv("simclr", url)) == 0
    assert main(argv("simclr", url)) == 0
    assert "the run is complete" in capsys.readouterr().out
    assert main(["tfssl", "--mode=report", f"--run_dir={url}"]) == 0
    assert "report/index.html" in there(url)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "ram"])
def test_what_else_reads_and_writes_a_remote_run(kind, tmp_path, capsys):
    where = tmp_path if kind == "file" else f"/{uuid.uuid4().hex}"
    url = f"{kind}://{where}/run"
    assert main(argv("moco", url)) == 0
    for words in (
        ["--mode=export,report"],
        ["--mode=export", "--format=keras", "--noexport_verify"],
        ["--mode=export", "--noexport_verify"],  # replaces the first one
        ["--mode=linear", "--linear_epochs=1"],
        ["--mode=finetune", "--finetune_epochs=1", "--finetune_batch_size=16"],
    ):
        assert main(["tfssl", *words, f"--run_dir={url}"]) == 0, words
    names = there(url)
    assert "report/index.html" in names
    assert "keras/encoder.keras" in names and "keras/metadata.json" in names
    assert any(name.startswith("finetune/checkpoints/step-") for name in names)
    assert not [name for name in names if "/." in f"/{name}"]
    served = tf.saved_model.load(f"{url}/saved_model")
    assert "features" in served.signatures
    elsewhere = f"--run_dir={tmp_path / 'scores'}"
    for start in (url, f"{url}/checkpoints/step-000000006", f"{url}/finetune"):
        assert main(["tfssl", "--mode=knn", f"--init_from={start}", elsewhere]) == 0
    assert main(["tfssl", "--mode=knn", f"--init_from={url}/x/y/z/u", elsewhere]) == 2
    assert "which holds no run" in capsys.readouterr().err
    fresh = argv("moco", tmp_path / "new", init_from=url)
    assert main(fresh) == 0
    assert main(argv("moco", tmp_path / "newer", init_from=f"{url}/none")) == 1
    assert "no whole checkpoint" in capsys.readouterr().err


def test_what_tensorflow_loads_with_is_not_read_by_it(url, monkeypatch, capsys):
    monkeypatch.setattr(launch, "problems", lambda *_: [])
    text = to_flagfile(tiny("simclr", strategy="tpu", run_dir=url))
    write_whole(RunDirectory(url).flags, text)
    assert main(["tfssl", "--mode=knn", f"--run_dir={url}"]) == 2
    assert "adding --strategy=tpu" in capsys.readouterr().err


@pytest.mark.slow
def test_of_two_workers_one_writes(disk):
    url, folder = disk
    names = {"method": "moco", "run_dir": url, "strategy": "multiworker"}
    flags = {**COMMON, **OF_METHOD["moco"], "learning_rate": 0.002, **names}
    flags = {k: str(v).lower() if v in (0, 1) else v for k, v in flags.items()}
    words = ["tfssl.main", *(f"--{name}={value}" for name, value in flags.items())]

    def pair(*last):
        both = [[*words, *last] for _ in range(2)]
        return worker_processes.wait(
            worker_processes.start(both, stdout=subprocess.DEVNULL)
        )

    assert pair("--mode=pretrain", "--train_steps=6") == [0, 0]
    assert checkpoint.damage(folder / "checkpoints" / "step-000000006") is None
    assert pair("--mode=pretrain,knn", "--train_steps=6") == [0, 0]
    assert "knn" in json.loads((folder / "results.json").read_text())
    assert not (folder / "LOCK").exists()


@pytest.mark.slow
def test_training_ends_well_but_for_the_last_checkpoint(disk, monkeypatch, capsys):
    url, folder = disk
    with monkeypatch.context() as patch:
        fails(patch, "copy", "step-0000")
        assert main(argv("simclr", url)) == 1
    assert "the network is away" in capsys.readouterr().err
    assert not (folder / "checkpoints" / "step-000000006" / "manifest.json").exists()
    assert main(argv("simclr", url)) == 0
    assert tensors(folder)


def test_a_bucket_that_is_out_of_reach_is_an_error_with_its_name(capsys, caplog):
    caplog.set_level(logging.WARNING)
    assert main(argv("simclr", "nofs://bucket/run")) == 1
    assert "nofs://bucket/run" in capsys.readouterr().err


@pytest.mark.slow
def test_a_copy_that_an_older_version_made_of_a_bucket_is_a_run(disk, tmp_path):
    url, folder = disk
    assert main(argv("simclr", url)) == 0
    copy = tmp_path / "cache" / "tfssl" / "runs" / "0123" / "run"
    shutil.copytree(folder, copy)
    (copy / ".mirror.json").write_text('{"flags.cfg": [[1, 2], [3, 4]]}')
    (copy / ".lock").write_text("7 on elsewhere\n")
    assert main(["tfssl", "--mode=knn", f"--run_dir={copy}"]) == 0
