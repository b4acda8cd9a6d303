"""Names of files and classes, whatever bytes they are made of, can be written."""

import os

import pytest

from tfssl.errors import printable


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (os.fsdecode(b"caf\xe9.jpg"), r"caf\xe9.jpg"),
        ("\ud83d alone", r"\ud83d alone"),
        ("two\nlines\t", r"two\nlines\t"),
        ("\x1b[31mred\x9b", r"\x1b[31mred\x9b"),
        ("a\u2028b", r"a\u2028b"),
        ("Zürich 東京\u3000می\u200cخواهم 🙂", "Zürich 東京\u3000می\u200cخواهم 🙂"),
        (7, "7"),
    ],
)
def test_names_become_printable_and_stay_readable(name, shown):
    assert printable(name) == shown
    printable(name).encode("utf-8")
