"""Launches of min_area_polygons.cu; the functions and arguments of `cpu/min_area_polygons.py`."""

from arrayvision.cuda import runtime
from arrayvision.cuda.types import FLOATS, c_type

KERNELS = runtime.Kernels("min_area_polygons.cu", [f"rectangles<{T}>" for T in FLOATS])


def min_area_polygons(pointsets, out):
    """Fill out (N, 8)."""
    n = len(pointsets)
    KERNELS.launch(f"rectangles<{c_type(pointsets)}>", n, n, pointsets, out, block=64)
