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
from tfssl.embeddings.principal import Principal, normalized
from tfssl.embeddings.reading import Embeddings
from tfssl.embeddings.shard_files import FEATURES, parquet
from tfssl.embeddings.writing import Writer
from tfssl.errors import DataError, RunDirectoryError, message
from tfssl.runs import RunDirectory
from tfssl.show import console
from tfssl.tasks import Outcome

PCA = "pca.npz"
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
        run_on = build.strategy(config)
        with run_on.scope():
            encoder = trained.of_command(config)
            networks = vectors.parts(encoder, config.embed_also)
        _require_width(config, networks[FEATURES])
        # Nothing is read twice, so nothing is kept in memory.
        split = config.embed_split or config.train_split
        source = every_class(build.source(config, split, memory=0))
        settings = plan(config, encoder, vectors.weights_digest(networks), source)
        writer = Writer(folder, settings, about(config, encoder))
        if not writer.finished:
            _require_room(config, writer, networks)
            encode = vectors.vectors(networks, run_on)
            first = _unreduced(writer) if config.embed_pca else writer
            _write(config, encoder, encode, run_on.num_replicas_in_sync, source, first)
            if first is not writer:
                _reduce(first, writer, config)
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


def _require_room(config: Config, writer: Writer, networks: dict[str, Any]) -> None:
    """Looks at the free disk before hours of encoding that would fill it.

    Raises:
      RunDirectoryError: There is not enough for the vectors that are missing.
    """
    # Of projectors with the outputs of all layers the last counts.
    width = sum(int(np.ravel(n.output_shape)[-1]) for n in networks.values())
    rows = sum(stop - start for start, stop in map(writer.bounds, writer.missing()))
    # Those that are reduced stand there whole first.
    numbers = rows * (width + config.embed_pca)
    need = numbers * np.dtype(config.embed_dtype).itemsize / 1e6
    free = shutil.disk_usage(writer.folder).free / 1e6
    if free < need:
        raise RunDirectoryError(
            message(
                f"{free:.0f} MB free in {writer.folder}",
                f"{need:.0f} MB for {rows:,} vectors",
                "freeing space, embeddings=DIR on another disk, or embed_dtype=float16",
            )
        )


def embeddings_folder(config: Config) -> Path:
    """Where the vectors are: `--embeddings`, else beside the run."""
    return Path(config.embeddings or Path(config.run_dir) / "embeddings")


def reduced(rows: np.ndarray, manifest: dict[str, Any], folder: Path) -> np.ndarray:
    """Features as the embeddings hold them: along the components, of length 1."""
    if manifest["pca"]:
        rows = Principal.load(folder / PCA).apply(rows)
    return normalized(rows) if manifest["normalized"] else rows


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


def _unreduced(writer: Writer) -> Writer:
    plan = {**writer.plan, "format": "npy", "dtype": "float32"}
    return Writer(writer.folder / _UNREDUCED, plan)


def _write(
    config: Config,
    run: Trained,
    encode: Any,
    replicas: int,
    source: Source,
    writer: Writer,
) -> None:
    """Encodes what is missing."""
    wanted = {number: writer.bounds(number) for number in writer.missing()}
    total = sum(stop - start for start, stop in wanted.values())
    if total < source.num_examples:
        done = source.num_examples - total
        console.say(f"{done:,} of {source.num_examples:,} images have a vector already")
    batch = -(-config.embed_batch_size // replicas) * replicas
    with console.Counter(total, "embed", shown=config.progress) as bar:
        for number, shard in vectors.shards(
            run, source, wanted, encode=encode, batch=batch, progress=bar.show
        ):
            if not config.embed_pca and config.embed_normalize:
                shard.arrays[FEATURES] = normalized(shard.arrays[FEATURES])
            writer.write(number, shard)


def _reduce(first: Writer, writer: Writer, config: Config) -> None:
    """Writes the shards along the principal components of all of them."""
    file = writer.folder / PCA
    if not file.exists():
        blocks = (first.read(n, [FEATURES]).arrays[FEATURES] for n in first.shards())
        Principal.fit(blocks, config.embed_pca).save(file)
    components = Principal.load(file)
    console.say(
        f"{config.embed_pca} principal components hold {100 * components.kept:.1f} % "
        "of the variance"
    )
    names = list(first.widths())
    for number in writer.missing():
        shard = first.read(number, names)
        rows = components.apply(shard.arrays[FEATURES])
        shard.arrays[FEATURES] = normalized(rows) if config.embed_normalize else rows
        writer.write(number, shard)


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
