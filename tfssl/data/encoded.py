"""What all sources of encoded images share: size limit, decoding, list of losses."""

from __future__ import annotations

import tensorflow as tf

from tfssl.data.decode import decode, is_plain_jpeg, said, whole_jpeg
from tfssl.data.formats import MAX_PIXELS
from tfssl.data.source import Described, SkipList, first_line

_SEEN = 8  # examples that tell what the files mostly are


class Encoded(Described):
    """A source whose examples are image files or the bytes of such.

    Subclasses give `encoded`, `where` and `read`, and set what `Source` names.

    Args:
      max_pixels: Images whose header declares more are unreadable; 0: no limit.
    """

    may_fail = True
    orient = "none"

    def __init__(self, max_pixels: int = MAX_PIXELS):
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

    def content(self, index: int) -> bytes:
        """See `Source.content`."""
        return self.read(index)

    def example(self, index: tf.Tensor) -> dict[str, tf.Tensor]:
        """See `Source.example`."""
        found = self.encoded(index)
        return {"image": self.decoded(found.pop("data")), **found}

    def decoded(self, data: tf.Tensor) -> tf.Tensor:
        """Decodes a file as this source's are: see `decode`."""
        return decode(data, self.max_pixels, orient=self.orient)

    def mostly_jpeg(self) -> str:
        """Says how to try `jpeg`, from a few examples: `"plain"`, `"look"` or `""`.

        `""`: they are not all JPEGs, or have to be turned, so that it is not worth it.
        """
        if self.orient != "none":
            return ""
        places = {self.num_examples * n // _SEEN for n in range(_SEEN)}
        try:
            seen = [self.read(place) for place in sorted(places)]
        except (OSError, tf.errors.OpError):
            return ""
        if not all(data.startswith(b"\xff\xd8\xff") for data in seen):
            return ""
        return "plain" if all(map(is_plain_jpeg, seen)) else "look"

    def jpeg(self, index: tf.Tensor, look: bool = False) -> dict[str, tf.Tensor | None]:
        """`encoded` of a JPEG whose end is seen; anything else is an error.

        Args:
          index: int64 scalar.
          look: See `whole_jpeg`.

        Returns:
          `data`, `label`, `id`, `shape` int32 `[3]`: height, width, channels; `whole`.
        """
        found = self.encoded(index)
        numbers = {name: tf.cast(found[name], tf.int64) for name in ("label", "id")}
        data, shape, whole = whole_jpeg(found["data"], self.max_pixels, look)
        return {"data": data, "shape": shape, "whole": whole, **numbers}

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
        try:
            self.decoded(tf.constant(data))
        except (tf.errors.OpError, ValueError) as error:
            return f"{said(error, data)}, {len(data)} bytes"
        return "readable now; it was not when it was asked for"
