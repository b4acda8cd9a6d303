"""A run goes on with the images that it began with, or says why not."""

import json
import types

import numpy as np
import pytest
from PIL import Image

from tests.tasks.test_end_to_end import argv
from tfssl.build.same_data import DATA, identity, refuse_other_data
from tfssl.errors import DataError
from tfssl.main import main
from tfssl.runs import RunDirectory


def source(ids=(1, 2, 3), labels=(0, 1, -1), names=("a", "b")):
    return types.SimpleNamespace(
        name="folder:photos/train",
        num_examples=len(ids),
        ids=np.array(ids),
        labels=np.array(labels),
        class_names=names,
    )


def begun(tmp_path, data):
    directory = RunDirectory(tmp_path / "run")
    step = directory.checkpoints / "step-3"
    step.mkdir(parents=True)
    (step / "manifest.json").write_text("{}")
    (directory.path / DATA).write_text(json.dumps(identity(data)))
    return directory


@pytest.mark.parametrize(
    "other",
    [
        source(ids=(1, 2, 3, 4), labels=(0, 1, -1, 1)),
        source(ids=(1, 2)[:2], labels=(0, 1)),
        source(ids=(1, 2, 9)),
        source(ids=(2, 1, 3)),
        source(labels=(1, 0, -1)),
        source(labels=(0, 1, 1)),
        source(names=("a", "c")),
    ],
)
def test_other_images_are_refused_with_both_counts(tmp_path, monkeypatch, other):
    directory = begun(tmp_path, source())
    monkeypatch.setattr(type(directory.checkpoint_store()), "steps", lambda self: [3])
    with pytest.raises(DataError, match="accept_changed_data") as caught:
        refuse_other_data(directory, other)
    assert f"got {len(other.ids)} images" in str(caught.value)
    assert "started with: 3 images, 2 of them labelled" in str(caught.value)
    text = refuse_other_data(directory, other, accept=True)
    assert json.loads(text) == identity(other)


def test_the_same_images_and_a_new_run_pass(tmp_path):
    directory = RunDirectory(tmp_path / "new")
    assert json.loads(refuse_other_data(directory, source())) == identity(source())
    assert refuse_other_data(begun(tmp_path, source()), source())


@pytest.mark.slow
@pytest.mark.parametrize("task", ["pretrain", "finetune"])
def test_images_added_between_two_starts(tmp_path, capsys, task):
    def draw(first, count):
        for i in range(first, first + count):
            for name in ("a", "b"):
                folder = tmp_path / "photos" / "train" / name
                folder.mkdir(parents=True, exist_ok=True)
                shade = np.full((16, 16, 3), i % 250, np.uint8)
                Image.fromarray(shade).save(folder / f"{name}{i}.png")
                held_out = tmp_path / "photos" / "val" / name
                held_out.mkdir(parents=True, exist_ok=True)
                Image.fromarray(shade).save(held_out / f"{name}{i}.png")

    draw(0, 20)
    flags = {"dataset": f"folder:{tmp_path}/photos", "steps_per_loop": 1}
    mode = "pretrain"
    if task == "finetune":
        mode = "pretrain,finetune"
        flags |= {"finetune_epochs": 1, "finetune_batch_size": 8}
    command = argv("simclr", tmp_path / "run", mode, **flags)
    assert main(command) == 0
    draw(100, 10)
    assert main(command) in (1, 2)
    said = capsys.readouterr().err
    assert "60 images" in said and "40 images" in said
    assert main([*command, "--accept_changed_data"]) == 0
    assert "accept_changed_data=true" not in (tmp_path / "run/flags.cfg").read_text()
