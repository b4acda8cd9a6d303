"""Run directories elsewhere; `file://` and `ram://` stand in for buckets."""

import json
import logging
import shutil
import socket
import subprocess
import threading
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
from tfssl.config import launch, remote
from tfssl.config.flagfile import to_flagfile
from tfssl.errors import InUseError, RunDirectoryError
from tfssl.main import main
from tfssl.runs import CheckpointStore, RunDirectory, checkpoint
from tfssl.runs.remote import files as remote_files
from tfssl.runs.remote import lock as remote_lock
from tfssl.runs.remote import mirror as mirrors
from tfssl.runs.remote import sync as two_sides
from tfssl.tasks import pretrain

gfile = tf.io.gfile


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(remote_lock, "SETTLE_SECONDS", 0.0)


@pytest.fixture(params=["file", "ram"])
def url(request, tmp_path):
    where = tmp_path if request.param == "file" else f"/{uuid.uuid4().hex}"
    return f"{request.param}://{where}/bucket/run"


@pytest.fixture
def disk(tmp_path):
    """A directory that is both remote and open to `Path`."""
    folder = tmp_path / "bucket" / "run"
    return f"file://{folder}", folder


def save(directory, *steps, keep=2):
    store = CheckpointStore(directory.checkpoints, keep=keep)
    for step in steps:
        store.save(step, {"step": tf.Variable(step), "w": tf.Variable([0.5 * step])})


def steps(directory):
    return CheckpointStore(directory.checkpoints).steps()


def forget(directory):
    shutil.rmtree(directory.path)


def there(url):
    return sorted(name for name in remote_files.listing(url) if name != "LOCK")


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


# --- where ------------------------------------------------------------------------


def test_the_working_copy_is_in_the_cache_and_bears_the_name(tmp_path):
    first = remote.working_copy("gs://bucket/runs/first/")
    assert first == remote.working_copy("gs://bucket/runs/first")
    assert first != remote.working_copy("gs://other/runs/first")
    assert first.name == "first"
    assert first.parent.parent == tmp_path / "cache" / "tfssl" / "runs"
    assert str(remote.working_copy("runs/first")) == "runs/first"


# --- pull and push ----------------------------------------------------------------


def test_an_empty_cache_becomes_what_was_pushed(url):
    with RunDirectory(url) as directory:
        save(directory, 3, 6)
        directory.write_atomic(directory.flags, "--seed=1\n")
        directory.write_atomic(directory.report / "index.html", "page")
        before = remote_files.local_listing(directory.path)
    forget(directory)
    with RunDirectory(url) as directory:
        assert directory.flags.read_text() == "--seed=1\n"
        assert remote_files.local_listing(directory.path).keys() == before.keys()
        assert steps(directory) == [3, 6]
        assert checkpoint.damage(directory.checkpoints / "step-000000006") is None
    assert not gfile.exists(f"{url}/LOCK")


def test_nothing_that_is_equal_is_copied(url, copied):
    with RunDirectory(url) as directory:
        save(directory, 3)
        directory.write_atomic(directory.flags, "--seed=1\n")
        directory.append_log({"step": 1})
    assert len(copied) == 5
    copied.clear()
    with RunDirectory(url) as directory:
        pass
    assert copied == []
    with RunDirectory(url) as directory:
        directory.append_log({"step": 2})
    assert [target.rpartition("/")[2] for target in copied] == [".log.jsonl.pushed"]


def test_the_manifest_comes_last(url, copied):
    with RunDirectory(url) as directory:
        save(directory, 3)
    assert len(copied) == 3 and copied[-1].endswith("manifest.json")


def test_half_a_checkpoint_is_not_used(url, monkeypatch, caplog):
    with RunDirectory(url) as directory:
        save(directory, 3)
    with monkeypatch.context() as patch:
        fails(patch, "copy", "step-000000006/manifest.json")
        with pytest.raises(RunDirectoryError), RunDirectory(url) as directory:
            save(directory, 6, keep=1)
    # What is older goes only when what is newer is complete.
    assert "checkpoints/step-000000003/manifest.json" in there(url)
    assert any("step-000000006/tensors" in name for name in there(url))
    forget(directory)
    with RunDirectory(url) as directory:
        assert steps(directory) == [3]
    assert "damaged" not in caplog.text  # it was not even looked at


def test_nothing_is_removed_there_for_what_did_not_arrive(url, monkeypatch):
    with RunDirectory(url) as directory:
        save(directory, 3)
    real = gfile.copy

    def vanishes(source, target, overwrite=False):
        if "step-000000006" in source:  # as by the next checkpoint, meanwhile
            shutil.rmtree(directory.checkpoints / "step-000000006")
        real(source, target, overwrite)

    with monkeypatch.context() as patch:
        patch.setattr(gfile, "copy", vanishes)
        with RunDirectory(url) as directory:
            save(directory, 6, keep=1)
    assert "checkpoints/step-000000003/manifest.json" in there(url)
    assert "checkpoints/step-000000006/manifest.json" not in there(url)


def test_a_damaged_checkpoint_is_not_used(disk, caplog):
    url, folder = disk
    with RunDirectory(url) as directory:
        save(directory, 3, 6)
    data = next((folder / "checkpoints" / "step-000000006").glob("tensors.data*"))
    data.write_bytes(data.read_bytes()[:-1])
    forget(directory)
    with RunDirectory(url) as directory:
        assert steps(directory) == [3]
    assert "step-000000006 is damaged" in caplog.text


def test_a_checkpoint_of_the_same_step_is_never_half_old(url, monkeypatch):
    with RunDirectory(url) as directory:
        save(directory, 3)
    with monkeypatch.context() as patch:
        fails(patch, "copy", "tensors.index")
        with pytest.raises(RunDirectoryError), RunDirectory(url) as directory:
            save(directory, 3)
    assert "checkpoints/step-000000003/manifest.json" not in there(url)


def test_what_is_removed_here_disappears_there(url):
    with RunDirectory(url) as directory:
        save(directory, 3, 6)
        directory.write_atomic(directory.provenance, "{}")
    with RunDirectory(url) as directory:
        save(directory, 9)
        directory.provenance.unlink()
    assert there(url) == [
        f"checkpoints/step-{step:09d}/{name}"
        for step in (6, 9)
        for name in ("manifest.json", "tensors.data-00000-of-00001", "tensors.index")
    ]


def test_what_another_machine_removed_disappears_here(url, tmp_path, monkeypatch):
    with RunDirectory(url) as directory:
        save(directory, 3)
    with monkeypatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
        with RunDirectory(url) as other:
            save(other, 6, keep=1)
            other.add_results({"knn": 1})
    with RunDirectory(url) as directory:
        assert steps(directory) == [6]
        assert directory.read_results() == {"knn": 1}


def test_what_was_not_pushed_is_not_lost(url, monkeypatch, caplog):
    with RunDirectory(url) as directory:
        save(directory, 3)
        directory.add_results({"knn": 1})
    with monkeypatch.context() as patch:
        fails(patch, "copy", url)
        with pytest.raises(RunDirectoryError), RunDirectory(url) as directory:
            directory.add_results({"linear": 2})
    with RunDirectory(url) as directory:
        assert directory.read_results() == {"knn": 1, "linear": 2}
    with monkeypatch.context() as patch:
        fails(patch, "copy", url)
        with pytest.raises(RunDirectoryError), RunDirectory(url) as directory:
            save(directory, 6)
    with RunDirectory(url) as directory:
        assert steps(directory) == [3, 6]
    assert "checkpoints/step-000000006, which never arrived in" in caplog.text
    assert "checkpoints/step-000000006/manifest.json" in there(url)


@pytest.mark.parametrize("stat", ["fails", "works once more"])
def test_a_network_that_fails_is_no_empty_folder(url, stat, monkeypatch):
    """`isdir` says no then, and `listdir`, which asks it, that there is no folder."""
    with RunDirectory(url) as directory:
        save(directory, 3)
    with monkeypatch.context() as patch:
        if stat == "fails":
            fails(patch, "stat", url)
        fails(patch, "listdir", url, tf.errors.NotFoundError(None, None, "none"))
        patch.setattr(gfile, "isdir", lambda path: False)
        with pytest.raises(RunDirectoryError, match=f"while reading {url}"):
            RunDirectory(url).__enter__()
    assert steps(directory) == [3]


def test_a_process_killed_while_it_pushes_knows_what_it_pushed(
    url, monkeypatch, copied
):
    with RunDirectory(url) as directory, monkeypatch.context() as patch:
        directory.write_atomic(directory.report / "index.html", "page")
        patch.setattr(two_sides.TwoSides, "push", killed(two_sides.TwoSides.push))
        with pytest.raises(KeyboardInterrupt):
            directory._mirror.push()
    copied.clear()
    with RunDirectory(url):
        pass
    assert copied == []


def killed(push):
    """Ends without its last lines, as by SIGKILL: nothing is saved any more."""

    def run(self, here, there):
        push(self, here, there)
        self.save = lambda: None
        raise KeyboardInterrupt

    return run


# --- a push that fails ------------------------------------------------------------


def test_a_failing_push_is_a_warning_and_the_next_one_tries_again(
    url, monkeypatch, caplog
):
    with RunDirectory(url) as directory:
        mirror = directory._mirror
        failed = threading.Event()
        real = mirrors._LOGGER.warning
        monkeypatch.setattr(
            mirrors._LOGGER, "warning", lambda *a: (real(*a), failed.set())
        )
        with monkeypatch.context() as patch:
            fails(patch, "copy", url)
            save(directory, 3)
            directory.push_soon()
            assert failed.wait(10)
        save(directory, 6)
        directory.push_soon()
        for _ in range(100):
            if "checkpoints/step-000000006/manifest.json" in there(url):
                break
            threading.Event().wait(0.1)
        assert "checkpoints/step-000000006/manifest.json" in there(url)
        assert mirror._thread.is_alive()
    assert "the network is away while writing" in caplog.text
    assert "the next checkpoint tries again" in caplog.text


def test_an_error_of_the_mode_is_not_hidden_by_that_of_the_push(url, monkeypatch):
    with (
        monkeypatch.context() as patch,
        pytest.raises(ZeroDivisionError),
        RunDirectory(url) as directory,
    ):
        directory.write_atomic(directory.flags, "--seed=1\n")
        fails(patch, "copy", url)
        raise ZeroDivisionError
    with RunDirectory(url):  # nothing is held any more
        pass


# --- the lock ---------------------------------------------------------------------


def owner(url, **more):
    text = {"process": 7, "host": "elsewhere", "started": "1", "time": 0.0} | more
    gfile.makedirs(url)
    if gfile.exists(f"{url}/LOCK"):
        gfile.remove(f"{url}/LOCK")  # ram:// would append to it
    with gfile.GFile(f"{url}/LOCK", "w") as out:
        out.write(json.dumps(text))


def test_a_fresh_owner_elsewhere_is_named_and_an_old_one_replaced(url, monkeypatch):
    monkeypatch.setattr(remote_lock.time, "time", lambda: 1000.0)
    owner(url, time=401.0)
    with pytest.raises(InUseError, match=r"process 7 on elsewhere.*599 s.*run/LOCK"):
        RunDirectory(url).__enter__()
    owner(url, time=400.0)
    with RunDirectory(url) as directory, pytest.raises(InUseError):
        RunDirectory(url).__enter__()
    assert directory.path.exists()


def test_a_process_of_this_host_is_asked_for(url, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "here")
    owner(url, host="here", time=1e11)  # process 7, if any, began at another time
    with RunDirectory(url):
        pass
    assert not gfile.exists(f"{url}/LOCK")


def test_who_lost_the_lock_pushes_no_more(url, monkeypatch):
    monkeypatch.setattr(remote_lock, "BEAT_SECONDS", 0.0)
    with pytest.raises(InUseError, match="elsewhere"), RunDirectory(url) as directory:
        save(directory, 3)
        owner(url, time=1e11)
    assert there(url) == []
    assert gfile.exists(f"{url}/LOCK")


def test_a_reader_of_a_run_elsewhere_pulls_and_leaves_it_alone(url, caplog):
    with RunDirectory(url) as directory:
        save(directory, 3)
    forget(directory)
    owner(url, time=1e11)
    with directory.visited():
        assert steps(directory) == [3]
        directory.write_atomic(directory.report / "index.html", "page")
    assert "report/index.html" not in there(url)
    assert "what is written now stays in" in caplog.text


# --- the command line -------------------------------------------------------------


def test_a_run_goes_on_where_its_disk_is_gone(disk, tmp_path, monkeypatch, capsys):
    url, folder = disk
    whole = tmp_path / "whole"
    assert main(argv("simclr", whole)) == 0
    flags = argv("simclr", url)
    with monkeypatch.context() as patch:
        patch.setattr(pretrain, "StopRequest", StopAfterOneCall)
        assert main(flags) == 42
    assert "continue with the same command" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "cache")
    assert main(flags) == 0
    assert_same_run(whole, folder)
    assert f"--run_dir={url}\n" in (folder / "flags.cfg").read_text()

    shutil.rmtree(tmp_path / "cache")
    assert main(["tfssl", "--mode=knn", f"--run_dir={url}"]) == 0
    assert "knn" in json.loads((folder / "results.json").read_text())
    assert not list(folder.glob("**/.*")) and not (folder / "LOCK").exists()
    assert main([*flags, "--seed=6"]) == 2
    assert f"--seed=6 in --run_dir={url}" in capsys.readouterr().err


@pytest.mark.slow
def test_what_else_reads_a_remote_run(disk, tmp_path, capsys):
    url, folder = disk
    assert main(argv("simclr", url)) == 0
    shutil.rmtree(tmp_path / "cache")
    assert main(["tfssl", "--mode=export,report", f"--run_dir={url}"]) == 0
    assert (folder / "report" / "index.html").exists()
    served = tf.saved_model.load(str(folder / "saved_model"))
    assert "features" in served.signatures
    shutil.rmtree(tmp_path / "cache")
    elsewhere = f"--run_dir={tmp_path / 'scores'}"
    assert main(["tfssl", "--mode=knn", f"--init_from={url}", elsewhere]) == 0
    inside = f"--init_from={url}/checkpoints/step-000000006"
    assert main(["tfssl", "--mode=knn", inside, elsewhere]) == 2
    assert "not a checkpoint in one" in capsys.readouterr().err


def arrives(url, name):
    for _ in range(100):
        if name in there(url):
            return True
        threading.Event().wait(0.1)
    return False


def test_a_killed_run_has_pushed_its_checkpoints(disk, monkeypatch):
    """Without the last push, which a kill leaves out."""
    url, _ = disk
    left, close = [], mirrors.Mirror.close
    monkeypatch.setattr(mirrors.Mirror, "close", lambda self: left.append(self))
    flags = {"finetune_epochs": 1, "finetune_batch_size": 16}
    try:
        assert main(argv("simclr", url)) == 0
        assert arrives(url, "checkpoints/step-000000006/manifest.json")
        words = ["tfssl", "--mode=finetune", f"--run_dir={url}"]
        assert main([*words, *(f"--{n}={v}" for n, v in flags.items())]) == 0
        assert arrives(url, "finetune/checkpoints/step-000000004/manifest.json")
    finally:
        for mirror in left:
            close(mirror)


def test_what_tensorflow_loads_with_is_not_read_by_it(url, monkeypatch, capsys):
    monkeypatch.setattr(launch, "problems", lambda *_: [])
    gfile.makedirs(url)
    with gfile.GFile(f"{url}/flags.cfg", "w") as out:
        out.write(to_flagfile(tiny("simclr", strategy="tpu", run_dir=url)))
    assert main(["tfssl", "--mode=knn", f"--run_dir={url}"]) == 2
    assert "adding --strategy=tpu" in capsys.readouterr().err


@pytest.mark.slow
def test_of_two_workers_one_pushes(disk, tmp_path):
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
    shutil.rmtree(tmp_path / "cache")
    assert pair("--mode=pretrain,knn", "--train_steps=6") == [0, 0]
    assert "knn" in json.loads((folder / "results.json").read_text())
    assert not (folder / "LOCK").exists()


def test_training_ends_well_but_for_the_last_push(disk, monkeypatch, capsys):
    url, folder = disk
    with monkeypatch.context() as patch:
        fails(patch, "copy", "step-0000")
        assert main(argv("simclr", url)) == 1
    said = capsys.readouterr().err
    assert f"the network is away while writing {url}" in said
    assert not (folder / "checkpoints" / "step-000000006" / "manifest.json").exists()
    assert main(argv("simclr", url)) == 0
    assert "the run is complete" in capsys.readouterr().out
    assert tensors(folder)


def test_a_bucket_that_is_out_of_reach_is_an_error_with_its_name(capsys, caplog):
    caplog.set_level(logging.WARNING)
    assert main(argv("simclr", "nofs://bucket/run")) == 1
    assert "nofs://bucket/run" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{", "[1]", '{"log.jsonl": 3}'])
def test_damaged_notes_on_both_sides_are_made_anew(disk, caplog, text):
    address, folder = disk
    with RunDirectory(address) as directory:
        save(directory, 1)
    (directory.path / ".mirror.json").write_text(text)
    with RunDirectory(address) as again:
        assert steps(again) == [1]
        save(again, 2)
    assert "damaged" in caplog.text
    assert (folder / "checkpoints" / "step-000000002" / "manifest.json").exists()
