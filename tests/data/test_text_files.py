"""Texts of any encoding; names of classes as lists and YAML files say them."""

import unicodedata

import pytest

from tfssl.data.text_files import (
    canonical,
    listed_names,
    path_lines,
    text_of,
    yaml_names,
)

TEXT = "h\xe4rte\n\u732b\n"


@pytest.mark.parametrize(
    ("data", "declared"),
    [
        (TEXT.encode("utf-8"), ""),
        (TEXT.encode("utf-8-sig"), ""),
        (TEXT.encode("utf-8"), "utf-16"),  # as a program says that writes UTF-8
        (TEXT.encode("utf-8"), "klingon"),
        (TEXT.encode("utf-16"), ""),
        (TEXT.encode("utf-16-be"), ""),
        (TEXT.encode("utf-16-le"), "utf-8"),
        (b"\xfe\xff" + TEXT.encode("utf-16-be"), ""),
        (TEXT.encode("utf-32"), ""),
        (TEXT.encode("gb18030"), "gb18030"),
    ],
)
def test_a_text_is_read_in_its_encoding(data, declared):
    assert text_of(data, declared) == (TEXT, False)


def test_what_is_in_no_known_encoding_is_latin_1_and_told():
    assert text_of(b"h\xe4rte") == ("h\xe4rte", True)
    assert path_lines(b"\xef\xbb\xbfa\r\nh\xe4\r") == ["a", "h\udce4", ""]
    assert path_lines("a\nb".encode("utf-16")) == ["a", "b"]


def test_names_are_compared_in_one_form_that_can_be_written():
    assert canonical(unicodedata.normalize("NFD", "h\xe4rte")) == "h\xe4rte"
    assert canonical("\ud83d cat \udcff") == "\ufffd cat \udcff"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("names:\n  1: dog\n  0: cat\n  2: cow\n", ("cat", "dog", "cow")),
        ("names: {2: cow, 0: cat, 1: dog}\n", ("cat", "dog", "cow")),
        ('names: {"2":"cow", "0":"cat", "1":"dog"}\n', ("cat", "dog", "cow")),
        ("names:\n  '0': cat\n  '1': dog\n", ("cat", "dog")),
        ("names:\n  0: cat\n  2: cow\n", ("cat", "", "cow")),
        ("names: [\"a, b\", 'c''d', \"e]f\", 'g: h']\n",
         ("a, b", "c'd", "e]f", "g: h")),
        ("# x\nnc: 2\nnames:\n  - \"a #1\"  # one\n\n  # two\n  - b\nx: 1",
         ("a #1", "b")),
        ("names: [\n 'a', # one\n 'b',\n]\nnc: 2\n", ("a", "b")),
        ("names: ['a'\n  ,'b']", ("a", "b")),
        ("names:\n- dog's toy\n- cat's toy\n", ("dog's toy", "cat's toy")),
        ("names: [dog's toy, cat's toy]", ("dog's toy", "cat's toy")),
        ("names:\n- \"k\\u00e4se\"\n", ("k\xe4se",)),
        ("names:\n  0: a\n  99999999999: b\n", ("a",)),
        ("path: x\n", ()),
        ("names: [\n", ()),
    ],
)  # fmt: skip
def test_names_in_yaml_have_their_numbers(text, names):
    assert yaml_names(text) == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a\n\nc\n\n", ("a", "", "c")),
        ("\na\r\nb c\n", ("a", "b c")),
        ("0 a\n2: c d\n1,b", ("a", "b", "c d")),
        ("# x\n__ignore__\na\nb", ("a", "b")),
        ("\xb9 a\n\xb2 b", ("\xb9 a", "\xb2 b")),  # digits, but no numbers
        ("", ()),
    ],
)
def test_names_in_a_list_have_their_numbers(text, names):
    assert listed_names(text.split("\n")) == names
