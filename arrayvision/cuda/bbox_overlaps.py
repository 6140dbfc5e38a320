"""Launches of bbox_overlaps.cu; the functions and arguments of `cpu/bbox_overlaps.py`."""

from arrayvision.cuda import runtime
from arrayvision.cuda.constants import constant
from arrayvision.cuda.types import FLOATS, aligned as begin_aligned, c_type

BLOCK, COLUMNS, ROWS = (constant("bbox_overlaps.cu", name) for name in ("BLOCK", "COLUMNS", "ROWS"))
MANY = 512  # blocks, of which each multiprocessor has some
KERNELS = runtime.Kernels("bbox_overlaps.cu", [f"{k}<{T}>" for k in ("all_pairs", "aligned_pairs") for T in FLOATS])


def overlaps(first, second, foreground, aligned, offset, out):
    """Fill out with IoUs, or with intersections over the first one's area."""
    m, n, kind, whole = len(first), len(second), c_type(first), begin_aligned(first, second)
    if aligned:
        KERNELS.launch(f"aligned_pairs<{kind}>", m, m, whole, first, second, offset, foreground, out)
    else:
        blocks, strip = -(-n // (BLOCK * COLUMNS)), ROWS
        while strip > 4 and blocks * -(-m // strip) < MANY:
            strip //= 2
        grid = blocks, min(-(-m // strip), 65535)
        KERNELS.launch(
            f"all_pairs<{kind}>", grid, m, n, strip, whole, first, second, offset, foreground, out, block=BLOCK
        )
