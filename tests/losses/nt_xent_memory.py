"""Peak memory of loss, gradient and scalars at 4096 x 128; prints JSON.

python -m tests.losses.nt_xent_memory [BLOCK_ROWS]
"""

import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfssl.losses import nt_xent, nt_xent_scalars


def peak() -> float:
    # Not ru_maxrss: it keeps the size of the process that started this one.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main(rows: int = 4096, dim: int = 128) -> None:
    block_rows = int(sys.argv[1]) if sys.argv[1:] else None
    rng = np.random.default_rng(0)
    z = tf.constant(rng.normal(size=(2, rows, dim)), tf.float32)

    @tf.function
    def step(z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            each = nt_xent(z[0], z[1], temperature=0.1, block_rows=block_rows)
            loss = tf.reduce_mean(each)
        scalars = nt_xent_scalars(z[0], z[1], temperature=0.1)
        return loss, tape.gradient(loss, z), scalars["entropy"]

    before = peak()
    loss, gradient, entropy = step(z)
    found = {
        "megabytes_before": before,
        "megabytes": peak(),
        "loss": float(loss),
        "entropy": float(entropy),
        "gradient": float(tf.norm(gradient)),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
