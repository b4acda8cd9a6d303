"""The lock, with the kernel's flock and without it."""

import errno
import fcntl
import json
import os
import subprocess
import sys

import pytest

from tfssl.errors import RunDirectoryError
from tfssl.runs import lock
from tfssl.runs.lock import DirectoryLock

OWN = """
import fcntl, sys, pathlib
sys.path.insert(0, {root!r})
from tfssl.train import lock
if {no_flock}:
    def refuse(*_): raise OSError({errno}, "no locks here")
    fcntl.flock = refuse
owner = lock.DirectoryLock(pathlib.Path(sys.argv[1]))
owner.acquire()
print("mine", flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=["flock", "no flock"])
def kernel(request, monkeypatch):
    """Once with the kernel's locks, once on a file system that has none."""
    if request.param == "no flock":

        def refuse(*_):
            raise OSError(errno.ENOLCK, "no locks here")

        monkeypatch.setattr(fcntl, "flock", refuse)
    return request.param


def other_process(folder, kernel):
    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    code = OWN.format(root=root, no_flock=kernel != "flock", errno=errno.ENOLCK)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)], **pipes)
    assert process.stdout.readline() == b"mine\n"
    return process


@pytest.mark.slow
def test_an_owner_that_is_killed_frees_it(tmp_path, kernel):
    process = other_process(tmp_path, kernel)
    with pytest.raises(RunDirectoryError, match=str(process.pid)):
        DirectoryLock(tmp_path).acquire()
    process.kill()
    process.wait()
    DirectoryLock(tmp_path).acquire()


def test_one_owner_and_given_back(tmp_path, kernel):
    first, second = DirectoryLock(tmp_path), DirectoryLock(tmp_path)
    first.acquire()
    first.acquire()
    with pytest.raises(RunDirectoryError, match=str(os.getpid())):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


def test_a_number_that_another_process_has_now_is_not_the_owner(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", _no_locks)
    mine = lock.identity() | {"beat": 0}
    (tmp_path / ".lock-owner").write_text(json.dumps({**mine, "started": "12"}))
    DirectoryLock(tmp_path).acquire()


def test_another_host_lives_while_it_beats(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", _no_locks)
    file = tmp_path / ".lock-owner"
    owner = {"host": "elsewhere", "process": 1, "started": "1"}
    file.write_text(json.dumps({**owner, "beat": 1}))
    beats = {"alive": True}

    def wait(seconds):
        assert seconds == 3 * lock.BEAT_SECONDS
        if beats["alive"]:
            file.write_text(json.dumps({**owner, "beat": 2}))

    monkeypatch.setattr(lock.time, "sleep", wait)
    with pytest.raises(RunDirectoryError, match="elsewhere"):
        DirectoryLock(tmp_path).acquire()
    beats["alive"] = False
    mine = DirectoryLock(tmp_path)
    mine.acquire()
    assert json.loads(file.read_text())["process"] == os.getpid()
    mine.release()
    assert not file.exists()


def _no_locks(*_):
    raise OSError(errno.ENOLCK, "no locks here")
