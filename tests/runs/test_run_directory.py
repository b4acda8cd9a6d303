"""The run directory: one writer, whole files, a log without lost steps."""

import concurrent.futures
import json
import resource
import signal

import pytest

from tfssl.errors import RunDirectoryError
from tfssl.runs import RunDirectory


def test_a_second_process_is_refused_and_the_owner_named(tmp_path):
    with (
        RunDirectory(tmp_path / "run"),
        pytest.raises(RunDirectoryError, match=r"in use by process \d+ on \w+"),
        RunDirectory(tmp_path / "run"),
    ):
        pass
    with RunDirectory(tmp_path / "run"):
        pass


def test_unwritable_place_is_an_error_with_advice(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(RunDirectoryError, match="another run_dir"),
        RunDirectory(tmp_path / "file" / "run"),
    ):
        pass


def test_rows_wait_while_the_disk_is_full(tmp_path, caplog):
    directory = RunDirectory(tmp_path)
    directory.append_log({"step": 1})
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20, limit[1]))
        directory.append_log({"step": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    assert "1 rows of the log wait" in caplog.text
    assert directory.log.read_text() == '{"step": 1}\n'
    directory.append_log({"step": 3})
    steps = [json.loads(line)["step"] for line in directory.log.open()]
    assert steps == [1, 2, 3]


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


def test_how_data_was_read_is_kept_over_several_modes(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.add_reading({}, [])
    assert not directory.results.exists()
    directory.add_reading({"a": {"images": 3}}, [{"path": "x.jpg", "reason": "cut"}])
    directory.add_reading({"b": {"images": 2}}, [{"path": "y.jpg", "reason": "bad"}])
    directory.add_reading({"a": {"images": 4}}, [{"path": "x.jpg", "reason": "cut"}])
    found = directory.read_results()
    assert found["data"] == {"a": {"images": 4}, "b": {"images": 2}}
    assert [row["path"] for row in found["skipped_files"]] == ["x.jpg", "y.jpg"]


@pytest.mark.parametrize("content", [b"", b'{"knn": {"top1"', b"[1]", b"\xff\xfe{}"])
def test_a_damaged_file_costs_what_stood_in_it(tmp_path, caplog, content):
    directory = RunDirectory(tmp_path)
    directory.results.write_bytes(content)
    assert directory.read_results() == {}
    assert "results.json is damaged" in caplog.text
    directory.add_results({"pretrain": {"steps": 3}})
    assert directory.read_results() == {"pretrain": {"steps": 3}}
    assert (tmp_path / "results.json.damaged").read_bytes() == content
    directory.profile.write_bytes(content)
    assert directory.read_profile() is None


def test_a_report_loses_no_score_of_a_process_that_has_the_run(tmp_path):
    """Both read `results.json` and write it; the report takes no lock."""

    def add(name):
        for number in range(100):
            RunDirectory(tmp_path).add_results({name: {str(number): number}})

    # The kernel tells open files apart, not processes.
    with concurrent.futures.ThreadPoolExecutor() as threads:
        list(threads.map(add, "abcd"))
    found = RunDirectory(tmp_path).read_results()
    assert {name: len(rows) for name, rows in found.items()} == dict.fromkeys(
        "abcd", 100
    )
