"""Installs what `make dist` built into empty environments, and runs it there.

    make dist-test                   # the wheel and the source archive: the quickstart
    make extras                      # the wheel with each extra alone: what it is for
    make extras EXTRAS=onnx,litert   # with these

Every environment is new and in a temporary folder, from which the program is run: it
finds the installed package, never this clone. Each check ends with a line. Needs a
network and minutes: no test runs it.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

DIST = Path(__file__).parents[1] / "dist"

TINY = (
    "--dataset=shapes:64 --encoder=resnet18x0.125_cifar --image_size=16 "
    "--batch_size=16 --train_steps=2 --noonline_probe --noprogress --notensorboard"
)
QUICKSTART = (
    f"tfssl --flagfile=flags/quickstart.cfg --run_dir=runs/q --linear_epochs=1 {TINY}"
)
USES = {
    "torch": (
        f"tfssl --mode=pretrain --method=moco --queue_size=64 --run_dir=runs/m {TINY} "
        "--encoder=resnet18 --image_size=64",  # not narrow, not _cifar
        "tfssl --mode=export --format=torchvision --run_dir=runs/m",
    ),
    "onnx": ("tfssl --mode=export --format=onnx --run_dir=runs/q",),
    "litert": ("tfssl --mode=export --format=litert --run_dir=runs/q",),
    "parquet": (
        "tfssl --mode=embed --embed_format=parquet --run_dir=runs/q "
        "--embeddings=runs/parquet",
    ),
    "search": (
        "tfssl --mode=embed --run_dir=runs/q",
        "tfssl --mode=search --search=duplicates --search_index=approximate "
        "--run_dir=runs/q",
    ),
    "beam": (
        "tfssl --mode=export --run_dir=runs/q",
        "python examples/embed_beam.py --run_dir=runs/q --embeddings=runs/beam "
        "--runner=DirectRunner",
    ),
    "dense": ("python -c 'from pycocotools.cocoeval import COCOeval'",),
    "doctor": (f"tfssl --mode=doctor --run_dir=runs/d {TINY}",),
    "addons": ("python -c 'import tfssl.addons as a; print(a.load().__version__)'",),
    "notebooks": ("jupyter execute loads.ipynb",),
    "docs": ("mkdocs build --quiet",),
}
"""Extra to what it is for, as commands that fail without it; `all` is all of them."""

NOTEBOOK = (
    '{"cells": [{"cell_type": "code", "id": "a", "metadata": {}, "outputs": [], '
    '"execution_count": null, "source": "import tfssl\\ntfssl.load(\'runs/q\')"}], '
    '"metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
)


class Place:
    """An unpacked source archive, without the package, and an environment beside it."""

    def __init__(self, folder: Path):
        with tarfile.open(one("*.tar.gz")) as archive:
            archive.extractall(folder, filter="data")
        (self.folder,) = folder.iterdir()
        # Or `python -m` and the tools would find it here, and not what was installed.
        (self.folder / "tfssl").rename(self.folder / "tfssl-source")
        (self.folder / "loads.ipynb").write_text(NOTEBOOK)
        self.bin = self.folder / "venv" / "bin"

    def install(self, what: str) -> None:
        """Makes the environment anew and installs one thing into it."""
        uv = [sys.executable, "-m", "uv"]
        self.run([*uv, "venv", "--quiet", "--clear", "--seed", "venv"])
        # pip, where it has a CPU build of PyTorch beside the large one, takes it.
        tool = [str(self.bin / "python"), "-m", "pip", "install", "--quiet"]
        if "torch" not in what and "all" not in what:
            tool = [
                *uv,
                "pip",
                "install",
                "--quiet",
                "--python",
                str(self.bin / "python"),
            ]
        self.run([*tool, what])

    def run(self, command: str | list[str]) -> None:
        """Runs a command in the environment; raises with the end of its output."""
        words = shlex.split(command) if isinstance(command, str) else command
        environ = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        environ["PATH"] = f"{self.bin}:{environ['PATH']}"
        done = subprocess.run(
            words, cwd=self.folder, env=environ, capture_output=True, text=True
        )
        if done.returncode:
            output = f"{done.stdout}{done.stderr}"[-2000:]
            raise RuntimeError(f"{words} ended with code {done.returncode}:\n{output}")


def one(pattern: str) -> Path:
    """Returns the file of `dist/` that matches, of which there is one."""
    found = sorted(DIST.glob(pattern))
    if len(found) != 1:
        sys.exit(f"got {len(found)} files {DIST}/{pattern}; expected 1; try make dist")
    return found[0]


def checked(name: str, place: Place, what: str, commands: tuple[str, ...]) -> bool:
    """Installs, runs, and says in a line how it went."""
    begun = time.perf_counter()
    try:
        place.install(what)
        for command in commands:
            place.run(command)
    except RuntimeError as error:
        print(f"{name}: FAILED: {error}", flush=True)
        return False
    print(f"{name}: works ({time.perf_counter() - begun:.0f} s)", flush=True)
    return True


def main() -> int:
    """Checks what was asked for; returns the number of failures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--extras", default="", help="names with commas; each: every one"
    )
    asked = parser.parse_args().extras
    names = [*USES, "all"] if asked == "each" else list(filter(None, asked.split(",")))
    if strange := set(names) - {*USES, "all"}:
        parser.error(f"got {sorted(strange)}; expected some of {[*USES, 'all']}")
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        works = [checked("wheel", place, str(one("*.whl")), (QUICKSTART,))]
        if not names:
            works.append(checked("sdist", place, str(one("*.tar.gz")), (QUICKSTART,)))
        for name in names:
            uses = [use for uses in USES.values() for use in uses]
            commands = USES.get(name) or tuple(uses)
            works.append(checked(name, place, f"{one('*.whl')}[{name}]", commands))
    return works.count(False)


if __name__ == "__main__":
    sys.exit(main())
