"""A training goes on with its own flags only; of runs the place counts."""

import dataclasses
import os

import pytest

from tfssl.build import refuse_other_flags
from tfssl.config import Config, resolve
from tfssl.config.flagfile import to_flagfile
from tfssl.errors import RunDirectoryError
from tfssl.runs import RunDirectory
from tfssl.tasks.detect import _DETECTING
from tfssl.tasks.distill import _DISTILLED
from tfssl.tasks.finetune import _TUNED
from tfssl.tasks.segment import _SEGMENTING

NAMES = ("init_from", "teacher", "finetune_batch_size", "seed")


@pytest.fixture
def kept(tmp_path):
    """A directory with flags, and those."""
    (tmp_path / "run/finetune").mkdir(parents=True)
    own = RunDirectory(tmp_path / "run/finetune")
    flags = resolve(
        Config(
            mode="finetune",
            run_dir=str(own.path),
            init_from=str(tmp_path / "run"),
            teacher="models:big",
        )
    )
    own.flags.write_text(to_flagfile(flags))
    return own, flags


def test_nothing_is_refused_without_flags_and_with_the_same(kept, tmp_path):
    own, flags = kept
    refuse_other_flags(flags, RunDirectory(tmp_path / "new"), NAMES, "a training")
    refuse_other_flags(flags, own, NAMES, "a training")
    other = dataclasses.replace(flags, log_every=7)  # not one that makes it
    refuse_other_flags(other, own, NAMES, "a training")


def test_the_same_place_may_be_written_in_another_way(kept, tmp_path):
    own, flags = kept
    os.symlink(tmp_path / "run", tmp_path / "link")
    for path in (tmp_path / "link", f"{tmp_path}/run/../run/"):
        again = dataclasses.replace(flags, init_from=str(path))
        refuse_other_flags(again, own, NAMES, "a training")
    for flag, value in (("init_from", tmp_path), ("teacher", "models:small")):
        other = dataclasses.replace(flags, **{flag: str(value)})
        with pytest.raises(RunDirectoryError, match=f"a training.*{flag}="):
            refuse_other_flags(other, own, NAMES, "a training")


def test_flags_that_named_no_start(kept, tmp_path):
    own, flags = kept
    own.flags.write_text(to_flagfile(dataclasses.replace(flags, init_from="")))
    refuse_other_flags(flags, own, NAMES, "a training", str(tmp_path / "run"))
    with pytest.raises(RunDirectoryError, match="init_from="):
        refuse_other_flags(flags, own, NAMES, "a training")


def test_all_that_differs_is_said(kept):
    own, flags = kept
    other = dataclasses.replace(flags, seed=3, finetune_batch_size=8)
    words = "finetune_batch_size=8 instead of 256.*|seed=3 instead of 0.*"
    with pytest.raises(RunDirectoryError, match=words) as caught:
        refuse_other_flags(other, own, NAMES, "a training")
    assert "seed=3" in str(caught.value) and "batch_size=8" in str(caught.value)
    assert "try those, another run_dir" in str(caught.value)


MADE_BY = {
    "orient": "exif", "image_size": 64, "augment": "byol", "max_image_pixels": 9,
    "tfrecord_first_label": 1, "tfrecord_image_key": "image/left", "method": "byol",
    "train_split": "all", "dataset": "shapes:9", "encoder": "resnet34_cifar",
    "normalization": "none", "batch_norm_groups": 2, "precision": "mixed_bfloat16",
    "seed": 3,
}  # fmt: skip
"""Flags that the weights of a training depend on, whatever the mode, and others."""


@pytest.mark.parametrize("task", [_TUNED, _DISTILLED, _DETECTING, _SEGMENTING])
@pytest.mark.parametrize("flag", MADE_BY)
def test_no_run_of_any_mode_goes_on_with_other_images(tmp_path, task, flag):
    """Its weights would stand under flags, and in scores, that they are not of."""
    own = RunDirectory(tmp_path / "run")
    own.path.mkdir()
    began = resolve(Config(run_dir="x"))
    own.flags.write_text(to_flagfile(task.settings(began, own, "start")))
    free = dataclasses.replace(began, eval_split="val", data_dir="d", log_every=7)
    if task is not _DISTILLED:
        task.settings(free, own, "start")
    other = dataclasses.replace(began, **{flag: MADE_BY[flag]})
    with pytest.raises(RunDirectoryError, match=f"with other flags in .*{flag}="):
        task.settings(other, own, "start")


@pytest.mark.parametrize("folder", ["finetune", "finetune/sweep/rate-0.1-epochs-3"])
def test_a_run_inside_another_goes_on_where_both_were_moved(tmp_path, folder):
    began = resolve(Config(init_from="runs/a", run_dir=f"runs/a/{folder}"))
    own = RunDirectory(tmp_path / "b" / folder)
    own.path.mkdir(parents=True)
    own.flags.write_text(to_flagfile(began))
    moved = dataclasses.replace(
        began, init_from=str(tmp_path / "b"), run_dir=str(own.path)
    )
    refuse_other_flags(moved, own, NAMES, "a training")
    elsewhere = dataclasses.replace(began, init_from=str(tmp_path / "c"))
    with pytest.raises(RunDirectoryError, match="init_from="):
        refuse_other_flags(elsewhere, own, NAMES, "a training")
    # It began from a run elsewhere: then its place counts.
    own.flags.write_text(to_flagfile(dataclasses.replace(began, init_from="runs/x")))
    with pytest.raises(RunDirectoryError, match="init_from="):
        refuse_other_flags(moved, own, NAMES, "a training")
