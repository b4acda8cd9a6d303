"""One training, whatever trains: restore, train with rewinds, save, stop."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf

from tfssl.core import collectives, runtime
from tfssl.data import Source
from tfssl.errors import DivergenceError, Stopped
from tfssl.train.loop import Action, Row, train
from tfssl.train.profile_step import profile_steps
from tfssl.train.recorder import NullRecorder, Recorder
from tfssl.train.replica_step import Photometric
from tfssl.train.state import RunState
from tfssl.train.step import make_run_steps
from tfssl.train.stop import StopRequest

RATE_FACTOR = 0.5
"""What a rewind multiplies the learning rate by."""

_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Job:
    """A training: what moves, on which batches, for how many steps.

    Attributes:
      strategy: Whose replicas share a batch.
      state: What trains, made in the strategy's scope.
      source: The training images.
      batches: Makes the batches from a step on.
      views: Makes views of a batch, in the training step.
      batch_size: Images of a step over all replicas.
      total_steps: Updates at the end.
      micro_batches: Parts of a step's images in memory one after the other.
      initialize: Assigns what a new run begins with, where it is not the seed's;
        of several workers the chief's values count.
      actions: What is done between steps, before the checkpoint: online scores.
    """

    strategy: tf.distribute.Strategy
    state: RunState
    source: Source
    batches: Callable[[int], Iterator]
    views: Photometric
    batch_size: int
    total_steps: int
    micro_batches: int = 1
    initialize: Callable[[], None] = lambda: None
    actions: Sequence[Action] = ()

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one pass over the images, at least 1."""
        return max(1, self.source.num_examples // self.batch_size)

    def run(self, recorder: Recorder | NullRecorder) -> None:
        """Trains to the end, from wherever the run directory has got.

        Args:
          recorder: Where the training is written; on every worker one.

        Raises:
          Stopped: A signal ended it after a checkpoint; the same call goes on.
          DivergenceError: NaN or infinity, and no rewind is left.
          CheckpointError: The disk has no room for a checkpoint.
        """
        start = self._restore(recorder)
        if start < self.total_steps:
            recorder.require_room(self.state, self.total_steps)
        recorder.begin(start, self.total_steps)
        if start >= self.total_steps:
            recorder.say(f"the run is complete: {start} of {self.total_steps} steps")
            return
        with recorder, StopRequest() as stop:
            if not start and recorder.settings.rewind_on_nan:
                recorder.save(0, self.state)
            done = self._train(start, stop, recorder)
            recorder.finish(self.state, self.source.skipped())
        if not done:
            raise Stopped(stop.name or "a signal", int(self.state.step.numpy()))

    def _restore(self, recorder: Recorder | NullRecorder) -> int:
        """Where to begin, first that applies; of several workers the chief decides.

        1. The newest whole checkpoint of this run directory: everything.
        2. `initialize`: such as the weights of another run; a new run.
        3. The seed.
        """
        restored = recorder.restore(self.state)
        if restored is None and recorder.chief:
            self.initialize()
        if runtime.num_workers(self.strategy) > 1:
            collectives.take_over_first(self.strategy, self.state.items().values())
        return int(self.state.step.numpy())

    def _train(
        self, start: int, stop: StopRequest, recorder: Recorder | NullRecorder
    ) -> bool:
        """Trains, with rewinds, until the end (True) or a signal (False)."""
        settings = recorder.settings
        if steps := settings.profile_steps:
            times = profile_steps(
                self.strategy, self.state, self.views, self.batches(start), steps
            )
            recorder.profile(steps, times)
        run_steps = make_run_steps(
            self.strategy,
            self.state,
            self.views,
            micro_batches=self.micro_batches,
        )
        save = Action(
            settings.save_every,
            lambda step: recorder.save(step, self.state),
            at_stop=True,
        )
        while True:
            try:
                return train(
                    self.state,
                    run_steps,
                    self.batches(start),
                    total_steps=self.total_steps,
                    steps_per_loop=settings.steps_per_loop,
                    log_every=settings.log_every,
                    images_per_step=self.batch_size,
                    on_row=lambda row: recorder.row(row | self._of_the_run(row)),
                    on_progress=recorder.progress,
                    actions=[*self.actions, save],
                    stop=stop,
                    agree=self._agree,
                )
            except DivergenceError as error:
                start = self._rewind(error, recorder)

    def _of_the_run(self, row: Row) -> Row:
        """What a row of the log says beside the loop's numbers."""
        epoch = row["step"] * self.batch_size / self.source.num_examples
        more: Row = {"epoch": round(epoch, 4)}
        more["skipped_files"] = len(self.source.skipped())
        if (factor := float(self.state.rate_factor.numpy())) < 1:
            more["rate_factor"] = factor
        return more

    def _agree(self, asked: bool) -> bool:
        """A signal reaches one worker; all must stop after the same step."""
        if runtime.num_workers(self.strategy) == 1:
            return asked
        return collectives.any_worker(self.strategy, asked)

    def _rewind(self, error: DivergenceError, recorder: Recorder | NullRecorder) -> int:
        """Goes back to the last checkpoint with half the learning rate.

        The factor is a variable of the state, so that the checkpoints from now on hold
        it and a resumed run has it. A run that is killed before the first of them meets
        the same NaN at the same step and rewinds again, to the same numbers.

        Returns:
          The step to go on from.

        Raises:
          DivergenceError: The given one, when no rewind is left.
        """
        factor = float(self.state.rate_factor.numpy()) * RATE_FACTOR
        if factor < RATE_FACTOR**recorder.settings.rewind_on_nan:
            raise error
        recorder.prepare_rewind()
        step = self._restore(recorder)
        recorder.rewound(step)
        self.state.rate_factor.assign(factor)
        _LOGGER.warning("%s", error)
        _LOGGER.warning("rewound to step %d; learning rate times %g", step, factor)
        return step
