"""`--mode=transfer`: encoders compared on other data sets, in one table."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from tfssl import build
from tfssl.build import Trained, trained
from tfssl.build.kept_features import KeptFeatures
from tfssl.build.transfer_bench import SENTENCES, Bench, asked, swept
from tfssl.build.transfer_folds import Folds, open_folds, sets_there
from tfssl.build.transfer_tables import Key, tables
from tfssl.config import Config
from tfssl.evaluate.result import Result
from tfssl.runs import RunDirectory
from tfssl.runs.scores import Score, add_score, measured
from tfssl.show import console
from tfssl.show.scores import score_line, subject_title
from tfssl.show.transfer import MARK, TransferTable, as_csv, as_latex, console_rows
from tfssl.tasks import Outcome


def run(config: Config) -> Outcome:
    """Compares the run, `--baselines` and `--transfer_runs` on `--transfer`.

    `run_dir/transfer` holds the features of each data set by each encoder, every
    result, and the table as JSON, CSV and LaTeX. The same command goes on where it was
    stopped.

    Returns:
      What `transfer/table.json` holds.
    """
    sets, missing = sets_there(config)
    with RunDirectory(config.run_dir) as directory:
        folder = Path(directory.path) / "transfer"
        runs = _subjects(config, folder)
        results: dict[str, dict[Key, Result]] = {}
        about: list[dict[str, Any]] = []
        for row in sets:
            folds = open_folds(config, row)
            results[row.name], wanted = {}, [*asked(config, folds)]
            for key, each in runs.items():
                bench = Bench(config, folds, subject_title(key), *each, folder)
                for protocol, name, settings in (*wanted, *swept(config, key)):
                    found = bench.result(protocol, settings)
                    results[row.name][name, key] = found
                    score = _score(protocol, folds, key, settings, found)
                    add_score(directory, score)
                    console.say(f"{row.name}: {score_line(score)}")
            about.append(_about(folds))
            directory.add_reading(**build.how_read())
        made = tables(config.encoder, about, list(runs), results)
        return Outcome(value=_written(directory, folder, made, about, missing))


def check(config: Config, modes: list[str]) -> list[str]:
    """Refuses a command of whose data sets none is there; see `Task.check`.

    Raises:
      DataError, ConfigError: So it is.
    """
    del modes
    sets_there(config)
    return []


def _subjects(config: Config, folder: Path) -> dict[str, tuple[Trained, KeptFeatures]]:
    """The encoders, by their names in scores; images are cut as the papers do."""
    found = trained.subjects(config)
    found |= {path: trained.load(path) for path in config.transfer_runs}
    subjects = {}
    for key, each in found.items():
        cut = dataclasses.replace(each.transform, crop_fraction=1.0, resize="bicubic")
        run = dataclasses.replace(each, transform=cut)
        kept = KeptFeatures(config, run, folder / "features")
        subjects[key] = run, kept
    return subjects


def _score(
    protocol: str, folds: Folds, key: str, settings: dict[str, Any], found: Result
) -> Score:
    said = {n: v for n, v in settings.items() if not isinstance(v, list)}
    return Score(
        f"transfer_{protocol}",
        folds.test.name,
        key,
        settings={"set": folds.row.name, **said},
        found=found.found,
        description=SENTENCES[protocol],
        note="; ".join(filter(None, (found.note, folds.note))),
        **measured(found),
    )


def _about(folds: Folds) -> dict[str, Any]:
    own = folds.validation.num_examples if folds.validation else len(folds.held_out)
    train = folds.train.num_examples - len(folds.held_out)
    sizes = {"train": train, "validation": own, "test": folds.test.num_examples}
    return {"name": folds.row.name, "title": folds.row.title, "metric": folds.metric,
            "images": sizes, "note": folds.note}  # fmt: skip


def _written(
    directory: RunDirectory,
    folder: Path,
    made: list[TransferTable],
    about: list[dict[str, Any]],
    missing: list[dict[str, str]],
) -> dict[str, Any]:
    plain = {"sets": about, "missing": missing,
             "tables": [dataclasses.asdict(table) for table in made]}  # fmt: skip
    text = json.dumps(plain, indent=1) + "\n"
    directory.write_atomic(folder / "table.json", text)
    directory.write_atomic(folder / "table.csv", as_csv(made))
    directory.write_atomic(folder / "table.tex", as_latex(made))
    for table in made:
        console.say(f"{table.title}, in per cent:")
        console.say(console.table(console_rows(table)))
    if any(cell and cell.bold for t in made for row in t.rows for cell in row.cells):
        console.say(f"*: {MARK}")
    for each in missing:
        console.say(f"{each['name']} is not in the table: {each['prepare']}")
    console.say(f"table: {folder}/table.json, table.csv, table.tex")
    return plain
