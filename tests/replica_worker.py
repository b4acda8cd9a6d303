"""Trains each method a few steps on N replicas; run in a process of its own.

python -m tests.replica_worker REPLICAS OUT.npz [METHOD ...]
"""

import sys

import numpy as np

from tests.tiny import tiny
from tfssl.core import runtime


def main(replicas: int, out: str, methods: list[str]) -> None:
    runtime.split_cpu(replicas)
    import tensorflow as tf

    from tfssl.data import training
    from tfssl.modes import assemble
    from tfssl.train import make_photometry, make_run_steps

    strategy = runtime.make_strategy("mirrored" if replicas > 1 else "one")
    found = {}
    for method in methods:
        name, _, variant = method.partition("+")
        extra = {"groups": {"batch_norm_groups": 4}, "": {}}[variant]
        # A gentle rate, as the parity kits have it: at .05 rounding grows a
        # hundredfold per step, and after five it says nothing any more.
        config = tiny(name, train_steps=5, learning_rate=0.002, **extra)
        source = assemble.training_source(config)
        rows = assemble.replica_batch(config.batch_size, strategy)
        with strategy.scope():
            state = assemble.state(config, source.num_examples, source.num_classes)
        recipe = assemble.recipe(config)
        settings = {"seed": config.seed, "global_batch": config.batch_size}
        run_steps = make_run_steps(
            strategy, state, make_photometry(recipe, replica_batch=rows, **settings)
        )
        batches = strategy.distribute_datasets_from_function(
            lambda context: training(
                source,  # noqa: B023
                recipe,  # noqa: B023
                start_step=0,
                replica_batch=rows,  # noqa: B023
                image_size=config.image_size,  # noqa: B023
                **settings,  # noqa: B023
            )
        )
        iterator = iter(batches)
        parts = [run_steps(iterator, tf.constant(k, tf.int64)) for k in (2, 3)]
        for key in parts[0]:
            found[f"{method}/log/{key}"] = np.concatenate([p[key] for p in parts])
        found[f"{method}/traces"] = run_steps.graph.experimental_get_tracing_count()
        gaps = [0.0]
        for key, variable in state.items().items():
            found[f"{method}/state/{key}"] = variable.numpy()
            copies = [c.numpy() for c in strategy.experimental_local_results(variable)]
            gaps += [float(np.abs(c - copies[0]).max()) for c in copies[1:]]
        found[f"{method}/copies_differ"] = max(gaps)
    np.savez(out, **found)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
