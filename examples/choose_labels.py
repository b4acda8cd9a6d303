"""Is it worth choosing what to label? Accuracy by strategy and number of labels.

    python examples/choose_labels.py --runs=runs/a,runs/b,runs/c --out=runs/chosen

Each run is a pre-trained encoder, best of one seed each. Of its training images every
strategy of `--mode=select` chooses some to label; a linear classifier and a fine-tuning
learn from these alone, and are scored on the held-out images. Prints the means over the
runs with their standard deviations, and writes `table.csv` and `accuracy.png`. Flags
that begin with `--linear_` or `--finetune_` go to those trainings. What has its score
is not done again.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

import tfssl
from tfssl.runs import RunDirectory
from tfssl.runs.scores import TRAINED, scores_of

STRATEGIES = ("typical", "coverage", "random")
WAYS: dict[str, Callable] = {"linear": tfssl.linear, "finetune": tfssl.finetune}

FEW_LABELS = {
    "linear": {"linear_epochs": 90, "linear_batch_size": 32},
    "finetune": {"finetune_epochs": 60},
}
"""In place of the runs' own, made for all labels: of 20, six epochs are six steps."""

Cell = tuple[str, str, int]
"""Way of learning, strategy, number of labels."""


def top1(place: Path, way: str) -> float | None:
    """Reads the accuracy of a training, None where there is none yet."""
    for score in scores_of(RunDirectory(place).read_results()):
        if (score.protocol, score.subject) == (way, TRAINED):
            return score.metrics["top1"]
    return None


def measure(run: str, seed: int, options: argparse.Namespace) -> dict[Cell, float]:
    """Chooses from one run's images, trains on what was chosen, and scores.

    Args:
      run: The pre-trained run.
      seed: Of the choice and of the trainings; a folder of `options.out`.
      options: Of the command.
    """
    above = Path(options.out) / f"seed-{seed}"
    quiet = {"init_from": run, "seed": seed, "progress": False}
    vectors = tfssl.embed(run_dir=above, **quiet)
    found = {}
    for strategy in STRATEGIES:
        for count in options.select:
            place = above / f"{strategy}-{count}"
            for way, task in WAYS.items():
                if top1(place, way) is None:
                    chosen = tfssl.select(
                        run_dir=place,
                        select=count,
                        select_strategy=strategy,
                        embeddings=vectors,
                        **quiet,
                    )
                    flags = FEW_LABELS[way] | options.flags[way]
                    flags["label_fraction"] = chosen
                    if way == "finetune":
                        flags.setdefault("finetune_batch_size", min(16, count))
                    task(run_dir=place, **quiet, **flags)
                value = top1(place, way)
                if value is None:
                    sys.exit(f"{place} has no score of {way}")
                found[way, strategy, count] = value
    return found


def write(found: list[dict[Cell, float]], out: Path) -> None:
    """Prints the table, and writes it and the picture.

    Args:
      found: Accuracies of each run.
      out: A folder.
    """
    figure = Figure(figsize=(8, 3.5), layout="constrained")
    axes = dict(zip(WAYS, figure.subplots(1, len(WAYS), sharey=True), strict=True))
    counts = sorted({count for _, _, count in found[0]})
    with open(out / "table.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["way", "strategy", "labels", "mean", "deviation", "runs"])
        for way in WAYS:
            for strategy in STRATEGIES:
                means, spreads = [], []
                for count in counts:
                    values = [100 * one[way, strategy, count] for one in found]
                    means.append(statistics.fmean(values))
                    spreads.append(statistics.stdev(values) if values[1:] else 0.0)
                    row = (f"{means[-1]:.1f}", f"{spreads[-1]:.1f}", len(values))
                    table.writerow([way, strategy, count, *row])
                cells = (
                    f"{m:.1f} ± {s:.1f}" for m, s in zip(means, spreads, strict=True)
                )
                print(f"{way:10}{strategy:10}", *(f"{cell:>14}" for cell in cells))
                axes[way].errorbar(counts, means, spreads, label=strategy, capsize=3)
    for way, ax in axes.items():
        ax.set(title=way, xlabel="labelled images", ylabel="top-1, per cent")
        ax.legend()
    figure.savefig(out / "accuracy.png", dpi=120)


def main() -> None:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", required=True, help="with commas")
    parser.add_argument("--out", required=True, help="folder")
    parser.add_argument("--select", default="20,50,100", help="labels, with commas")
    options, rest = parser.parse_known_args()
    options.select = [int(count) for count in options.select.split(",")]
    options.flags = {way: {} for way in WAYS}
    for word in rest:
        name, _, value = word.removeprefix("--").partition("=")
        way = name.partition("_")[0]
        if way not in WAYS or not value:
            parser.error(
                f"{word}: expected --linear_FLAG=VALUE or --finetune_FLAG=VALUE"
            )
        options.flags[way][name] = value
    runs = options.runs.split(",")
    write([measure(run, n, options) for n, run in enumerate(runs)], Path(options.out))


if __name__ == "__main__":
    main()
