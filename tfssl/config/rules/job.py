"""Rules on what to do and where to write it."""

from __future__ import annotations

from collections.abc import Iterator

from tfssl.config.config import Config, modes
from tfssl.config.method_row import Rule
from tfssl.config.remote import is_remote
from tfssl.config.tasks import TASKS
from tfssl.errors import message, unknown


def _mode(config: Config) -> Iterator[str]:
    names = modes(config)
    if not names:
        known = ", ".join(TASKS)
        yield message("--mode without a mode", f"one of {known}", "--mode=pretrain")
    for name in names:
        if name not in TASKS:
            yield unknown("--mode", name, TASKS)
    trained = [name for name in names if name not in TASKS or not TASKS[name].first]
    if "pretrain" in trained[1:] and "convert" not in names:
        yield message(
            f"--mode={config.mode}",
            "pretrain first: the other modes need what it trains",
            "--mode=" + ",".join(sorted(names, key=lambda name: name != "pretrain")),
        )


def _run_dir(config: Config) -> Iterator[str]:
    if not config.run_dir:
        yield message("no --run_dir", "a folder for this run", "--run_dir=runs/first")
    if is_remote(config.run_dir) and not config.run_dir.partition("://")[2].strip("/"):
        yield message(
            f"--run_dir={config.run_dir}",
            "a folder for this run behind it",
            f"--run_dir={config.run_dir.partition('://')[0]}://BUCKET/runs/first",
        )


def _seeds(config: Config) -> Iterator[str]:
    """The last of several seeds is one, too."""
    last = config.specs["seed"].high or 0
    for flag in ("label_seeds", "dense_seeds"):
        count = getattr(config, flag)
        if config.seed <= last < config.seed + count - 1:
            yield message(
                f"--seed={config.seed} with --{flag}={count}",
                f"seeds up to {last:.10g}",
                f"--seed={last - count + 1:.10g} or less",
            )


FIELD_RULES: tuple[Rule, ...] = (_mode, _run_dir, _seeds)
RULES: tuple[Rule, ...] = ()
