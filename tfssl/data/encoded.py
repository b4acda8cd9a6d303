"""What all sources of encoded images share: size limit, decoding, list of losses."""

from __future__ import annotations

import tensorflow as tf

from tfssl.augment import geometry
from tfssl.data import header
from tfssl.data.source import SkipList, first_line


class Encoded:
    """A source whose examples are image files or the bytes of such.

    Subclasses give `encoded`, `where` and `read`, and set what `Source` names.

    Args:
      max_pixels: Images whose header declares more are unreadable; 0: no limit.
    """

    may_fail = True

    def __init__(self, max_pixels: int = header.MAX_PIXELS):
        self.max_pixels = max_pixels
        self._skips = SkipList()

    def encoded(self, index: tf.Tensor) -> dict[str, tf.Tensor]:
        """The undecoded example, inside a `tf.data` map.

        Args:
          index: int64 scalar in [0, num_examples).

        Returns:
          `data` string, `label` and `id` int64, all scalars.
        """
        raise NotImplementedError

    def where(self, index: int) -> str:
        """What to call an example in a message: its path, or file and number."""
        raise NotImplementedError

    def read(self, index: int) -> bytes:
        """The bytes of an example, outside of any graph.

        Raises:
          OSError, tf.errors.OpError: They cannot be read.
        """
        raise NotImplementedError

    def example(self, index: tf.Tensor) -> dict[str, tf.Tensor]:
        """See `Source.example`."""
        found = self.encoded(index)
        data = header.within(found.pop("data"), self.max_pixels)
        return {"image": geometry.decode(data), **found}

    def mostly_jpeg(self) -> bool:
        """Whether the first example is a JPEG, so that `jpeg` is worth trying."""
        try:
            return self.read(0)[:3] == b"\xff\xd8\xff"
        except (OSError, tf.errors.OpError):
            return False

    def jpeg(self, index: tf.Tensor) -> dict[str, tf.Tensor]:
        """`encoded` of a JPEG that ends as one does; anything else is an error.

        Returns:
          `data`, `label`, `id`, and `shape` int32 `[3]`: height, width, channels.
        """
        found = self.encoded(index)
        numbers = {name: tf.cast(found[name], tf.int64) for name in ("label", "id")}
        data, shape = header.whole_jpeg(found["data"], self.max_pixels)
        return {"data": data, "shape": shape, **numbers}

    def failed(self, index: int) -> str:
        """See `Source.failed`."""
        path = self.where(index)
        if path not in self._skips:
            self._skips.add(path, self._reason(index))
        return self._skips.add(path, "")

    def skipped(self) -> list[dict[str, str]]:
        """See `Source.skipped`."""
        return self._skips.listing()

    def _reason(self, index: int) -> str:
        """Why an example cannot be read, in a few words."""
        try:
            data = self.read(index)
        except OSError as error:
            return error.strerror or str(error)
        except tf.errors.OpError as error:
            return first_line(error)
        if not data:
            return "empty file"
        if refusal := header.refusal(data, self.max_pixels):
            return f"{refusal}, {len(data)} bytes"
        try:
            geometry.decode(tf.constant(data))
        except (tf.errors.OpError, ValueError) as error:
            return f"not decodable, {len(data)} bytes: {first_line(error)}"
        return "readable now; it was not when it was asked for"
