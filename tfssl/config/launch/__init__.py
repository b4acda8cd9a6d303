"""Workers and devices that a process must know before TensorFlow loads.

`problems` finds what is wrong with the environment, so that it is reported with the
wrong flags; `prepare` sets what TensorFlow reads once, when it loads.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, MutableMapping

from tfssl.config.config import Config
from tfssl.config.launch import tpu
from tfssl.config.launch.cluster import Cluster, read_cluster
from tfssl.config.tasks import TASKS
from tfssl.errors import ConfigError, message

MULTIWORKER = "multiworker"
TPU = "tpu"


def problems(config: Config, environ: Mapping[str, str]) -> list[str]:
    """Returns what the environment lacks for `--strategy`, a sentence each.

    Args:
      config: Resolved configuration.
      environ: `os.environ`.
    """
    if config.strategy == TPU:
        return tpu.problems(tpu.installed())
    if config.strategy != MULTIWORKER:
        return []
    try:
        size = read_cluster(environ).size
    except ConfigError as error:
        return error.problems
    if config.batch_size % size == 0:
        return []
    return [
        message(
            f"--batch_size={config.batch_size} on {size} workers",
            f"a multiple of {size}: every worker reads as many images",
            f"--batch_size={-(-config.batch_size // size) * size}",
        )
    ]


def prepare(config: Config, environ: MutableMapping[str, str]) -> None:
    """Sets what TensorFlow reads of a strategy when it loads.

    Raises:
      ConfigError: What `problems` would report.
    """
    if config.strategy == MULTIWORKER:
        environ["TF_CONFIG"] = read_cluster(environ).tf_config()
    if config.strategy == TPU:
        tpu.prepare(environ)


def is_chief(config: Config, environ: Mapping[str, str]) -> bool:
    """Returns True in the process that writes the run directory, one of all workers."""
    return config.strategy != MULTIWORKER or read_cluster(environ).rank == 0


def share(config: Config, mode: str, environ: Mapping[str, str]) -> Config | None:
    """Returns the part of a mode that this process does.

    Workers join in tasks with `all_workers`. The other modes are the chief's, on the
    devices of its own machine: so each example is evaluated exactly once.

    Returns:
      The configuration to run the mode with, or None to leave it to the chief.
    """
    if config.strategy != MULTIWORKER or TASKS[mode].all_workers:
        return config
    if not is_chief(config, environ):
        return None
    return dataclasses.replace(config, strategy="auto")


__all__ = ["Cluster", "is_chief", "prepare", "problems", "read_cluster", "share"]
