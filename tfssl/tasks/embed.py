"""`--mode=embed`: a data set as vectors on disk, see `tfssl.embeddings.writing`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tfssl
from tfssl import build
from tfssl.build import Trained, trained, vectors
from tfssl.config import Config
from tfssl.config.flag import specs_of
from tfssl.config.groups import Data, Images
from tfssl.data import Source, every_class
from tfssl.embeddings.principal import reduce
from tfssl.embeddings.reading import Embeddings
from tfssl.embeddings.shard_files import FEATURES, parquet
from tfssl.embeddings.writing import Writer
from tfssl.errors import DataError, message
from tfssl.runs import RunDirectory
from tfssl.show import console
from tfssl.tasks import Outcome

_UNREDUCED = "unreduced"


def run(config: Config) -> Outcome:
    """Writes `run_dir/embeddings`, or goes on where it was stopped.

    Returns:
      The folder.
    """
    if config.embed_format == "parquet":
        parquet()
    with RunDirectory(config.run_dir):
        folder = embeddings_folder(config)
        with build.strategy(config).scope():
            encoder = trained.of_command(config)
            networks = vectors.parts(encoder, config.embed_also)
        _require_width(config, networks[FEATURES])
        # Nothing is read twice, so nothing is kept in memory.
        split = config.embed_split or config.train_split
        source = every_class(build.source(config, split, memory=0))
        settings = plan(config, encoder, vectors.weights_digest(networks), source)
        writer = Writer(folder, settings, about(config, encoder))
        if not writer.finished:
            # Of projectors with the outputs of all layers the last counts.
            width = sum(int(np.ravel(n.output_shape)[-1]) for n in networks.values())
            # Those that are reduced stand there whole first.
            writer.require_room(width + config.embed_pca)
            _write(config, encoder, networks, source, writer)
            writer.finish()
        shutil.rmtree(folder / _UNREDUCED, ignore_errors=True)
    table = Embeddings(folder)
    console.say(_summary(table))
    return Outcome(value=str(folder))


def _require_width(config: Config, encoder: keras.Model) -> None:
    """Refuses more components than features, before anything is encoded.

    Raises:
      DataError: So it is.
    """
    width = int(encoder.output_shape[-1])
    if config.embed_pca > width:
        raise DataError(
            message(
                f"embed_pca={config.embed_pca} of the {width} features of "
                f"{config.encoder}",
                f"at most {width}",
                f"embed_pca={width} or less",
            )
        )


def embeddings_folder(config: Config) -> Path:
    """Where the vectors are: `--embeddings`, else beside the run."""
    return Path(config.embeddings or Path(config.run_dir) / "embeddings")


def plan(config: Config, run: Trained, weights: str, source: Source) -> dict[str, Any]:
    """Everything that the numbers depend on."""
    return {
        "format": config.embed_format,
        "dtype": config.embed_dtype,
        "shard_rows": config.embed_shard_rows,
        "also": list(config.embed_also),
        "normalized": config.embed_normalize,
        "pca": config.embed_pca,
        "augment": run.config.augment,
        "orient": config.orient,
        **vectors.identity(run, source, weights),
    }


def about(config: Config, run: Trained) -> dict[str, Any]:
    """What the manifest says beside the plan: how to find run and pictures again."""
    flags = specs_of(Data).keys() | specs_of(Images).keys()
    return {
        "tfssl": tfssl.__version__,
        "run": str(config.init_from or config.run_dir),
        "checkpoint": run.checkpoint.name if run.checkpoint else None,
        "flags": {name: getattr(config, name) for name in sorted(flags)},
        "split": config.embed_split or config.train_split,
    }


def _write(
    config: Config,
    run: Trained,
    networks: dict[str, keras.Model],
    source: Source,
    writer: Writer,
) -> None:
    """Encodes what is missing; reduced are all of them, when all are there."""
    first, pca = writer, config.embed_pca
    if pca:
        whole = {**writer.plan, "format": "npy", "dtype": "float32"}
        first = Writer(writer.folder / _UNREDUCED, whole)
    if done := source.num_examples - first.left:
        console.say(f"{done:,} of {source.num_examples:,} images have a vector already")
    run_on = build.strategy(config)
    replicas = run_on.num_replicas_in_sync
    vectors.write(
        first,
        run,
        source,
        "embed",
        shown=config.progress,
        encode=vectors.vectors(networks, run_on),
        batch=-(-config.embed_batch_size // replicas) * replicas,
        normalize=config.embed_normalize and not pca,
    )
    if pca:
        kept = 100 * reduce(first, writer, pca, normalize=config.embed_normalize)
        console.say(f"{pca} principal components hold {kept:.1f} % of the variance")


def _summary(table: Embeddings) -> str:
    manifest = table.manifest
    text = (
        f"{len(table):,} vectors of {table.dimension} numbers "
        f"({manifest['dtype']}, {manifest['format']}): {table.folder}"
    )
    if lost := table.rows.unreadable:
        names = ", ".join(f"{key} ({reason})" for key, reason in lost[:3])
        more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
        text += f"; {len(lost)} unreadable: {names}{more}"
    return text
