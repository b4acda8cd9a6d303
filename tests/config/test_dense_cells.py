"""Dense tasks from several starts: which trainings, with whose flags."""

import pytest

from tfssl.config import Config, resolve
from tfssl.config import command_line as cli
from tfssl.config.complete import completed
from tfssl.config.dense_cells import cell, cell_name, is_table, starts
from tfssl.config.flagfile import to_flagfile
from tfssl.config.inherit import stored_config
from tfssl.config.rules import validate
from tfssl.errors import ConfigError

TASK = ["--mode=segment", "--dataset=shapes:40", "--image_size=64", "--dense_seeds=3"]


@pytest.fixture
def runs(tmp_path):
    """A MoCo run and a BYOL run of another network."""
    for name, flags in (
        ("a", {"method": "moco", "encoder": "resnet18x0.25"}),
        ("b", {"method": "byol", "encoder": "resnet10x0.25"}),
    ):
        (tmp_path / name).mkdir()
        own = resolve(Config(run_dir=name, image_size=32, dataset="shapes:9", **flags))
        (tmp_path / name / "flags.cfg").write_text(to_flagfile(own))
    return tmp_path


def command(folder, *more):
    words = [*TASK, f"--run_dir={folder / 'table'}", *more]
    return completed(cli.parse(["tfssl", *words]))


def test_each_start_keeps_its_network_and_all_have_one_task(runs):
    a, b = f"{runs}/a", f"{runs}/b"
    config = command(runs, f"--dense_runs={a},{b},random", "--seed=4")
    assert is_table(config)
    # What is not given, and the network of random weights, is the first run's.
    assert (config.init_from, config.encoder) == (a, "resnet18x0.25")
    assert starts(config, "segment") == (a, b, "random")
    assert validate(config) == []
    known = {a: stored_config(a), b: stored_config(b), "random": None}
    cells = [cell(config, "segment", start, 5, known[start]) for start in known]
    assert [c.encoder for c in cells] == [
        "resnet18x0.25",
        "resnet10x0.25",
        "resnet18x0.25",
    ]
    assert [c.encoder_family for c in cells] == ["moco", "byol", "moco"]
    assert [c.segment_weights for c in cells] == ["trained", "trained", "random"]
    assert [c.init_from for c in cells] == [a, b, ""]
    for one in cells:
        assert not is_table(one)
        assert (one.dataset, one.image_size, one.seed) == ("shapes:40", 64, 5)
        assert validate(one) == []
    folders = {one.run_dir for one in cells}
    assert len(folders) == 3
    assert f"{runs}/table/segment_runs/random-seed-5" in folders


def test_random_weights_need_no_run(tmp_path):
    network = ["--encoder=resnet18x0.25", "--method=moco"]
    config = command(tmp_path, *network, "--dense_runs=random")
    assert (config.segment_weights, config.init_from) == ("random", "")
    alone = command(tmp_path, *network, "--segment_weights=random")
    assert starts(alone, "segment") == ("random",)
    assert is_table(alone)
    assert len(cell_name("x" * 300, 0)) < 120


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--dense_runs={a},{a}/"], "each start once"),
        (["--dense_runs={a},{none}"], "--dense_runs={a},{none}: {none} is not there"),
        (["--dense_runs={a}", "--segment_weights=random"], "random among the starts"),
        (["--dense_runs={a},random", "--freeze=P3"], "a frozen part that has learned"),
        (["--dense_runs={a}", "--mode=segment,export"], "leaves no run to go on with"),
        (
            ["--dense_runs={a}", "--mode=knn", "--init_from={a}"],
            "--mode=detect or segment, which alone",
        ),
    ],
)
def test_what_is_no_table(runs, more, words):
    where = {"a": f"{runs}/a", "none": f"{runs}/none"}
    with pytest.raises(ConfigError) as caught:
        command(runs, *(word.format(**where) for word in more))
    assert words.format(**where) in str(caught.value)
