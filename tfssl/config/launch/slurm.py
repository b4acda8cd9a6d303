"""The workers of a SLURM job step, from the variables that `srun` sets.

TensorFlow's `SlurmClusterResolver` is not used: it asks `nvidia-smi` and so fails
without NVIDIA GPUs, takes port 8888 so that two jobs on one node collide, and sorts
the hosts by name, which need not be SLURM's order of the ranks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tfssl.errors import ConfigError, message

_FIRST_PORT, _PORTS = 20_000, 10_000
_NODE = re.compile(r"[^,\[\]]*(?:\[[^\]]+\][^,\[\]]*)*")


def workers(environ: Mapping[str, str]) -> tuple[tuple[str, ...], int]:
    """Addresses of all tasks of the job step, and this one's rank.

    The port of a task is a function of the job's and the step's number and of its
    place on its node, so that jobs which share a node do not collide.

    Args:
      environ: With SLURM_PROCID, SLURM_STEP_NODELIST, SLURM_STEP_TASKS_PER_NODE, and
        SLURM_DISTRIBUTION where it is not "block".

    Returns:
      (`host:port` by rank, rank).

    Raises:
      ConfigError: A variable is missing or malformed.
    """
    try:
        rank = int(environ["SLURM_PROCID"])
        hosts = expand_hosts(environ["SLURM_STEP_NODELIST"])
        counts = expand_counts(environ["SLURM_STEP_TASKS_PER_NODE"])
        job = int(environ.get("SLURM_JOB_ID", 0)) + int(environ.get("SLURM_STEP_ID", 0))
        if len(hosts) != len(counts) or not 0 <= rank < sum(counts):
            raise ValueError(f"{len(hosts)} nodes, tasks {counts}, rank {rank}")
        places = _places(counts, environ.get("SLURM_DISTRIBUTION", "block"))
    except (KeyError, ValueError) as error:
        raise ConfigError(
            message(
                f"SLURM variables that do not describe a job step ({error!r})",
                "SLURM_PROCID, SLURM_STEP_NODELIST and SLURM_STEP_TASKS_PER_NODE",
                "starting the program by srun --ntasks-per-node=1, or TF_CONFIG",
            )
        ) from error
    first = _FIRST_PORT + job % _PORTS
    return tuple(f"{hosts[node]}:{first + place}" for node, place in places), rank


def expand_hosts(text: str) -> list[str]:
    """Names of `node[01-03,7],gpu5`, in SLURM's order: node01 node02 node03 node7 gpu5.

    Raises:
      ValueError: The text is not a list of nodes.
    """
    hosts: list[str] = []
    position = 0
    while position <= len(text):
        match = _NODE.match(text, position)
        if not match or not match[0]:
            raise ValueError(f"node list {text!r}")
        hosts += _expand(match[0])
        position = match.end() + 1
        if position <= len(text) and text[match.end()] != ",":
            raise ValueError(f"node list {text!r}")
    return hosts


def _expand(name: str) -> list[str]:
    """One name with any number of `[...]`; the last one counts fastest."""
    before, bracket, rest = name.partition("[")
    if not bracket:
        return [name]
    ranges, _, after = rest.partition("]")
    found = []
    for part in ranges.split(","):
        low, _, high = part.partition("-")
        for number in range(int(low), int(high or low) + 1):
            found += [f"{before}{number:0{len(low)}d}{tail}" for tail in _expand(after)]
    return found


def expand_counts(text: str) -> list[int]:
    """Tasks of each node from `2(x3),1`: 2 2 2 1.

    Raises:
      ValueError: The text is not such a list.
    """
    counts: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        if not match:
            raise ValueError(f"tasks per node {text!r}")
        counts += [int(match[1])] * int(match[2] or 1)
    return counts


def _places(counts: list[int], distribution: str) -> list[tuple[int, int]]:
    """(node, place on the node) of every rank."""
    block = [(node, i) for node, count in enumerate(counts) for i in range(count)]
    kind = distribution.lower().partition(":")[0]
    if kind == "cyclic":
        return sorted(block, key=lambda at: (at[1], at[0]))
    if kind == "block" or max(counts) == 1:
        return block
    raise ValueError(f"SLURM_DISTRIBUTION={distribution}")
