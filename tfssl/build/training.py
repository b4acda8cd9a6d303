"""From `Config` to a training: its state, its `Job`, and the recorder of it."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfssl import optim
from tfssl.augment import Recipe
from tfssl.build import networks, trained
from tfssl.build import optimizer as optimizers
from tfssl.build.data import training_input
from tfssl.build.devices import strategy
from tfssl.build.first_views import VIEWS, first_views
from tfssl.build.optimizer import learning_rate, peak_rate, total_steps
from tfssl.build.same_data import DATA, refuse_other_data
from tfssl.build.views import pretraining_input
from tfssl.config import Config, difference, launch, modes
from tfssl.config.flagfile import from_flagfile, to_flagfile
from tfssl.config.groups import Recording
from tfssl.config.remote import is_remote, same_place
from tfssl.config.tasks import TASKS
from tfssl.core import runtime
from tfssl.data import Source
from tfssl.errors import RunDirectoryError, message
from tfssl.methods import Method
from tfssl.runs import RunDirectory
from tfssl.show import console
from tfssl.show.tensorboard import ScalarWriter
from tfssl.train import (
    Job,
    NullRecorder,
    Recorder,
    RunState,
    Settings,
)

Rate = Callable[[Any], Any]
"""Step to learning rate."""

OptimizerAt = Callable[[Rate], keras.optimizers.Optimizer]
"""Makes an optimiser whose learning rate is a function of the step."""


def state(config: Config, num_examples: int, num_classes: int | None) -> RunState:
    """Method and optimiser of a pre-training; call inside the strategy's scope."""
    steps = total_steps(config, num_examples)
    method = networks.method(config, num_classes, steps, num_examples)
    rate = learning_rate(config, num_examples, steps)
    own_rates = method.learning_rates(peak_rate(config))
    return fresh_state(
        method, rate, lambda rate: optimizers.optimizer(config, rate), own_rates
    )


def fresh_state(
    method: Method,
    rate: Rate,
    optimizer_at: OptimizerAt,
    own_rates: Mapping[str, Rate] | None = None,
) -> RunState:
    """The state of a run that can rewind: then its rate is multiplied by a factor.

    Call inside the strategy's scope.
    """
    factor = tf.Variable(1.0, trainable=False, name="rate_factor")
    return RunState.create(
        method, optimizer_at(lambda step: rate(step) * factor), factor, own_rates
    )


def pretraining(config: Config, source: Source) -> Job:
    """The pre-training that the flags describe."""
    run_on = strategy(config)
    runtime.set_precision(config.precision)
    given = pretraining_input(config, source, run_on)
    with run_on.scope():
        moving = state(config, source.num_examples, source.num_classes)
    return Job(
        strategy=run_on,
        state=moving,
        source=source,
        batches=given.batches,
        views=given.views,
        batch_size=config.batch_size,
        total_steps=total_steps(config, source.num_examples),
        micro_batches=config.micro_batches,
        initialize=functools.partial(
            trained.begin_with, config.init_from, moving.method.encoder
        ),
    )


def supervised(
    config: Config,
    source: Source,
    views: Recipe,
    method: Callable[[], Method],
    optimizer_at: OptimizerAt,
    *,
    peak: float,
    steps: int,
    batch_size: int,
    seed: int,
    flag: str,
    micro_batches: int = 1,
    rate_factors: Mapping[str, float] | None = None,
) -> Job:
    """Training on labels, one view an image, at a cosine rate without warm-up.

    Args:
      config: Resolved configuration.
      source: Labelled training images.
      views: Recipe of the one view.
      method: Makes what trains, in the strategy's scope.
      optimizer_at: Makes its optimiser from step to learning rate.
      peak: The first learning rate.
      steps: Updates.
      batch_size: Images of a step over all replicas.
      seed: Of order and crops; one of its own for each protocol.
      flag: Which flag said the batch size, for messages.
      micro_batches: Parts of a step's images in memory one after the other.
      rate_factors: What learns at a multiple of the rate, named as in
        `RunState.own_rates`.

    Raises:
      DataError: A batch that cannot be split over the replicas.
    """
    run_on = strategy(config)
    given = training_input(
        run_on,
        source,
        views,
        seed=seed,
        global_batch=batch_size,
        image_size=config.image_size,
        micro_batches=micro_batches,
        on_device=False,
        flag=flag,
    )
    with run_on.scope():
        cosine = optim.build_schedule("cosine", peak=peak, total=steps)
        own_rates = {
            part: functools.partial(_times, factor, cosine)
            for part, factor in (rate_factors or {}).items()
        }
        moving = fresh_state(method(), cosine, optimizer_at, own_rates)
    return Job(
        strategy=run_on,
        state=moving,
        source=source,
        batches=given.batches,
        views=given.views,
        batch_size=batch_size,
        total_steps=steps,
        micro_batches=micro_batches,
    )


FEW_STEPS = 50


def too_few(job: Job, flag: str) -> str:
    """Returns the note of a score that tells of the training's length, else "".

    Epochs that suffice for all labels are a handful of steps of few labels.

    Args:
      job: A training on labels.
      flag: Which flag makes it longer.
    """
    if job.total_steps >= FEW_STEPS:
        return ""
    return f"trained for {job.total_steps} steps only: a longer one has a larger {flag}"


def _times(factor: float, rate: Rate, step: Any) -> Any:
    return factor * rate(step)


def refuse_other_flags(
    settings: Config,
    own: RunDirectory,
    names: Iterable[str],
    what: str,
    began: str = "",
) -> None:
    """Refuses to go on with a training that began with other flags.

    Args:
      settings: Flags of the run to be.
      own: Its directory.
      names: The flags that make it what it is. Of runs the place counts, not how it is
        written.
      what: "a fine-tuning".
      began: The `init_from` of stored flags that name none.

    Raises:
      RunDirectoryError: The directory holds another one.
    """
    if not own.flags.exists():
        return
    stored = from_flagfile(own.flags.read_text("utf-8"))
    places = {"init_from": stored.init_from or began, "teacher": stored.teacher}
    for flag, place in places.items():
        if same_place(place, getattr(settings, flag)):
            stored = dataclasses.replace(stored, **{flag: getattr(settings, flag)})
    if (place := _inside(stored)) and place == _inside(settings):
        # Both were moved, or are named from another folder.
        stored = dataclasses.replace(stored, init_from=settings.init_from)
    if found := difference(settings, stored, names):
        flags = ", ".join(
            f"{n}={settings.text(n)} instead of {stored.text(n)}" for n, _, _ in found
        )
        raise RunDirectoryError(
            message(
                f"{what} with other flags in {own.path}: {flags}",
                "the same flags, to go on with it",
                "those, another run_dir, or removing that folder",
            )
        )


def _inside(config: Config) -> str:
    """Where a run lies in the one that it began from; "" if elsewhere."""
    start, own = config.init_from, config.run_dir
    if not start or is_remote(start) or is_remote(own):
        return ""
    place = os.path.relpath(own, start)
    return "" if place.startswith(os.pardir) else place


def is_chief(config: Config) -> bool:
    """Whether this process writes the run directory; one of all workers does."""
    return launch.is_chief(config, os.environ)


def recorder(
    config: Config,
    job: Job,
    directory: RunDirectory | None,
    views: Recipe | Callable[[], np.ndarray] | None,
    *,
    name: str,
    title: str = "",
    texts: Mapping[str, str] | None = None,
    lines: Sequence[str] = (),
    loss: str = "loss",
) -> Recorder | NullRecorder:
    """What records a training, by the flags that every training has.

    Args:
      config: Resolved configuration of the run directory.
      job: The training.
      directory: Where this process records it; None: another process does.
      views: The recipe of its views, some of which TensorBoard shows; or what makes
        uint8 `[n, V, S, S, 3]` to be shown; None: it shows none.
      name: Of the training in `results.json`.
      title: In front of the bar; default: the name.
      texts: Files to be written beside `flags.cfg`.
      lines: What to say at the start, beside what the images and devices are.
      loss: The row's field that the bar shows as the loss.
    """
    settings = Settings(
        save_every=config.checkpoint_every or job.steps_per_epoch,
        steps_per_loop=config.steps_per_loop,
        log_every=config.log_every,
        keep_checkpoints=config.keep_checkpoints,
        keep_every=config.keep_every,
        async_checkpoint=config.async_checkpoint,
        rewind_on_nan=config.rewind_on_nan,
        profile_steps=config.profile_steps,
        trainings=sum(Recording in TASKS[mode].reads for mode in _from(config, name)),
    )
    if directory is None:
        return NullRecorder(settings)

    def scalars(start: int, total: int) -> ScalarWriter:
        del total
        writer = ScalarWriter(directory.tensorboard, shown=config.tensorboard)
        if not start and config.tensorboard and views is not None:
            writer.write_views(_strip(config, job.source, views))
        return writer

    def bar(start: int, total: int) -> console.Progress:
        return console.Progress(
            total, start, title or name, shown=config.progress, loss=loss
        )

    source = job.source
    what = (
        f"{config.method} · {config.encoder} · {source.name}, {source.num_examples} "
        f"images of {config.image_size} px · {runtime.describe_devices(job.strategy)}"
    )
    return Recorder(
        directory,
        settings,
        name=name,
        texts={
            **(texts or {}),
            DATA: refuse_other_data(
                directory, source, accept=config.accept_changed_data
            ),
            # Of this command alone: the next one is asked again.
            directory.flags.name: to_flagfile(
                dataclasses.replace(config, accept_changed_data=False)
            ),
        },
        displays=(scalars, bar),
        say=console.say,
        lines=(what, *lines),
    )


def _from(config: Config, name: str) -> list[str]:
    """The modes of the command from a training on; its own, where it is not there."""
    asked = modes(config)
    return asked[asked.index(name) :] if name in asked else [name]


def _strip(
    config: Config, source: Source, views: Recipe | Callable[[], np.ndarray]
) -> np.ndarray:
    if not isinstance(views, Recipe):
        return views()
    size = config.image_size
    shown = first_views(source, views, seed=config.seed, images=VIEWS, image_size=size)
    return shown.views
