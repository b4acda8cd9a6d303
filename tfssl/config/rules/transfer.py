"""Rules on the data sets to transfer to, and on features that are kept."""

from __future__ import annotations

from collections.abc import Iterator

from tfssl.config import dataset_name
from tfssl.config.config import Config, modes
from tfssl.config.method_row import Rule
from tfssl.config.remote import is_remote, same_place
from tfssl.config.transfer_sets import SUITE, chosen_sets
from tfssl.errors import ConfigError, message


def _sets(config: Config) -> Iterator[str]:
    if "transfer" not in modes(config):
        return
    if not config.transfer:
        yield message(
            "--mode=transfer without --transfer",
            f"data sets: papers, {', '.join(SUITE)}, or folder:DIR, list:FILE, …",
            "--transfer=cifar10,folder:photos",
        )
    try:
        chosen = chosen_sets(config.transfer, config.data_dir)
    except ConfigError as error:
        yield from error.problems
        return
    for row in chosen:
        if len(row.sources) > 1:
            continue  # of the twelve: passed over where it is not there
        for path in dataset_name.missing(row.sources[0], config.data_dir):
            yield message(
                f"--transfer={row.sources[0]}: {path} is not there",
                "a path on this machine",
                "a path that exists",
            )


def _runs(config: Config) -> Iterator[str]:
    """An encoder that stands there twice is ranked against itself."""
    if "transfer" not in modes(config):
        return
    seen = [config.init_from or config.run_dir]
    for path in config.transfer_runs:
        if path in seen or any(same_place(path, other) for other in seen):
            yield message(
                f"--transfer_runs={config.text('transfer_runs')}: {path} twice, or the "
                "run that the command is about, which is in the table anyway",
                "other runs, each once",
                f"leaving {path} away once",
            )
        seen.append(path)


def _shots(config: Config) -> Iterator[str]:
    for count in config.transfer_shots:
        if not (count >= 1 and float(count).is_integer()):
            yield message(
                f"--transfer_shots={config.text('transfer_shots')}",
                "whole numbers of images a class, from 1",
                "--transfer_shots=1,2,5,10,25",
            )
            return


def _cached_features(config: Config) -> Iterator[str]:
    if "linear" not in modes(config):
        return
    if config.linear_features == "cached" and is_remote(config.run_dir):
        yield message(
            f"--linear_features=cached in {config.run_dir}",
            "a folder on this disk, whose features can be mapped into memory",
            f"--init_from={config.run_dir} with a --run_dir here",
        )


def _on_this_disk(config: Config) -> Iterator[str]:
    if "transfer" in modes(config) and is_remote(config.run_dir):
        yield message(
            f"--mode=transfer in {config.run_dir}",
            "a folder on this disk, whose features can be mapped into memory",
            f"--init_from={config.run_dir} with a --run_dir here",
        )


FIELD_RULES: tuple[Rule, ...] = (_shots, _on_this_disk, _cached_features)
RULES: tuple[Rule, ...] = (_sets, _runs)
