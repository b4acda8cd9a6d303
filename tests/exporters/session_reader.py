"""Loads a SavedModel as TensorFlow Serving does, in a session; run as a program.

`python session_reader.py MODEL INPUTS.npz OUTPUTS.npz`: `INPUTS` holds `bytes` (object
array as uint8 rows with `lengths`) and `images_0`, `images_1`, … .
"""

from __future__ import annotations

import sys

import numpy as np
import tensorflow as tf


def main(model: str, inputs: str, outputs: str) -> None:
    given = np.load(inputs)
    ends = np.cumsum(given["lengths"])
    files = [
        given["bytes"][e - n : e].tobytes()
        for e, n in zip(ends, given["lengths"], strict=True)
    ]
    feeds = [("serving_default", "image_bytes", files)]
    feeds += [("features", "images", given[k]) for k in given if k.startswith("images")]
    found = {}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], model)
        for number, (name, key, value) in enumerate(feeds):
            signature = meta.signature_def[name]
            fetches = {k: v.name for k, v in signature.outputs.items()}
            out = session.run(fetches, {signature.inputs[key].name: value})
            found |= {f"{number}/{k}": v for k, v in out.items()}
        for name in ("serving_default", "features"):
            signature = meta.signature_def[name]
            found[f"{name}/inputs"] = np.array(sorted(signature.inputs))
            found[f"{name}/method"] = np.array(signature.method_name)
    np.savez(outputs, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
