"""What the modes of dense tasks share: a run directory of its own, trained, scored."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Set

import numpy as np

from tfssl import build
from tfssl.build import trained
from tfssl.build.dense import start_of
from tfssl.config import Config
from tfssl.data import Source
from tfssl.runs import RunDirectory
from tfssl.runs.scores import Confusion, Score, add_score
from tfssl.show import console
from tfssl.show.scores import score_line
from tfssl.tasks import Outcome
from tfssl.train import Job


@dataclasses.dataclass(frozen=True)
class DenseTask:
    """A mode that puts something on an encoder and trains both.

    Attributes:
      mode: Of `TASKS`; `--MODE_weights` and `--MODE_batch_size` are its flags.
      recipe: Flags that a run which goes on must have been given, too.
      words: What a run of it is called: ("a detection", "detecting").
      job: From flags and training images to the training.
      views: From flags and training images to a few views, for TensorBoard; or None.
      texts: From training images to the files that say what was learned.
      scored: Of flags, training images, held-out ones and the run's directory.
    """

    mode: str
    recipe: Set[str]
    words: tuple[str, str]
    job: Callable[[Config, Source], Job]
    views: Callable[[Config, Source], np.ndarray] | None
    texts: Callable[[Source], Mapping[str, str]]
    scored: Callable[
        [Config, Source, Source, RunDirectory], tuple[Score, Confusion | None]
    ]

    def run(self, config: Config, data: Source, held_out: Source) -> Outcome:
        """Trains into `run_dir/MODE`, or `MODE_random`, and scores what was trained.

        Raises:
          RunDirectoryError: The folder holds one with other flags.
          Stopped: A signal ended it after a checkpoint.
        """
        random = not start_of(config, self.mode)
        name = f"{self.mode}_random" if random else self.mode
        build.require_batch(config, data, f"{self.mode}_batch_size")
        if not build.is_chief(config):
            job = self.job(config, data)
            job.run(build.recorder(config, job, None, None, name=self.mode))
            return Outcome()  # what follows is the chief's
        with RunDirectory(config.run_dir) as directory:
            with RunDirectory(directory.path / name) as own:
                self._train(config, data, own)
                score, confusion = self.scored(config, data, held_out, own)
                add_score(own, score, confusion)
            add_score(directory, score, confusion)
        console.say(score_line(score))
        console.say(f"the {self.words[1]} run is {own.path}")
        return Outcome(None if random else str(own.path), value=score)

    def _train(self, config: Config, data: Source, own: RunDirectory) -> None:
        start = start_of(config, self.mode)
        settings = dataclasses.replace(
            config, mode=self.mode, run_dir=str(own.path), init_from=start
        )
        build.refuse_other_flags(settings, own, self.recipe, self.words[0])
        job = self.job(config, data)
        texts = {**trained.provenance_texts(start), **self.texts(data)}
        views = self.views and (lambda: self.views(settings, data))
        job.run(build.recorder(settings, job, own, views, name=self.mode, texts=texts))
