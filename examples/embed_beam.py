"""`--mode=embed` on a cluster: an Apache Beam transform that writes the same shards.

    pip install 'tfssl[beam]'
    tfssl --mode=export --run_dir=runs/a
    python examples/embed_beam.py --run_dir=runs/a --dataset=folder:photos \
        --embed_split=all --runner=FlinkRunner ...

One shard is one element: a worker opens the SavedModel and the data set once, and each
shard is written whole or not at all. The same command goes on with what is missing, and
`--mode=embed`, `search` and `select` read the folder. Arguments that are no flags of
`--mode=embed` go to Beam. Every worker needs tfssl, and must see the run, the images
and the folder of the embeddings under the same paths.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from tfssl.config import Config, startup
from tfssl.config import command_line as cli
from tfssl.config.complete import completed
from tfssl.config.config import specs
from tfssl.embeddings.writing import Writer
from tfssl.errors import ConfigError, TfsslError, message

BATCH = 256


class Encode(beam.DoFn):
    """Encodes and writes shards, by the SavedModel.

    Args:
      model: Its folder.
      config: Names the data set.
      split: Of the data set.
      transform: Resize and crop of the run.
      writer: Of the embeddings.
    """

    def __init__(
        self, model: str, config: Config, split: str, transform: Any, writer: Writer
    ):
        self._model, self._config, self._split = model, config, split
        self._transform, self._writer = transform, writer

    def setup(self) -> None:
        """Loads the model and opens the data set, once a worker."""
        import tensorflow as tf

        from tfssl import build
        from tfssl.data import every_class

        self._loaded = tf.saved_model.load(self._model)
        self._features = self._loaded.signatures["features"]
        source = build.source(self._config, self._split, memory=0)
        self._source = every_class(source)

    def process(self, number: int) -> Iterator[int]:
        """Writes shard `number`; gives its rows."""
        from tfssl.evaluate.embedding import encoded_shards

        for _, shard in encoded_shards(
            lambda images: self._features(images=images),
            self._source,
            self._transform,
            {number: self._writer.bounds(number)},
            image_size=self._config.image_size,
            batch=self._config.embed_batch_size,
        ):
            shard.arrays = {"features": shard.arrays["features"]}
            self._writer.write(number, shard)
            yield len(shard)


class Embed(beam.PTransform):
    """Numbers of shards to rows written, on as many workers as there are."""

    def __init__(self, encode: Encode):
        super().__init__()
        self._encode = encode

    def expand(self, numbers: beam.PCollection) -> beam.PCollection:
        """Deals the shards out."""
        # Without a reshuffle one worker would keep them all.
        return numbers | beam.Reshuffle() | beam.ParDo(self._encode)


def main(argv: list[str]) -> int:
    """Writes what is missing, and the manifest; the exit code."""
    ours = [word for word in argv if _is_ours(word)]
    options = PipelineOptions([word for word in argv if not _is_ours(word)])
    startup.prepare_environment()
    try:
        config = completed(cli.parse(["embed_beam", "--mode=embed", *ours]))
        writer, encode = _prepared(config)
        if missing := writer.missing():
            with beam.Pipeline(options=options) as pipeline:
                _ = pipeline | beam.Create(missing) | Embed(encode)
            writer.finish()
    except ConfigError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        return 2
    except TfsslError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{writer.folder}: complete")
    return 0


def _prepared(config: Config) -> tuple[Writer, Encode]:
    """What is to be written, and by what, checked.

    Raises:
      ConfigError: It asks for more than the features.
      TfsslError: The SavedModel is missing, or of other weights.
    """
    from tfssl import build
    from tfssl.build import trained, vectors
    from tfssl.data import every_class
    from tfssl.tasks import embed

    if config.embed_also or config.embed_pca or config.embed_normalize:
        raise ConfigError(
            message(
                "--embed_also, --embed_pca or --embed_normalize here",
                "features as the SavedModel gives them",
                "--mode=embed on one machine",
            )
        )
    run = trained.of_command(config)
    model = Path(config.init_from or config.run_dir) / "saved_model"
    digest = vectors.weights_digest(vectors.parts(run, ()))
    facts = model / "assets.extra" / "metadata.json"
    there = json.loads(facts.read_text()) if facts.exists() else {}
    if there.get("weights_sha256") != digest:
        raise TfsslError(
            message(
                f"{model} of other weights than {run.path}, or none",
                "the SavedModel of this run as it is now",
                "--mode=export first",
            )
        )
    split = config.embed_split or config.train_split
    source = every_class(build.source(config, split, memory=0))
    settings = embed.plan(config, run, digest, source)
    folder = embed.embeddings_folder(config)
    writer = Writer(folder, settings, embed.about(config, run))
    return writer, Encode(str(model), config, split, run.transform, writer)


def _is_ours(word: str) -> bool:
    name = word.removeprefix("--").partition("=")[0]
    return name in specs() or name.removeprefix("no") in specs() or name == "flagfile"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
