"""The flags of everything about vectors: embed, search, select. No TensorFlow."""

from __future__ import annotations

import dataclasses

from tfssl.config.flag import NAMES, PATH, Flags, flag


@dataclasses.dataclass(frozen=True)
class EmbeddingsFlags(Flags, title="embed, search and select", scope="free"):
    """Flags of everything about vectors on disk."""

    embeddings: str = flag(
        "", "folder of the vectors; empty: embeddings in the run directory", kind=PATH
    )


EMBED_ALSO = ("projections", "probabilities")
"""Values of `--embed_also`: arrays beside the features."""


@dataclasses.dataclass(frozen=True)
class EmbedFlags(Flags, title="embed", scope="free"):
    """Flags of `--mode=embed`."""

    embed_split: str = flag("", "split to embed; empty: --train_split")
    embed_format: str = flag(
        "npy",
        "npy (and tables of rows in CSV), parquet (needs pyarrow), or csv",
        choices=("npy", "parquet", "csv"),
    )
    embed_dtype: str = flag(
        "float32", "of the numbers on disk", choices=("float32", "float16")
    )
    embed_also: tuple[str, ...] = flag(
        (),
        "beside the features, with a comma: projections (of the method's projector), "
        "probabilities (of a fine-tuned classifier)",
        kind=NAMES,
    )
    embed_pca: int = flag(
        0, "keep so many principal components of the features; 0: all", low=0
    )
    embed_normalize: bool = flag(False, "scale the features to length 1")
    embed_batch_size: int = flag(256, "images at a time", low=1)
    embed_shard_rows: int = flag(
        4096, "images a file; a kill costs at most so many", low=1
    )


@dataclasses.dataclass(frozen=True)
class SearchFlags(Flags, title="search", scope="free"):
    """Flags of `--mode=search`."""

    search: str = flag(
        "neighbours",
        "neighbours (of --query), duplicates, outliers, or scores (retrieval by class)",
        choices=("neighbours", "duplicates", "outliers", "scores"),
    )
    query: str = flag("", "an image, a folder of images, or list:FILE", kind=PATH)
    search_k: int = flag(10, "nearest images of each", low=1)
    search_threshold: float = flag(
        0.95, "cosine from which two images are duplicates", above=-1, high=1
    )
    search_outliers: int = flag(100, "outliers to list", low=1)
    search_index: str = flag(
        "auto",
        "exact, approximate (needs faiss), or auto: exact up to a million images",
        choices=("auto", "exact", "approximate"),
    )
    search_shown: int = flag(50, "queries or groups on the page", low=0)


@dataclasses.dataclass(frozen=True)
class SelectFlags(Flags, title="select", scope="free"):
    """Flags of `--mode=select`."""

    select: int = flag(0, "images to choose", low=0)
    select_strategy: str = flag(
        "typical",
        "coverage (k-centre greedy), typical (TypiClust), or random",
        choices=("coverage", "typical", "random"),
    )
    labelled: str = flag("", "list of the images that have a label already", kind=PATH)
