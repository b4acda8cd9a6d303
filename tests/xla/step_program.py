"""One training step as one compilable function, with and without variables.

python -m tests.xla.step_program lower OUT.json CASE ...

lowers the step of every case (METHOD@PRECISION or a task of `DENSE`) for TPU, without
a TPU: run it where `tensorflow-tpu` is installed (test_tpu_lowering.py does).
"""

from __future__ import annotations

import json
import sys

import tensorflow as tf

from tests.tiny import tiny
from tfssl import build
from tfssl.build import detection, segmentation
from tfssl.build.dense import PLAIN
from tfssl.config import Config, resolve
from tfssl.core import runtime
from tfssl.data import open_source
from tfssl.train import make_photometry
from tfssl.train.replica_step import ReplicaStep

ASSIGN = {
    "AssignVariableOp": lambda old, new: new,
    "AssignAddVariableOp": lambda old, new: old + new,
    "AssignSubVariableOp": lambda old, new: old - new,
}
# What no accelerator runs; TensorFlow would move it to the host, or refuse.
HOST_OPS = {"PyFunc", "EagerPyFunc", "PrintV2", "StringFormat", "AsString"}
HOST_OPS |= {"DecodeJpeg", "EncodeJpeg", "DecodePng", "EncodePng", "ReadFile"}


def make(case: str):
    """The step of METHOD@PRECISION with LARS: function, variables, an example."""
    method, _, precision = case.partition("@")
    if (task := case.removesuffix(LOOK)) in DENSE:
        return make_look(task) if case.endswith(LOOK) else make_dense(task)
    runtime.set_precision(precision or "float32")
    # Recipes for large images: with blur and solarisation.
    config = tiny(method, image_size=32, augment=_RECIPES[method], optimizer="lars")
    state = build.state(config, num_examples=64, num_classes=10)
    rows = config.batch_size
    photometric = make_photometry(
        build.recipe(config),
        seed=0,
        global_batch=rows,
        replica_batch=rows,
        lanes=0,  # the form for accelerators
    )
    replica = ReplicaStep(state, photometric)

    def step(views, label):
        replica.begin()
        batch = replica.batch({"views": views, "label": label})
        return tf.stack(list(replica.finish(replica.backward(batch)).values()))

    views = tf.random.stateless_uniform([rows, 2, 32, 32, 3], [1, 2], 0, 256, tf.int32)
    example = (tf.cast(views, tf.uint8), tf.range(rows, dtype=tf.int64) % 10)
    return step, state.items(), example


DENSE = {
    "retinanet": {"detector": "retinanet"},
    "rcnn_c4": {"detector": "rcnn_c4", "detect_anchors": (8, 16), "detect_regions": 8},
    "segment": {"segment_width": 8},
}
"""Detectors and segmentation, to the flags of a small one."""

LOOK = ":look"
"""Behind a task: not its step, but what evaluation and export run."""


def job_of(task: str):
    """The training of a task of `DENSE`."""
    mode = "segment" if task == "segment" else "detect"
    flags = {f"{mode}_batch_size": 4, f"{mode}_weights": "random", **DENSE[task]}
    flags |= {"encoder": "resnet10x0.125_cifar", "image_size": 32}
    config = resolve(Config(mode=mode, dataset="shapes:8", **flags))
    target = "mask" if mode == "segment" else "boxes"
    data = open_source("shapes:8", "train", image_size=32, targets=target)
    of_mode = {"detect": detection.detection, "segment": segmentation.segmentation}
    return of_mode[mode](config, data)


def make_look(task: str):
    """Images to boxes after suppression, or to logits of pixels, as `make` has it."""
    job = job_of(task)
    method = job.state.method

    def look(images):
        if task == "segment":
            return [method.logits(images)]
        return [*method.detector.detections(images).values()]

    images = tf.random.stateless_uniform([2, 32, 32, 3], [1, 2])
    return look, job.state.items(), (images,)


def make_dense(task: str):
    """The step of a task of `DENSE`, as `make` has it."""
    job = job_of(task)
    batch = next(job.batches(0))
    names = sorted(batch["target"])
    photometric = make_photometry(
        PLAIN, seed=0, global_batch=4, replica_batch=4, lanes=0
    )
    replica = ReplicaStep(job.state, photometric)

    def step(views, label, *targets):
        replica.begin()
        rows = {"views": views, "label": label}
        rows["target"] = dict(zip(names, targets, strict=True))
        whole = replica.backward(replica.batch(rows))
        return tf.stack(list(replica.finish(whole).values()))

    example = (batch["views"], batch["label"], *(batch["target"][n] for n in names))
    return step, job.state.items(), example


_RECIPES = {"simclr": "simclr", "byol": "byol", "moco": "moco_v2"}


def trace(step, example):
    """The concrete function; everything in it must have a static shape."""
    specs = [tf.TensorSpec(x.shape, x.dtype) for x in example]
    return tf.function(step, autograph=False).get_concrete_function(*specs)


def all_ops(graph):
    """The operations of a graph and of the functions that it calls."""
    yield from graph.get_operations()
    for function in graph._functions.values():
        yield from getattr(function, "graph", tf.Graph()).get_operations()


def functional(concrete, *, nested_xla: bool = False):
    """The same step as a function of its variables' values, without resources.

    Replays the graph op by op in the order of its making, which is the order of the
    program: a variable is then just the last value that it was given. XLA for TPU can
    be asked about functions of tensors only.

    Args:
      concrete: Of `trace`.
      nested_xla: Whether what was to be compiled by itself (photometry) still is. XLA
        draws other random numbers than TensorFlow's kernels from the same seed.

    Returns:
      (function of (values, *arguments) to (new values, result), variables).
    """
    graph = concrete.graph
    captures = graph.captures
    handles = {
        id(inner): v
        for _, inner in captures
        for v in graph.variables
        if inner.dtype == tf.resource and _handle_of(captures, inner) is v.handle
    }
    order = list(graph.variables)

    def kept(attribute):
        return attribute[0] != "_" or (nested_xla and attribute == "_XlaMustCompile")

    def replay(values, *arguments):
        outer = tf.compat.v1.get_default_graph()
        for function in graph._functions.values():
            outer._add_function_recursive(function)
        now = {id(v): value for v, value in zip(order, values, strict=True)}
        tensors = {}
        given = graph.inputs[: len(arguments)]
        for inner, argument in zip(given, arguments, strict=True):
            tensors[id(inner)] = argument
        for external, inner in captures:
            if inner.dtype != tf.resource:
                tensors[id(inner)] = tf.constant(external.numpy())

        def variable(handle):
            return id(handles[id(handle)])

        for op in graph.get_operations():
            if op.type in ("Placeholder", "NoOp"):
                continue
            if op.type == "ReadVariableOp":
                tensors[id(op.outputs[0])] = now[variable(op.inputs[0])]
            elif op.type in ASSIGN:
                key, new = variable(op.inputs[0]), tensors[id(op.inputs[1])]
                now[key] = ASSIGN[op.type](now[key], new)
            else:
                copy = outer.create_op(
                    op.type,
                    [tensors[id(x)] for x in op.inputs],
                    [x.dtype for x in op.outputs],
                    attrs={k: v for k, v in op.node_def.attr.items() if kept(k)},
                )
                for old, new in zip(op.outputs, copy.outputs, strict=True):
                    tensors[id(old)] = new
        results = [tensors[id(x)] for x in concrete.outputs]
        return [now[id(v)] for v in order], results

    return replay, order


def _handle_of(captures, inner):
    return next(external for external, i in captures if i is inner)


def hlo(concrete, example, device: str | None = None) -> str:
    """What XLA makes of a step for a device; None: this machine's.

    Nothing is compiled. What XLA has no kernel for there is an error.
    """
    replay, order = functional(concrete)
    values = [tf.convert_to_tensor(v) for v in order]
    compiled = tf.function(replay, jit_compile=True, autograph=False)
    ir = compiled.experimental_get_compiler_ir(values, *example)
    return ir(stage="hlo", platform_name=device)


def lower(case: str) -> dict:
    """Size and a few facts of the HLO of a step for TPU."""
    step, _, example = make(case)
    text = hlo(trace(step, example), example, "TPU")
    return {
        "characters": len(text),
        "convolutions": text.count(" convolution("),
        "bf16_convolutions": text.count("= bf16[")
        and sum(
            " convolution(" in line and "= bf16[" in line for line in text.splitlines()
        ),
        "host_transfers": sum(
            text.count(word) for word in ("outfeed", "infeed", "send(", "recv(")
        ),
        "dynamic": text.count("<="),
    }


def main() -> None:
    out, cases = sys.argv[2], sys.argv[3:]
    found = {"tensorflow": tf.__version__, "cases": {c: lower(c) for c in cases}}
    with open(out, "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main()
