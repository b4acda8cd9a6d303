"""What the doctor finds, on trees of which everything is known."""

import numpy as np
import pytest
from PIL import Image

from tfssl.data import audit, open_source


def smooth(number, size=64):
    """A picture that survives recompression, different for each number."""
    rng = np.random.default_rng(number)
    small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
    return small.resize((size, size), Image.Resampling.BICUBIC)


@pytest.fixture
def tree(tmp_path, files):
    for split, numbers in (("train", range(12)), ("val", range(100, 104))):
        for number in numbers:
            folder = tmp_path / split / ("ant" if number % 3 else "bee")
            folder.mkdir(parents=True, exist_ok=True)
            smooth(number).save(folder / f"{number}.png")
    train, val = tmp_path / "train" / "ant", tmp_path / "val" / "ant"
    (train / "copy.png").write_bytes((train / "1.png").read_bytes())
    smooth(2).save(train / "again.jpg", quality=80)
    (val / "leak.png").write_bytes((train / "4.png").read_bytes())
    smooth(5).resize((60, 60)).save(val / "near leak.jpg", quality=85)
    files.hostile(tmp_path / "train" / "bee")
    return tmp_path


def opened(tree, split):
    return open_source(f"folder:{tree}", split, image_size=32, memory=0)


def names(finding):
    return sorted(name.rsplit("/", 1)[-1] for name in finding["names"])


def test_everything_is_found_and_named(tree):
    pytest.importorskip("imagehash", reason="the extra `doctor` is not installed")
    train, val = opened(tree, "train"), opened(tree, "test")
    seen, others = audit.look(train, 0), audit.look(val, 0)
    found = audit.summary(seen, tiny=16)
    assert found["images"] == 26
    bad = ["cut.png", "empty.jpg", "text.jpg", "truncated.jpg"]
    assert found["unreadable"]["count"] == 4
    for name, line in zip(bad, sorted(found["unreadable"]["names"]), strict=True):
        assert f"/{name} (" in line and line.endswith(")")
    assert names(found["tiny"]) == ["one_pixel.png"]
    assert names(found["cmyk"]) == ["cmyk.jpg"]
    assert names(found["16 bit"]) == ["sixteen_bit.png"]
    assert names(found["animated"]) == ["animated.gif"]
    assert "grey.jpeg" in names(found["grey"])
    [[one, other]] = found["exact duplicates"]["names"]
    assert {one.rsplit("/")[-1], other.rsplit("/")[-1]} == {"1.png", "copy.png"}
    pairs = [
        {p.rsplit("/")[-1] for p in pair} for pair in found["near duplicates"]["names"]
    ]
    assert {"2.png", "again.jpg"} in pairs
    assert not any({"1.png", "3.png"} <= pair for pair in pairs)
    leaks = audit.leakage(seen, others)
    assert [pair[0].rsplit("/")[-1] for pair in leaks["exact"]["names"]] == ["leak.png"]
    near = {tuple(p.rsplit("/")[-1] for p in pair) for pair in leaks["near"]["names"]}
    assert ("near leak.jpg", "5.png") in near and len(near) == 1
    assert audit.balance(val)["smallest"] == ["bee", 1]


def test_colour_statistics_are_those_of_all_pixels(tmp_path, files):
    files.tree(tmp_path, ["a", "b"], 5)
    source = opened(tmp_path, "all")
    found = audit.summary(audit.look(source, 0), tiny=1)
    pixels = np.concatenate(
        [files.picture(c * 1000 + n).reshape(-1, 3) for c in (0, 1) for n in range(5)]
    )
    np.testing.assert_allclose(found["colour"]["mean"], pixels.mean(0) / 255, atol=1e-4)
    np.testing.assert_allclose(found["colour"]["std"], pixels.std(0) / 255, atol=1e-4)


def test_without_the_library_near_duplicates_are_said_to_be_unknown(
    tmp_path, files, monkeypatch
):
    monkeypatch.setattr(audit, "perceptual_hash", lambda: None)
    files.tree(tmp_path, ["a"], 3)
    seen = audit.look(opened(tmp_path, "all"), 0)
    assert audit.summary(seen, tiny=1)["near duplicates"] is None
    assert audit.leakage(seen, seen)["near"] is None
    assert audit.leakage(seen, seen)["exact"]["count"] == 3


def test_a_part_is_spread_and_drawn_pictures_are_looked_at_too():
    source = open_source("shapes:50", "train", image_size=16)
    steps = []
    seen = audit.look(source, 20, steps.append)
    assert len(seen) == 20 and steps == [20]
    assert len({one.name for one in seen}) == 20 and "number 47" in seen[-1].name
