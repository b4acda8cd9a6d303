"""Reads the small texts beside images: whatever their encoding, names of classes.

People's files come from many programs and countries. What is not UTF-8 is recognised
by its mark, by where its zeros are, or by what it declares. No TensorFlow.
"""

from __future__ import annotations

import codecs
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

MOST = 100_000
"""A class of a higher number is none: it is a mistake, or an attack on the memory."""
_QUOTED = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\n]|\'\')*\'')
_HALVES = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_COMMENT = re.compile(rf"({_QUOTED.pattern})|(?:^|(?<=\s))#[^\n]*", re.M)


def canonical(name: str) -> str:
    """A name in Unicode's form C, in which names are compared.

    Halves of characters, as JSON and arrays may hold, cannot be written anywhere; but
    for those by which Python keeps bytes that are no UTF-8.
    """
    return unicodedata.normalize("NFC", _HALVES.sub("\ufffd", name))


def encoding_of(data: bytes) -> str:
    """What a text is written in, by its mark, or by where its zeros are."""
    marks = {"utf-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
             "utf-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)}  # fmt: skip
    for name, ways in marks.items():
        if data.startswith(ways):
            return name
    zeros = [data[side::2].count(0) for side in (0, 1)]
    if min(zeros) or 4 * max(zeros) < len(data) // 2:
        return "utf-8"
    return "utf-16-be" if zeros[0] else "utf-16-le" if zeros[1] else "utf-8"


def text_of(data: bytes, declared: str = "") -> tuple[str, bool]:
    """Decodes a text.

    Args:
      data: The bytes of the file.
      declared: The encoding that the file says it has; believed where it fits.

    Returns:
      The text, and whether its encoding was guessed: Latin-1, which fits any bytes.
    """
    encoding = encoding_of(data)
    if encoding != "utf-8":
        return data.decode(encoding, "replace").removeprefix("\ufeff"), False
    wide = declared.lower().startswith(("utf", "ucs", "iso-10646"))
    for encoding in ("" if wide else declared, "utf-8-sig"):
        try:
            return data.decode(encoding), False
        except (UnicodeError, LookupError):
            continue
    return data.decode("latin-1"), True


def path_lines(data: bytes) -> list[str]:
    """Lines that hold names of files: bytes that are no UTF-8 stay what they are."""
    encoding, errors = encoding_of(data), "replace"
    if encoding == "utf-8":
        data = data.removeprefix(codecs.BOM_UTF8)
        errors = "surrogateescape"
    text = data.decode(encoding, errors)
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def listed_names(lines: Sequence[str]) -> tuple[str, ...]:
    """Names of classes, one a line, in the order of their numbers.

    A number in front of every one is the class's, as in `7 road` or `7: road`. Comments
    and labelme's first line `__ignore__` are no class. A line that is empty between two
    names is a class without a name, "".
    """
    lines = [line.strip() for line in "\n".join(lines).strip().splitlines()]
    lines = [n for n in lines if not n.startswith("#") and n != "__ignore__"]
    split = [n.replace(":", " ").replace(",", " ").split(None, 1) for n in lines if n]
    if split and all(len(w) == 2 and w[0].isdecimal() for w in split):
        return _by_number((int(number), name.strip()) for number, name in split)
    return tuple(lines)


def yaml_names(text: str) -> tuple[str, ...]:
    """The value of `names:` of a YAML file: a list, or numbers and names.

    In brackets, or a line each; quotes and comments are YAML's. A number that is left
    out is a class without a name, "".
    """
    text = _COMMENT.sub(lambda match: match[1] or "", text)
    match = re.search(r"^names\s*:[ \t]*", text, re.M)
    if not match:
        return ()
    rest = text[match.end() :]
    inside = rest.lstrip()
    parts = _flow(inside[1:]) if inside.startswith(("[", "{")) else _block(rest)
    found = []
    for place, part in enumerate(filter(None, map(str.strip, parts))):
        key = re.match(r"([\"']?)(\d+)\1\s*:(?!\S*:)\s*", part)
        number = int(key[2]) if key else place
        found.append((number, _unquoted(part[key.end() :] if key else part)))
    return _by_number(found)


def _by_number(found: Iterable[tuple[int, str]]) -> tuple[str, ...]:
    names = {number: name for number, name in found if number < MOST}
    return tuple(names.get(n, "") for n in range(max(names, default=-1) + 1))


def _flow(text: str) -> Iterator[str]:
    """The items of a list in brackets, which `text` begins behind."""
    part, place = "", 0
    while place < len(text) and text[place] not in "]}":
        begins = part.rstrip()[-1:] in ("", ":")  # of a scalar: a quote is one there
        quoted = _QUOTED.match(text, place) if begins else None
        token = quoted[0] if quoted else text[place]
        place += len(token)
        if token == ",":
            yield part
        part = "" if token == "," else part + token
    yield part


def _block(text: str) -> Iterator[str]:
    """The items of a list of lines."""
    for line in text.splitlines()[1:]:
        if line.strip() and not line.startswith((" ", "\t", "-")):
            return  # the next key
        yield re.sub(r"^\s*-(\s+|$)", "", line)


def _unquoted(text: str) -> str:
    if not _QUOTED.fullmatch(text):
        return text
    if text[0] == "'":
        return text[1:-1].replace("''", "'")
    try:
        return str(json.loads(text))
    except ValueError:
        return text[1:-1]
