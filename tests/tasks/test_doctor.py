"""`--mode=doctor` as the command line runs it, and its sentence about speed."""

import json
import re

import pytest

from tests.data.test_boxes import xml
from tests.data.test_masks import plain, write
from tests.pictures import encoded, picture
from tests.tiny import COMMON
from tfssl import build
from tfssl.config import Config, resolve
from tfssl.data import open_source
from tfssl.main import main
from tfssl.tasks import doctor, speed


@pytest.mark.parametrize(
    ("decode", "pipeline", "step", "words"),
    [
        (1000, 500, 100, "The training step limits"),
        (None, 500, 100, "The training step limits"),
        (1000, 700, 5000, "Decoding limits .* 1000 decoded"),
        (5000, 700, 5000, "Reading and cropping limit"),
        (None, 700, 5000, "Reading and cropping limit"),
        (1000, 700, 720, "in balance"),
        (1000, None, None, "not measured"),
    ],
)
def test_the_sentence_names_what_limits(decode, pipeline, step, words):
    found = speed.verdict({"decode": decode, "pipeline": pipeline, "step": step})
    assert re.search(words, found) and found.endswith(".")


@pytest.mark.slow
def test_it_looks_measures_and_trains_nothing(tmp_path, files, monkeypatch, capsys):
    monkeypatch.setattr(speed, "_SECONDS", 0.1)
    files.tree(tmp_path / "x", ["a", "b"], 20, "train")
    files.tree(tmp_path / "x", ["a", "b"], 3, "val")  # copies of training images
    (tmp_path / "x" / "train" / "a" / "bad.jpg").write_bytes(b"no picture")
    flags = {**COMMON, "dataset": f"folder:{tmp_path}/x", "mode": "doctor"}
    flags |= {"run_dir": tmp_path / "run", "progress": "false", "tensorboard": "false"}
    words = [f"--{name}={value}" for name, value in flags.items()]
    assert main(["tfssl", *words]) == 0
    said = capsys.readouterr().out
    written = sorted(p.name for p in (tmp_path / "run").iterdir())
    assert written == [".lock", doctor.FILE]
    found = json.loads((tmp_path / "run" / doctor.FILE).read_text())
    assert found["train"]["unreadable"]["count"] == 1
    assert found["leakage"]["exact"]["count"] == 6
    assert found["train"]["classes"]["smallest"] == ["b", 20]
    rates = found["images_per_second"]
    assert rates["decode"] is None  # images of one size are decoded once, at opening
    assert rates["pipeline"] > 0 and rates["step"] > 0
    assert found["verdict"] in said and "6 exactly" in said
    assert main(["tfssl", *words, "--mode=doctor,pretrain", "--train_steps=2"]) == 0
    assert (tmp_path / "run" / "flags.cfg").exists()


def test_what_cannot_be_read_at_all_is_named_and_the_rest_is_told(
    tmp_path, files, monkeypatch
):
    monkeypatch.setattr(speed, "rates", lambda *_: {})
    monkeypatch.setattr(speed, "verdict", lambda found: "fast.")
    files.tree(tmp_path, ["a", "b"], 2, "train")
    (tmp_path / "val").mkdir()
    for number in range(5):
        (tmp_path / "val" / f"{number}.jpg").write_bytes(b"\0\0\0\x1cftypavif")
    config = resolve(Config(dataset=f"folder:{tmp_path}", progress=False, batch_size=2))
    found = doctor._examine(config)
    assert found["train"]["images"] == 4 and found["held_out"] is None
    (note,) = (note for note in found["notes"] if "held-out" in note)
    assert "5 images, none of which can be read" in note and "AVIF" in note
    said = doctor.report(found)
    assert "2 classes: 2 images each; 0 without a label" in said and note in said


def masks_with_dirt(root):
    files = {f"train/{name}": data for name, data in plain(8).items()}
    files |= {f"val/{name}": data for name, data in plain(4).items()}
    files["train/masks/3.png"] = b"no picture"
    del files["val/masks/0.png"]
    write(root, files)


def boxes_with_dirt(root):
    box = [("cat", 1, 1, 6, 6, 0), ("cat", 90, 1, 99, 9, 0)]
    for number in range(4):
        split = "train" if number < 3 else "val"
        write(
            root,
            {
                f"JPEGImages/{number}.png": encoded(picture(number), "PNG"),
                f"Annotations/{number}.xml": xml(box, (12, 10)).encode(),
            },
        )
        names = "0\n1\n2\n" if split == "train" else "3\n"
        write(root, {f"ImageSets/Main/{split}.txt": names.encode()})


@pytest.mark.parametrize(
    ("kind", "make", "words"),
    [
        ("masks", masks_with_dirt, ("1 pairs left out, such as train/masks/3.png",
                                    "1 images without a mask left out")),
        ("voc", boxes_with_dirt, ("3 boxes outside of", "1 boxes outside of")),
    ],
)  # fmt: skip
def test_what_boxes_and_masks_lose_is_told_before_training(
    tmp_path, monkeypatch, kind, make, words
):
    monkeypatch.setattr(speed, "rates", lambda *_: {})
    monkeypatch.setattr(speed, "verdict", lambda found: "fast.")
    make(tmp_path)
    flags = {"dataset": f"{kind}:{tmp_path}", "progress": False, "batch_size": 2}
    config = resolve(Config(**flags, index_dir=str(tmp_path.parent / "index")))
    found = doctor._examine(config)
    mode, target = ("segment", "mask") if kind == "masks" else ("detect", "boxes")
    assert [*found["targets"]] == [mode]
    read = [part["read"] for part in found["targets"][mode]]
    sources = [
        open_source(config.dataset, split, image_size=8, targets=target).summary().text
        for split in ("train", "test")
    ]
    assert read == sources  # what a training will say
    said = "\n".join(doctor.report(found))
    for text in (*words, *read):
        assert said.count(text) == 1
    if kind == "masks":
        (lost,) = found["targets"][mode][0]["left_out"]
        assert lost["path"].endswith("3.png") and "not readable" in lost["reason"]
        for name in (tmp_path / "val/masks").iterdir():
            name.write_bytes(b"no picture")
        notes, train = [], build.source(config, "train", memory=0)
        assert doctor._targets(config, train, notes) == {}
        (note,) = notes
        assert "mode=segment" in note and "none of which can be used" in note


@pytest.mark.parametrize("content", [b"no picture", None])
def test_nothing_readable_ends_with_a_sentence(tmp_path, files, content):
    """It used to look for a readable file among the unreadable ones for ever."""
    from tfssl.data import Folder, parse_split
    from tfssl.errors import DataError

    bomb = files.encoded(files.picture(1, 30, 40), "PNG")
    for number in range(20):
        (tmp_path / f"{number}.png").write_bytes(content or bomb)
    source = Folder(str(tmp_path), parse_split("all"), max_pixels=1000)
    with pytest.raises(DataError, match="20 unreadable images.*; try removing"):
        speed._decode_rate(source)


@pytest.mark.slow
def test_unreadable_images_are_reported_and_the_doctor_ends(tmp_path, files, capsys):
    for split in ("train", "val"):
        files.tree(tmp_path / "x", ["a"], 2, split)
    for number in range(60):
        (tmp_path / "x" / "train" / "a" / f"{number}.jpg").write_bytes(b"no picture")
    words = ["--mode=doctor", f"--run_dir={tmp_path}/run", "--noprogress"]
    words += [f"--dataset=folder:{tmp_path}/x", "--batch_size=16"]
    assert main(["tfssl", *words]) == 0
    assert "Speed was not measured: " in capsys.readouterr().out


@pytest.mark.slow
def test_too_few_images_are_still_looked_at(tmp_path, files, capsys):
    files.tree(tmp_path / "x", ["a", "b"], 3, "train")
    words = ["--mode=doctor", f"--run_dir={tmp_path}/run", "--noprogress"]
    assert main(["tfssl", *words, f"--dataset=folder:{tmp_path}/x"]) == 0
    said = capsys.readouterr().out
    assert "Speed was not measured" in said and "no held-out images" in said
