import dataclasses
import json

import pytest

from tests.tiny import tiny
from tfssl.config import launch
from tfssl.config.launch import slurm
from tfssl.errors import ConfigError

TWO = ["a:1", "b:1"]


def tf_config(rank, kind="worker", **cluster):
    cluster = cluster or {"worker": TWO}
    task = {"type": kind, "index": rank}
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})}


def test_tf_config_names_rank_and_size():
    cluster = launch.read_cluster(tf_config(1))
    assert (cluster.addresses, cluster.rank, cluster.size) == (("a:1", "b:1"), 1, 2)


def test_a_chief_is_the_first_worker():
    two = {"chief": ["c:1"], "worker": ["a:1"]}
    assert launch.read_cluster(tf_config(0, "chief", **two)).rank == 0
    second = launch.read_cluster(tf_config(0, **two))
    assert (second.rank, second.addresses) == (1, ("c:1", "a:1"))
    task = json.loads(second.tf_config())["task"]
    assert task == {"type": "worker", "index": 1}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"TF_CONFIG": "{"},
        {"TF_CONFIG": "[]"},
        {"TF_CONFIG": "{}"},
        tf_config(2),
        tf_config(-1),
        tf_config(0, "ps"),
        tf_config(0, worker=TWO, ps=["c:1"]),
        tf_config(0, worker=["a:1", "a:1"]),
        tf_config(0, worker=["a"]),
        tf_config(0, worker="ab"),
    ],
)
def test_a_wrong_environment_says_what_to_write(environ):
    with pytest.raises(ConfigError, match="expected .* try .*TF_CONFIG='{"):
        launch.read_cluster(environ)


def slurm_step(rank, nodes, counts, **more):
    return {
        "SLURM_PROCID": str(rank),
        "SLURM_STEP_NODELIST": nodes,
        "SLURM_STEP_TASKS_PER_NODE": counts,
        "SLURM_JOB_ID": "70012",
        **more,
    }


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a", "a"),
        ("a,b", "a b"),
        ("gpu[01-03,7],b", "gpu01 gpu02 gpu03 gpu7 b"),
        ("n[9-11]", "n9 n10 n11"),
        ("r[1-2]n[1-2]", "r1n1 r1n2 r2n1 r2n2"),
        ("n[1-2].local,c-3", "n1.local n2.local c-3"),
    ],
)
def test_lists_of_nodes(text, names):
    assert slurm.expand_hosts(text) == names.split()


@pytest.mark.parametrize("text", ["", "a,,b", "a[1", "a]", "a[x-2]", "a,"])
def test_what_is_no_list_of_nodes(text):
    with pytest.raises(ValueError):
        slurm.expand_hosts(text)


def test_lists_of_counts():
    assert slurm.expand_counts("3(x2),2,1") == [3, 3, 2, 1]
    with pytest.raises(ValueError):
        slurm.expand_counts("3x2")


def test_slurm_ranks_are_srun_s_and_sorting_would_be_wrong():
    step = slurm_step(2, "n[9-10]", "2(x2)")
    cluster = launch.read_cluster(step)
    assert cluster.rank == 2
    assert cluster.addresses == ("n9:20012", "n9:20013", "n10:20012", "n10:20013")
    cyclic = launch.read_cluster(step | {"SLURM_DISTRIBUTION": "cyclic:block"})
    assert cyclic.addresses == ("n9:20012", "n10:20012", "n9:20013", "n10:20013")


def test_tf_config_goes_before_slurm():
    both = tf_config(0) | slurm_step(1, "x,y", "1(x2)")
    assert launch.read_cluster(both).addresses == ("a:1", "b:1")


@pytest.mark.parametrize(
    "change",
    [
        {"SLURM_STEP_NODELIST": "a"},
        {"SLURM_PROCID": "2"},
        {"SLURM_PROCID": "x"},
        {"SLURM_STEP_TASKS_PER_NODE": "2(x2)", "SLURM_DISTRIBUTION": "plane=2"},
    ],
)
def test_slurm_variables_that_contradict_each_other(change):
    with pytest.raises(ConfigError, match="srun --ntasks-per-node=1"):
        launch.read_cluster(slurm_step(0, "a,b", "1(x2)") | change)


def test_problems_of_a_configuration():
    config = tiny("byol", batch_size=17)
    assert launch.problems(config, {}) == []
    config = dataclasses.replace(config, strategy="multiworker")
    assert "TF_CONFIG" in launch.problems(config, {})[0]
    assert "--batch_size=18" in launch.problems(config, tf_config(0))[0]
    even = dataclasses.replace(config, batch_size=16)
    assert launch.problems(even, tf_config(1)) == []


def test_prepare_turns_slurm_into_tf_config():
    config = dataclasses.replace(tiny("byol"), strategy="multiworker")
    environ = slurm_step(1, "a,b", "1(x2)")
    launch.prepare(config, environ)
    written = json.loads(environ["TF_CONFIG"])
    assert written["cluster"]["worker"] == ["a:20012", "b:20012"]
    assert written["task"]["index"] == 1
    alone: dict[str, str] = {}
    launch.prepare(tiny("byol"), alone)
    assert alone == {}


def test_who_does_what():
    config = dataclasses.replace(tiny("byol"), strategy="multiworker")
    chief, other = tf_config(0), tf_config(1)
    for environ in (chief, other):
        assert launch.share(config, "pretrain", environ) is config
    assert launch.share(config, "knn", other) is None
    assert launch.share(config, "knn", chief).strategy == "auto"
    assert launch.share(tiny("byol"), "knn", {}) == tiny("byol")
    assert launch.is_chief(config, chief) and not launch.is_chief(config, other)
