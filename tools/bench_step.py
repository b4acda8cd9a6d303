"""Times the training step against its bare encoder and this machine's matmul rate.

python tools/bench_step.py --encoder=resnet18_cifar --batch_size=64

Prints one JSON line. The step is the real one (photometry, method, update, moving
averages, in `steps_per_loop` steps a call) on a batch that is already in memory; the
bare encoder makes the same passes on the same images: forward and backward of the
online passes, forward of the target's. With `--teacher=ENCODER` the step is that of
`--mode=distill`, and the bare networks are the student, forward and backward, and the
teacher in inference mode. All parts are timed in turn, round after round,
and the medians are compared, so that a busy machine disturbs all of them alike.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import statistics
import time
from collections.abc import Callable

import find_tfssl  # noqa: F401
import numpy as np

from tfssl.config import startup

startup.prepare_environment()

import tensorflow as tf  # noqa: E402

from tfssl import build, models  # noqa: E402
from tfssl.build import networks, optimizer  # noqa: E402
from tfssl.build.teacher import Teacher  # noqa: E402
from tfssl.build.training import fresh_state  # noqa: E402
from tfssl.build.views import supervised_recipe  # noqa: E402
from tfssl.config import Config, resolve  # noqa: E402
from tfssl.core import runtime, variables  # noqa: E402
from tfssl.methods import Batch, Distill  # noqa: E402
from tfssl.train import RunState, make_photometry, make_run_steps  # noqa: E402

PASSES = {"byol": ("each", "each"), "simclr": ("both", ""), "moco": ("first", "second")}
"""Method to the views of the online and of the target passes."""


def configuration(options: argparse.Namespace) -> Config:
    """The run that is timed: the method's published defaults."""
    size = options.image_size or (32 if options.encoder.endswith("_cifar") else 224)
    return resolve(
        Config(
            method=options.method,
            encoder=options.encoder,
            image_size=size,
            batch_size=options.batch_size,
            precision=options.precision,
            train_steps=1000,
        )
    )


class Bench:
    """The parts to be timed, each a function without arguments.

    Args:
      config: Resolved.
      steps: Steps of one call of the training function.
      teacher: Encoder of a teacher; empty: the method's own step.
    """

    def __init__(self, config: Config, steps: int, teacher: str = ""):
        self.config, self.steps, self.teacher = config, steps, teacher
        self.strategy = build.strategy(config)
        runtime.set_precision(config.precision)
        with self.strategy.scope():
            if teacher:
                self.state = _distillation(config, teacher)
            else:
                self.state = build.state(config, 50_000, 10)
        photometric = make_photometry(
            supervised_recipe(config) if teacher else build.recipe(config),
            seed=0,
            global_batch=config.batch_size,
            replica_batch=config.batch_size,
        )
        self.batch = _batch(config, 1 if teacher else 2)
        self.run_steps = make_run_steps(self.strategy, self.state, photometric)
        data = tf.data.Dataset.from_tensors(self.batch).repeat()
        self._iterator = iter(
            self.strategy.distribute_datasets_from_function(lambda context: data)
        )
        self._count = tf.constant(steps, tf.int64)
        self._photometric = tf.function(photometric, autograph=False)
        self._zero = tf.constant(0, tf.int64)
        self.views = self._photometric(self.batch, self._zero)
        self._bare = _bare_distillation(config, teacher) if teacher else _bare(config)

    def step(self) -> None:
        """`steps` training steps in one call."""
        self.run_steps(self._iterator, self._count)["loss"].numpy()

    def bare(self) -> None:
        """The encoder's passes of one step."""
        self._bare(*self.views)[0].numpy()

    def photometry(self) -> None:
        """The photometry of one step."""
        self._photometric(self.batch, self._zero)[0].numpy()

    def flops(self) -> tuple[int, int]:
        """Multiply-adds, counted twice, of one step and of the bare encoder."""
        method, label = self.state.method, self.batch["label"]

        @tf.function(autograph=False)
        def loss_and_gradients(*views):
            with tf.GradientTape() as tape:
                batch = Batch(views, label, self.batch["index"])
                loss = method.loss(batch, self._zero).loss
            weights = [variables.raw(v) for v in method.trainable_variables]
            return loss, tape.gradient(loss, weights)

        return (
            count_flops(loss_and_gradients.get_concrete_function(*self.views).graph),
            count_flops(self._bare.get_concrete_function(*self.views).graph),
        )


def _batch(config: Config, count: int) -> dict[str, tf.Tensor]:
    random = np.random.default_rng(0)
    size, rows = config.image_size, config.batch_size
    views = random.integers(0, 256, [rows, count, size, size, 3], np.uint8)
    rank = np.arange(rows)
    return {
        "views": tf.constant(views),
        "label": tf.constant(rank % 10),
        "id": tf.constant(rank),
        "index": tf.constant(rank),
    }


def _teacher(config: Config, name: str) -> Teacher:
    config = dataclasses.replace(config, encoder=name)
    with runtime.precision("float32"):
        encoder = networks.encoder(config, 1)
        head = models.linear_head(encoder.output_shape[-1], 10, seed=1)
    crop = build.transform(config)
    return Teacher(name, (encoder, head), config.image_size, crop, 10, name)


def _distillation(config: Config, name: str) -> RunState:
    teacher = _teacher(config, name)
    student = networks.encoder(config, 0)
    head = models.linear_head(student.output_shape[-1], 10, seed=0, name=networks.PROBE)
    method = Distill(
        student, head, lambda batch: teacher.says(batch.views[0]), temperature=1.0
    )
    rate = build.learning_rate(config, 50_000, 1000)
    return fresh_state(method, rate, lambda rate: optimizer.optimizer(config, rate))


def _bare_distillation(config: Config, name: str):
    student, teacher = networks.encoder(config, 0), _teacher(config, name)
    weights = [variables.raw(v) for v in student.trainable_variables]

    @tf.function(autograph=False)
    def bare(view):
        with tf.GradientTape() as tape:
            features = student(view, training=True)
            loss = tf.reduce_mean(tf.cast(features, tf.float32))
        return loss, tape.gradient(loss, weights), teacher.says(view)

    return bare


def _bare(config: Config):
    online_views, target_views = PASSES[config.method]
    online = networks.encoder(config, 0)
    target = networks.encoder(config, 1) if target_views else None
    weights = [variables.raw(v) for v in online.trainable_variables]

    def passes(views, which):
        both = {"each": list(views), "both": [tf.concat(views, 0)], "": []}
        return (both | {"first": [views[0]], "second": [views[1]]})[which]

    @tf.function(autograph=False)
    def bare(*views):
        keys = [target(view, training=True) for view in passes(views, target_views)]
        with tf.GradientTape() as tape:
            features = [online(v, training=True) for v in passes(views, online_views)]
            loss = tf.add_n([tf.reduce_mean(tf.cast(f, tf.float32)) for f in features])
        # Everything is returned, or the graph's optimiser would leave it out.
        return loss, tape.gradient(loss, weights), keys

    return bare


def count_flops(graph) -> int:
    """Twice the multiply-adds of the convolutions and matrix products of a graph.

    Args:
      graph: Of a concrete function with static shapes.

    Returns:
      The sum, also of what functions called from the graph hold.
    """
    total = 0
    for operation in graph.get_operations():
        total += _operation_flops(operation)
        if operation.type in ("PartitionedCall", "StatefulPartitionedCall"):
            name = operation.get_attr("f").name
            total += count_flops(graph._functions[name].graph)
    return total


def _operation_flops(operation) -> int:
    def size(tensor) -> int:
        return int(np.prod(tensor.shape.as_list()))

    inputs, outputs = operation.inputs, operation.outputs
    if operation.type == "Conv2D":
        return 2 * size(outputs[0]) * size(inputs[1]) // inputs[1].shape[-1]
    if operation.type == "Conv2DBackpropInput":
        return 2 * size(inputs[2]) * size(inputs[1]) // inputs[1].shape[-1]
    if operation.type == "Conv2DBackpropFilter":
        return 2 * size(inputs[2]) * size(outputs[0]) // outputs[0].shape[-1]
    if operation.type in ("MatMul", "BatchMatMulV2"):
        inner = inputs[0].shape[-2 if _transposed(operation) else -1]
        return 2 * size(outputs[0]) * inner
    return 0


def _transposed(operation) -> bool:
    return operation.get_attr("transpose_a" if operation.type == "MatMul" else "adj_x")


def matmul(side: int = 2048) -> Callable[[], None]:
    """A float32 product of two square matrices of `2 * side ** 3` FLOP."""
    a = tf.random.stateless_normal([side, side], [0, 0])
    product = tf.function(lambda: tf.matmul(a, a), autograph=False)
    return lambda: product()[0, 0].numpy()


def interleaved(
    parts: dict[str, Callable[[], None]], seconds: float
) -> dict[str, list[float]]:
    """Times every part once a round, for about `seconds`, after one round unseen."""
    for part in parts.values():
        part()
    times: dict[str, list[float]] = {name: [] for name in parts}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times["step"]) < 3:
        for name, part in parts.items():
            began = time.perf_counter()
            part()
            times[name].append(time.perf_counter() - began)
    return times


def measure(
    bench: Bench, seconds: float, more: dict[str, Callable[[], None]] | None = None
) -> dict[str, float | int | str]:
    """The row that is printed; `more` parts are timed in the same rounds."""
    config, side = bench.config, 2048
    parts = {
        "step": bench.step,
        "bare": bench.bare,
        "photometry": bench.photometry,
        "matmul": matmul(side),
        **(more or {}),
    }
    times = interleaved(parts, seconds)
    middle = {name: statistics.median(values) for name, values in times.items()}
    step = middle["step"] / bench.steps
    rate = 2 * side**3 / middle["matmul"]
    step_flops, bare_flops = bench.flops()
    return {
        "method": config.method,
        "encoder": config.encoder,
        **({"teacher": bench.teacher} if bench.teacher else {}),
        "image_size": config.image_size,
        "batch_size": config.batch_size,
        "precision": config.precision,
        "rounds": len(times["step"]),
        **{f"{name}_ms": round(1e3 * middle[name], 2) for name in more or {}},
        "step_ms": round(1e3 * step, 2),
        "bare_encoder_ms": round(1e3 * middle["bare"], 2),
        "step_over_bare": round(step / middle["bare"], 4),
        "photometry_share": round(middle["photometry"] / step, 4),
        "images_per_second": round(config.batch_size / step, 2),
        "gflop_per_step": round(step_flops / 1e9, 2),
        "gflops": round(step_flops / step / 1e9, 2),
        "bare_gflops": round(bare_flops / middle["bare"] / 1e9, 2),
        "matmul_gflops": round(rate / 1e9, 2),
        "share_of_matmul": round(step_flops / step / rate, 4),
        "bare_share_of_matmul": round(bare_flops / middle["bare"] / rate, 4),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "traces": bench.run_steps.experimental_get_tracing_count(),
    }


def arguments() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", default="byol", choices=sorted(PASSES))
    parser.add_argument("--encoder", default="resnet18_cifar")
    parser.add_argument("--teacher", default="", help="encoder: times distillation")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--image_size", type=int, default=0)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--steps_per_loop", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=100.0)
    return parser


def main() -> None:
    """Prints one JSON line."""
    options = arguments().parse_args()
    config = configuration(options)
    bench = Bench(config, options.steps_per_loop, options.teacher)
    print(json.dumps(measure(bench, options.seconds)))


if __name__ == "__main__":
    main()
