"""Rules on devices and how the batch is dealt out to them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tfssl.config.config import Config, modes
from tfssl.config.method_row import Rule
from tfssl.errors import message


def _replicas(config: Config) -> Iterator[str]:
    count = config.virtual_devices
    if count > 1 and config.strategy != "mirrored":
        yield message(
            f"--virtual_devices={count} with --strategy={config.strategy}",
            "--strategy=mirrored, which uses several devices",
            "--strategy=mirrored",
        )
    flags = ["batch_size", "linear_batch_size", "batch_norm_groups"]
    for mode in ("finetune", "detect", "segment"):
        if mode in modes(config):
            flags.append(f"{mode}_batch_size")
    for flag in flags:
        value = getattr(config, flag)
        if count > 1 and value > 0 and value % count:
            yield message(
                f"--{flag}={value} with --virtual_devices={count}",
                f"a multiple of {count}: every device gets as many",
                f"--{flag}={-(-value // count) * count}",
            )


def _micro_batches(config: Config) -> Iterator[str]:
    parts = config.micro_batches
    share = parts * max(1, config.virtual_devices) * max(1, config.batch_norm_groups)
    if parts > 1 and config.batch_size % share:
        yield message(
            f"--micro_batches={parts} of --batch_size={config.batch_size}",
            f"equal parts for every device and batch norm group: a multiple of {share}",
            f"--batch_size={-(-config.batch_size // share) * share}",
        )


def _data_service(config: Config) -> Iterator[str]:
    address = config.data_service
    if address and not re.fullmatch(r"grpc://[^/:]+:\d+", address):
        yield message(
            f"--data_service={address}",
            "grpc://HOST:PORT of a dispatcher",
            "--data_service=grpc://localhost:5050",
        )
    if address and config.dataset.startswith(("tfds:", "arrays:")):
        yield message(
            f"--data_service={address} with --dataset={config.dataset}",
            "images that TensorFlow reads by itself; TFDS and arrays are read by "
            "Python, which the service's workers do not have",
            "--dataset=folder:DIR, or no --data_service",
        )


def _profile(config: Config) -> Iterator[str]:
    if config.profile_steps and config.micro_batches > 1:
        yield message(
            f"--profile_steps={config.profile_steps} with "
            f"--micro_batches={config.micro_batches}",
            "a step in one piece",
            "--profile_steps=0, or a short run with --micro_batches=1",
        )


FIELD_RULES: tuple[Rule, ...] = ()
RULES: tuple[Rule, ...] = (_replicas, _micro_batches, _data_service, _profile)
