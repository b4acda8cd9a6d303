"""Trains methods a few steps on one strategy; run in a process of its own.

python -m tests.replica_worker STRATEGY OUT.npz CASE ...

STRATEGY is `one`, `mirrored:N` (logical CPUs), or `multiworker` (of TF_CONFIG). A case
is METHOD or METHOD+VARIANT, then possibly @PRECISION: `moco+groups@mixed_bfloat16`.
"""

import dataclasses
import sys

import numpy as np

from tests.tiny import tiny
from tfssl.core import runtime

VARIANTS = {
    "": {},
    "groups": {"batch_norm_groups": 4},
    "parts": {"micro_batches": 2},
    "batch": {"dictionary": "batch", "queue_size": None, "batch_norm_groups": 4},
    "bank": {"dictionary": "bank"},
    "memory": {"queue_size": 64},
    "group_ws": {"normalization": "group_ws"},
    "random": {"predictor": "none", "target_init": "random"},
    "distill": {"distill_alpha": 0.5, "distill_temperature": 2.0},
    "distill_parts": {"distill_alpha": 0.5, "micro_batches": 2},
}
STEPS = 10


def config_of(case: str, strategy: str):
    name, _, count = strategy.partition(":")
    case, _, precision = case.partition("@")
    method, _, variant = case.partition("+")
    # A gentle rate, as the parity kits have it: at .05 rounding grows a hundredfold
    # per step, and at .002 MoCo's on four replicas to 1.4e-4 in eight steps.
    return tiny(
        method,
        train_steps=STEPS,
        learning_rate=0.0005,
        precision=precision or "float32",
        strategy=name,
        virtual_devices=int(count or 0),
        **VARIANTS[variant],
    )


def train(case: str, strategy_name: str) -> dict:
    import tensorflow as tf

    from tfssl import build
    from tfssl.train import make_run_steps

    config = config_of(case, strategy_name)
    runtime.set_precision(config.precision)
    strategy = build.strategy(config)
    source = build.training_source(config)
    if "distill" in case:
        teacher = "tests.foreign_models:teacher"
        config = dataclasses.replace(config, teacher=teacher)
        half = dataclasses.replace(config, label_fraction=0.5)
        labelled = build.labelled_source(half)
        given = build.distillation(config, source, labelled, None).job
        state = given.state
    else:
        with strategy.scope():
            state = build.state(config, source.num_examples, source.num_classes)
        given = build.pretraining_input(config, source, strategy, on_device=False)
    parts = config.micro_batches
    run_steps = make_run_steps(strategy, state, given.views, micro_batches=parts)
    iterator = given.batches(0)
    found = {}
    calls = [run_steps(iterator, tf.constant(k, tf.int64)) for k in (2, STEPS - 2)]
    for key in calls[0]:
        found[f"log/{key}"] = np.concatenate([call[key] for call in calls])
    found["traces"] = run_steps.experimental_get_tracing_count()
    gaps = [0.0]
    for key, variable in state.items().items():
        found[f"state/{key}"] = variable.numpy()
        copies = [c.numpy() for c in strategy.experimental_local_results(variable)]
        gaps += [float(np.abs(c - copies[0]).max()) for c in copies[1:]]
    found["copies_differ"] = max(gaps)
    return found


def main(name: str, out: str, cases: list[str]) -> None:
    found = {}
    for case in cases:
        found |= {f"{case}/{k}": v for k, v in train(case, name).items()}
    np.savez(out, **found)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
