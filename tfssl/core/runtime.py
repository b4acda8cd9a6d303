"""Decides where the run computes: devices, strategy, precision, the host's heap."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
from collections.abc import Iterator

import keras
import tensorflow as tf

from tfssl.config import tables
from tfssl.errors import ConfigError, WorkerError, message

LOCAL_TPU = "local"
"""`--tpu_name` of the TPU of this machine (TPU VM, Colab)."""

_ANY_NUMBER_OF_CORES = 1024
"""TensorFlow takes the host's, if these are fewer."""


def find_devices() -> None:
    """Makes TensorFlow look for its devices now, and say then what it says of them.

    Beside an accelerator the CPU does little but cut views, many images at once; there
    each operation keeps to one thread. Sharing every small one out among the threads
    costs more than it brings (docs/measurements.md).
    """
    tf.config.list_physical_devices()
    if _has_accelerator():
        # It can be said before TensorFlow starts only: by the first of several runs.
        with contextlib.suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(1)


def require_graphs() -> None:
    """Refuses a process in which functions run operation by operation.

    They round otherwise than as graphs, so that the same seed gives other weights, and
    are many times slower.

    Raises:
      ConfigError: So it is.
    """
    if tf.config.functions_run_eagerly():
        raise ConfigError(
            message(
                "tf.config.run_functions_eagerly(True)",
                "functions as graphs, whose numbers are those of every other run",
                "tf.config.run_functions_eagerly(False)",
            )
        )


def _has_accelerator() -> bool:
    return any(tf.config.list_physical_devices(kind) for kind in ("GPU", "TPU"))


def cpu_lanes() -> int:
    """Returns in how many lanes a CPU changes colours; 0 with an accelerator.

    Half of the cores: the others read and cut the next images meanwhile.
    """
    return 0 if _has_accelerator() else max(1, len(os.sched_getaffinity(0)) // 2)


def on_all_cores(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns a data set whose parallel parts use all cores from the start.

    Every one that Python reads goes through here. Otherwise a thread of TensorFlow
    tunes how many calls run at once; it sleeps ever longer, up to a minute, and whoever
    has read the data set then waits, about every second time, until it wakes.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    if hasattr(options.autotune, "initial_parallelism"):  # not so in TensorFlow 2.15
        options.autotune.initial_parallelism = _ANY_NUMBER_OF_CORES
    return dataset.with_options(options)


def split_cpu(count: int) -> None:
    """Splits the CPU into logical devices, so that `mirrored` can be tried anywhere.

    Args:
      count: Number of logical devices, 0 or 1 to leave the CPU whole.

    Raises:
      ConfigError: TensorFlow already runs with another number of devices.
    """
    if count <= 1:
        return
    cpu = tf.config.list_physical_devices("CPU")[0]
    wanted = [tf.config.LogicalDeviceConfiguration() for _ in range(count)]
    try:
        tf.config.set_logical_device_configuration(cpu, wanted)
    except RuntimeError as error:
        have = len(tf.config.list_logical_devices("CPU"))
        if have != count:
            raise ConfigError(
                message(
                    f"virtual_devices={count} in a process that runs with {have}",
                    "one number of devices for the life of a process",
                    "a fresh process",
                )
            ) from error


def set_precision(policy: str) -> None:
    """Sets the precision of the layers built from now on.

    Args:
      policy: `"float32"`, `"mixed_bfloat16"` or `"mixed_float16"`. Weights, losses,
        statistics of BatchNorm and norms of LARS stay float32 in all of them.
    """
    keras.config.set_dtype_policy(policy)


@contextlib.contextmanager
def precision(policy: str) -> Iterator[None]:
    """`set_precision` for the layers built in this context."""
    before = keras.config.dtype_policy()
    set_precision(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def needs_loss_scale() -> bool:
    """Returns whether gradients of the precision set vanish below float16's 6e-8."""
    return keras.config.dtype_policy().compute_dtype == "float16"


def one() -> tf.distribute.Strategy:
    """Returns a strategy of one device: the first GPU, else the CPU."""
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    return tf.distribute.OneDeviceStrategy(f"{kind}:0")


def is_one_cpu(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether a strategy has one replica, on the CPU, and no other worker."""
    if not isinstance(strategy, tf.distribute.OneDeviceStrategy):
        return False
    (device,) = strategy.extended.worker_devices
    return tf.DeviceSpec.from_string(device).device_type == "CPU"


def mirrored() -> tf.distribute.Strategy:
    """Returns a strategy of all GPUs of this machine, else of all logical CPUs."""
    gpus = tf.config.list_logical_devices("GPU")
    if gpus:
        return tf.distribute.MirroredStrategy([device.name for device in gpus])
    devices = [device.name for device in tf.config.list_logical_devices("CPU")]
    if len(devices) == 1:
        raise ConfigError(
            message(
                "strategy=mirrored on a machine with one CPU and no GPU",
                "several devices",
                "strategy=one, or virtual_devices=2 to try it on the CPU",
            )
        )
    # On logical CPUs the default, collective ops, breaks as soon as a process
    # makes a second strategy ("Collective ops is aborted by: Shape mismatch").
    return tf.distribute.MirroredStrategy(
        devices, cross_device_ops=tf.distribute.ReductionToOneDevice()
    )


def auto() -> tf.distribute.Strategy:
    """Returns whichever of `one` and `mirrored` fits."""
    gpus = len(tf.config.list_logical_devices("GPU"))
    cpus = len(tf.config.list_logical_devices("CPU"))
    return mirrored() if gpus > 1 or (not gpus and cpus > 1) else one()


def multiworker() -> tf.distribute.Strategy:
    """Returns a strategy of all devices of all workers."""
    # Reads TF_CONFIG, which `tfssl.config.launch` has made sure of.
    return tf.distribute.MultiWorkerMirroredStrategy()


def tpu(name: str) -> tf.distribute.Strategy:
    """Returns a strategy of all cores of a TPU."""
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
        if name != LOCAL_TPU:
            tf.config.experimental_connect_to_cluster(resolver)
        topology = tf.tpu.experimental.initialize_tpu_system(resolver)
        cores = resolver.get_tpu_system_metadata().num_cores
    except (ValueError, RuntimeError, OSError, tf.errors.OpError) as error:
        raise ConfigError(
            message(
                f"strategy=tpu tpu_name={name} on a machine where TensorFlow "
                f"{tf.__version__} reaches no TPU ({str(error).strip()[:300]})",
                "a TPU that no other process (JAX, another run) holds",
                "on a TPU VM or Colab: the TPU runtime, requirements-tpu.txt, and "
                "ending other programs; elsewhere strategy=auto",
            )
        ) from error
    if not cores:
        raise ConfigError(
            message(
                f"strategy=tpu on a machine where TensorFlow {tf.__version__} sees "
                "no TPU core",
                "at least one",
                "pip install -r requirements-tpu.txt in a fresh environment: stock "
                "tensorflow over tensorflow-tpu sees the CPU only",
            )
        )
    assignment = tf.tpu.experimental.DeviceAssignment.build(
        topology, num_replicas=cores
    )
    return tf.distribute.TPUStrategy(
        resolver, experimental_device_assignment=assignment
    )


def make_strategy(name: str, tpu_name: str = LOCAL_TPU) -> tf.distribute.Strategy:
    """Makes the `tf.distribute` strategy of a run.

    Args:
      name: `"one"` (the first GPU, else the CPU), `"mirrored"` (every GPU of this
        machine, else every logical CPU), `"auto"` (whichever of them fits), or
        `"multiworker"` (every GPU of every worker in TF_CONFIG, else one CPU each;
        before any other use of TensorFlow), or `"tpu"`.
      tpu_name: Which TPU, for `"tpu"`.

    Returns:
      The strategy. Make one per process: collectives do not survive a second.

    Raises:
      ConfigError: The name is unknown, there is one device only, or no TPU.
    """
    make = tables.find(tables.STRATEGIES, "strategy", name)
    return make(*([tpu_name] if name == "tpu" else []))


def feeds_itself(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether this process makes its batches, not a remote TPU's host."""
    resolver = strategy.cluster_resolver
    on_tpu = isinstance(strategy, tf.distribute.TPUStrategy)
    return not (on_tpu and resolver and resolver.master())


def num_workers(strategy: tf.distribute.Strategy) -> int:
    """Returns the number of processes that train together, >= 1."""
    resolver = strategy.cluster_resolver
    workers = resolver.cluster_spec().as_dict() if resolver else {}
    return max(1, sum(len(tasks) for tasks in workers.values()))


@contextlib.contextmanager
def lost_workers_named(run_dir: str, *, several: bool) -> Iterator[None]:
    """Turns TensorFlow's many errors about a lost worker into one that says what to do.

    Args:
      run_dir: Where the last checkpoint is.
      several: There are other workers that can be lost.

    Raises:
      WorkerError: An operation between workers failed, as it does within seconds on
        all of them when one is killed or loses its network.
    """
    try:
        yield
    except (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
        tf.errors.InternalError,
        tf.errors.UnknownError,
    ) as error:
        text = " ".join(str(error).split())
        found = _OF_WORKERS.search(text)
        if not (several and found):
            raise
        # An error inside a graph begins with the Python stack of its operation.
        reason = text[max(0, found.start() - 40) :][:200]
        raise WorkerError(
            message(
                f"a worker that is gone or out of reach ({reason})",
                "all workers of strategy=multiworker until the end",
                "starting all of them again with the same command: they continue from "
                f"the last checkpoint in {run_dir}",
            )
        ) from error


_OF_WORKERS = re.compile(
    r"/job:worker|/task:|unhealthy|[Cc]ollective ops|heartbeat|Socket closed"
    r"|Connection (reset|refused)|failed to connect|coordination"
)


def describe_devices(strategy: tf.distribute.Strategy) -> str:
    """Writes a line for the log: what kind of devices, and how many replicas."""
    kind = type(strategy).__name__
    replicas, workers = strategy.num_replicas_in_sync, num_workers(strategy)
    where = f" of {workers} workers" if workers > 1 else ""
    counts = {
        device: len(tf.config.list_logical_devices(device)) for device in ("TPU", "GPU")
    }
    what = ", ".join(f"{count} {device}" for device, count in counts.items() if count)
    return f"{kind}, {replicas} replica(s){where}, {what or 'CPU'}"


def trim_heap() -> None:
    """Returns freed memory to the system, for what other threads will need.

    glibc keeps an arena for each thread, and TensorFlow restores weights in threads of
    its own, which do not find what the main thread has freed. Other C libraries have no
    `malloc_trim`; there nothing happens.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
