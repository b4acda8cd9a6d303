import pytest

from tfssl.data.splits import parse_split
from tfssl.errors import DataError


@pytest.mark.parametrize(
    ("text", "total", "expected"),
    [
        ("train", 50, (0, 50)),
        ("train[:]", 50, (0, 50)),
        ("train[:1000]", 5000, (0, 1000)),
        ("train[1000:]", 5000, (1000, 5000)),
        ("train[10%:]", 5000, (500, 5000)),
        ("train[:50%]", 5, (0, 2)),
        ("train[ 10% : 20% ]", 1000, (100, 200)),
        ("train[-10%:]", 1000, (900, 1000)),
        ("train[-100:-10]", 1000, (900, 990)),
        ("train[:0.5%]", 1000, (0, 5)),
        ("train[5:50%]", 100, (5, 50)),
        ("my-split_2.0[:1]", 9, (0, 1)),
    ],
)
def test_bounds(text, total, expected):
    assert parse_split(text).bounds(total) == expected


def test_percent_slices_cover_a_split_without_overlap():
    for total in (1, 7, 99, 1234):
        edges = []
        for p in range(0, 100, 10):
            try:
                edges.append(parse_split(f"s[{p}%:{p + 10}%]").bounds(total))
            except DataError:  # an empty slice of a tiny split
                continue
        assert edges[0][0] == 0 and edges[-1][1] == total
        assert all(a[1] == b[0] for a, b in zip(edges, edges[1:], strict=False))


@pytest.mark.parametrize(
    "text",
    ["", "train[", "train[:10", "train[10]", "train+test", "train[a:]", "train[:1.5]",
     "train[:101%]", "train[::2]", "train[1shard:]"],
)  # fmt: skip
def test_bad_text_explains_itself(text):
    with pytest.raises(DataError, match="got .*; expected .*; try .*train"):
        parse_split(text)


@pytest.mark.parametrize("text", ["s[:11]", "s[-11:]", "s[5:5]", "s[6:2]", "s[:0]"])
def test_bounds_outside_explain_themselves(text):
    with pytest.raises(DataError, match="got .*; expected .*; try"):
        parse_split(text).bounds(10)
