"""What a training run writes and shows, and the worker that does neither."""

from __future__ import annotations

import contextlib

from tfssl import build
from tfssl.augment import describe
from tfssl.build import trained
from tfssl.config import Config
from tfssl.config.flagfile import to_flagfile
from tfssl.data import Source
from tfssl.errors import CheckpointError, message
from tfssl.runs import RunDirectory, checkpoint
from tfssl.show import console
from tfssl.show.tensorboard import ScalarWriter
from tfssl.tasks.online_knn import OnlineKnn
from tfssl.tasks.view_strip import view_strip
from tfssl.train import RunState

Row = dict[str, float]


class Silent:
    """Of several workers, all but the chief: computes, writes nothing.

    As a context it is open while the run trains. Its methods are called on every
    worker, at the same steps.

    Args:
      config: Resolved configuration.
      source: Training images.
      state: What trains.
    """

    def __init__(self, config: Config, source: Source, state: RunState):
        self.config = config
        self.source = source
        self.state = state

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def restore(self) -> None:
        """Assigns what the run directory holds to the state."""

    def begin(self, start: int, total: int, devices: str) -> None:
        """Before the first step, `start`."""

    def profile(self, text: str) -> None:
        """Takes the content of `profile.json`."""

    def row(self, row: Row) -> None:
        """Takes a finished log row."""

    def progress(self, row: Row) -> None:
        """Takes the newest numbers, between log rows."""

    def score(self, step: int) -> Row | None:
        """Evaluates the encoder; what it returns joins the log row."""

    def save(self, step: int) -> None:
        """Writes a checkpoint.

        Raises:
          DivergenceError: A tensor of the state is not finite. Every worker finds it
            by itself, so that all stop, or all rewind, at the same step.
        """
        items = self.state.items().items()
        checkpoint.refuse_non_finite({n: item.numpy() for n, item in items}, step)

    def before_rewind(self) -> None:
        """Waits for what is being written."""

    def rewound(self, step: int) -> None:
        """The run goes on from an earlier step."""

    def finish(self) -> None:
        """After the last step, or the last before a signal."""

    def say(self, text: str) -> None:
        """Shows a line to the user."""


class Recorded(Silent):
    """The chief, or the only process: log, checkpoints, TensorBoard, bar, results.

    Args:
      config: Resolved configuration.
      source: Training images.
      state: What trains.
      directory: The run directory, taken by this process.
      save_every: Steps between two checkpoints.

    Raises:
      DataError: `--knn_every` without labels; nothing was written then.
    """

    def __init__(
        self,
        config: Config,
        source: Source,
        state: RunState,
        directory: RunDirectory,
        save_every: int,
    ):
        super().__init__(config, source, state)
        self._directory = directory
        self._knn = (
            OnlineKnn(config, source, state.method) if config.knn_every else None
        )
        self._store = directory.checkpoint_store(
            keep=config.keep_checkpoints,
            keep_steps=config.keep_every * save_every,
            background=config.async_checkpoint,
        )
        self._first = 0
        self._total = 0

    def __enter__(self) -> Recorded:
        config = self.config
        # If something here fails, what was opened before it is closed again.
        with contextlib.ExitStack() as opened:
            opened.enter_context(self._store)
            self._scalars = opened.enter_context(
                ScalarWriter(self._directory.tensorboard, shown=config.tensorboard)
            )
            self._bar = opened.enter_context(
                console.Progress(
                    self._total, self._first, config.method, shown=config.progress
                )
            )
            if not self._first and config.tensorboard:
                self._scalars.write_views(view_strip(config, self.source))
            if not self._first and config.rewind_on_nan:
                self.save(0)
            self._open = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def restore(self) -> None:
        """The newest whole checkpoint; without one, `--init_from`'s encoder."""
        step = self._store.restore_newest(self.state.items())
        if step is None and self.config.init_from:
            folder = trained.checkpoint_folder(self.config.init_from)
            trained.assign_encoder(self.state.method.encoder, folder)

    def begin(self, start: int, total: int, devices: str) -> None:
        """Writes the flags and cuts the log to `start`."""
        self._first, self._total = start, total
        config, directory = self.config, self._directory
        if config.init_from and (record := trained.provenance(config.init_from)):
            trained.write_provenance(directory, record)  # its licence holds for us too
        directory.write_atomic(directory.flags, to_flagfile(config))
        directory.cut_log(start)
        self.say(
            f"{config.method} · {config.encoder} · {self.source.name}, "
            f"{self.source.num_examples} images of {config.image_size} px · {devices}"
        )
        self.say(describe(build.recipe(config)))
        where = f"from step {start} " if start else ""
        self.say(f"{where}to step {total}, run directory {config.run_dir}")

    def profile(self, text: str) -> None:
        """Writes `profile.json`."""
        self._directory.write_atomic(self._directory.profile, text)

    def row(self, row: Row) -> None:
        """Writes a log row, with what only the run knows beside the loop's numbers."""
        examples = row["step"] * self.config.batch_size
        row["epoch"] = round(examples / self.source.num_examples, 4)
        row["skipped_files"] = len(self.source.skipped())
        if (factor := float(self.state.rate_factor.numpy())) < 1:
            row["rate_factor"] = factor
        self._directory.append_log(row)
        self._scalars.write(row)

    def progress(self, row: Row) -> None:
        """Moves the bar."""
        self._bar.show(row)

    def score(self, step: int) -> Row | None:
        """The online kNN."""
        return self._knn.score(step) if self._knn else None

    def save(self, step: int) -> None:
        """Writes a checkpoint."""
        self._store.save(step, self.state.items())

    def before_rewind(self) -> None:
        """Waits for the checkpoint that is being written.

        Raises:
          CheckpointError: There is none to go back to.
        """
        self._store.wait("rewinding to the one before")
        if not self._store.steps():
            raise CheckpointError(
                message(
                    f"nothing to rewind to in {self._store.folder}",
                    "a checkpoint from before the NaN",
                    "a smaller --learning_rate in another --run_dir",
                )
            )

    def rewound(self, step: int) -> None:
        """Drops the log's rows of the lost steps."""
        self._directory.cut_log(step)

    def finish(self) -> None:
        """Waits for the last checkpoint and writes `results.json`."""
        step = int(self.state.step.numpy())
        self._store.finish(step, self.state.items())
        skipped = self.source.skipped()
        self._directory.add_results(
            {"pretrain": {"steps": step}, "skipped_files": skipped}
        )
        if skipped:
            self.say(
                f"skipped {len(skipped)} unreadable files; "
                f"{self._directory.results} names them"
            )

    def say(self, text: str) -> None:
        """Prints a line, without breaking the bar."""
        console.say(text)
