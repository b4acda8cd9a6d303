"""Strategies and devices, with TensorFlow's TPU calls stood in for."""

import os
import types

import pytest
import tensorflow as tf

from tfssl.core import runtime
from tfssl.errors import ConfigError, WorkerError


class Resolver:
    """Stands in for TPUClusterResolver."""

    cores = 4
    error: Exception | None = None

    def __init__(self, tpu):
        if self.error:
            raise self.error
        self.tpu = tpu

    def get_tpu_system_metadata(self):
        return types.SimpleNamespace(num_cores=self.cores)


@pytest.fixture
def calls(monkeypatch):
    """The calls to TensorFlow's TPU functions, none of which runs."""
    seen = []
    monkeypatch.setattr(Resolver, "cores", 4)
    monkeypatch.setattr(Resolver, "error", None)
    distribute, tpu = tf.distribute, tf.tpu.experimental
    monkeypatch.setattr(distribute.cluster_resolver, "TPUClusterResolver", Resolver)

    def note(owner, name, result):
        def call(*args, **kwargs):
            seen.append((name, args, kwargs))
            return result

        monkeypatch.setattr(owner, name, call)

    note(tf.config, "experimental_connect_to_cluster", None)
    note(tpu, "initialize_tpu_system", "topology")
    note(tpu.DeviceAssignment, "build", "assignment")
    note(distribute, "TPUStrategy", "strategy")
    return seen


def test_the_local_tpu_is_initialised_and_all_its_cores_are_replicas(calls):
    assert runtime.make_strategy("tpu") == "strategy"
    assert [name for name, *_ in calls] == [
        "initialize_tpu_system",
        "build",
        "TPUStrategy",
    ]
    assert calls[1][1:] == (("topology",), {"num_replicas": 4})
    assert calls[2][2] == {"experimental_device_assignment": "assignment"}
    assert calls[0][1][0].tpu == "local"


def test_a_named_tpu_is_connected_to_first(calls):
    runtime.make_strategy("tpu", "node-1")
    assert calls[0][0] == "experimental_connect_to_cluster"
    assert calls[0][1][0].tpu == "node-1"


def test_no_tpu_says_what_to_do(calls, monkeypatch):
    monkeypatch.setattr(
        Resolver, "error", tf.errors.NotFoundError(None, None, "'ConfigureDistributed'")
    )
    with pytest.raises(ConfigError, match="reaches no TPU .*Configure.*requirements"):
        runtime.make_strategy("tpu")
    monkeypatch.setattr(Resolver, "error", None)
    monkeypatch.setattr(Resolver, "cores", 0)
    with pytest.raises(ConfigError, match="no TPU core.*requirements-tpu.txt"):
        runtime.make_strategy("tpu")


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match="strategy=mirrored"):
        runtime.make_strategy("mirored")


def test_one_process_is_one_worker():
    strategy = runtime.make_strategy("one")
    assert runtime.num_workers(strategy) == 1
    assert "1 replica(s), CPU" in runtime.describe_devices(strategy)


def test_a_lost_worker_is_one_error_that_says_what_to_do():
    lost = tf.errors.UnavailableError(
        None, None, "Collective ops is aborted by: \n tasks are unhealthy"
    )
    with (
        pytest.raises(WorkerError, match="starting all .* last checkpoint in runs/a"),
        runtime.lost_workers_named("runs/a", several=True),
    ):
        raise lost
    with (
        pytest.raises(tf.errors.InternalError),
        runtime.lost_workers_named("runs/a", several=True),
    ):
        raise tf.errors.InternalError(None, None, "out of something")


def test_without_other_workers_none_is_lost():
    # Every error of a graph names /job:localhost/replica:0/task:0.
    error = tf.errors.UnknownError(None, None, "/job:localhost/task:0 broke")
    with (
        pytest.raises(tf.errors.UnknownError),
        runtime.lost_workers_named("runs/a", several=False),
    ):
        raise error


def test_what_happened_to_a_worker_is_not_lost_behind_a_stack():
    stack = 'Graph execution error: File "a.py", line 1, in f ' * 20
    lost = tf.errors.UnavailableError(None, None, stack + "Socket closed by /task:1")
    with (
        pytest.raises(WorkerError, match="Socket closed by /task:1"),
        runtime.lost_workers_named("runs/a", several=True),
    ):
        raise lost


@pytest.mark.parametrize(("kinds", "threads"), [(["CPU"], 0), (["CPU", "GPU"], 1)])
def test_beside_an_accelerator_an_operation_keeps_to_one_thread(
    monkeypatch, kinds, threads
):
    found = []
    monkeypatch.setattr(
        tf.config, "list_physical_devices", lambda kind=None: [kind] * (kind in kinds)
    )
    monkeypatch.setattr(
        tf.config.threading, "set_intra_op_parallelism_threads", found.append
    )
    runtime.find_devices()
    assert found == [threads] * bool(threads)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)))
    assert runtime.cpu_lanes() == (0 if threads else 3)


@pytest.mark.parametrize(
    ("master", "itself"), [("", True), ("grpc://10.1.2.3:8470", False)]
)
def test_the_host_of_a_remote_tpu_makes_its_batches(monkeypatch, master, itself):
    class Tpu:
        cluster_resolver = types.SimpleNamespace(master=lambda: master)

    monkeypatch.setattr(tf.distribute, "TPUStrategy", Tpu)
    assert runtime.feeds_itself(Tpu()) is itself


def test_this_process_makes_the_batches_of_its_own_devices():
    for name in ("one", "auto"):
        assert runtime.feeds_itself(runtime.make_strategy(name))
