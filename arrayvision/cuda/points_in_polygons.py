"""Launches of points_in_polygons.cu; the functions and arguments of `cpu/points_in_polygons.py`."""

from arrayvision.cuda import runtime
from arrayvision.cuda.constants import constant
from arrayvision.cuda.types import FLOATS, c_type

BLOCK, ROWS = (constant("points_in_polygons.cu", name) for name in ("BLOCK", "ROWS"))
KERNELS = runtime.Kernels("points_in_polygons.cu", [f"all_pairs<{T}>" for T in FLOATS])


def points_in_polygons(points, polygons, out):
    """Fill out (B, M) with 1 where the point is inside, else 0."""
    n, m = len(points), len(polygons)
    grid = -(-m // BLOCK), min(-(-n // ROWS), 65535)
    KERNELS.launch(f"all_pairs<{c_type(points)}>", grid, n, m, points, polygons, out, block=BLOCK)
