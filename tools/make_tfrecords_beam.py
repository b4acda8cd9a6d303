"""`make_tfrecords.py` on a cluster: the same files, written by Apache Beam.

    pip install apache-beam
    python tools/make_tfrecords_beam.py --dataset=folder:gs://bucket/imagenet \
        --out=gs://bucket/records --shards=1024 --runner=DataflowRunner ...

Arguments that are not ours go to Beam. One file is one element; workers need tfssl
installed and must see the data set and `--out` under the same paths.
"""

from __future__ import annotations

import sys

import make_tfrecords


def main(argv: list[str]) -> int:
    """Writes everything; the exit code."""
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        print(f"got {error}; expected Apache Beam; try pip install apache-beam")
        return 1
    ours = [word for word in argv if _is_ours(word)]
    theirs = [word for word in argv if not _is_ours(word)]

    def run(options, jobs) -> None:
        del options
        settings = PipelineOptions(theirs)
        with beam.Pipeline(options=settings) as pipeline:
            _ = (
                pipeline
                | beam.Create(jobs)
                | beam.Reshuffle()  # else one worker would keep all files
                | beam.Map(make_tfrecords.write_one)
            )

    return make_tfrecords.make(ours, run)


def _is_ours(word: str) -> bool:
    names = ("dataset", "split", "out", "shards", "shorter_side", "quality")
    names += ("max_image_pixels", "data_dir", "verify")
    return word.removeprefix("--").partition("=")[0] in names


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
