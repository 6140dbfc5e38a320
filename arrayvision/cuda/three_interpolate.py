"""Launches of three_interpolate.cu; the functions and arguments of `cpu/three_interpolate.py`."""

from arrayvision.cuda import runtime
from arrayvision.cuda.constants import constant
from arrayvision.cuda.nearest import lanes
from arrayvision.cuda.runtime import deterministic
from arrayvision.cuda.sums import ROUND_SUMS, round_sums, zero_sums
from arrayvision.cuda.types import FLOATS, c_type

BLOCK, CHANNELS = (constant("three_interpolate.cu", name) for name in ("BLOCK", "CHANNELS"))
NAMES = ("search", "sums_of_three", "spread_three", "spread_in_order")
KERNELS = runtime.Kernels("three_interpolate.cu", [*(f"{name}<{T}>" for name in NAMES for T in FLOATS), *ROUND_SUMS])


def nearest(target, source, distances, indices):
    """Fill distances and indices (B, N, 3) with those of the points of source (B, M, 3) nearest to target (B, N, 3)."""
    (clouds, count, _), points = target.shape, source.shape[1]
    each = lanes(clouds * count, points)
    grid = -(-count * each // BLOCK), min(clouds, 65535)
    args = clouds, count, points, each, target, source, distances, indices
    KERNELS.launch(f"search<{c_type(target)}>", grid, *args, block=BLOCK)


def _tasks(batch, channels, count):  # the grid, and the kernels' sizes
    groups = batch * -(-channels // CHANNELS)
    return (-(-count // 256), min(groups, 65535)), count, groups, channels


def interpolate(features, indices, weight, out):
    """Fill out (B, C, N) with sums of features (B, C, M) at indices (B, N, 3) by weight (B, N, 3)."""
    args = *_tasks(*out.shape), features.shape[2], features, indices, weight, out
    KERNELS.launch(f"sums_of_three<{c_type(out)}>", *args)


def spread(grad, indices, weight, out):
    """Fill out (B, C, M) with the gradient of `interpolate` for its features, given that of its result (B, C, N)."""
    batch, channels, size = out.shape
    (_, _, count), rows, kind, sums = grad.shape, batch * channels, c_type(grad), zero_sums(out)
    args = size, grad, indices, weight, sums
    if deterministic(grad):
        KERNELS.launch(f"spread_in_order<{kind}>", rows, rows, count, channels, *args)
    else:
        KERNELS.launch(f"spread_three<{kind}>", *_tasks(batch, channels, count), *args)
    round_sums(KERNELS, sums, out)
