"""Launches of convex_iou.cu; the functions and arguments of `cpu/convex_iou.py`."""

from arrayvision.cuda import runtime
from arrayvision.cuda.constants import constant
from arrayvision.cuda.types import FLOATS, c_type

BLOCK, ROWS = (constant("convex_iou.cu", name) for name in ("BLOCK", "ROWS"))
_NARROW = [T for T in FLOATS if T != "double"]  # results that need no more than Pairs
KERNELS = runtime.Kernels(
    "convex_iou.cu",
    [
        *(f"all_pairs<{T}, double>" for T in FLOATS),
        *(f"all_pairs<{T}, pairs::Pair>" for T in _NARROW),
        *(f"gious<{T}>" for T in FLOATS),
    ],
)


def iou(pointsets, polygons, out):
    """Fill out (N, K) with IoUs."""
    n, k = len(pointsets), len(polygons)
    grid = -(-k // BLOCK), min(-(-n // ROWS), 65535)
    kind = c_type(pointsets)
    number = "pairs::Pair" if kind in _NARROW and runtime.slow_doubles(pointsets) else "double"
    KERNELS.launch(f"all_pairs<{kind}, {number}>", grid, n, k, pointsets, polygons, out, block=BLOCK)


def giou(pointsets, polygons, out, grads):
    """Fill out (N,) with generalized IoUs and grads (N, 18) with their gradients for the points."""
    n = len(pointsets)
    KERNELS.launch(f"gious<{c_type(pointsets)}>", n, n, pointsets, polygons, out, grads, block=64)
