"""`--mode=finetune`: trains the whole network on labels, from a trained encoder."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from tfssl import build, optim
from tfssl.build import networks, trained
from tfssl.build.features import features
from tfssl.build.supervised import OneView
from tfssl.config import Config, difference
from tfssl.config.flagfile import from_flagfile, to_flagfile
from tfssl.config.tasks import FINETUNE_RATES
from tfssl.core import runtime, seeds, variables
from tfssl.data import Source, require_labels
from tfssl.errors import ConfigError, RunDirectoryError, message
from tfssl.evaluate import classification, rank
from tfssl.runs import RunDirectory
from tfssl.runs.scores import TRAINED, Confusion, Score, add_score
from tfssl.show import console
from tfssl.show.scores import score_line
from tfssl.train import Action, RunState, StopRequest

STOPPED = 42
"""Exit code after a signal; the same command goes on from the checkpoint."""

_RECIPE = ("label_fraction", "precision", "dataset", "train_split", "seed")


def run(config: Config) -> int:
    """Fine-tunes into `run_dir/finetune` and scores the result.

    Protocol: crop and flip, cosine without warm-up, no layer frozen; by default SGD
    with Nesterov momentum .9 as in SimCLR's appendix B.5 and BYOL's C.2, or SimCLR
    v2's LARS. The folder is a run directory of its own: `--run_dir` and `--init_from`
    of any mode take it, and its export also serves `probabilities`.

    Returns:
      0, or 42 if a signal stopped it after saving a checkpoint.

    Raises:
      RunDirectoryError: The folder holds a fine-tuning with other flags.
    """
    console.route_warnings()
    with RunDirectory(config.run_dir) as directory:
        data = build.labelled_source(config)
        require_labels(data, "--mode=finetune")
        evaluation = build.evaluation_source(config)
        with RunDirectory(directory.finetune) as own:
            _refuse_other_flags(config, own)
            job = _FineTuning(config, data, own)
            if not job.train():
                console.say("fine-tuning stopped, saved; the same command goes on")
                return STOPPED
            score, confusion = job.score(evaluation)
            add_score(own, score, confusion)
        add_score(directory, score, confusion)
    console.say(score_line(score))
    return 0


def learning_rate(config: Config) -> float:
    """The peak rate: the flag's, or the published one, scaled as published."""
    base, scaling = FINETUNE_RATES[config.finetune_optimizer]
    return optim.scaled_learning_rate(
        config.finetune_learning_rate or base, config.finetune_batch_size, scaling
    )


def _refuse_other_flags(config: Config, own: RunDirectory) -> None:
    if not own.flags.exists():
        return
    stored = from_flagfile(own.flags.read_text())
    names = [n for n in config.specs if n.startswith("finetune_") or n in _RECIPE]
    if found := difference(config, stored, names):
        flags = ", ".join(f"--{n}={a} instead of {b}" for n, a, b in found)
        raise RunDirectoryError(
            message(
                f"a fine-tuning with other flags in {own.path}: {flags}",
                "the same flags, to go on with it",
                "those, or removing that folder",
            )
        )


class _FineTuning:
    """One fine-tuning: its networks, and where it is written.

    Args:
      config: Resolved configuration.
      data: Labelled training images.
      own: `run_dir/finetune`.
    """

    def __init__(
        self,
        config: Config,
        data: Source,
        own: RunDirectory,
    ):
        self._config = config
        self._data = data
        self._own = own
        self._batch = config.finetune_batch_size
        if data.num_examples < self._batch:
            raise ConfigError(
                message(
                    f"{data.num_examples} labelled images",
                    f"at least one batch (--finetune_batch_size={self._batch})",
                    f"--finetune_batch_size={max(2, data.num_examples)} or less",
                )
            )
        self._total = config.finetune_epochs * data.num_examples // self._batch
        self._strategy = build.strategy(config)
        runtime.set_precision(config.precision)
        with self._strategy.scope():
            self._method = networks.fine_tune(config, data.num_classes)
            self._state = RunState.create(self._method, self._optimizer())
        self._store = own.checkpoint_store(
            keep=config.keep_checkpoints, background=True
        )

    def train(self) -> bool:
        """Trains to the end (True), or until a signal (False)."""
        start = self._restore()
        if start >= self._total:
            return True
        own, config = self._own, self._config
        own.write_atomic(
            own.flags,
            to_flagfile(
                dataclasses.replace(config, mode="finetune", run_dir=str(own.path))
            ),
        )
        own.cut_log(start)
        source = config.init_from or config.run_dir
        if record := trained.provenance(source):
            trained.write_provenance(own, record)
        show = OneView(
            config,
            self._data,
            build.transform(config),
            self._batch,
            seeds.init_seed(config.seed, "finetune"),
        )
        per_epoch = max(1, self._data.num_examples // self._batch)
        save = Action(
            config.checkpoint_every or per_epoch,
            lambda step: self._store.save(step, self._state.items()),
            at_stop=True,
        )
        with (
            self._store,
            console.Progress(
                self._total, start, "finetune", shown=config.progress
            ) as bar,
            StopRequest() as stop,
        ):
            done = show.train(
                self._strategy,
                self._state,
                self._total,
                stop=stop,
                log_every=config.log_every,
                on_row=own.append_log,
                on_progress=bar.show,
                actions=(save,),
            )
            self._store.finish(int(self._state.step.numpy()), self._state.items())
        return done

    def score(self, evaluation: Source) -> tuple[Score, Confusion]:
        """Accuracy on held-out images, in float32 with moving statistics."""
        config, classes = self._config, self._data.num_classes
        runtime.set_precision("float32")
        plain = networks.fine_tune(config, classes)
        items, own = plain.checkpoint_items(), self._method.checkpoint_items()
        variables.copy_values([own[name] for name in items], list(items.values()))
        logits_of = keras.Sequential([plain.encoder, plain.head()])
        transform = build.transform(config)
        table = features(
            build.compiled_encode(logits_of, transform),
            evaluation,
            transform,
            image_size=config.image_size,
        )
        found = classification(
            rank(table.features),
            table.labels,
            classes,
            class_names=self._data.class_names,
            images=evaluation.num_examples,
        )
        settings = {
            "epochs": config.finetune_epochs,
            "batch_size": self._batch,
            "label_fraction": config.text("label_fraction"),
        }
        text = (
            f"whole network trained on {self._data.num_examples} labelled images "
            f"(label fraction {config.text('label_fraction')}) for "
            f"{config.finetune_epochs} epochs, {config.finetune_optimizer}, peak "
            f"rate {learning_rate(config):g}, cosine, batch {self._batch}, decay "
            f"{config.finetune_weight_decay:g}, crop and flip, "
            f"{config.finetune_layer} projector layers kept; scored on "
            f"{found.counts} in float32 with moving statistics"
        )
        score = Score(
            "finetune",
            evaluation.name,
            TRAINED,
            found.metrics,
            settings,
            found.intervals,
            found.counts,
            description=text,
        )
        return score, found.confusion

    def _optimizer(self) -> keras.optimizers.Optimizer:
        config = self._config
        rate = optim.build_schedule(
            "cosine", peak=learning_rate(config), total=self._total
        )
        more: dict[str, Any] = {"nesterov": True}
        if config.finetune_optimizer == "lars":
            # As in pre-training, the classifier's rate is not adapted by its norm.
            more = {"exclude": [*optim.DEFAULT_EXCLUDE, networks.PROBE]}
        return optim.build_optimizer(
            config.finetune_optimizer,
            rate,
            momentum=0.9,
            weight_decay=config.finetune_weight_decay,
            **more,
        )

    def _restore(self) -> int:
        """From our own checkpoint, or the pre-trained weights at the start."""
        step = self._store.restore_newest(self._state.items())
        if step is not None:
            return step
        config = self._config
        folder = trained.checkpoint_folder(config.init_from or config.run_dir)
        # Encoder and kept projector layers; the classifier starts afresh.
        items = self._method.checkpoint_items()
        pretrained = {n: v for n, v in items.items() if n.startswith("online/")}
        trained.assign_items(pretrained, folder)
        return 0
