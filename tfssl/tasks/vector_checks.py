"""What embed, search and select need, looked at before the first step."""

from __future__ import annotations

import numpy as np

from tfssl import build
from tfssl.build.data import query_source
from tfssl.config import Config
from tfssl.config.chain import lacks, leaves_a_run
from tfssl.config.inherit import stored_config
from tfssl.data import Source, every_class
from tfssl.embeddings.reading import Embeddings
from tfssl.embeddings.selection import require_left
from tfssl.embeddings.similarity import others_of_class
from tfssl.errors import message, problems_of
from tfssl.tasks import selection
from tfssl.tasks.embed import embeddings_folder


def check(config: Config, modes: list[str]) -> list[str]:
    """Finds what a command's embed, search and select lack; see `Task.check`."""
    readers = [mode for mode in modes if mode in ("search", "select")]
    if found := _read_of_another(config, modes):
        return found
    if readers and "embed" not in modes[: modes.index(readers[0])]:
        return problems_of(Embeddings, embeddings_folder(config))
    if "embed" not in modes:
        return []
    before = modes[: modes.index("embed")]
    trains = any(m == "pretrain" or leaves_a_run(config, m) for m in before)
    stored = stored_config(config.init_from or config.run_dir)
    if before and stored and not trains:
        found = [
            message(
                f"embed_also={each} of {config.init_from or config.run_dir}",
                "networks of that run",
                "projections of a pre-trained run, probabilities of a fine-tuned one",
            )
            for each in lacks(stored)
            if each in config.embed_also
        ]
        if found:
            return found
    # Refused, if there is none.
    split = config.embed_split or config.train_split
    images = build.source(config, split, memory=0)
    count = images.num_examples
    problems = []
    if config.embed_pca > count:
        problems.append(
            message(
                f"embed_pca={config.embed_pca} of the {count} images of {images.name}",
                f"at most {count}",
                f"embed_pca={count} or less",
            )
        )
    if "select" in readers:
        problems += problems_of(_to_choose, config, images)
    if "search" in readers and config.query:
        problems += problems_of(query_source, config)
    if "search" in readers and config.search == "scores":
        labels = every_class(images).labels
        problems += problems_of(others_of_class, labels, np.arange(count))
    return problems


def _read_of_another(config: Config, modes: list[str]) -> list[str]:
    """The modes that would look for vectors of a run that has none."""
    problems = []
    for place, mode in enumerate(modes):
        if mode not in ("search", "select"):
            continue
        last = max((i for i in range(place) if modes[i] == "embed"), default=-1)
        since = [m for m in modes[last + 1 : place] if leaves_a_run(config, m)]
        # Those of another encoder can be told apart and chosen from, if they are named.
        asks = mode == "search" and config.search in ("neighbours", "scores")
        if since and (asks or not config.embeddings):
            problems.append(
                message(
                    f"mode={','.join(modes)}: {mode} of what {since[-1]} trains",
                    "embed between them, which makes its vectors",
                    f"mode={','.join([*modes[:place], 'embed', *modes[place:]])}",
                )
            )
    return problems


def _to_choose(config: Config, images: Source) -> None:
    labelled = 0
    if config.labelled:
        where = [images.where(i) for i in range(images.num_examples)]
        labelled = len(selection.named_rows(config.labelled, where))
    require_left(config.select, images.num_examples - labelled)
