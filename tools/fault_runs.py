"""The tiny runs of `fault_campaign.py`, and the tools that break them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import find_tfssl  # noqa: F401

STEPS = 40
METHODS = ("byol", "simclr", "moco")

FLAGS = [
    "--mode=pretrain",
    "--dataset=shapes:64",
    "--image_size=16",
    "--encoder=resnet10x0.125_cifar",
    "--batch_size=16",
    f"--train_steps={STEPS}",
    "--warmup_epochs=0.5",
    "--learning_rate=0.05",
    "--steps_per_loop=2",
    "--log_every=2",
    "--checkpoint_every=4",
    "--projector_dim=16",
    "--noprogress",
]
OF_METHOD = {
    "byol": ["--projector_hidden=32", "--predictor_hidden=32"],
    "simclr": [],
    "moco": ["--queue_size=64"],
}


class NotRun(Exception):
    """The machine does not allow this fault."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One run directory and how to start its processes.

    Attributes:
      method: What it trains.
      folder: The run directory; what it says goes to `folder.said`.
      workers: Number of processes.
    """

    method: str
    folder: Path
    workers: int = 1

    def like(self, folder: Path) -> Run:
        """The same run elsewhere."""
        return dataclasses.replace(self, folder=folder)

    def copy(self, folder: Path) -> Run:
        """The same run elsewhere, as far as it has come."""
        shutil.copytree(self.folder, folder)
        return self.like(folder)

    def start(self, **environment: str) -> list[subprocess.Popen]:
        """Starts or continues the run: one process per worker."""
        command = [sys.executable, "-m", "tfssl.main", *FLAGS, *OF_METHOD[self.method]]
        command += [f"--method={self.method}", f"--run_dir={self.folder}"]
        command += ["--strategy=multiworker"] if self.workers > 1 else []
        ports = [_free_port() for _ in range(self.workers)]
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        processes = []
        for rank in range(self.workers):
            more = dict(environment)
            if self.workers > 1:
                cluster = {"worker": [f"localhost:{port}" for port in ports]}
                task = {"type": "worker", "index": rank}
                more["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": task})
            with open(self._said, "a") as said:
                process = subprocess.Popen(
                    command,
                    stdout=said,
                    stderr=said,
                    stdin=subprocess.DEVNULL,
                    env={**os.environ, **more},
                )
            processes.append(process)
        return processes

    def end(self, process: subprocess.Popen) -> str:
        """Waits for a process that must succeed; returns what the run has said."""
        code = process.wait(600)
        if code:
            raise RuntimeError(f"exit code {code}: {self.said()[-500:]}")
        return self.said()

    def finish(self) -> str:
        """Starts the run once more and waits for its end."""
        for process in self.start():
            self.end(process)
        return self.said()

    @property
    def _said(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.said")

    def said(self) -> str:
        """Output of all processes so far."""
        return self._said.read_text()

    def wait_for_step(self, step: int, process: subprocess.Popen) -> None:
        """Until the log has reached a step, or the process has ended."""
        while process.poll() is None and self._newest() < step:
            time.sleep(0.02)

    def wait_for_warning(self, text: str, process: subprocess.Popen) -> None:
        """Until the run says something, or the process has ended."""
        while process.poll() is None and text not in self.said():
            time.sleep(0.02)

    def _newest(self) -> int:
        log = self.folder / "log.jsonl"
        lines = log.read_text().splitlines() if log.exists() else []
        try:
            return json.loads(lines[-1])["step"]
        except (IndexError, ValueError):
            return 0

    def checkpoints(self) -> list[Path]:
        """Checkpoint folders, oldest first."""
        return sorted((self.folder / "checkpoints").glob("step-*"))

    def equals(self, other: Run) -> bool:
        """Whether the tensors after the last step are bit for bit those of another."""
        from tfssl.runs import checkpoint

        name = f"checkpoints/step-{STEPS:09d}"
        a, b = (checkpoint.read(run.folder / name) for run in (self, other))
        return a.keys() == b.keys() and all(a[n].tobytes() == b[n].tobytes() for n in a)


def undisturbed(subject: str, root: Path) -> Run:
    """Runs "byol", or "byol x2" on two workers, without any fault."""
    method, _, workers = subject.partition(" x")
    run = Run(method, root / subject.replace(" ", ""), int(workers or 1))
    run.finish()
    return run


def ends_within(process: subprocess.Popen, seconds: float) -> None:
    """Raises where a process is still there after so many seconds."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        raise RuntimeError(f"a worker went on for {seconds} s alone") from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def _cut(pattern: str, keep: Callable[[int], int]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (file,) = folder.glob(pattern)
        file.write_bytes(file.read_bytes()[: keep(file.stat().st_size)])

    return damage


def _flip(pattern: str, place: float) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (file,) = folder.glob(pattern)
        content = bytearray(file.read_bytes())
        content[int(place * len(content))] ^= 1
        file.write_bytes(bytes(content))

    return damage


def _lose(pattern: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (file,) = folder.glob(pattern)
        file.unlink()

    return damage


DATA, INDEX, MANIFEST = "tensors.data-*", "tensors.index", "manifest.json"
DAMAGES: dict[str, Callable[[Path], None]] = {
    "data one byte short": _cut(DATA, lambda size: size - 1),
    "data half": _cut(DATA, lambda size: size // 2),
    "data empty": _cut(DATA, lambda size: 0),
    "data missing": _lose(DATA),
    "data bit flipped": _flip(DATA, 0.3),
    "index half": _cut(INDEX, lambda size: size // 2),
    "index missing": _lose(INDEX),
    "index bit flipped": _flip(INDEX, 0.6),
    "manifest half": _cut(MANIFEST, lambda size: size // 2),
    "manifest missing": _lose(MANIFEST),
}


class Filler:
    """Fills a small disk, frees it, and makes it read-only."""

    def __init__(self, disk: Path):
        self._disk, self._file = disk, disk / "filler"

    def fill(self) -> None:
        """Until nothing fits any more."""
        with contextlib.suppress(OSError), open(self._file, "wb", buffering=0) as out:
            while True:
                out.write(bytes(4096))

    def free(self) -> None:
        """Takes the filler away."""
        self._file.unlink()

    def read_only(self, yes: bool) -> None:
        """Mounts the disk again, without or with the right to write."""
        option = f"remount,{'ro' if yes else 'rw'}"
        subprocess.run(["mount", "-o", option, str(self._disk)], check=True)


@contextlib.contextmanager
def small_disk(folder: Path, reference: Run) -> Iterator[tuple[Run, Filler]]:
    """A run on a tmpfs of its own that holds a few checkpoints."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        raise NotRun("mounting a tmpfs needs root")
    try:
        # What the run says goes to a file beside its folder: to another disk.
        disk = folder / "disk"
        disk.mkdir()
        yield _SmallDiskRun(reference.method, disk), Filler(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


class _SmallDiskRun(Run):
    @property
    def _said(self) -> Path:
        return self.folder.parent.with_name(f"{self.folder.parent.name}.said")


def missing_space(said: str) -> str:
    """What the run has said of the space that it lacks."""
    found = re.search(r"about [\d.]+ MB of writable disk; .*?(?=;)", said)
    return found[0] if found else ""


_CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>
static long jump(long s) { return s % 2 ? s - 86400 : s; }
int clock_gettime(clockid_t id, struct timespec *t) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int code = real(id, t);
  if (id == CLOCK_REALTIME) t->tv_sec = jump(t->tv_sec);
  return code;
}
int gettimeofday(struct timeval *t, void *zone) {
  static int (*real)(struct timeval *, void *);
  if (!real) real = dlsym(RTLD_NEXT, "gettimeofday");
  int code = real(t, zone);
  t->tv_sec = jump(t->tv_sec);
  return code;
}
time_t time(time_t *out) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  if (out) *out = t.tv_sec;
  return t.tv_sec;
}
"""


def jumping_clock(folder: Path) -> Path | None:
    """A library to preload, in which the time of day jumps every second."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    source, library = folder / "clock.c", folder / "clock.so"
    source.write_text(_CLOCK)
    command = [compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return library
