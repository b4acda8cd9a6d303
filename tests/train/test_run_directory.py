"""The run directory: one writer, whole files, a log without lost steps."""

import json

import pytest

from tfssl.errors import RunDirectoryError
from tfssl.train import RunDirectory


def test_a_second_process_is_refused_and_the_owner_named(tmp_path):
    first, second = RunDirectory(tmp_path / "run"), RunDirectory(tmp_path / "run")
    first.lock()
    with pytest.raises(RunDirectoryError, match=r"in use by process \d+"):
        second.lock()
    first.unlock()
    second.lock()
    second.unlock()


def test_lock_twice_is_one_lock(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.lock()
    directory.lock()
    directory.unlock()


def test_unwritable_place_is_an_error_with_advice(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match="another --run_dir"):
        RunDirectory(tmp_path / "file" / "run").lock()


def test_cut_log_drops_lost_steps_and_half_lines(tmp_path):
    directory = RunDirectory(tmp_path)
    for step in (10, 20, 30):
        directory.append_log({"step": step, "loss": 1.0})
    with open(directory.log, "a") as out:
        out.write('{"step": 40, "lo')
    directory.cut_log(20)
    rows = [json.loads(line) for line in directory.log.read_text().splitlines()]
    assert [row["step"] for row in rows] == [10, 20]


def test_results_merge(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.add_results({"knn": {"top1": 0.5}})
    directory.add_results({"baselines": {"untrained": {"knn": 1}}})
    directory.add_results({"baselines": {"raw_pixels": {"knn": 2}}})
    assert directory.read_results() == {
        "knn": {"top1": 0.5},
        "baselines": {"untrained": {"knn": 1}, "raw_pixels": {"knn": 2}},
    }
