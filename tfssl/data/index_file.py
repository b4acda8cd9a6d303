"""Index files: what was found out about a data set once, kept for the next opening.

An index is a NumPy archive, whose members carry checksums. It is replaced whole
(written beside, then renamed), so that a killed process leaves the old one. A damaged
or missing index is made again, never trusted; one that cannot be written costs the
time of making it, and is mentioned.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
import zipfile
import zlib

import numpy as np
import tensorflow as tf

from tfssl.config.remote import as_path
from tfssl.core.paths import write_whole

_LOG = logging.getLogger(__name__)

Arrays = dict[str, np.ndarray]


def place(directory: str, kind: str, of: str) -> str:
    """The file name of the index of a data set.

    Args:
      directory: Where indexes are kept; local or remote.
      kind: Of index and format, for example `"folder-1"`: another number, another file.
      of: The data set's full path; the same name on another machine is the same index.
    """
    last = re.sub(r"[^\w.-]+", "_", os.path.basename(of.rstrip("/")))[:40] or "root"
    digest = hashlib.blake2b(os.fsencode(of), digest_size=8).hexdigest()
    return os.path.join(directory, f"{kind}-{last}-{digest}.npz")


def read(path: str) -> Arrays | None:
    """The arrays of an index; None where there is none, or (warning) a damaged one."""
    if not tf.io.gfile.exists(path):
        return None
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            archive = np.load(io.BytesIO(file.read()), allow_pickle=False)
        return {name: archive[name] for name in archive.files}
    except (
        zipfile.BadZipFile, zlib.error, tf.errors.OpError, OSError, ValueError,
        KeyError, EOFError, AttributeError, NotImplementedError,
    ) as error:  # fmt: skip
        _LOG.warning("index %s is damaged (%s); made again", path, error)
        return None


def write(path: str, arrays: Arrays) -> bool:
    """Replaces an index whole; False (with a warning) where it cannot be written."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    try:
        write_whole(as_path(path), buffer.getvalue())
    except OSError as error:
        reason = getattr(error, "reason", error)
        _LOG.warning("index not kept in %s (%s); try index_dir=DIR", path, reason)
        return False
    return True
