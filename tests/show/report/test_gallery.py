"""The page of pictures: self-contained, honest about what is not there, escaped."""

import os
import re

import numpy as np

from tfssl.show.report.gallery import Picture, PictureRow, build_gallery

IMAGE = np.full((16, 16, 3), 200, np.uint8)


def page(*rows, **more):
    return build_gallery("Found", "What was found.", rows, **more)


def test_pictures_stand_in_their_rows_with_names_and_notes():
    query = Picture(IMAGE, "query.png", "cat")
    near = [Picture(IMAGE, "cat", "0.98", True), Picture(IMAGE, "dog", "0.91", False)]
    html = page(PictureRow(near, title="group 1", query=query))
    assert html.count('<img class="tile pixels" src="data:image/png;base64,') == 3
    assert html.count("✓") == html.count("✗") == 1
    for text in ("group 1", "query.png", "0.98", "0.91"):
        assert text in html


def test_nothing_is_asked_for_from_elsewhere():
    html = page(PictureRow([Picture(IMAGE, "a")]), files=[("list", "/runs/a.txt")])
    assert "default-src 'none'" in html and "/runs/a.txt" in html
    assert not re.search(r"""(src|href)=["'](?!data:)""", html)


def test_a_picture_that_is_gone_says_so():
    html = page(PictureRow([Picture(None, "lost.png", "0.5")]))
    assert "no picture" in html and "lost.png" in html and "<img" not in html


def test_names_cannot_break_the_page():
    name = '<script>alert("x")</script>' + os.fsdecode(b"\xff") + "\n"
    html = page(PictureRow([Picture(IMAGE, name, where=name)], title=name))
    assert "<script>" not in html
    html.encode("utf-8")


def test_nothing_found():
    assert "Nothing was found." in page()
