"""Breaks runs in every way we know, restarts them, compares the final weights.

python tools/fault_campaign.py [--kills=30] [--only=kill,damage] [--jobs=2]

Every fault is done to a tiny run in processes of its own: SIGKILL at random moments
(one process, and two workers), damaged checkpoints, a full disk, a read-only
directory, two processes at once, a clock that jumps, SIGTERM, NaN. A run counts as
equal when every tensor of its last checkpoint is bit for bit that of the undisturbed
run. Prints a table and one JSON line; exit code 1 if a run is not equal. The disks need
root (a tmpfs is mounted), the clock a C compiler; without them they read "not run".
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import functools
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fault_runs as runs
from fault_runs import METHODS, STEPS, Run

from tfssl.config import tables

Outcome = tuple[int, bool, str]
"""Faults that hit, whether the run ended equal, a remark."""


def kill(reference: Run, folder: Path, kills: int, seed: int) -> Outcome:
    """SIGKILL at random moments: after a random step, or at any time from the start.

    Of two workers only after a step: one that does not come at the start is waited for,
    as it may be slow.
    """
    chance = random.Random(f"{seed}{folder}")
    run, hit = reference.like(folder), 0
    for target in sorted(chance.sample(range(2, STEPS - 2), kills)):
        processes = run.start()
        if reference.workers > 1 or chance.random() < 0.75:
            run.wait_for_step(target, processes[0])
            time.sleep(chance.random() * 0.3)
        else:
            time.sleep(chance.random() * 12)
        victim = chance.choice(processes)
        hit += victim.poll() is None
        victim.kill()
        # The others must notice by themselves.
        for process in processes:
            runs.ends_within(process, 60)
    run.finish()
    return hit, run.equals(reference), ""


def damage(reference: Run, folder: Path, kind: str) -> Outcome:
    """The last checkpoint is damaged; the one before must serve."""
    run = reference.copy(folder)
    runs.DAMAGES[kind](run.checkpoints()[-1])
    said = run.finish()
    warned = "is damaged" in said and "using" in said
    return 1, run.equals(reference) and warned, kind if warned else "no warning"


def full_disk_for_a_while(reference: Run, folder: Path) -> Outcome:
    """The disk is full for some checkpoints; the run goes on and ends whole."""
    with runs.small_disk(folder, reference) as (run, filler):
        (process,) = run.start()
        run.wait_for_step(8, process)
        filler.fill()
        run.wait_for_warning("run goes on", process)
        filler.free()
        said = run.end(process)
        return 1, run.equals(reference), runs.missing_space(said)


def full_disk_to_the_end(reference: Run, folder: Path) -> Outcome:
    """The disk stays full: a clean end, the old checkpoint whole, then it goes on."""
    with runs.small_disk(folder, reference) as (run, filler):
        (process,) = run.start()
        run.wait_for_step(8, process)
        filler.fill()
        code = process.wait(300)
        old = run.checkpoints()
        filler.free()
        run.finish()
        equal = code == 1 and bool(old) and run.equals(reference)
        return 1, equal, runs.missing_space(run.said())


def read_only(reference: Run, folder: Path) -> Outcome:
    """A read-only directory is refused with advice, and serves when it is not."""
    with runs.small_disk(folder, reference) as (run, filler):
        filler.read_only(True)
        (process,) = run.start()
        refused = process.wait(300) == 1
        filler.read_only(False)
        run.finish()
        return 1, refused and run.equals(reference), ""


def two_at_once(reference: Run, folder: Path) -> Outcome:
    """The second process is refused by name, the first one is not disturbed."""
    run = reference.like(folder)
    (first,) = run.start()
    run.wait_for_step(2, first)
    # Held, or it may be over before the second has loaded TensorFlow.
    first.send_signal(signal.SIGSTOP)
    (second,) = run.start()
    refused = second.wait(300) == 1 and f"process {first.pid}" in run.said()
    first.send_signal(signal.SIGCONT)
    run.end(first)
    return 1, refused and run.equals(reference), ""


def clock_jump(reference: Run, folder: Path) -> Outcome:
    """The system's clock jumps a day back and forth every second."""
    library = runs.jumping_clock(folder.parent)
    if library is None:
        raise runs.NotRun("no C compiler")
    run = reference.like(folder)
    (process,) = run.start(LD_PRELOAD=str(library))
    run.wait_for_step(10, process)
    process.kill()
    process.wait()
    (process,) = run.start(LD_PRELOAD=str(library))
    run.end(process)
    return 1, run.equals(reference), ""


def terminate(reference: Run, folder: Path) -> Outcome:
    """SIGTERM to one process: all save the same step and exit with 42."""
    run, hit, steps = reference.like(folder), 0, []
    for target in (5, 15, 25):
        processes = run.start()
        run.wait_for_step(target, processes[0])
        processes[-1].terminate()
        codes = [process.wait(120) for process in processes]
        if set(codes) != {42}:
            return hit, False, f"exit codes {codes}"
        hit += 1
        steps.append(int(run.checkpoints()[-1].name.split("-")[1]))
    run.finish()
    return hit, run.equals(reference), f"stopped at {steps}"


def scenarios(
    options: argparse.Namespace, references: dict[str, Run], root: Path
) -> Iterator[tuple[str, str, Callable[[], Outcome]]]:
    """Name, subject, and what does it."""
    number = iter(range(1000))

    def job(function: Callable, subject: str, *arguments):
        folder = root / f"run{next(number)}"
        return subject, functools.partial(
            function, references[subject], folder, *arguments
        )

    share = -(-options.kills // (2 * len(METHODS)))
    for method in METHODS:
        for part in range(2):
            yield "kill", *job(kill, method, share, options.seed + part)
    for i, kind in enumerate(runs.DAMAGES):
        yield "damage", *job(damage, METHODS[i % len(METHODS)], kind)
    for function in (
        full_disk_for_a_while,
        full_disk_to_the_end,
        read_only,
        two_at_once,
        clock_jump,
        terminate,
    ):
        yield function.__name__, *job(function, "byol")
    for subject in references:
        if subject not in METHODS:
            yield "kill", *job(kill, subject, 2, options.seed)
            yield "terminate", *job(terminate, subject)


def outcome(name: str, subject: str, work: Callable[[], Outcome]) -> dict:
    """Runs one scenario; what goes wrong in it is its result."""
    try:
        hit, equal, remark = work()
        result = "equal" if equal else "DIFFERENT"
    except runs.NotRun as reason:
        hit, result, remark = 0, "not run", str(reason)
    except Exception as error:
        hit, result, remark = 0, "FAILED", f"{type(error).__name__}: {error}"
    row = {"scenario": name, "run": subject, "faults": hit, "result": result}
    row["remark"] = remark.strip()
    print("{scenario:22} {run:14} {faults:3} {result:9} {remark}".format(**row))
    sys.stdout.flush()
    return row


def main() -> int:
    """Runs the campaign."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="scenarios, with commas")
    options = parser.parse_args()
    only = [name for name in options.only.split(",") if name]
    began = time.time()
    root = Path(tempfile.mkdtemp(prefix="tfssl-faults-"))
    pool = concurrent.futures.ThreadPoolExecutor(options.jobs)
    try:
        subjects = [*METHODS]
        if "multiworker" in tables.STRATEGIES:
            subjects += [f"{method} x2" for method in METHODS]
        done = pool.map(lambda s: (s, runs.undisturbed(s, root)), subjects)
        references = dict(done)
        jobs = [
            pool.submit(outcome, *scenario)
            for scenario in scenarios(options, references, root)
            if not only or scenario[0] in only
        ]
        rows = [job.result() for job in jobs]
    finally:
        shutil.rmtree(root, ignore_errors=True)
    results = collections.Counter(row["result"] for row in rows)
    faults: collections.Counter = collections.Counter()
    for row in rows:
        faults[row["scenario"]] += row["faults"]
    good = results["equal"] + results["not run"] == len(rows)
    summary = {"runs": len(rows), **results, "faults": faults}
    print(json.dumps({**summary, "seconds": round(time.time() - began)}))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
