"""--label_fraction against a slow draw written from its definition."""

import types

import numpy as np
import pytest
import tensorflow as tf

from tfssl.config.dataset_name import missing_list
from tfssl.data import Shapes, open_source, parse_split
from tfssl.data.labelled import balanced, labelled_part, named_places
from tfssl.errors import DataError


def rows(source):
    found = tf.data.Dataset.range(source.num_examples).map(source.example)
    return [(int(r["id"]), int(r["label"])) for r in found.as_numpy_iterator()]


def level(available, total):
    """Gives one image after the other to the class that has got fewest so far."""
    counts = [0] * len(available)
    for _ in range(total):
        open_ = [c for c in range(len(counts)) if counts[c] < available[c]]
        counts[min(open_, key=lambda c: counts[c])] += 1
    return sorted(counts)


@pytest.mark.parametrize("share", [0.1, 0.37, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("available", [[50, 50, 50], [3, 200, 40, 41], [1, 9, 90]])
def test_classes_get_equal_numbers_as_far_as_they_go(available, share):
    labels = np.repeat(np.arange(len(available)) * 2, available)
    labels = np.random.default_rng(0).permutation(np.append(labels, [-1] * 30))
    ids = np.arange(len(labels)) * 7 + 3
    places = balanced(labels, ids, share, 0)
    assert (np.diff(places) > 0).all() and (labels[places] >= 0).all()
    total = round(share * sum(available))
    counts = np.bincount(labels[places] // 2)
    assert sorted(counts) == level(available, total) and len(places) == total


def test_the_draw_belongs_to_ids_and_seed_not_to_the_order():
    rng = np.random.default_rng(1)
    labels, ids = rng.integers(0, 5, 1000), rng.permutation(1000) * 999_983
    chosen = set(ids[balanced(labels, ids, 0.1, 0)])
    shuffled = rng.permutation(1000)
    again = ids[shuffled][balanced(labels[shuffled], ids[shuffled], 0.1, 0)]
    assert set(again) == chosen
    assert set(ids[balanced(labels, ids, 0.1, 1)]) != chosen
    assert chosen < set(ids[balanced(labels, ids, 0.3, 0)])


def test_every_image_of_a_class_is_as_likely():
    labels, ids = np.zeros(200, int), np.arange(200)
    drawn = np.concatenate([balanced(labels, ids, 0.1, seed) for seed in range(500)])
    counts = np.bincount(drawn, minlength=200)
    assert abs(counts.mean() - 50) < 1e-9
    assert 0.7 < counts.var() / (500 * 0.1 * 0.9) < 1.3


def test_a_part_reads_its_own_examples():
    source = Shapes(parse_split("train"), examples=200, image_size=16)
    part = labelled_part(source, "0.1", 3)
    found = rows(part)
    assert sorted(label for _, label in found) == sorted(list(range(10)) * 2)
    np.testing.assert_array_equal([i for i, _ in found], part.ids)
    np.testing.assert_array_equal([label for _, label in found], part.labels)
    assert labelled_part(source, "1", 3) is source


def test_a_file_of_names(tmp_path, files, caplog):
    files.tree(tmp_path / "x", ["a", "b"], 5, "train")
    files.tree(tmp_path / "x", ["a", "b"], 1, "val")
    names = tmp_path / "one_percent.txt"
    names.write_text("003.png\nb/001.png\n\n")
    options = {"image_size": 8, "label_fraction": str(names)}
    part = open_source(f"folder:{tmp_path}/x", "train", **options)
    assert part.num_examples == 3  # the name alone is in both classes
    assert "3 examples" in caplog.text and "2 names" in caplog.text
    names.write_text(f"# chosen\n{tmp_path}/x/train/a/002.png\ta\n")
    part = open_source(f"folder:{tmp_path}/x", "train", **options)
    assert part.where(0) == f"{tmp_path}/x/train/a/002.png"
    names.write_text("n01440764_10043.JPEG\n")
    with pytest.raises(DataError, match="none of the 1 names"):
        open_source(f"folder:{tmp_path}/x", "train", **options)


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("x\\ha\u0308rte.png", "/d/x/h\xe4rte.png"),  # Windows, in another form
        ("./h\xe4rte.png", "/d/x/ha\u0308rte.png"),
        ("\udcff.png", "/d/x/\udcff.png"),
        ("b.npz: images[3]", "b.npz: images[3]"),
    ],
)
def test_names_of_a_list_as_systems_write_them(tmp_path, line, place):
    text = f"{line}\tcat\n".encode("utf-8", "surrogateescape")
    (tmp_path / "l").write_bytes(text)
    places = ["/d/x/other.png", place]
    found = named_places(places, str(tmp_path / "l"), "labelled=l", "these")
    assert found.tolist() == [1]
    with pytest.raises(DataError, match="names of labelled=l in these"):
        named_places(places[:1], str(tmp_path / "l"), "labelled=l", "these")


@pytest.mark.parametrize("text", ["{}/l", "list:{}/l"])
def test_a_list_is_named_with_or_without_its_kind(tmp_path, text):
    (tmp_path / "l").write_text("b.png\n")
    found = named_places(["/d/a.png", "/d/b.png"], text.format(tmp_path), "l", "these")
    assert found.tolist() == [1]
    assert missing_list(text.format(tmp_path)) == ""
    assert missing_list(text.format("/no")) == "/no/l"


def test_a_list_that_cannot_be_read_is_an_error(tmp_path):
    for file in (tmp_path, tmp_path / "no"):
        with pytest.raises(DataError, match="a text file with PATH"):
            named_places(["a.png"], str(file), "labelled=l", "these")


def test_a_list_of_drawn_pictures(tmp_path):
    names = tmp_path / "chosen.txt"
    whole = open_source("shapes:100", "train", image_size=16)
    names.write_text(f"{whole.where(7)}\tdisc\n{whole.where(90)}\tdisc\n")
    options = {"image_size": 16, "label_fraction": str(names)}
    part = open_source("shapes:100", "train", **options)
    assert part.ids.tolist() == whole.ids[[7, 90]].tolist()
    half = open_source("shapes:100", "train[50:]", **options)
    assert half.ids.tolist() == whole.ids[[90]].tolist()


def test_too_small_a_share_and_no_labels(tmp_path, files):
    source = Shapes(parse_split("train"), examples=200, image_size=16)
    with pytest.raises(DataError, match="label_fraction=0.05 or more"):
        labelled_part(source, "0.01", 0)
    (tmp_path / "a.png").write_bytes(files.encoded(files.picture(1), "PNG"))
    bare = open_source(f"folder:{tmp_path}", "all", image_size=8)
    with pytest.raises(DataError, match="no labels"):
        labelled_part(bare, "0.5", 0)


def test_the_whole_share_is_what_has_a_label():
    source = types.SimpleNamespace(
        name="some", num_examples=5, num_classes=2, class_names=("a", "b"),
        labels=np.array([0, -1, 1, 1, -1]), ids=np.arange(5) * 3, may_fail=True,
    )  # fmt: skip
    part = labelled_part(source, "1", 0)
    assert part.num_examples == 3 and "3 labelled images" in part.name
    assert part.ids.tolist() == [0, 6, 9] and part.labels.tolist() == [0, 1, 1]
    source.labels = np.array([0, 1, 0, 1, 1])
    assert labelled_part(source, "1", 0) is source


def test_a_number_of_images_a_class():
    labels = np.repeat([0, 1, 2, -1], [50, 3, 20, 9])
    ids = np.arange(len(labels)) * 3
    places = balanced(labels, ids, 5.0, 0)
    assert np.bincount(labels[places]).tolist() == [5, 3, 5]
    assert set(places) < set(balanced(labels, ids, 10.0, 0))
    assert set(places) != set(balanced(labels, ids, 5.0, 1))
