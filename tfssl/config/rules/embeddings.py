"""Rules on embedding, searching and selecting."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator

from tfssl.config.chain import lacks, leaves_a_run
from tfssl.config.config import Config, modes
from tfssl.config.encoder_name import is_foreign, parse_encoder
from tfssl.config.method_row import Rule
from tfssl.config.remote import is_remote, same_place
from tfssl.config.tables import without_extra
from tfssl.config.vector_flags import EMBED_ALSO
from tfssl.errors import message, unknown


def _also(config: Config) -> Iterator[str]:
    for name in config.embed_also:
        if name not in EMBED_ALSO:
            yield unknown("--embed_also", name, EMBED_ALSO)


def _on_this_disk(config: Config) -> Iterator[str]:
    asked = [mode for mode in modes(config) if mode in ("embed", "search", "select")]
    for path in (config.run_dir, config.embeddings) if asked else ():
        if is_remote(path):
            yield message(
                f"--mode={asked[0]} in {path}",
                "a folder on this disk, whose vectors can be mapped into memory",
                f"--init_from={config.run_dir} with a --run_dir here",
            )


def _query(config: Config) -> Iterator[str]:
    if "search" not in modes(config):
        return
    neighbours = config.search == "neighbours"
    if neighbours and not config.query:
        yield message(
            "--mode=search without --query",
            "an image, a folder of images or list:FILE, whose neighbours are found",
            "--query=photo.jpg, or --search=duplicates, outliers or scores",
        )
    if config.query and not neighbours:
        yield message(
            f"--query={config.query} with --search={config.search}",
            "--search=neighbours, which alone asks something",
            "leaving --query away",
        )


def _of_the_run(config: Config) -> Iterator[str]:
    """What the encoder that is embedded will not have, said before it is trained."""
    asked = modes(config)
    if "embed" not in asked:
        return
    before = asked[: asked.index("embed")]
    trained = [m for m in before if m == "pretrain" or leaves_a_run(config, m)]
    last = trained[-1:]
    for each in last and lacks(dataclasses.replace(config, mode=last[0])):
        if each not in config.embed_also:
            continue
        yield message(
            f"--embed_also={each} of what --mode={last[0]} trains",
            "networks of that run",
            "projections of a pre-trained run, or probabilities of a fine-tuned one",
        )
    if config.embed_pca and not is_foreign(config.encoder):
        width = parse_encoder(config.encoder).feature_dim
        if config.embed_pca > width:
            yield message(
                f"--embed_pca={config.embed_pca} of the {width} features of "
                f"{config.encoder}",
                f"at most {width}",
                f"--embed_pca={width} or less",
            )


def _select(config: Config) -> Iterator[str]:
    if "select" in modes(config) and not config.select:
        yield message(
            "--mode=select without --select",
            "how many images to choose",
            "--select=100",
        )


def _labelled(config: Config) -> Iterator[str]:
    """The list of the choice before is not to be read and written over at once."""
    asked = modes(config)
    if "select" not in asked or not config.labelled:
        return
    chosen = os.path.join(config.run_dir, "select", "chosen.txt")
    elsewhere = any(
        leaves_a_run(config, mode) for mode in asked[: asked.index("select")]
    )
    if not elsewhere and same_place(config.labelled.removeprefix("list:"), chosen):
        yield message(
            f"--labelled={config.labelled}, where --mode=select writes what it chooses",
            "a list that it leaves as it is",
            "a copy of it, under another name",
        )


def _extras(config: Config) -> Iterator[str]:
    needs = (
        ("embed", "embed_format", "parquet", "parquet"),
        ("search", "search_index", "approximate", "search"),
    )
    for mode, name, value, extra in needs:
        if mode in modes(config) and getattr(config, name) == value:
            problem = without_extra(extra, f"--{name}={value}")
            yield from [problem] if problem else []


FIELD_RULES: tuple[Rule, ...] = (_also, _on_this_disk)
RULES: tuple[Rule, ...] = (_query, _of_the_run, _select, _labelled, _extras)
