"""`--mode=pretrain`: trains a method, resumes it, and watches it by kNN."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from tfssl import launch
from tfssl.augment import describe
from tfssl.config import Config
from tfssl.core import collectives, runtime
from tfssl.data import Source
from tfssl.errors import CheckpointError, ConfigError, DivergenceError, message
from tfssl.flagfile import from_flagfile, to_flagfile
from tfssl.inherit import contradictions
from tfssl.modes import assemble, console, recovery, trained
from tfssl.modes.online_knn import OnlineKnn
from tfssl.modes.tensorboard import ScalarWriter
from tfssl.modes.view_strip import view_strip
from tfssl.train import (
    Action,
    CheckpointStore,
    RunDirectory,
    RunState,
    StopRequest,
    make_run_steps,
    profile_steps,
    train,
)

STOPPED = 42
"""Exit code of a run that a signal ended after a checkpoint; start it again."""


def run(config: Config) -> int:
    """Trains to the end, or to a signal.

    Order on disk: lock, compare flags, build everything (so that bad data leaves no
    trace), write `flags.cfg`, restore, cut the log to the step restored, train. Of
    several workers the chief alone reads and writes the directory.

    Args:
      config: Resolved configuration.

    Returns:
      0, or 42 if a signal stopped the run after saving a checkpoint.
    """
    console.route_warnings()
    if not _writes(config):
        return _train(config, RunDirectory(config.run_dir))
    with RunDirectory(config.run_dir) as directory:
        if directory.flags.exists():
            # The command line was checked before; another process may have been
            # quicker to the directory since.
            stored = from_flagfile(directory.flags.read_text())
            if problems := contradictions(config, stored):
                raise ConfigError(problems)
        return _train(config, directory)


def _train(config: Config, directory: RunDirectory) -> int:
    strategy = assemble.strategy(config)
    runtime.set_precision(config.precision)
    source = assemble.training_source(config)
    parts = config.micro_batches
    replica_batch = assemble.replica_batch(config.batch_size, strategy, parts)
    total = assemble.total_steps(config, source.num_examples)
    with strategy.scope():
        state = assemble.state(config, source.num_examples, source.num_classes)
    per_epoch = max(1, source.num_examples // config.batch_size)
    save_every = config.checkpoint_every or per_epoch
    store = CheckpointStore(
        directory.checkpoints,
        keep=config.keep_checkpoints,
        keep_steps=config.keep_every * save_every,
        background=config.async_checkpoint,
    )
    start = _restore(config, strategy, state, store)
    writes = _writes(config)
    online_knn = None
    if writes:
        if config.init_from and (record := trained.provenance(config.init_from)):
            trained.write_provenance(directory, record)  # its licence holds for us too
        if config.knn_every:
            online_knn = OnlineKnn(config, source, state.method)
        directory.write_atomic(directory.flags, to_flagfile(config))
        directory.cut_log(start)
        _announce(config, strategy, source, total, start)
    if start >= total:
        if writes:
            console.say(f"the run is complete: {start} of {total} steps")
        return 0

    photometric = assemble.photometric(config, replica_batch)
    run_steps = make_run_steps(strategy, state, photometric, micro_batches=parts)

    def batches_from(step: int) -> Iterator:
        return assemble.training_batches(
            strategy,
            source,
            assemble.recipe(config),
            seed=config.seed,
            start_step=step,
            global_batch=config.batch_size,
            image_size=config.image_size,
            micro_batches=parts,
            service=config.data_service,
        )

    def restore_again() -> int:
        store.settle()
        if writes and not store.steps():
            raise CheckpointError(
                message(
                    f"nothing to rewind to in {store.folder}",
                    "a checkpoint from before the NaN",
                    "a smaller --learning_rate in another --run_dir",
                )
            )
        step = _restore(config, strategy, state, store)
        if writes:
            directory.cut_log(step)
        return step

    if steps := config.profile_steps:
        times = profile_steps(strategy, state, photometric, batches_from(start), steps)
        if writes:
            found = json.dumps({"steps": steps, "milliseconds": times}, indent=1)
            directory.write_atomic(directory.profile, found)
    actions = [
        Action(
            save_every,
            lambda step: recovery.save(store, step, state) if writes else None,
            at_stop=True,
        )
    ]
    # On every worker, done or not: actions say how many steps a call makes, and all
    # workers must make as many.
    if config.knn_every:
        every = max(1, round(config.knn_every * per_epoch))
        score = online_knn.score if online_knn else lambda step: None
        actions.insert(0, Action(every, score))
    with contextlib.ExitStack() as stack:
        stack.enter_context(store)
        scalars = stack.enter_context(
            ScalarWriter(directory.tensorboard, shown=config.tensorboard and writes)
        )
        if config.tensorboard and writes and not start:
            scalars.write_views(view_strip(config, source))
        bar = stack.enter_context(
            console.Progress(
                total, start, config.method, shown=config.progress and writes
            )
        )
        stop = stack.enter_context(StopRequest())

        def on_row(row: dict[str, float]) -> None:
            if not writes:
                return
            examples = row["step"] * config.batch_size
            row["epoch"] = round(examples / source.num_examples, 4)
            row["skipped_files"] = len(source.skipped())
            if (factor := float(state.rate_factor.numpy())) < 1:
                row["rate_factor"] = factor
            directory.append_log(row)
            scalars.write(row)

        if config.rewind_on_nan and writes and not start:
            recovery.save(store, 0, state)
        done = None
        while done is None:
            try:
                done = train(
                    state,
                    run_steps,
                    batches_from(start),
                    total_steps=total,
                    steps_per_loop=config.steps_per_loop,
                    log_every=config.log_every,
                    images_per_step=config.batch_size,
                    on_row=on_row,
                    on_progress=bar.show,
                    actions=actions,
                    stop=stop,
                    agree=recovery.agreement(strategy),
                )
            except DivergenceError as error:
                start = recovery.rewind(
                    error, state, config.rewind_on_nan, restore_again
                )
        if writes:
            store.finish(int(state.step.numpy()), state.items())
    if writes:
        _record(directory, source, state)
    if done:
        return 0
    if writes:
        console.say(_how_to_continue(config, stop.name or "a signal", state))
    return STOPPED


def _writes(config: Config) -> bool:
    return launch.is_chief(config, os.environ)


def _restore(
    config: Config,
    strategy: tf.distribute.Strategy,
    state: RunState,
    store: CheckpointStore,
) -> int:
    """Where to begin, first that applies; of several workers the chief decides.

    1. The newest whole checkpoint of this run directory: everything.
    2. `--init_from`: the encoder's weights only; a new run.
    3. The seed.
    """
    if _writes(config):
        step = store.restore_newest(state.items())
        if step is None and config.init_from:
            folder = trained.checkpoint_folder(config.init_from)
            trained.assign_encoder(state.method.encoder, folder)
    if runtime.num_workers(strategy) > 1:
        collectives.take_over_first(strategy, state.items().values())
    return int(state.step.numpy())


def _announce(
    config: Config,
    strategy: tf.distribute.Strategy,
    source: Source,
    total: int,
    start: int,
) -> None:
    recipe = assemble.recipe(config)
    console.say(
        f"{config.method} · {config.encoder} · {source.name}, "
        f"{source.num_examples} images of {config.image_size} px · "
        f"{runtime.describe_devices(strategy)}"
    )
    console.say(describe(recipe))
    where = f"from step {start} " if start else ""
    console.say(f"{where}to step {total}, run directory {config.run_dir}")


def _record(directory: RunDirectory, source: Source, state: RunState) -> None:
    directory.add_results(
        {
            "pretrain": {"steps": int(state.step.numpy())},
            "skipped_files": source.skipped(),
        }
    )
    if source.skipped():
        console.say(
            f"skipped {len(source.skipped())} unreadable files; "
            f"{directory.results} names them"
        )


def _how_to_continue(config: Config, signal_name: str, state: RunState) -> str:
    flagfile = shlex.quote(str(Path(config.run_dir) / "flags.cfg"))
    return (
        f"stopped by {signal_name} after step {int(state.step.numpy())}, "
        f"saved; continue with\n  python -m tfssl.main --flagfile={flagfile}"
    )
