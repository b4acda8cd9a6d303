"""What the modes share that train a run of its own in a folder of another run."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set

import numpy as np

from tfssl import build
from tfssl.augment import Recipe
from tfssl.build import trained
from tfssl.config import Config
from tfssl.config.flag import specs_of
from tfssl.config.groups import Data, Images, Network
from tfssl.runs import RunDirectory
from tfssl.runs.scores import Score, add_score
from tfssl.show import console
from tfssl.show.scores import score_line
from tfssl.tasks import Outcome
from tfssl.train import Job

_SHARED = {
    name
    for group in (Data, Images, Network)
    for name, spec in specs_of(group).items()
    if spec.scope != "free" and name != "eval_split"
} | {"precision", "seed", "init_from"}
"""Flags that make any of these runs what it is: its images, its network, its start."""


@dataclasses.dataclass(frozen=True)
class OwnRun:
    """A mode that trains such a run, and scores it.

    Attributes:
      name: The mode.
      recipe: Flags that a run which goes on must have been given, too; and `_SHARED`.
      words: What a run of it is called: ("a detection", "detecting").
      mode: In the run's own flags, where it is another.
      inside: Whether flags that name no start, as old ones, are of a run that began
        from the one around its folder.
    """

    name: str
    recipe: Set[str]
    words: tuple[str, str]
    mode: str = ""
    inside: bool = False

    def run(
        self,
        config: Config,
        work: Callable[[RunDirectory | None], Iterable[Score]],
        folder: str = "",
    ) -> tuple[str | None, list[Score]]:
        """Trains in a folder of `run_dir`, and adds the scores there and to the run's.

        Args:
          config: Resolved configuration.
          work: Trains, and yields the scores; told the folder, or None by a worker that
            is not the chief: it trains alone.
          folder: Its name; default: the mode's.

        Returns:
          Its path and the scores; none on workers that are not the chief.

        Raises:
          RunDirectoryError: The folder holds a run with other flags.
          Stopped: A signal ended the training after a checkpoint.
        """
        if not build.is_chief(config):
            return None, [*work(None)]
        with RunDirectory(config.run_dir) as directory:
            with RunDirectory(directory.path / (folder or self.name)) as own:
                scores = []
                for score in work(own):
                    add_score(own, score)
                    scores.append(score)
            for score in scores:
                add_score(directory, score)
                console.say(score_line(score))
        console.say(f"the {self.words[1]} run is {own.path}")
        return str(own.path), scores

    def run_from(
        self,
        config: Config,
        start: str,
        train: Callable[[Config, RunDirectory | None], None],
        score: Callable[[RunDirectory], Score],
    ) -> Outcome:
        """Trains from another run or random weights, and scores once.

        Args:
          config: Resolved configuration.
          start: The run whose weights it begins with; empty: the seed's, in a folder
            of another name, so that both scores stand side by side.
          train: Trains with the run's flags in its directory, see `settings`.
          score: Of the trained run.

        Returns:
          The run, or that of `config` where weights were random; and the score.

        Raises:
          RunDirectoryError: The folder holds a run with other flags.
          Stopped: A signal ended the training after a checkpoint.
        """

        def work(own: RunDirectory | None) -> Iterator[Score]:
            train(self.settings(config, own, start), own)
            if own is not None:
                yield score(own)

        folder = self.name if start else f"{self.name}_random"
        path, scores = self.run(config, work, folder)
        return Outcome(path if start else None, value=scores[0] if scores else None)

    def settings(self, config: Config, own: RunDirectory | None, start: str) -> Config:
        """The flags of the run to train, which begins from another, or the seed.

        Args:
          config: Resolved configuration.
          own: The run's directory.
          start: The run whose weights it begins with; empty: the seed's.

        Raises:
          RunDirectoryError: The directory holds a run with other flags.
        """
        if own is None:
            return config
        mode, run_dir = self.mode or self.name, str(own.path)
        settings = dataclasses.replace(
            config, mode=mode, run_dir=run_dir, init_from=start
        )
        began = os.path.dirname(run_dir) if self.inside else ""
        names = self.recipe | _SHARED
        build.refuse_other_flags(settings, own, names, self.words[0], began)
        return settings

    def train(
        self,
        settings: Config,
        own: RunDirectory | None,
        job: Job,
        views: Recipe | Callable[[], np.ndarray] | None,
        texts: Mapping[str, str],
        lines: Sequence[str] = (),
    ) -> None:
        """Trains to the end; of several workers the chief has the directory.

        Args:
          settings: Of `settings`.
          own: The run's directory.
          job: The training.
          views: As these and `lines`: of `build.recorder`.
          texts: Beside those about the weights that it begins with.
          lines: What to say at the start.
        """
        texts = {**trained.provenance_texts(settings.init_from), **texts}
        recorder = build.recorder(
            settings, job, own, views, name=self.name, texts=texts, lines=lines
        )
        job.run(recorder)
