"""Named arrays in files: mapped into memory where the file allows it, never unpickled.

    FILE.npz        its members; those that are not compressed are mapped
    FILE.npy        `images`, and `labels` if FILE_labels.npy is beside it
    FILE.h5, .hdf5  its data sets by their full names, such as `train/images`
    DIR             the .npy files in it

Only headers are read until an array is loaded.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy as np

from tfssl.errors import DataError, message

HDF5 = (".h5", ".hdf5", ".hdf")
ENDINGS = (".npz", ".npy", *HDF5)
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_DAMAGED = (
    OSError, ValueError, EOFError, KeyError, RuntimeError, MemoryError, TypeError,
    zlib.error,
    zipfile.BadZipFile, struct.error,
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Stored:
    """An array in a file, by its header.

    Attributes:
      where: File and name, for messages.
      shape: Of the whole.
      dtype: Of text of any length: `str`.
      load: Gives the array: a map of the file, a data set of HDF5 that reads rows when
        they are asked for, or all of it in memory. Raises `DataError` if it cannot.
    """

    where: str
    shape: tuple[int, ...]
    dtype: np.dtype
    load: Callable[[], Any]

    def read(self) -> np.ndarray:
        """All of it in memory.

        Raises:
          DataError: It cannot be read.
        """
        with _damage_named(self.where):
            return np.asarray(self.load())


def stored_arrays(path: str) -> dict[str, Stored]:
    """Lists the arrays of a file or folder; see the module for the kinds.

    Raises:
      DataError: It is none of them, damaged, or holds nothing.
    """
    if "://" in path or not os.path.exists(path):
        expected = "a file or folder on this disk"
        raise DataError(message(f"arrays:{path}", expected, "an existing path"))
    ending = os.path.splitext(path)[1].lower()
    with _damage_named(path):
        if os.path.isdir(path):
            files = sorted(glob.glob(os.path.join(glob.escape(path), "*.npy")))
            found = {os.path.basename(f).removesuffix(".npy"): _npy(f) for f in files}
        elif ending == ".npy":
            found = {"images": _npy(path)}
            beside = f"{path[: -len(ending)]}_labels.npy"
            if os.path.exists(beside):
                found["labels"] = _npy(beside)
        elif ending == ".npz":
            found = _npz(path)
        elif ending in HDF5:
            found = _hdf5(path)
        else:
            found = {}
    if not found:
        expected = f"arrays in a file {', '.join(ENDINGS)}, or a folder of .npy files"
        raise DataError(message(f"arrays:{path}", expected, "numpy.savez of them"))
    return found


@contextlib.contextmanager
def _damage_named(path: str) -> Iterator[None]:
    """Turns what a reader of damaged files raises into one error with the path."""
    try:
        yield
    except DataError:
        raise
    except _DAMAGED as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            message(
                f"{path} ({said})",
                "a whole file of arrays without Python objects",
                "writing it again with numpy.save, numpy.savez or h5py",
            )
        ) from error


def _loading(where: str, load: Callable[[], Any]) -> Callable[[], Any]:
    def loaded() -> Any:
        with _damage_named(where):
            return load()

    return loaded


# --- NumPy's own ----------------------------------------------------------------------


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, order, type and bytes of the array that begins here."""
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"format {version} of .npy")
    shape, fortran, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise ValueError("pickled Python objects, which are not loaded: they run code")
    if min(shape, default=1) < 0:
        raise ValueError(f"the shape {shape}")
    size = dtype.itemsize
    for side in shape:  # exact, whatever a header claims
        size *= side
    return shape, fortran, dtype, size


def _map(
    path: str, dtype: np.dtype, offset: int, shape: tuple[int, ...], fortran: bool
) -> Any:
    return np.memmap(
        path, dtype, "r", offset=offset, shape=shape, order="F" if fortran else "C"
    )


def _npy(path: str) -> Stored:
    with _damage_named(path), open(path, "rb") as file:
        shape, fortran, dtype, size = _header(file)
        offset = file.tell()
        if offset + size > os.path.getsize(path):
            raise ValueError(f"{size:,} bytes of an array, the file ends before")
    load = _loading(path, lambda: _map(path, dtype, offset, shape, fortran))
    return Stored(path, shape, dtype, load)


def _npz(path: str) -> dict[str, Stored]:
    found = {}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.filename.endswith(".npy"):
                name = info.filename.removesuffix(".npy")
                found[name] = _member(path, archive, info, name)
    return found


def _member(
    path: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str
) -> Stored:
    where = f"{path}: {name}"
    with _damage_named(where), archive.open(info) as file:
        shape, fortran, dtype, size = _header(file)
        head = file.tell()
        if head + size != info.file_size:
            raise ValueError(f"{size:,} bytes of an array in {info.file_size:,}")
    if info.compress_type != zipfile.ZIP_STORED:
        return Stored(
            where, shape, dtype, _loading(where, lambda: _unpacked(path, info))
        )
    with open(path, "rb") as file:
        file.seek(info.header_offset + 26)  # of the local header: two lengths
        lengths = struct.unpack("<HH", file.read(4))
    offset = info.header_offset + 30 + sum(lengths) + head
    load = _loading(where, lambda: _map(path, dtype, offset, shape, fortran))
    return Stored(where, shape, dtype, load)


def _unpacked(path: str, info: zipfile.ZipInfo) -> np.ndarray:
    with zipfile.ZipFile(path) as archive, archive.open(info) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


# --- HDF5 -----------------------------------------------------------------------------


def _hdf5(path: str) -> dict[str, Stored]:
    try:
        import h5py
    except ImportError as error:
        raise DataError(
            message(f"arrays:{path} without h5py", "the package", "pip install h5py")
        ) from error
    file = h5py.File(path, "r")  # open as long as its data sets are in use
    found: dict[str, Stored] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = _data_set(h5py, path, file, name, item)

    file.visititems(visit)
    return found


def _data_set(h5py: Any, path: str, file: Any, name: str, item: Any) -> Stored:
    where, dtype = f"{path}: {name}", item.dtype

    def load() -> Any:
        if item.external or item.is_virtual:
            raise ValueError("an array whose numbers are in other files")
        if h5py.check_string_dtype(dtype):
            return np.array(item.asstr()[()], np.str_)
        if dtype.hasobject:
            raise ValueError("an array of objects")
        offset = None if item.chunks or file.userblock_size else item.id.get_offset()
        if offset is None:
            return item
        return _map(path, dtype, offset, item.shape, False)

    text = np.dtype(np.str_) if h5py.check_string_dtype(dtype) else dtype
    return Stored(where, item.shape or (), text, _loading(where, load))
