"""Self-supervised image representations in TensorFlow: BYOL, SimCLR and MoCo.

Nothing here loads TensorFlow before it is used:

* `pretrain`, `convert`, `finetune` train or import a run; each returns a `Trained`;
* `load(path)` is the `Trained` of a run directory: `encoder`, `features`, `classify`;
* `knn`, `linear`, `export`, `report`, `doctor` look at a run, or at data;
* `embed` writes a data set's vectors, `search` and `select` look into them;
* `transfer` compares encoders on other data sets;
* `TfsslError` and its kinds are what they raise, `Stopped` what ctrl-C becomes.

`tfssl.api` describes them; networks, losses and optimisers are in the packages below.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from tfssl.api import (
        convert,
        detect,
        distill,
        doctor,
        embed,
        export,
        finetune,
        knn,
        linear,
        load,
        pretrain,
        report,
        search,
        segment,
        select,
        supervised,
        transfer,
    )
    from tfssl.build import Trained
    from tfssl.errors import (
        CheckpointError,
        ConfigError,
        DataError,
        DivergenceError,
        RunDirectoryError,
        Stopped,
        TfsslError,
        WorkerError,
    )

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DivergenceError",
    "RunDirectoryError",
    "Stopped",
    "TfsslError",
    "Trained",
    "WorkerError",
    "convert",
    "detect",
    "distill",
    "doctor",
    "embed",
    "export",
    "finetune",
    "knn",
    "linear",
    "load",
    "pretrain",
    "report",
    "search",
    "segment",
    "select",
    "supervised",
    "transfer",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'tfssl' has no attribute {name!r}")
    errors = name.endswith("Error") or name == "Stopped"
    home = "errors" if errors else "build" if name == "Trained" else "api"
    return getattr(importlib.import_module(f"tfssl.{home}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
