import os

import pytest

from tfssl.data.scan import Tally, is_image, walk


def touch(root, *paths):
    for path in paths:
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"x")


def find_images(root, tally=None):
    tally = Tally() if tally is None else tally
    for directory in walk(root):
        tally.add(directory.tally)
        yield from map(directory.path, directory.images)


def test_finds_images_and_counts_the_rest(tmp_path):
    touch(tmp_path, "a/1.jpg", "a/b/2.JPEG", "3.PnG", "4.webp", "5.gif", "6.bmp")
    touch(tmp_path, ".hidden.jpg", ".git/7.jpg", "notes.txt", "a/Makefile", "b.tar.gz")
    tally = Tally()
    found = sorted(find_images(str(tmp_path), tally))
    assert found == ["3.PnG", "4.webp", "5.gif", "6.bmp", "a/1.jpg", "a/b/2.JPEG"]
    assert sum(tally.hidden.values()) == 2 and tally.other == {
        ".txt": 1,
        "": 1,
        ".gz": 1,
    }
    assert "3 other files" in str(tally)


def test_link_loops_end_and_files_are_found_once(tmp_path):
    touch(tmp_path, "z/real/1.jpg", "outside.jpg")
    (tmp_path / "z" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a_link").symlink_to(tmp_path / "z" / "real", target_is_directory=True)
    (tmp_path / "self.jpg").symlink_to(tmp_path / "self.jpg")
    (tmp_path / "dead.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "file_link.jpg").symlink_to(tmp_path / "outside.jpg")
    tally = Tally()
    found = sorted(find_images(str(tmp_path), tally))
    assert found == ["file_link.jpg", "outside.jpg", "z/real/1.jpg"]
    assert tally.loops == 2
    assert sorted(map(os.path.basename, tally.unreadable)) == ["dead.jpg", "self.jpg"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_directories_without_permission_are_counted(tmp_path):
    touch(tmp_path, "open/1.jpg", "closed/2.jpg")
    (tmp_path / "closed").chmod(0)
    tally = Tally()
    assert list(find_images(str(tmp_path), tally)) == ["open/1.jpg"]
    assert len(tally.unreadable) == 1
    (tmp_path / "closed").chmod(0o755)


def test_extensions():
    assert is_image("A.JPEG") and is_image("x.y.webp")
    assert not is_image("jpg") and not is_image("a.jpg.txt")
