"""Launches of three_nn.cu; the functions and arguments of `cpu/three_nn.py`."""

from arrayvision.cuda import runtime
from arrayvision.cuda.constants import constant
from arrayvision.cuda.nearest import lanes
from arrayvision.cuda.types import FLOATS, c_type

BLOCK = constant("three_nn.cu", "BLOCK")
KERNELS = runtime.Kernels("three_nn.cu", [f"search<{T}>" for T in FLOATS])


def nearest(target, source, distances, indices):
    """Fill distances and indices (B, N, 3) with those of the points of source (B, M, 3) nearest to target (B, N, 3)."""
    clouds, count = target.shape[:2]
    points = source.shape[1]
    each = lanes(clouds * count, points)
    grid = -(-count * each // BLOCK), min(clouds, 65535)
    args = clouds, count, points, each, target, source, distances, indices
    KERNELS.launch(f"search<{c_type(target)}>", grid, *args, block=BLOCK)
