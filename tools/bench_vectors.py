"""How long choosing and linear classifiers take on vectors, and how much memory.

python tools/bench_vectors.py select [--rows=1000000] [--count=10000]
python tools/bench_vectors.py regression [--rows=10000] [--features=2048]

`select` chooses by k-centre greedy among vectors of 128 numbers in 1,000 wide clusters.
`regression` fits logistic regression of 100 classes at the papers' 45 L2 values and
chooses by 1,000 more rows, as transfer and `--linear_features=cached` do. Prints one
JSON line: seconds, seconds of all cores, and the peak of memory beside the vectors.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import find_tfssl  # noqa: F401
import numpy as np

from tfssl.embeddings.selection import select
from tfssl.evaluate.regression import chosen

CLASSES, HELD_OUT = 100, 1_000


def clusters(rows: int, width: int, count: int, spread: float) -> tuple:
    """float32 `[rows, width]` around so many centres, and which one each is of."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((count, width), np.float32)
    of = rng.integers(0, count, rows)
    found = centres[of]
    for start in range(0, rows, 100_000):
        part = found[start : start + 100_000]
        part += spread * rng.standard_normal(part.shape, np.float32)
    return found, of


def peak() -> float:
    """The most memory so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Prints one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("select", "regression"))
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--features", type=int, default=0)
    parser.add_argument("--count", type=int, default=10_000)
    options = parser.parse_args()
    choosing = options.what == "select"
    rows = options.rows or (1_000_000 if choosing else 10_000)
    width = options.features or (128 if choosing else 2_048)
    more = 0 if choosing else HELD_OUT
    count, spread = (1_000, 0.7) if choosing else (CLASSES, 8.0)
    vectors, of = clusters(rows + more, width, count, spread)
    before, wall, cores = peak(), time.perf_counter(), time.process_time()
    found = {"what": options.what, "rows": rows, "features": width}
    if choosing:
        none = np.empty(0, np.int64)
        picks = select(vectors, options.count, "coverage", labelled=none)
        found["chosen"] = len(set(picks.tolist()))
    else:
        l2, _, shares = chosen(
            vectors,
            of,
            rows,
            lambda linear: float(
                (linear.logits(vectors[rows:]).argmax(1) == of[rows:]).mean()
            ),
            classes=CLASSES,
        )
        found |= {"l2": l2, "top1": max(shares)}
    found |= {
        "seconds": round(time.perf_counter() - wall, 1),
        "core_seconds": round(time.process_time() - cores, 1),
        "vectors_mb": round(vectors.nbytes / 2**20),
        "peak_mb_beside": round(peak() - before),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
