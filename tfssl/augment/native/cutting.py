"""Cuts views out of an image: crop, resize, flip, rounding to bytes, in one pass.

Machine code by numba. The arithmetic is that of TensorFlow's `ResizeBicubic` and
`ScaleAndTranslate`, operation by operation in their order (float32, no fused products,
the vertical axis first), so that the bits are theirs too.

A pixel of the view is a weighted sum of a few pixels along each axis. Its `places` say
which, and its `weights` how much, in tables of an even number of columns.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import types

from tfssl.augment.native import c_api

# All compiled code stands in this file: numba's cache sees the changes of one file.

_COLUMNS = 6  # of the table of views: y, x, h, w, mirrored, soft
_STEPS = 1024  # in which TensorFlow's bicubic kernel tabulates a pixel
_ONE, _TWO, _THREE = np.uintp(1), np.uintp(2), np.uintp(3)
_HALF = np.float32(0.5)

# Keys' cubic, a = -1/2: of pixels up to one pixel away, and of those beyond.
_PART = np.arange(_STEPS + 1) / _STEPS
_NEAR = ((1.5 * _PART - 2.5) * _PART * _PART + 1.0).astype(np.float32)
_AWAY = 1.0 + _PART
_FAR = (((-0.5 * _AWAY + 2.5) * _AWAY - 4.0) * _AWAY + 2.0).astype(np.float32)

_OUTSIDE = np.frombuffer(
    b"got a view that is not within its image, or not of a pixel; expected "
    b"0 <= y < y + h <= height, likewise x, and a size >= 1; try augment.crops.draw\0",
    np.uint8,
)

_fast = numba.njit(nogil=True, error_model="numpy")


@_fast
def _bicubic(count, size):
    """Returns places uintp and weights float32 `[size, 4]`, 0 for pixels outside."""
    places = np.zeros((size, 4), np.uintp)
    weights = np.zeros((size, 4), np.float32)
    scale = np.float32(count) / np.float32(size)
    for x in range(size):
        place = (np.float32(x) + _HALF) * scale - _HALF
        below = np.floor(place)
        part = int(np.rint((place - below) * np.float32(_STEPS)))
        weights[x, 0], weights[x, 1] = _FAR[part], _NEAR[part]
        weights[x, 2], weights[x, 3] = _NEAR[_STEPS - part], _FAR[_STEPS - part]
        total = np.float32(0.0)
        for k in range(4):
            pixel = int(below) - 1 + k
            inside = min(max(pixel, 0), count - 1)
            if inside != pixel:
                weights[x, k] = 0.0
            places[x, k] = inside
            total += weights[x, k]
        share = np.float32(1.0) / total
        for k in range(4):
            weights[x, k] *= share
    return places, weights


@_fast
def _antialiased(count, size):
    """Returns the same of a triangle as wide as two pixels of the larger grid."""
    step = np.float32(1.0) / (np.float32(size) / np.float32(count))
    reach = max(step, np.float32(1.0))
    narrow = np.float32(1.0) / reach
    columns = 2 * int(np.ceil(reach)) + 2
    places = np.zeros((size, columns), np.uintp)
    weights = np.zeros((size, columns), np.float32)
    used = 1
    for x in range(size):
        place = (np.float32(x) + _HALF) * step
        first = min(max(int(np.ceil(place - reach - _HALF)), 0), count - 1)
        last = min(max(int(np.floor(place + reach - _HALF)), 0), count - 1)
        total = np.float32(0.0)
        for k in range(last + 1 - first):
            distance = np.abs((np.float32(first + k) + _HALF - place) * narrow)
            weights[x, k] = max(np.float32(1.0) - distance, np.float32(0.0))
            total += weights[x, k]
        share = np.float32(1.0) / total
        for k in range(columns):
            places[x, k] = min(first + k, count - 1)
            weights[x, k] *= share
            if weights[x, k] > 0.0:
                used = max(used, k + 1)
    used += used % 2
    kept, shares = places[:, :used], weights[:, :used]
    return np.ascontiguousarray(kept), np.ascontiguousarray(shares)


@_fast
def _sum_rows(rows, first, last, places, weights, out):
    """Computes `out[j] = sum_k weights[k] rows[places[k], first + j]`."""
    a, b = rows[places[0], first:last], rows[places[1], first:last]
    p, q = weights[0], weights[1]
    count = last - first
    if weights.size == 2:
        for j in range(count):
            out[j] = np.float32(a[j]) * p + np.float32(b[j]) * q
        return
    c, d = rows[places[2], first:last], rows[places[3], first:last]
    r, s = weights[2], weights[3]
    for j in range(count):
        near = np.float32(a[j]) * p + np.float32(b[j]) * q
        out[j] = (near + np.float32(c[j]) * r) + np.float32(d[j]) * s
    for k in range(4, weights.size, 2):
        a, b = rows[places[k], first:last], rows[places[k + 1], first:last]
        p, q = weights[k], weights[k + 1]
        for j in range(count):
            out[j] = (out[j] + np.float32(a[j]) * p) + np.float32(b[j]) * q


# A pixel is four floats, the last of no use: that is one vector of the machine.


@_fast
def _times(row, i, weight):
    return (
        row[i] * weight,
        row[i + _ONE] * weight,
        row[i + _TWO] * weight,
        row[i + _THREE] * weight,
    )


@_fast
def _plus(pixel, row, i, weight):
    return (
        pixel[0] + row[i] * weight,
        pixel[1] + row[i + _ONE] * weight,
        pixel[2] + row[i + _TWO] * weight,
        pixel[3] + row[i + _THREE] * weight,
    )


@_fast
def _put(row, i, pixel):
    row[i], row[i + _ONE], row[i + _TWO], row[i + _THREE] = pixel


@_fast
def _sum_pixels(rows, places, weights, taps, out):
    """Sums along two rows at a time, which share places and weights."""
    for x in range(places.shape[0]):
        i, weight = places[x, 0], weights[x, 0]
        upper, lower = _times(rows[0], i, weight), _times(rows[1], i, weight)
        for k in range(1, taps):
            i, weight = places[x, k], weights[x, k]
            upper = _plus(upper, rows[0], i, weight)
            lower = _plus(lower, rows[1], i, weight)
        i = np.uintp(3 * x)
        _put(out[0], i, upper)
        _put(out[1], i, lower)


@_fast
def _sum_columns(rows, places, weights, out):
    # A number known beforehand lets the compiler keep a pixel in one register.
    taps = places.shape[1]
    if taps == 2:
        _sum_pixels(rows, places, weights, 2, out)
    elif taps == 4:
        _sum_pixels(rows, places, weights, 4, out)
    elif taps == 6:
        _sum_pixels(rows, places, weights, 6, out)
    else:
        _sum_pixels(rows, places, weights, taps, out)


@_fast
def _round(row, out):
    """Rounds halves to even, then clips."""
    for j in range(out.size):
        value = min(max(np.rint(row[j]), np.float32(0.0)), np.float32(255.0))
        out[j] = np.uint8(np.int32(value))


@_fast
def _cut(image, y, x, h, w, mirrored, soft, out):
    size = out.shape[0]
    if soft:
        down, down_weights = _antialiased(h, size)
        right, right_weights = _antialiased(w, size)
    else:
        down, down_weights = _bicubic(h, size)
        right, right_weights = _bicubic(w, size)
    right *= np.uintp(3)
    if mirrored:
        right = np.ascontiguousarray(right[::-1])
        right_weights = np.ascontiguousarray(right_weights[::-1])
    rows = image[y : y + h].reshape(h, -1)
    tall = np.zeros((2, 3 * w + 1), np.float32)
    done = np.empty((2, 3 * size + 1), np.float32)
    for first in range(0, size, 2):
        pair = min(2, size - first)
        for k in range(pair):
            place, weight = down[first + k], down_weights[first + k]
            _sum_rows(rows, 3 * x, 3 * (x + w), place, weight, tall[k])
        _sum_columns(tall, right, right_weights, done)
        for k in range(pair):
            _round(done[k], out[first + k].reshape(-1))


SIGNATURE = types.void(types.intp, types.intp)


def compute(_: int, context: int) -> None:
    """Runs `native.cut_views` as TensorFlow calls it."""
    status = c_api.new_status()
    inputs = np.zeros(3, np.intp)
    for k in range(3):
        c_api.get_input(context, k, inputs.ctypes.data + 8 * k, status)
    height, width = c_api.tensor_dim(inputs[0], 0), c_api.tensor_dim(inputs[0], 1)
    count = c_api.tensor_dim(inputs[1], 0)
    image = numba.carray(
        c_api.tensor_data(inputs[0]), (height, width, 3), dtype=np.uint8
    )
    views = numba.carray(
        c_api.tensor_data(inputs[1]), (count, _COLUMNS), dtype=np.int32
    )
    size = np.int64(numba.carray(c_api.tensor_data(inputs[2]), 1, dtype=np.int32)[0])

    fits = size > 0
    for k in range(count):
        y, x, h, w = views[k, 0], views[k, 1], views[k, 2], views[k, 3]
        fits &= y >= 0 and h > 0 and h <= height - y
        fits &= x >= 0 and w > 0 and w <= width - x
    if fits:
        shape = np.array([count, size, size, 3], np.int64)
        length = np.uintp(count * size * size * 3)
        output = c_api.allocate_output(
            context, 0, c_api.UINT8, shape.ctypes.data, 4, length, status
        )
        if c_api.get_code(status) == 0:
            out = numba.carray(
                c_api.tensor_data(output), (count, size, size, 3), dtype=np.uint8
            )
            for k in range(count):
                y, x = np.int64(views[k, 0]), np.int64(views[k, 1])
                h, w = np.int64(views[k, 2]), np.int64(views[k, 3])
                _cut(image, y, x, h, w, views[k, 4] != 0, views[k, 5] != 0, out[k])
            c_api.delete_tensor(output)
    else:
        c_api.set_status(status, c_api.INVALID_ARGUMENT, _OUTSIDE.ctypes.data)
    if c_api.get_code(status) != 0:
        c_api.fail(context, status)
    for k in range(3):
        c_api.delete_tensor(inputs[k])
    c_api.delete_status(status)
