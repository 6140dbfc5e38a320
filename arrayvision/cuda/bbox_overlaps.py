"""Launches of bbox_overlaps.cu; the functions and arguments of `cpu/bbox_overlaps.py`."""

import functools

from arrayvision.cuda import runtime
from arrayvision.cuda.constants import constant
from arrayvision.cuda.types import FLOATS, aligned as begin_aligned, c_type

BLOCK, COLUMNS, ROWS = (constant("bbox_overlaps.cu", name) for name in ("BLOCK", "COLUMNS", "ROWS"))
MANY = 512  # blocks, of which each multiprocessor has some
KERNELS = runtime.Kernels("bbox_overlaps.cu", [f"{k}<{T}>" for k in ("all_pairs", "aligned_pairs") for T in FLOATS])


@functools.lru_cache(256)
def _strips(m, n):
    """The grid for m x n pairs, and how many rows a block goes through: fewer where there would be few blocks."""
    blocks, strip = -(-n // (BLOCK * COLUMNS)), ROWS
    while strip > 4 and blocks * -(-m // strip) < MANY:
        strip //= 2
    return (blocks, min(-(-m // strip), 65535)), strip


def overlaps(first, second, foreground, aligned, offset, out):
    """Fill out with IoUs, or with intersections over the first one's area."""
    m, n, kind, whole = first.shape[0], second.shape[0], c_type(first), begin_aligned(first, second)
    if aligned:
        KERNELS.launch(f"aligned_pairs<{kind}>", m, m, whole, first, second, offset, foreground, out)
    else:
        grid, strip = _strips(m, n)
        KERNELS.launch(
            f"all_pairs<{kind}>", grid, m, n, strip, whole, first, second, offset, foreground, out, block=BLOCK
        )
