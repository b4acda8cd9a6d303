"""Who the workers of a run are, from TF_CONFIG or from SLURM's variables."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

from tfssl.config.launch import slurm
from tfssl.errors import ConfigError, message

EXAMPLE = (
    '{"cluster": {"worker": ["host0:12345", "host1:12345"]},'
    ' "task": {"type": "worker", "index": 0}}'
)


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The worker processes of a run, in the order of their ranks.

    Attributes:
      addresses: `host:port` of every worker, the same on all of them.
      rank: Which of them this process is; 0 is the chief, who alone writes.
    """

    addresses: tuple[str, ...]
    rank: int

    @property
    def size(self) -> int:
        """Number of workers, >= 1."""
        return len(self.addresses)

    def tf_config(self) -> str:
        """The JSON text that `MultiWorkerMirroredStrategy` reads from TF_CONFIG."""
        return json.dumps(
            {
                "cluster": {"worker": list(self.addresses)},
                "task": {"type": "worker", "index": self.rank},
            }
        )


def read_cluster(environ: Mapping[str, str]) -> Cluster:
    """Reads TF_CONFIG, else the variables that `srun` sets.

    A task called "chief" is the first worker, as in TensorFlow's own examples.

    Args:
      environ: Environment variables.

    Raises:
      ConfigError: Neither is there, or it does not describe this process.
    """
    text = environ.get("TF_CONFIG", "")
    if text:
        return _from_tf_config(text)
    if "SLURM_PROCID" in environ:
        return Cluster(*slurm.workers(environ))
    raise ConfigError(
        message(
            "--strategy=multiworker without TF_CONFIG and outside of srun",
            "one process per worker, each told of all of them",
            f"TF_CONFIG='{EXAMPLE}' (index 1 on the second), or srun, or "
            "--strategy=mirrored on one machine",
        )
    )


def _from_tf_config(text: str) -> Cluster:
    try:
        content = json.loads(text)
        jobs, task = content["cluster"], content["task"]
        kind, index = task["type"], int(task["index"])
        addresses = [*jobs.get("chief", []), *jobs["worker"]]
        own = jobs[kind][index] if index >= 0 else None
        well_formed = (
            set(jobs) <= {"chief", "worker"}
            and all(isinstance(a, str) and ":" in a for a in addresses)
            and len(set(addresses)) == len(addresses)
        )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        well_formed, own = False, None
    if not well_formed or own not in addresses:
        raise ConfigError(
            message(
                f"TF_CONFIG={text}",
                "workers only (no ps, no evaluator), each host:port once, and a task "
                "that is one of them",
                f"TF_CONFIG='{EXAMPLE}'",
            )
        )
    return Cluster(tuple(addresses), addresses.index(own))
