"""The lock, by the kernel's flock and by a file, on this disk and in a bucket."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import uuid

import pytest

from tfssl.config.remote import as_path
from tfssl.core.paths import write_whole
from tfssl.errors import InUseError, RunDirectoryError
from tfssl.runs import lock
from tfssl.runs.lock import RunLock

OTHER_PROCESS = """
import fcntl, sys, pathlib
sys.path.insert(0, {root!r})
from tfssl.runs import lock
if {no_flock}:
    def refuse(*_): raise OSError({errno}, "no locks here")
    fcntl.flock = refuse
owner = lock.RunLock(pathlib.Path(sys.argv[1]))
owner.acquire()
print("mine", flush=True)
sys.stdin.read()
"""
ELSEWHERE = {"host": "elsewhere", "process": 7, "started": "1", "beat": 1}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(lock, "TIE_SECONDS", 0.0)


@pytest.fixture(params=["flock", "no flock", "file", "ram"])
def folder(request, monkeypatch, tmp_path):
    """A directory: with the kernel's locks, without, and two that are no local path."""
    if request.param == "no flock":
        monkeypatch.setattr(fcntl, "flock", _no_locks)
    if request.param == "ram":
        return as_path(f"ram:///{uuid.uuid4().hex}/run")
    return as_path(f"file://{tmp_path}" if request.param == "file" else tmp_path)


def _no_locks(*_):
    raise OSError(errno.ENOLCK, "no locks here")


def owned(folder, **more):
    write_whole(folder / "LOCK", json.dumps({**ELSEWHERE, **more}))


@pytest.mark.slow
@pytest.mark.parametrize("flock", [True, False])
def test_an_owner_that_is_killed_frees_it(tmp_path, flock, monkeypatch):
    if not flock:
        monkeypatch.setattr(fcntl, "flock", _no_locks)
    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    code = OTHER_PROCESS.format(root=root, no_flock=not flock, errno=errno.ENOLCK)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    command = [sys.executable, "-c", code, str(tmp_path)]
    process = subprocess.Popen(command, **pipes)
    assert process.stdout.readline() == b"mine\n"
    with pytest.raises(RunDirectoryError, match=str(process.pid)):
        RunLock(tmp_path).acquire()
    process.kill()
    process.wait()
    RunLock(tmp_path).acquire()


def test_one_owner_and_given_back(folder):
    first = RunLock(folder)
    first.acquire()
    first.acquire()
    first.check()
    first.release()
    second = RunLock(folder)
    second.acquire()
    second.release()
    assert not (folder / "LOCK").exists()


def test_a_second_owner_is_refused(folder):
    folder.mkdir(parents=True, exist_ok=True)
    first, second = RunLock(folder), RunLock(folder)
    first.acquire()
    with pytest.raises(RunDirectoryError, match=str(os.getpid())):
        second.acquire()
    first.release()


@pytest.fixture(params=["local", "file", "ram"])
def unlocked(request, monkeypatch, tmp_path):
    """A directory where a file is the lock."""
    monkeypatch.setattr(fcntl, "flock", _no_locks)
    if request.param == "local":
        return tmp_path
    where = f"/{uuid.uuid4().hex}" if request.param == "ram" else tmp_path
    return as_path(f"{request.param}://{where}/run")


def test_a_number_that_another_process_has_now_is_not_the_owner(unlocked, monkeypatch):
    monkeypatch.setattr(lock.socket, "gethostname", lambda: "here")
    owned(unlocked, host="here", process=os.getpid(), started="12")
    mine = RunLock(unlocked)
    mine.acquire()
    assert json.loads((unlocked / "LOCK").read_text())["process"] == os.getpid()
    mine.release()


def test_another_host_lives_while_it_beats(unlocked, monkeypatch, caplog):
    owned(unlocked)
    waited = []

    def beats(seconds):
        waited.append(seconds)
        if len(waited) == 3:
            owned(unlocked, beat=2)

    with monkeypatch.context() as patch:
        patch.setattr(lock.time, "sleep", beats)
        with pytest.raises(InUseError, match="process 7 on elsewhere.*LOCK"):
            RunLock(unlocked).acquire()
    assert sum(waited) <= lock.BEAT_SECONDS  # refused as soon as it is known
    assert "names 7 on elsewhere as owner; waiting 60 s" in caplog.text
    waited.clear()
    monkeypatch.setattr(lock.time, "sleep", waited.append)
    mine = RunLock(unlocked)
    mine.acquire()
    assert sum(waited) == lock.WATCHED_BEATS * lock.BEAT_SECONDS
    mine.release()
    assert not (unlocked / "LOCK").exists()


def test_what_is_no_owner_of_ours_is_watched_too(unlocked, monkeypatch):
    write_whole(unlocked / "LOCK", "someone else's text")
    monkeypatch.setattr(
        lock.time, "sleep", lambda _: write_whole(unlocked / "LOCK", "another")
    )
    with pytest.raises(InUseError, match="process unknown on unknown"):
        RunLock(unlocked).acquire()


def test_an_owner_shows_that_it_lives(unlocked, monkeypatch):
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.01)
    beaten = lock.threading.Event()
    mine = RunLock(unlocked, beaten.set)
    mine.acquire()
    assert beaten.wait(10)
    assert json.loads((unlocked / "LOCK").read_text())["beat"] >= 1
    mine.release()


def test_who_lost_the_lock_is_told_and_leaves_the_other_alone(unlocked):
    mine = RunLock(unlocked)
    mine.acquire()
    owned(unlocked)
    with pytest.raises(InUseError, match="elsewhere"):
        mine.check()
    mine.release()
    assert (unlocked / "LOCK").exists()
