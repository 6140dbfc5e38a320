"""Launches of upfirdn2d.cu; the functions and arguments of `cpu/upfirdn2d.py`."""

import functools
import math

from arrayvision.cuda import runtime
from arrayvision.cuda.constants import constant
from arrayvision.cuda.loops import INDICES, LIMIT, divider, index
from arrayvision.cuda.types import DTYPES, FLOATS, accumulator, as_accumulator, c_type

ROWS, WIDE, BLOCK = (constant("upfirdn2d.cu", name) for name in ("ROWS", "WIDE", "BLOCK"))
SHARED = 32 << 10  # bytes of shared memory that a block may take: so several have room
# From an array's type to the same, or through the type of sums where a filter is applied along one axis after the other.
TYPES = sorted({pair for T in FLOATS for A in (accumulator(T),) for pair in ((T, T), (T, A), (A, T))})
KERNELS = runtime.Kernels(
    "upfirdn2d.cu",
    [
        *(f"filter_planes<{a}, {b}, {i}>" for a, b in TYPES for i in INDICES),
        *(f"filter_twice<{T}>" for T in FLOATS),
    ],
)


@functools.lru_cache(256)
def _tile(kind, up_y, up_x, down_y, down_x, taps):
    """The rows of a tile of filter_twice, its inputs' rows and columns, and bytes of shared memory; None where no tile fits."""
    wide = ((WIDE - 1) * down_x + taps - 1) // up_x + 1
    for high in (32, 16, 8):
        some = ((high - 1) * down_y + taps - 1) // up_y + 1
        shared = ((some + high) * wide + taps) * (8 if kind == "double" else 4)
        if shared <= SHARED:
            return high, some, wide, shared
    return None


def filter_planes(x, weights, flip, gain, up, down, before, taps, out):
    """Fill out (P, height, width) from x (P, H, W) by taps (rows, columns)."""
    planes, rows, columns = out.shape
    bands = -(-rows // ROWS)
    n, kind = planes * bands * columns, index(planes * rows * columns, math.prod(x.shape))
    rows_first = zip(up, down, before, taps, strict=True)
    KERNELS.launch(
        f"filter_planes<{c_type(x)}, {c_type(out)}, {kind}>", n, n, divider(kind, columns), divider(kind, bands), rows, x,
        *x.shape[1:], weights, flip, as_accumulator(c_type(out), gain),
        *(number for axis in rows_first for number in axis), out,
    )  # fmt: skip


def upfirdn2d(x, weights, flip, gain, up, down, before, out):
    """Fill out (P, height, width) from x (P, H, W); `up`, `down` and `before` are for (rows, columns)."""
    if len(weights.shape) == 2:
        filter_planes(x, weights, flip, gain, up, down, before, tuple(weights.shape), out)
        return
    taps = weights.shape[0]
    tile = _tile(accumulator(c_type(x)), *up, *down, taps)
    if tile is not None and max(math.prod(x.shape[1:]), math.prod(out.shape[1:])) < LIMIT:
        high, some, wide, shared = tile
        planes, rows, columns = out.shape
        across = -(-columns // WIDE)
        KERNELS.launch(
            f"filter_twice<{c_type(x)}>", (across * -(-rows // high), min(planes, 65535)), planes, across, high, some, wide, x,
            *x.shape[1:], taps, weights, flip, as_accumulator(c_type(out), gain),
            *(number for axis in zip(up, down, before, strict=True) for number in axis), rows, columns, out,
            block=BLOCK, shared=shared,
        )  # fmt: skip
        return
    dtype = DTYPES[accumulator(c_type(x))]
    between = runtime.empty(x, (x.shape[0], out.shape[1], x.shape[2]), dtype)
    filter_planes(x, weights, flip, gain, (up[0], 1), (down[0], 1), (before[0], 0), (taps, 1), between)
    filter_planes(between, weights, flip, 1.0, (1, up[1]), (1, down[1]), (0, before[1]), (1, taps), out)
