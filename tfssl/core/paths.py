"""Paths of this disk and of the file systems that TensorFlow knows (`gs://…`), alike.

`config.remote.as_path` gives a `pathlib.Path` or a `Url`, which has those of its
methods that we use. What is written whole appears whole: a reader sees the old or the
new.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TypeAlias

import tensorflow as tf

from tfssl.errors import RemoteError, message

WRITING = ".writing-"
"""Begins the name of what is not whole yet, or was left so by a killed process."""


class Url:
    """A path on a file system of TensorFlow's, with the methods of `pathlib.Path`.

    Raises:
      FileNotFoundError: As `pathlib.Path` does.
      RemoteError: It cannot be told or done. No method takes a failing network for a
        missing file, as `tf.io.gfile.isdir` and `walk` do.
    """

    def __init__(self, text: str):
        scheme, _, rest = text.partition("://")
        self._text = f"{scheme}://{rest.rstrip('/')}"

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Url({self._text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Url) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(self._text)

    def __truediv__(self, inside: str) -> Url:
        return Url(f"{self}/{inside}")

    @property
    def name(self) -> str:
        """The part after the last slash."""
        return self._text.rpartition("/")[2]

    @property
    def parent(self) -> Url:
        """The path without its last part; the bucket is its own parent."""
        above = self._text.rpartition("/")[0]
        return self if above.endswith("/") else Url(above)

    @property
    def parents(self) -> list[Url]:
        """The paths above, the nearest first."""
        here = self.parent
        return [] if here == self else [here, *here.parents]

    def with_name(self, name: str) -> Url:
        """The path with another last part."""
        return self.parent / name

    def stat(self) -> types.SimpleNamespace:
        """`st_size` in bytes, and `is_directory`."""
        with named_errors(self):
            found = tf.io.gfile.stat(str(self))
        return types.SimpleNamespace(
            st_size=found.length, is_directory=found.is_directory
        )

    def exists(self) -> bool:
        """Returns whether a file or a folder is there."""
        try:
            self.stat()
        except FileNotFoundError:
            return False
        return True

    def is_dir(self) -> bool:
        """Returns whether a folder is there."""
        return self.exists() and self.stat().is_directory

    def is_file(self) -> bool:
        """Returns whether a file is there."""
        return self.exists() and not self.stat().is_directory

    def iterdir(self) -> list[Url]:
        """Returns what is in a folder."""
        self.stat()  # listdir answers "no such folder" where the network fails
        try:
            names = tf.io.gfile.listdir(str(self))
        except tf.errors.OpError as error:
            raise _remote_error(self, error) from error
        # Object stores put a slash after the name of a folder.
        return [self / name.rstrip("/") for name in names if name.rstrip("/")]

    @contextlib.contextmanager
    def open(self, mode: str = "r") -> Iterator[IO]:
        """Opens a file; to write one, see `written_whole`."""
        with named_errors(self), tf.io.gfile.GFile(str(self), mode) as file:
            yield file

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Returns the content of a file."""
        return self.read_bytes().decode(encoding, errors)

    def read_bytes(self) -> bytes:
        """Returns the content of a file."""
        with self.open("rb") as file:
            return file.read()

    def mkdir(self, *, parents: bool = True, exist_ok: bool = True) -> None:
        """Makes a folder, where the file system has some; always with those above."""
        del parents, exist_ok
        with named_errors(self):
            tf.io.gfile.makedirs(str(self))

    def unlink(self, missing_ok: bool = False) -> None:
        """Removes a file."""
        try:
            with named_errors(self):
                tf.io.gfile.remove(str(self))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def replace(self, target: Url) -> None:
        """Renames a file; what had the name is gone."""
        with named_errors(self):
            tf.io.gfile.rename(str(self), str(target), overwrite=True)


AnyPath: TypeAlias = Path | Url


@contextlib.contextmanager
def named_errors(path: AnyPath) -> Iterator[None]:
    """Raises TensorFlow's errors of a `Url` as `FileNotFoundError` or `RemoteError`."""
    if isinstance(path, Path):
        yield
        return
    try:
        yield
    except tf.errors.NotFoundError as error:
        raise FileNotFoundError(2, "no such file", str(path)) from error
    except tf.errors.OpError as error:
        raise _remote_error(path, error) from error


def _remote_error(path: AnyPath, error: tf.errors.OpError) -> RemoteError:
    reason = f"{error.message.strip() or type(error).__name__} at {path}"
    found = RemoteError(
        message(
            reason,
            "a place that this machine may read and write",
            "the same command again when it is, or a path of this disk",
        )
    )
    found.reason = reason
    return found


# --- writing whole ------------------------------------------------------------------


@contextlib.contextmanager
def written_whole(path: AnyPath) -> Iterator[AnyPath]:
    """Yields a path beside `path` for a file, which is renamed when the block ends.

    Where the block fails, it is removed, and `path` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(path)
    try:
        yield beside
        beside.replace(path)  # type: ignore[arg-type]
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def write_whole(path: AnyPath, content: str | bytes) -> None:
    """Replaces a file by one with this content, text as UTF-8."""
    data = content.encode() if isinstance(content, str) else content
    with written_whole(path) as beside, beside.open("wb") as out:
        out.write(data)


@contextlib.contextmanager
def folder_written_whole(path: AnyPath, last: str) -> Iterator[Path]:
    """Yields an empty folder of this disk, which becomes `path` when the block ends.

    On this disk it lies beside `path` and is renamed. Object stores rename no folders:
    there its files are copied, and a folder is whole when it has its file `last`.

    Args:
      path: The folder to be written; what was there is replaced.
      last: Name of the file without which the folder counts for nothing.
    """
    if isinstance(path, Url):
        with tempfile.TemporaryDirectory(prefix="tfssl-") as folder:
            yield Path(folder)
            remove_folder(path, last)
            _copy_folder(Path(folder), path, last)
        return
    beside, old = _beside(path), _beside(path)
    beside.mkdir(parents=True)
    try:
        yield beside
        if path.exists():
            os.replace(path, old)
        try:
            os.replace(beside, path)
        except OSError:
            os.replace(old, path)
            raise
        sync(path.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _copy_folder(folder: Path, url: Url, last: str) -> None:
    names = [f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file()]
    for name in sorted(names, key=lambda name: (name == last, name)):
        target = url / name
        target.parent.mkdir()
        with named_errors(target):
            tf.io.gfile.copy(str(folder / name), str(target), overwrite=True)


def remove_folder(path: AnyPath, first: str) -> None:
    """Removes a folder if it is there; of a remote one the file `first` goes first."""
    if isinstance(path, Path):
        shutil.rmtree(path, ignore_errors=True)
    elif path.exists():
        (path / first).unlink(missing_ok=True)
        with named_errors(path):
            tf.io.gfile.rmtree(str(path))


def sync(path: Path) -> None:
    """Waits until a file's content, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _beside(path: AnyPath) -> AnyPath:
    return path.with_name(f"{WRITING}{path.name}-{secrets.token_hex(4)}")
