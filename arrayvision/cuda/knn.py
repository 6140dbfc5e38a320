"""Launches of knn.cu; the functions and arguments of `cpu/knn.py`."""

from arrayvision.cuda import runtime
from arrayvision.cuda.constants import WARP, constant
from arrayvision.cuda.types import DTYPES, FLOATS, accumulator, c_type

BLOCK, WARPS = (constant("knn.cu", name) for name in ("BLOCK", "WARPS"))
KERNELS = runtime.Kernels("knn.cu", [f"search_{size}<{T}>" for size in ("short", "long") for T in FLOATS])
ROOM = 2**26  # places of lists in memory at a time, at least a list for each warp of a row of blocks


def nearest(centers, points, out):
    """Fill out (B, k, M) with the indices of the points (B, N, 3) nearest to centers (B, M, 3)."""
    (clouds, k, count), kind = out.shape, c_type(points)
    blocks = -(-count // WARPS)
    sizes = clouds, count, points.shape[1], k, centers, points
    if k <= WARP:
        KERNELS.launch(f"search_short<{kind}>", (blocks, min(clouds, 65535)), *sizes, out, block=BLOCK)
        return
    rows = max(1, min(clouds, 65535, ROOM // max(blocks * WARPS * k, 1)))
    shape = rows * blocks * WARPS, k
    squares, indices = (runtime.empty(out, shape, t) for t in (DTYPES[accumulator(kind)], "int32"))
    KERNELS.launch(f"search_long<{kind}>", (blocks, rows), *sizes, squares, indices, out, block=BLOCK)
