"""Where the run computes: devices, strategy, precision; the only file to name one."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfssl.errors import ConfigError, message, unknown


def find_devices() -> None:
    """Makes TensorFlow look for its devices now, and say then what it says of them."""
    tf.config.list_physical_devices()


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
                    f"--virtual_devices={count} in a process that runs with {have}",
                    "one number of devices for the life of a process",
                    "a fresh process",
                )
            ) from error


def set_precision(policy: str) -> None:
    """Sets the precision of the layers built from now on.

    Args:
      policy: `"float32"` or `"mixed_bfloat16"`. Weights, losses, statistics of
        BatchNorm and norms of LARS stay float32 in either.
    """
    keras.config.set_dtype_policy(policy)


def _one() -> tf.distribute.Strategy:
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    return tf.distribute.OneDeviceStrategy(f"{kind}:0")


def _mirrored() -> tf.distribute.Strategy:
    gpus = tf.config.list_logical_devices("GPU")
    if gpus:
        return tf.distribute.MirroredStrategy([device.name for device in gpus])
    devices = [device.name for device in tf.config.list_logical_devices("CPU")]
    if len(devices) == 1:
        raise ConfigError(
            message(
                "--strategy=mirrored on a machine with one CPU and no GPU",
                "several devices",
                "--strategy=one, or --virtual_devices=2 to try it on the CPU",
            )
        )
    # On logical CPUs the default, collective ops, breaks as soon as a process
    # makes a second strategy ("Collective ops is aborted by: Shape mismatch").
    return tf.distribute.MirroredStrategy(
        devices, cross_device_ops=tf.distribute.ReductionToOneDevice()
    )


def _auto() -> tf.distribute.Strategy:
    gpus = len(tf.config.list_logical_devices("GPU"))
    cpus = len(tf.config.list_logical_devices("CPU"))
    return _mirrored() if gpus > 1 or (not gpus and cpus > 1) else _one()


STRATEGIES = {"auto": _auto, "one": _one, "mirrored": _mirrored}


def make_strategy(name: str) -> tf.distribute.Strategy:
    """Makes the `tf.distribute` strategy of a run.

    Args:
      name: `"one"` (the first GPU, else the CPU), `"mirrored"` (every GPU of this
        machine, else every logical CPU), or `"auto"` (whichever fits).

    Returns:
      The strategy. Make one per process: collectives do not survive a second.

    Raises:
      ConfigError: The name is unknown, or there is one device only.
    """
    if name not in STRATEGIES:
        raise ConfigError(unknown("--strategy", name, STRATEGIES))
    return STRATEGIES[name]()


def describe_devices(strategy: tf.distribute.Strategy) -> str:
    """One line for the log: what kind of devices, and how many replicas."""
    kind = type(strategy).__name__
    gpus = len(tf.config.list_logical_devices("GPU"))
    what = f"{gpus} GPU" if gpus else "CPU"
    return f"{kind}, {strategy.num_replicas_in_sync} replica(s), {what}"
