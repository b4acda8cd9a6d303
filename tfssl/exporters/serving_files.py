"""What TensorFlow Serving finds beside a SavedModel: warm-up requests and batching.

`assets.extra/tf_serving_warmup_requests` is replayed before a version answers
(https://www.tensorflow.org/tfx/serving/saved_model_warmup).
`batching_params.pbtxt` is read with `--enable_batching` and
`--enable_per_model_batching_parameters`, or named by `--batching_parameters_file`
(tensorflow_serving/batching/README.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import tensorflow as tf

WARM_UP = "assets.extra/tf_serving_warmup_requests"
BATCHING = "batching_params.pbtxt"
MAX_BATCH = 32
_BATCHING = f"""\
# Images of several requests are encoded together: a request waits 2 ms for others.
max_batch_size {{ value: {MAX_BATCH} }}
batch_timeout_micros {{ value: 2000 }}
max_enqueued_batches {{ value: 100 }}
# Only as --batching_parameters_file: as many as the machine has cores.
num_batch_threads {{ value: 4 }}
"""


def write_serving_files(folder: Path, image_size: int) -> None:
    """Writes both into a SavedModel with the signature `serving_default`.

    Args:
      folder: The SavedModel.
      image_size: Side of the grey pictures that warm it up.
    """
    grey = tf.fill([image_size, image_size, 3], tf.constant(127, tf.uint8))
    picture = tf.io.encode_png(grey).numpy()
    (folder / WARM_UP).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / WARM_UP)) as out:
        for count in (1, MAX_BATCH):
            out.write(prediction_log([picture] * count))
    (folder / BATCHING).write_text(_BATCHING)


def prediction_log(images: Iterable[bytes]) -> bytes:
    """A `tensorflow.serving.PredictionLog` of one request to `serving_default`.

    Written field by field, so that an export does not need tensorflow-serving-api:
    `PredictionLog.predict_log` (6) `.request` (1) of `model_spec` (1) with
    `signature_name` (3), and of the map `inputs` (2) of `key` (1) to `value` (2)
    (tensorflow_serving/apis/prediction_log.proto, predict.proto, model.proto).
    """
    tensor = tf.make_tensor_proto(list(images), tf.string).SerializeToString()
    spec = _field(3, b"serving_default")
    entry = _field(1, b"image_bytes") + _field(2, tensor)
    return _field(6, _field(1, _field(1, spec) + _field(2, entry)))


def _field(number: int, content: bytes) -> bytes:
    """A field of length-delimited type, as protocol buffers encode it."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
