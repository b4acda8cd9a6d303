"""Trains from a kit's weights, by the real step; run in a process of its own.

python -m tests.methods.trajectory_worker REPLICAS DTYPE OUT.npz KIT:RUN ...

Writes, for step s of a run, `RUN/s/log/NAME`, for BYOL with `tau`;
`RUN/s/state/OFFICIAL NAME` and `RUN/s/momentum/OFFICIAL NAME`, each as norm and first
five values in the official layout; `RUN/s/queue` and `RUN/s/logits`. After the last
step of BYOL, `RUN/final_eval/NAME`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

from tests.goldens.byol import byol_rule
from tests.goldens.moco import moco_rule
from tests.goldens.simclr import simclr_rule
from tests.models import official_names as names
from tfssl import build, optim
from tfssl.build import networks
from tfssl.config import Config, resolve
from tfssl.config.encoder_name import parse_encoder
from tfssl.core import runtime, variables
from tfssl.models.images import Normalize
from tfssl.train import RunState, make_run_steps

GOLDENS = Path(__file__).parents[1] / "goldens"


@dataclasses.dataclass(frozen=True)
class Case:
    """What a kit's run needs.

    Attributes:
      steps: Steps to make.
      make: Makes the state; called in the strategy's scope.
      views: Step to `[b, 2, S, S, 3]`, normalised, and labels `[b]`.
      name: Our checkpoint name to the official one, or None where it has none.
      value: Official name to the initial value in our layout.
      official: A value in our layout to the official layout.
      logits: Shape of the contrastive logits to keep at every step, if any.
      evaluate: Name to what the trained network says, if asked for.
    """

    steps: int
    make: Callable[[], RunState]
    views: Callable[[int], tuple[np.ndarray, np.ndarray]]
    name: Callable[[str], str | None]
    value: Callable[[str], np.ndarray]
    official: Callable[[np.ndarray], np.ndarray] = lambda array: array
    logits: tuple[int, int] | None = None
    evaluate: Callable[[Any], dict[str, tf.Tensor]] = lambda method: {}


def goldens(kit: str) -> Any:
    return json.loads((GOLDENS / kit / f"trajectory_{kit}.json").read_text())


def simclr(run_id: str) -> Case:
    run = next(r for r in goldens("simclr")["runs"] if r["id"] == run_id)
    arch, rule, batch = run["arch"], simclr_rule, run["batch"]
    encoder = f"resnet{arch['depth']}x{arch['width_multiplier']:g}"
    encoder += "_sk" * (arch["sk_ratio"] > 0) + "_cifar" * arch["cifar_stem"]
    config = resolve(
        Config(
            method="simclr",
            encoder=encoder,
            image_size=run["size"],
            projector_layers=arch["proj_layers"],
            projector_dim=arch["proj_out_dim"],
            temperature=run["temperature"],
            learning_rate=run["learning_rate"],
            weight_decay=run["weight_decay"],
            momentum=run["momentum"],
            batch_size=batch,
            # One batch is an epoch, so that epochs of warm-up are steps.
            warmup_epochs=run["warmup_steps"],
            train_steps=run["total_steps"],
        )
    )
    layers = names.simclr(parse_encoder(encoder))
    by_name = {v.name: v for v in rule.variables(**arch)}
    views = [rule.fixed_images(batch, run["size"], seed) for seed in run["view_seeds"]]
    labels = rule.fixed_labels(batch, run["num_classes"], run["label_seed"])

    def name(ours: str) -> str:
        return names.simclr_variable(_without_role(ours), layers)

    return Case(
        steps=run["record_steps"],
        make=lambda: build.state(config, batch, run["num_classes"]),
        views=lambda step: (np.stack(views, 1), labels),
        name=name,
        value=lambda official: rule.value(by_name[official], run["variant"]),
    )


def byol(run_id: str) -> Case:
    del run_id
    settings, rule = goldens("byol")["settings"], byol_rule
    batch, depth = settings["batch"], settings["depth"]
    config = resolve(
        Config(
            method="byol",
            encoder=f"resnet{depth}",
            image_size=settings["size"],
            projector_hidden=settings["ph"],
            projector_dim=settings["po"],
            predictor_hidden=settings["qh"],
            ema_momentum=settings["base_ema"],
            learning_rate=settings["base_lr"],
            weight_decay=settings["wd"],
            momentum=settings["mom"],
            batch_size=batch,
            warmup_epochs=settings["warmup"],
            train_steps=settings["max_steps"],
        )
    )
    spec = rule.param_spec(
        depth, 1, settings["ph"], settings["po"], settings["qh"], settings["ncls"]
    )

    def make() -> RunState:
        steps = settings["max_steps"]
        method = networks.method(config, settings["ncls"], steps, batch)
        optimizer = optim.LARS(
            optim.as_keras_schedule(build.learning_rate(config, batch, steps)),
            momentum=settings["mom"],
            weight_decay=settings["wd"],
            trust_coefficient=settings["eta"],
            lr_in_velocity=False,
        )
        return RunState.create(method, optimizer)

    def name(ours: str) -> str:
        prefix = "target/" if ours.startswith("target/") else ""
        return prefix + names.byol_variable(_without_role(ours), depth)

    def value(official: str) -> np.ndarray:
        module, _, leaf = official.removeprefix("target/").rpartition("/")
        if "_ema" in module:
            return np.zeros(())  # a fresh net
        return rule.weight(official, spec[module][leaf])

    images = [
        rule.fixed_images(batch, settings["size"], settings[f"seed_view{v}"])
        for v in (1, 2)
    ]
    views = np.stack([_normalize(x, rule) for x in images], 1)
    labels = np.arange(batch) % settings["ncls"]

    def evaluate(method: Any) -> dict[str, tf.Tensor]:
        """Inference of the online network on the first four images of view 1."""
        features = method.encoder(views[:4, 0], training=False)
        projection = method.projector(features, training=False)
        return {
            "projection": projection,
            "prediction": method.predictor(projection, training=False),
            "logits": method.probe(features, training=False),
        }

    return Case(
        steps=settings["steps"],
        make=make,
        views=lambda step: (views, labels),
        name=name,
        value=value,
        evaluate=evaluate,
    )


MOCO_AS_RUN = {"m": 0.999, "T": 0.07}
"""The official defaults, with which both runs of MoCo's kit were computed.

Their `settings` name m .99 and .9, and T .2; the numbers contradict them, see
`test_mocos_runs_were_computed_with_the_official_defaults`.
"""


def moco(run_id: str) -> Case:
    settings, rule = goldens("moco")[run_id]["settings"], moco_rule
    settings = {**settings, **MOCO_AS_RUN}
    batch, depth = settings["batch"], settings["depth"]
    config = resolve(
        Config(
            method="moco",
            encoder=f"resnet{depth}",
            image_size=settings["size"],
            projector_layers=2 if settings["mlp"] else 1,
            projector_dim=settings["dim"],
            temperature=settings["T"],
            queue_size=settings["K"],
            ema_momentum=settings["m"],
            learning_rate=settings["lr"],
            lr_scaling="none",
            lr_schedule="constant",
            weight_decay=settings["wd"],
            momentum=settings["momentum"],
            batch_size=batch,
            warmup_epochs=0.0,
            train_steps=settings["steps"],
        )
    )
    spec = rule.checkpoint_spec(depth, settings["dim"], settings["mlp"], settings["K"])

    def name(ours: str) -> str | None:
        if ours == "queue/keys":
            return "module.queue"
        if ours == "queue/head":
            return "module.queue_ptr"
        prefix = rule.K if ours.startswith("key/") else rule.Q
        return prefix + names.moco_variable(_without_role(ours), settings["mlp"])

    def value(official: str) -> np.ndarray:
        array = rule.weight(official, spec[official])
        return array[0] if official.endswith("_ptr") else names.moco_layout(array)

    def views(step: int) -> tuple[np.ndarray, np.ndarray]:
        pair = [
            rule.fixed_images(batch, settings["size"], settings[f"seed_{x}"] + step)
            for x in "qk"
        ]
        return np.stack([_normalize(x, rule) for x in pair], 1), np.zeros([batch], int)

    return Case(
        steps=settings["steps"],
        make=lambda: build.state(config, batch, None),
        views=views,
        name=name,
        value=value,
        official=_torch_layout,
        logits=(batch, 1 + settings["K"]),
    )


CASES = {"simclr": simclr, "byol": byol, "moco": moco}


def _without_role(ours: str) -> str:
    """`online/encoder/x/kernel` to `x/kernel`, heads to `projector/x/kernel`."""
    role, _, rest = ours.partition("/")
    if role == "probe":
        return "classifier/" + rest.replace(networks.PROBE, "classifier")
    return rest.removeprefix("encoder/")


def _torch_layout(array: np.ndarray) -> np.ndarray:
    """Outputs first: the inverse of `moco_layout`."""
    return np.transpose(array, {4: (3, 2, 0, 1), 2: (1, 0)}.get(array.ndim))


def _normalize(images: np.ndarray, rule: Any) -> np.ndarray:
    """The kits' images, exactly: a graph divides by a constant to one ulp only.

    Within the steps of a run that ulp becomes as much as the kits allow for everything.
    """
    mean = np.asarray(rule.IMAGENET_MEAN, np.float32)
    return (images - mean) / np.asarray(rule.IMAGENET_STD, np.float32)


# So the encoders here take images that are normalised already.
Normalize.call = lambda self, inputs: inputs


@contextlib.contextmanager
def kept_logits(shape: tuple[int, int]) -> Iterator[tf.Variable]:
    """What the step's one cross entropy was last taken of, temperature and all."""
    kept = tf.Variable(tf.zeros(shape, tf.float64))
    name = "sparse_softmax_cross_entropy_with_logits"
    cross_entropy = getattr(tf.nn, name)

    def keeping(labels, logits):
        kept.assign(tf.cast(logits, kept.dtype))
        return cross_entropy(labels=labels, logits=logits)

    with mock.patch.object(tf.nn, name, keeping):
        yield kept


def train(case: Case, strategy: tf.distribute.Strategy, dtype: str) -> dict:
    with strategy.scope():
        state = case.make()
    items = state.method.checkpoint_items()
    official = {n: v for ours, v in items.items() if (n := case.name(ours))}
    for name, variable in official.items():
        value = tf.cast(case.value(name), variable.dtype)
        whole = value if value.shape.rank else tf.fill(variable.shape, value)
        variable.assign(tf.reshape(whole, variable.shape))
    by_variable = {id(v): name for name, v in official.items()}
    trained = [
        by_variable[id(variables.raw(v))] for v in state.method.trainable_variables
    ]

    def photometric(batch, step, part=0):
        del step, part
        return tf.unstack(batch["views"], axis=1)

    def batches(context):
        rows = len(case.views(0)[1]) // strategy.num_replicas_in_sync

        def all_rows():
            for step in range(case.steps):
                views, labels = case.views(step)
                for start in range(0, len(labels), rows):
                    end = start + rows
                    yield {
                        "views": views[start:end].astype(dtype),
                        "label": labels[start:end].astype(np.int64),
                    }

        shape = [rows, *case.views(0)[0].shape[1:]]
        signature = {
            "views": tf.TensorSpec(shape, dtype),
            "label": tf.TensorSpec([rows], tf.int64),
        }
        return tf.data.Dataset.from_generator(all_rows, output_signature=signature)

    run_steps = make_run_steps(strategy, state, photometric)
    iterator = iter(strategy.distribute_datasets_from_function(batches))
    found = {}
    with contextlib.ExitStack() as stack:
        if case.logits:
            logits = stack.enter_context(kept_logits(case.logits))
        for step in range(case.steps):
            log = run_steps(iterator, tf.constant(1, tf.int64))
            found |= {f"{step}/log/{n}": v.numpy()[0] for n, v in log.items()}
            if hasattr(state.method, "tau"):
                found[f"{step}/log/tau"] = np.asarray(state.method.tau(step))
            found |= {
                f"{step}/state/{n}": summary(v, case) for n, v in official.items()
            }
            slots = zip(trained, state.optimizer._velocities, strict=True)
            found |= {f"{step}/momentum/{n}": summary(v, case) for n, v in slots}
            if "queue/keys" in items:
                found[f"{step}/queue"] = items["queue/keys"].numpy()
            if case.logits:
                found[f"{step}/logits"] = logits.numpy()
    said = case.evaluate(state.method)
    return found | {f"final_eval/{name}": v.numpy() for name, v in said.items()}


def summary(variable, case: Case) -> np.ndarray:
    value = case.official(variables.raw(variable).numpy().astype(np.float64))
    return np.concatenate([[np.linalg.norm(value)], value.ravel()[:5]])


def main(replicas: int, dtype: str, out: str, runs: list[str]) -> None:
    runtime.split_cpu(replicas)
    keras.config.set_dtype_policy(dtype)
    strategy = runtime.make_strategy("mirrored" if replicas > 1 else "one")
    found = {}
    for run in runs:
        kit, _, run_id = run.partition(":")
        values = train(CASES[kit](run_id), strategy, dtype)
        found |= {f"{run}/{key}": value for key, value in values.items()}
    np.savez(out, **found)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:4], sys.argv[4:])
