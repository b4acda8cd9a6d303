"""An exported SavedModel behind MLServer: encoded images in, features out.

    pip install -r examples/serving/mlserver/requirements.txt
    MLSERVER_MODEL_URI=runs/a/saved_model mlserver start examples/serving/mlserver

It answers on port 8080 (HTTP) and 8081 (gRPC) by the Open Inference Protocol, to
`v2/models/encoder/infer` with one input `image_bytes` of datatype `BYTES`: raw bytes
over gRPC, base64 in the JSON of HTTP. docs/serving.md has a request of each.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import os

import tensorflow as tf
from mlserver import MLModel
from mlserver.errors import MLServerError
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

INPUT = "image_bytes"
DATATYPES = {tf.float32: "FP32", tf.bool: "BOOL"}


class SavedModel(MLModel):
    """The signature `serving_default`."""

    async def load(self) -> bool:
        """Loads the folder of `MLSERVER_MODEL_URI` and encodes once, to be warm."""
        folder = os.path.abspath(self.settings.parameters.uri or "")
        # The reference keeps the variables alive.
        self._model = await asyncio.to_thread(tf.saved_model.load, folder)
        self._encode = self._model.signatures["serving_default"]
        grey = tf.io.encode_png(tf.fill([8, 8, 3], tf.constant(127, tf.uint8)))
        await asyncio.to_thread(self._encode, image_bytes=grey[None])
        # Each call uses all cores: more at a time only take turns.
        self._turns = asyncio.Semaphore(2)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Encodes all images of a request at once.

        Raises:
          MLServerError: The client's fault, as 400 or INVALID_ARGUMENT.
        """
        images = tf.constant(_images(payload), tf.string)
        async with self._turns:
            try:
                found = await asyncio.to_thread(self._encode, image_bytes=images)
            except tf.errors.InvalidArgumentError as error:
                raise MLServerError(error.message.splitlines()[0]) from error
        outputs = [
            ResponseOutput(
                name=name,
                shape=value.shape.as_list(),
                datatype=DATATYPES[value.dtype],
                data=value.numpy().ravel().tolist(),
            )
            for name, value in sorted(found.items())
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)


def _images(payload: InferenceRequest) -> list[bytes]:
    given = {tensor.name: tensor for tensor in payload.inputs}
    if set(given) != {INPUT} or given[INPUT].datatype != "BYTES":
        names = ", ".join(f"{t.name} ({t.datatype})" for t in payload.inputs)
        raise MLServerError(
            f"got inputs {names or 'none'}; expected {INPUT} (BYTES); try it alone"
        )
    data, shape = list(given[INPUT].data.root), list(given[INPUT].shape)
    # Clients of the protocol also write one element a row: [N, 1].
    fits = shape[:1] == [len(data)] and all(side == 1 for side in shape[1:])
    if not fits or any(isinstance(item, list) for item in data):
        raise MLServerError(
            f"got {INPUT} of shape {shape} with {len(data)} elements; expected one "
            f"element an image; try shape [{len(data)}]"
        )
    return [_decoded(n, item) for n, item in enumerate(data)]


def _decoded(number: int, item: object) -> bytes:
    if isinstance(item, bytes):  # gRPC
        return item
    try:
        return base64.b64decode(str(item), validate=True)
    except (binascii.Error, ValueError) as error:
        raise MLServerError(
            f"got {INPUT}[{number}], which is no base64 ({error}); expected the file's "
            "bytes in base64; try base64.b64encode"
        ) from error
