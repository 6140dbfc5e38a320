"""Launches of bbox_overlaps.cu; the functions and arguments of `cpu/bbox_overlaps.py`."""

from arrayvision.cuda import runtime
from arrayvision.cuda.constants import constant
from arrayvision.cuda.types import FLOATS, c_type

BLOCK, ROWS = (constant("bbox_overlaps.cu", name) for name in ("BLOCK", "ROWS"))
KERNELS = runtime.Kernels("bbox_overlaps.cu", [f"{k}<{T}>" for k in ("all_pairs", "aligned_pairs") for T in FLOATS])


def overlaps(first, second, foreground, aligned, offset, out):
    """Fill out with IoUs, or with intersections over the first one's area."""
    m, n, kind = len(first), len(second), c_type(first)
    if aligned:
        KERNELS.launch(f"aligned_pairs<{kind}>", m, m, first, second, offset, foreground, out)
    else:
        grid = -(-n // BLOCK), min(-(-m // ROWS), 65535)
        KERNELS.launch(f"all_pairs<{kind}>", grid, m, n, first, second, offset, foreground, out, block=BLOCK)
