"""What a command's modes need of the data, found before the first step."""

import dataclasses
import json
import re
import types

import numpy as np
import pytest
from PIL import Image

from tests.tasks.test_end_to_end import argv
from tfssl import build
from tfssl.build.data import query_source
from tfssl.config import Config, resolve
from tfssl.config.flagfile import to_flagfile
from tfssl.config.rules import validate
from tfssl.embeddings import writing
from tfssl.embeddings.reading import Embeddings
from tfssl.embeddings.shard_files import Shard
from tfssl.embeddings.writing import Writer
from tfssl.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    RunDirectoryError,
)
from tfssl.main import main
from tfssl.tasks import embed, search, selection, vector_checks
from tfssl.tasks.preconditions import passed_over


def pictures(folder, count, first=0):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(first)
    for i in range(first, first + count):
        pixels = rng.integers(0, 255, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"p{i}.png")


def labelled(root, train=20, classes=("a", "b"), held_out=4):
    for number, name in enumerate(classes):
        pictures(root / "train" / name, train, 1000 * number)
        pictures(root / "val" / name, held_out, 1000 * number + 500)
    return root


def config(root, **flags):
    flags = {"batch_size": 8, "finetune_batch_size": 8, "image_size": 32} | flags
    encoder = "resnet10x0.125_cifar"
    return resolve(Config(dataset=f"folder:{root}", encoder=encoder, **flags))


def test_labelled_images_pass_everything(tmp_path):
    modes = ["pretrain", "knn", "linear", "finetune", "export", "report"]
    assert passed_over(config(labelled(tmp_path)), modes) == {}


def test_without_labels_the_rest_of_the_command_is_done(tmp_path):
    pictures(tmp_path / "train", 30)
    modes = ["pretrain", "knn", "linear", "export", "report"]
    found = passed_over(config(tmp_path), modes)
    assert set(found) == {"knn", "linear"}
    assert "no labels" in found["knn"]


@pytest.mark.parametrize("modes", [["knn"], ["linear"], ["knn", "linear", "finetune"]])
def test_without_labels_and_nothing_else_to_do(tmp_path, modes):
    pictures(tmp_path / "train", 30)
    with pytest.raises(DataError, match=f"{','.join(modes)}.*one folder per class"):
        passed_over(config(tmp_path), modes)


def test_several_labels_are_learned_by_the_modes_that_can(tmp_path):
    has = np.arange(60).reshape(20, 3) % 2
    images = np.zeros([20, 32, 32, 3], np.uint8)
    common = {"train_images": images, "train_labels": has, "test_images": images[:4]}
    np.savez(tmp_path / "a.npz", test_labels=has[:4], **common)
    flags = {"batch_size": 8, "finetune_batch_size": 8, "image_size": 32}
    flags["encoder"] = "resnet10x0.125_cifar"
    several = resolve(Config(dataset=f"arrays:{tmp_path}/a.npz", **flags))
    found = passed_over(several, ["pretrain", "knn", "linear", "finetune"])
    assert set(found) == {"knn", "linear"} and "several labels" in found["knn"]
    with pytest.raises(DataError, match="several labels, for mode=knn"):
        passed_over(several, ["knn"])
    weighed = dataclasses.replace(several, class_balance="sampling")
    with pytest.raises(ConfigError, match="try class_balance=none"):
        passed_over(weighed, ["pretrain", "finetune"])
    # Held-out images of other classes only.
    names = {"train_class_names": list("abc"), "test_class_names": list("xyz")}
    np.savez(tmp_path / "a.npz", test_labels=has[:4], **common, **names)
    with pytest.raises(ConfigError, match="without any of the classes"):
        passed_over(several, ["pretrain", "finetune"])


@pytest.mark.parametrize("mode", ["knn", "linear", "finetune"])
def test_held_out_images_without_a_label_are_refused(tmp_path, mode):
    labelled(tmp_path, held_out=0)
    for name in ("a", "b"):
        (tmp_path / "val" / name).rmdir()
    pictures(tmp_path / "val", 6, 9000)
    with pytest.raises(ConfigError, match="6 held-out images.*eval_split="):
        passed_over(config(tmp_path), ["pretrain", mode])


def test_held_out_images_none_of_which_can_be_read_are_refused(tmp_path):
    labelled(tmp_path)
    files = sorted((tmp_path / "val").rglob("*.png"))
    for file in files:
        file.write_bytes(b"\0\0\0\x1cftypavif" + bytes(99))
    words = "8 images in .*none of which can be read.*AVIF.*eval_split="
    with pytest.raises(ConfigError, match=words):
        passed_over(config(tmp_path), ["pretrain", "knn"])
    pictures(tmp_path / "val" / "a", 1, 77)
    assert passed_over(config(tmp_path), ["pretrain", "knn"]) == {}


def test_a_split_to_embed_that_is_not_there_is_refused(tmp_path):
    labelled(tmp_path)
    with pytest.raises(DataError, match="split=tset"):
        passed_over(config(tmp_path, embed_split="tset"), ["pretrain", "embed"])


def test_held_out_images_of_other_classes_only_are_refused(tmp_path):
    labelled(tmp_path, held_out=0)
    for name in ("a", "b"):
        (tmp_path / "val" / name).rmdir()
    pictures(tmp_path / "val" / "other", 6, 9000)
    with pytest.raises(ConfigError, match="held-out images"):
        passed_over(config(tmp_path), ["pretrain", "linear"])


@pytest.mark.parametrize(
    ("flags", "modes", "words"),
    [
        ({"batch_size": 64}, ["pretrain"], "40 images.*try batch_size=40, or"),
        ({"finetune_batch_size": 256}, ["finetune"], "finetune_batch_size=40, or"),
        (
            {"label_fraction": 0.1, "finetune_batch_size": 8},
            ["pretrain", "finetune"],
            "4 images.*finetune_batch_size=4, or",
        ),
        (
            {"label_fraction": 0.1},
            ["linear"],
            "a tenth of.*linear_learning_rates=0.1",
        ),
        (
            {"label_fraction": 0.01},
            ["pretrain", "linear"],
            "at least one image of each",
        ),
    ],
)
def test_what_a_later_mode_lacks_is_found_first(tmp_path, flags, modes, words):
    with pytest.raises(ConfigError, match=f"(?s){words}"):
        passed_over(config(labelled(tmp_path), **flags), modes)


def test_all_problems_come_at_once(tmp_path):
    flags = {"batch_size": 64, "finetune_batch_size": 256}
    with pytest.raises(ConfigError) as caught:
        passed_over(config(labelled(tmp_path), **flags), ["pretrain", "finetune"])
    assert len(caught.value.problems) == 2


def test_one_image_gets_advice_that_can_be_followed(tmp_path):
    pictures(tmp_path / "train", 1)
    with pytest.raises(ConfigError, match="try more images") as caught:
        passed_over(config(tmp_path, train_split="all"), ["pretrain"])
    assert "batch_size=1," not in str(caught.value)


TOO_FEW = [
    {"batch_size": 16},
    {"batch_size": 15},
    {"method": "moco", "batch_size": 16, "queue_size": 32},
    {"method": "moco"},
    {"method": "moco", "symmetric": True},
    {"method": "byol"},
    {"micro_batches": 4, "batch_size": 16},
    {"batch_norm_groups": 4, "batch_size": 16},
    {"label_fraction": 0.4},
    {"label_fraction": 0.13},
]


@pytest.mark.parametrize("flags", TOO_FEW, ids=str)
@pytest.mark.parametrize("replicas", [1, 2])
def test_the_advice_for_a_small_folder_is_followed_to_the_letter(
    tmp_path, monkeypatch, flags, replicas
):
    """With the batch of every method by default, and with other flags in the way."""
    shared = types.SimpleNamespace(num_replicas_in_sync=replicas)
    monkeypatch.setattr(build.data, "strategy", lambda config: shared)
    labelled(tmp_path, train=7)
    fine = "label_fraction" in flags
    modes = ["finetune", "linear"] if fine else ["pretrain"]
    flags = {"batch_size": 256, "finetune_batch_size": 256, **flags}
    flags |= {"linear_learning_rates": (0.1,)}
    for _ in range(3):
        try:
            assert passed_over(config(tmp_path, **flags), modes) == {}
            break
        except ConfigError as error:
            advice = re.findall(r"try (\w+)=([\d.]+)", str(error))
            assert advice, error
            flags |= {n: float(v) if "." in v else int(v) for n, v in advice}
            assert validate(config(tmp_path, run_dir="r", **flags)) == []
    else:
        raise AssertionError(f"no advice helped: {flags}")


def test_a_batch_that_replicas_cannot_share_is_found_first(tmp_path, monkeypatch):
    shared = types.SimpleNamespace(num_replicas_in_sync=3)
    monkeypatch.setattr(build.data, "strategy", lambda config: shared)
    labelled(tmp_path)
    with pytest.raises(ConfigError) as caught:
        passed_over(config(tmp_path), ["pretrain", "finetune"])
    assert len(caught.value.problems) == 2
    assert "finetune_batch_size=8 on 3 replicas" in str(caught.value)


def test_one_class_is_nothing_to_tell_apart(tmp_path):
    root = labelled(tmp_path)
    (tmp_path / "names.txt").write_text("\n".join(f"p{i}.png" for i in range(20)))
    flags = {"label_fraction": f"{tmp_path}/names.txt"}
    with pytest.raises(ConfigError, match="1 class .*at least two"):
        passed_over(config(root, **flags), ["pretrain", "linear"])


def test_nothing_is_written_before(tmp_path, capsys):
    labelled(tmp_path / "images")
    code = main(
        [
            "tfssl",
            "--mode=pretrain,finetune",
            f"--dataset=folder:{tmp_path}/images",
            f"--run_dir={tmp_path}/run",
            *("--encoder=resnet10x0.125_cifar", "--batch_size=8", "--image_size=32"),
            *("--train_steps=2", "--noprogress"),
        ]
    )
    assert code == 2
    assert "--finetune_batch_size=256" in capsys.readouterr().err
    assert (
        not list((tmp_path / "run").glob("**/*")) if (tmp_path / "run").exists() else 1
    )


@pytest.mark.slow
def test_what_was_passed_over_and_unreadable_stands_in_the_results(tmp_path, capsys):
    root = labelled(tmp_path / "images")
    pictures(root / "val" / "other", 2, 7000)  # a class that training lacks
    pictures(root / "val", 1, 8000)  # and a picture of none
    for name in ("a", "b"):
        (root / "train" / name / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (root / "val" / "a" / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    flags = {"dataset": f"folder:{root}", "image_size": 32, "batch_size": 8}
    for mode in ("pretrain,knn", "knn,report"):
        assert main(argv("simclr", tmp_path / "run", mode, **flags)) == 0
        said = capsys.readouterr().out
        left_out = "1 unreadable, 1 without a label, 2 of classes that training lacks"
        assert f"8 of 12 images ({left_out})" in said
        assert "training has no such class: 2 other" in said
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    (train,) = (row for name, row in found["data"].items() if "train" in name)
    assert train["passed_over"] == {".heic": 2} and train["classes"] == {
        "a": 20,
        "b": 20,
    }
    (skipped,) = found["skipped_files"]
    assert skipped["path"].endswith("val/a/broken.jpg") and skipped["reason"]
    (score,) = found["scores"]
    assert score["counts"]["unlabelled"] == 1
    assert score["counts"]["unknown_classes"] == 2
    (held_out,) = (v for name, v in found["data"].items() if name.endswith("/test"))
    assert held_out["unknown_classes"] == {"other": 2} and held_out["unlabelled"] == 1
    assert left_out in (tmp_path / "run" / "report" / "index.html").read_text()


@pytest.mark.parametrize(
    ("modes", "flags", "words"),
    [
        ("embed,select", {"select": 41}, "select=41 of 40 images.*from 1 to 40"),
        ("embed,select", {"select": 39, "labelled": "two"}, "select=39 of 38 images"),
        ("embed,select", {"select": 1, "labelled": "none"}, "none of the 1 names"),
        ("embed", {"embed_pca": 41}, "embed_pca=41 of the 40 images.*at most 40"),
        ("embed,search", {"query": "nowhere.jpg"}, "nowhere.jpg, which is not there"),
        ("select", {"select": 1}, "holds no embeddings.*mode=embed"),
        ("search", {"search": "duplicates"}, "holds no embeddings.*mode=embed"),
    ],
)
def test_what_vectors_are_for_is_found_before_a_training(tmp_path, modes, flags, words):
    labelled(tmp_path / "data")
    (tmp_path / "two").write_text("a/p0.png\nb/p1000.png\n")
    (tmp_path / "none").write_text("c/p0.png\n")
    if "labelled" in flags:
        flags = flags | {"labelled": str(tmp_path / flags["labelled"])}
    asked = config(tmp_path / "data", run_dir=str(tmp_path / "run"), **flags)
    with pytest.raises(ConfigError, match=words):
        passed_over(asked, ["pretrain", *modes.split(",")])


@pytest.mark.parametrize(
    ("modes", "flags", "words"),
    [
        ("embed,finetune,select", {"select": 1}, "select of what finetune trains"),
        ("finetune,search", {"search": "outliers"}, "mode=finetune,embed,search"),
        ("embed,distill,search", {"query": "x", "embeddings": "v"}, "distill trains"),
        ("embed,detect,select", {"select": 1}, "select of what detect trains"),
    ],
)
def test_vectors_are_of_the_run_that_a_mode_is_about(tmp_path, modes, flags, words):
    asked = config(tmp_path, run_dir=str(tmp_path / "run"), **flags)
    found = vector_checks.check(asked, modes.split(","))
    assert len(found) == 1 and words in found[0]


def test_vectors_of_the_run_before_are_named_or_made(tmp_path):
    labelled(tmp_path / "data")
    asked = config(tmp_path / "data", run_dir=str(tmp_path / "run"), select=1)
    modes = ["pretrain", "embed", "finetune", "embed", "select"]
    assert vector_checks.check(asked, modes) == []
    # A curve leaves no run: those of the pre-trained one are meant.
    curve = dataclasses.replace(asked, label_seeds=2)
    assert vector_checks.check(curve, modes[1:3] + modes[4:]) == []


@pytest.mark.parametrize(
    ("mode", "also", "refused"),
    [
        ("pretrain", "probabilities", True),
        ("pretrain", "projections", False),
        ("finetune", "projections", True),
        ("finetune", "probabilities", False),
        ("detect", "probabilities", True),
    ],
)
def test_what_a_run_cannot_give_is_known_before_hours(tmp_path, mode, also, refused):
    labelled(tmp_path / "data")
    run = tmp_path / "run"
    run.mkdir()
    stored = config(tmp_path / "data", run_dir=str(run), mode=mode)
    (run / "flags.cfg").write_text(to_flagfile(stored))
    asked = dataclasses.replace(stored, mode="linear,embed", embed_also=(also,))
    found = vector_checks.check(asked, ["linear", "embed"])
    assert bool(found) == refused and all(also in problem for problem in found)


def test_scores_of_retrieval_need_labels(tmp_path):
    pictures(tmp_path / "train", 30)
    asked = config(tmp_path, search="scores")
    with pytest.raises(ConfigError, match="no two have the same label"):
        passed_over(asked, ["pretrain", "embed", "search"])


@pytest.fixture
def embeddings(tmp_path):
    """Six vectors of three classes, on disk."""
    plan = {"format": "npy", "dtype": "float32", "shard_rows": 4, "num_examples": 6}
    more = {"class_names": ["a", "b", "c"], "also": [], "pca": 0, "normalized": False}
    writer = Writer(tmp_path / "vectors", plan | more, {"flags": {}, "split": "all"})
    for number in writer.missing():
        rows = np.arange(*writer.bounds(number))
        keys = [f"{row}.png" for row in rows]
        arrays = {"features": np.eye(6, dtype=np.float32)[rows]}
        writer.write(number, Shard(rows, keys, rows % 3, arrays, []))
    writer.finish()
    return {"embeddings": str(tmp_path / "vectors"), "run_dir": str(tmp_path / "run")}


@pytest.mark.parametrize(
    ("task", "flags", "words"),
    [
        (selection, {"select": 7}, "select=7 of 6 images"),
        (search, {"query": "nowhere.jpg"}, "nowhere.jpg, which is not there"),
        (search, {"query": "list:nowhere"}, "nowhere"),
    ],
)
def test_no_vector_is_read_for_what_cannot_be(
    embeddings, monkeypatch, task, flags, words
):
    def read(*_):
        raise AssertionError("a vector was read")

    monkeypatch.setattr(Embeddings, "_array", read)
    with pytest.raises(DataError, match=words):
        task.run(Config(**embeddings, **flags))


def test_a_score_is_not_put_down_to_another_encoder(embeddings, monkeypatch):
    def differs(*_):
        raise CheckpointError("the same weights")

    monkeypatch.setattr(search, "_same_encoder", differs)
    with pytest.raises(CheckpointError, match="the same weights"):
        search.run(Config(**embeddings, search="scores"))


def test_more_components_than_features_are_found_before_a_vector_is_made():
    """Also of an encoder whose width its name does not tell."""
    network = types.SimpleNamespace(output_shape=(None, 9))
    embed._require_width(Config(embed_pca=9), network)
    with pytest.raises(DataError, match="embed_pca=10 of the 9 features"):
        embed._require_width(Config(embed_pca=10), network)


def test_a_full_disk_is_found_before_a_vector_is_made(monkeypatch, tmp_path):
    disk = types.SimpleNamespace(free=9)
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda _: disk)
    plan = {"format": "npy", "dtype": "float32", "shard_rows": 4, "num_examples": 8}
    writer = Writer(tmp_path, plan)
    with pytest.raises(RunDirectoryError, match="0 MB for 8 vectors.*float16"):
        writer.require_room(5)


def test_a_query_lies_as_the_others_do(tmp_path):
    pictures(tmp_path, 2)
    for query in (tmp_path / "p0.png", tmp_path):
        for orient in ("none", "exif"):
            asked = config(tmp_path, query=str(query), orient=orient)
            assert query_source(asked).orient == orient


def test_a_query_that_cannot_be_read_is_an_error(embeddings, tmp_path, monkeypatch):
    """Not a page without a picture; and known before an index is built."""
    (tmp_path / "q.png").write_bytes(b"no picture")
    none = np.empty(0, np.int64)
    lost = [("q.png", "no image")]
    asked = Shard(none, [], none, {"features": np.empty((0, 6), np.float32)}, lost)
    monkeypatch.setattr(search, "_same_encoder", lambda *_: None)
    monkeypatch.setattr(search.vectors, "shards", lambda *_: iter([(0, asked)]))
    monkeypatch.setattr(search, "index_of", None)
    with pytest.raises(DataError, match="of whose 1 images none can be read"):
        search.run(Config(**embeddings, query=str(tmp_path / "q.png")))
