"""Paths here and elsewhere are used alike, and what is written whole appears whole."""

import uuid

import pytest
import tensorflow as tf

from tfssl.config.remote import as_path
from tfssl.core.paths import (
    Url,
    folder_written_whole,
    remove_folder,
    write_whole,
    written_whole,
)
from tfssl.errors import RemoteError


@pytest.fixture(params=["local", "file", "ram"])
def root(request, tmp_path):
    if request.param == "local":
        return tmp_path / "root"
    where = f"/{uuid.uuid4().hex}" if request.param == "ram" else tmp_path
    return as_path(f"{request.param}://{where}/root")


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_a_path_has_the_same_parts_wherever_it_is():
    url = Url("gs://bucket/runs/first/")
    assert str(url) == "gs://bucket/runs/first" and url == Url(str(url))
    assert url.name == "first" and str(url / "a/b") == "gs://bucket/runs/first/a/b"
    assert [str(p) for p in url.parents] == ["gs://bucket/runs", "gs://bucket"]
    assert str(url.with_name("second")) == "gs://bucket/runs/second"


def test_what_is_there_and_what_is_not(root):
    file = root / "a" / "file"
    assert not file.exists() and not file.is_file() and not root.is_dir()
    with pytest.raises(FileNotFoundError):
        file.read_text()
    file.unlink(missing_ok=True)
    write_whole(file, "ä")
    assert file.is_file() and not file.is_dir() and file.parent.is_dir()
    assert file.read_text(encoding="utf-8") == "ä" and file.stat().st_size == 2
    assert names(root) == ["a"] and names(root / "a") == ["file"]
    file.unlink()
    with pytest.raises(FileNotFoundError):
        file.unlink()


def test_a_file_is_replaced_not_appended_to(root):
    write_whole(root / "file", "old and longer")
    write_whole(root / "file", b"new")
    assert (root / "file").read_bytes() == b"new"
    assert names(root) == ["file"]


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(root):
    write_whole(root / "file", "old")
    with written_whole(root / "file") as beside, beside.open("w") as out:
        out.write("new")
        assert (root / "file").read_text() == "old"
    assert (root / "file").read_text() == "new"
    with pytest.raises(ZeroDivisionError), written_whole(root / "file") as beside:
        write_whole(beside, "half")
        raise ZeroDivisionError
    assert (root / "file").read_text() == "new"
    assert names(root) == ["file"]


def folder(root, text, **more):
    with folder_written_whole(root / "folder", "last") as beside:
        for name, content in {"last": text, **more}.items():
            (beside / name).write_text(content)


def test_a_folder_is_replaced_whole(root):
    folder(root, "old", gone="old")
    (root / "folder" / "inside").mkdir(parents=True, exist_ok=True)
    write_whole(root / "folder" / "inside" / "file", "old")
    with (
        pytest.raises(ZeroDivisionError),
        folder_written_whole(root / "folder", "last") as beside,
    ):
        (beside / "last").write_text("half")
        raise ZeroDivisionError
    assert (root / "folder" / "last").read_text() == "old"
    folder(root, "new", other="new")
    assert names(root / "folder") == ["last", "other"]
    assert (root / "folder" / "last").read_text() == "new"
    assert names(root) == ["folder"]
    remove_folder(root / "folder", "last")
    assert not (root / "folder").exists()


def test_elsewhere_a_folder_is_whole_with_its_last_file(tmp_path, monkeypatch):
    """Copies that stop half way leave none, of the old folder neither."""
    root = Url(f"file://{tmp_path}")
    folder(root, "old", data="old")
    real = tf.io.gfile.copy

    def stops(source, target, overwrite=False):
        if target.endswith("last"):
            raise tf.errors.UnavailableError(None, None, "the network is away")
        real(source, target, overwrite)

    monkeypatch.setattr(tf.io.gfile, "copy", stops)
    with pytest.raises(RemoteError, match="the network is away at file://.*/last"):
        folder(root, "new", data="new")
    assert names(root / "folder") == ["data"]


def test_where_the_new_folder_cannot_be_renamed_the_old_one_is_back(
    tmp_path, monkeypatch
):
    folder(tmp_path, "old")
    from tfssl.core import paths

    real = paths.os.replace

    def refuses(source, target):
        if target == tmp_path / "folder":
            refuses.times += 1
            if refuses.times == 1:
                raise OSError(28, "No space left on device")
        real(source, target)

    refuses.times = 0
    monkeypatch.setattr(paths.os, "replace", refuses)
    with pytest.raises(OSError, match="No space"):
        folder(tmp_path, "new")
    assert (tmp_path / "folder" / "last").read_text() == "old"
    assert names(tmp_path) == ["folder"]
