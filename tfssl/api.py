"""tfssl in Python: every mode as a function, with every flag as a keyword.

`import tfssl` names what is here, and loads TensorFlow with the first call::

    run = tfssl.pretrain(run_dir="runs/a", dataset="folder:photos", method="byol")
    run.features(images)                     # [n, S, S, 3] in [0, 1] -> [n, F]
    tfssl.knn(run_dir="runs/a").metrics["top1"]
    tuned = tfssl.finetune(run_dir="runs/a", label_fraction=0.1)
    tuned.classify("folder:new_photos")

A flag that is not given means what it means on the command line: the run directory's
own, or the method's default. Errors are exceptions (`tfssl.ConfigError` and the other
`tfssl.TfsslError`s). Ctrl-C ends a training after a checkpoint with a
`KeyboardInterrupt` (`tfssl.Stopped`); the same call goes on from there.
"""

from __future__ import annotations

import difflib
import numbers
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tfssl.config import Config
from tfssl.config.config import specs
from tfssl.config.flagfile import parse_values
from tfssl.config.inherit import Parsed
from tfssl.config.wording import without_dashes
from tfssl.errors import ConfigError, message

if TYPE_CHECKING:
    from tfssl.build import Trained
    from tfssl.runs.scores import Score


def pretrain(*, run_dir: str | os.PathLike, **flags: Any) -> Trained:
    """Trains a method in `run_dir`, or goes on with the training in it."""
    return _trained("pretrain", run_dir, flags)


def convert(*, run_dir: str | os.PathLike, source: str, **flags: Any) -> Trained:
    """Imports published weights, `source="KIND:PATH"`, into `run_dir`."""
    return _trained("convert", run_dir, flags | {"source": source})


def finetune(*, run_dir: str | os.PathLike, **flags: Any) -> Trained:
    """Trains the whole network on labels; returns the run in `run_dir/finetune`.

    With several `label_fraction`s or `label_seeds` the list of the curves so far, as
    the other functions that learn from labels.
    """
    return _trained("finetune", run_dir, flags)


def supervised(*, run_dir: str | os.PathLike, **flags: Any) -> Trained:
    """Trains a fine-tuning's task from the seed; returns `run_dir/supervised`."""
    return _trained("supervised", run_dir, flags, "supervised")


def distill(*, run_dir: str | os.PathLike, **flags: Any) -> Trained:
    """Trains a student on what `teacher` says; returns the run in `run_dir/distill`."""
    return _trained("distill", run_dir, flags)


def detect(*, run_dir: str | os.PathLike, **flags: Any) -> Score | list[Score]:
    """Learns boxes and their classes in `run_dir/detect`; returns its score.

    With several `dense_runs` or `dense_seeds` the list of scores, one a start.
    """
    return _value("detect", run_dir, flags)


def segment(*, run_dir: str | os.PathLike, **flags: Any) -> Score | list[Score]:
    """Learns the class of every pixel in `run_dir/segment`; returns its score.

    With several `dense_runs` or `dense_seeds` the list of scores, one a start.
    """
    return _value("segment", run_dir, flags)


def knn(*, run_dir: str | os.PathLike, **flags: Any) -> Score:
    """Scores the run by nearest neighbours."""
    return _value("knn", run_dir, flags)


def linear(*, run_dir: str | os.PathLike, **flags: Any) -> Score:
    """Scores the run by a linear classifier on its frozen encoder."""
    return _value("linear", run_dir, flags)


def export(*, run_dir: str | os.PathLike, **flags: Any) -> str:
    """Writes the run for other programs; returns the path."""
    return _value("export", run_dir, flags)


def report(*, run_dir: str | os.PathLike, **flags: Any) -> str:
    """Writes a page about the run; returns its path."""
    return _value("report", run_dir, flags)


def doctor(*, run_dir: str | os.PathLike, **flags: Any) -> dict[str, Any]:
    """Looks at the data before a training; returns what `doctor.json` holds."""
    return _value("doctor", run_dir, flags)


def embed(*, run_dir: str | os.PathLike, **flags: Any) -> str:
    """Writes the vectors of a data set; returns the folder, see `Embeddings`."""
    return _value("embed", run_dir, flags)


def search(*, run_dir: str | os.PathLike, **flags: Any) -> Any:
    """Searches in vectors; returns the folder of what was found, or a `Score`."""
    return _value("search", run_dir, flags)


def select(*, run_dir: str | os.PathLike, select: int, **flags: Any) -> str:
    """Chooses images to label; returns the path of the list."""
    return _value("select", run_dir, flags | {"select": select})


def transfer(
    *, run_dir: str | os.PathLike, transfer: Sequence[str] | str, **flags: Any
) -> dict[str, Any]:
    """Compares encoders on data sets; returns what `transfer/table.json` holds."""
    return _value("transfer", run_dir, flags | {"transfer": transfer})


def load(path: str | os.PathLike) -> Trained:
    """Loads a trained run, or a checkpoint in one, by its own flags.

    Raises:
      CheckpointError: There is no run, or no whole checkpoint.
    """
    from tfssl import tasks

    tasks.prepare(Config())
    from tfssl.build import load as load_run

    return load_run(os.fspath(path))


def _trained(
    mode: str, run_dir: str | os.PathLike, flags: dict[str, Any], folder: str = ""
) -> Any:
    config, values = _run(mode, run_dir, flags)
    if values and values[-1] is not None:
        return values[-1]  # of a curve, which leaves no run
    return load(f"{config.run_dir}/{folder}" if folder else config.run_dir)


def _value(mode: str, run_dir: str | os.PathLike, flags: dict[str, Any]) -> Any:
    _, values = _run(mode, run_dir, flags)
    return values[-1] if values else None  # None on a worker that is not the chief


def _run(
    mode: str, run_dir: str | os.PathLike, flags: dict[str, Any]
) -> tuple[Config, list[Any]]:
    from tfssl import tasks

    try:
        given = _given({**flags, "run_dir": run_dir})
        config = Config(**{**given, "mode": mode})
        return tasks.run(Parsed(config, frozenset({*given, "mode"})))
    except ConfigError as error:
        raise ConfigError([without_dashes(text) for text in error.problems]) from None


def _given(flags: dict[str, Any]) -> dict[str, Any]:
    """The flags given, each of its kind; all problems at once."""
    known = specs(str(flags.get("method") or ""))
    strange = [name for name in flags if name not in known or name == "mode"]
    texts, problems = {}, [_unknown(name, known) for name in strange]
    for name, value in flags.items():
        if name not in strange and value is not None:
            try:
                texts[name] = _text(name, value)
            except ConfigError as error:
                problems += error.problems
    found, wrong = parse_values(texts, known)
    problems += wrong
    if problems:
        raise ConfigError(problems)
    return found


def _text(name: str, value: Any) -> str:
    """A value as a command line has it: `[0.1, 1]` is `0.1,1`.

    Raises:
      ConfigError: Python would write its type, not what it holds.
    """
    dimensions = getattr(value, "ndim", None)  # NumPy's; it is not loaded for this
    if isinstance(value, list | tuple | range) or dimensions == 1:
        return ",".join(_text(name, each) for each in value)
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    written = isinstance(value, str | numbers.Number)
    if not written and not (dimensions == 0 and hasattr(value, "item")):
        raise ConfigError(
            message(
                f"{name}={str(value)[:80]}, of type {type(value).__name__}",
                "a text, a number, a path, or a list of those",
                f"{name}=str(…), or list(…)",
            )
        )
    return str(value)


def _unknown(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    hint = " or ".join(near) or "one that `tfssl --help` lists"
    return message(f"the unknown argument {name}", "the name of a flag", hint)
