"""Launches of three_interpolate.cu; the functions and arguments of `cpu/three_interpolate.py`."""

from arrayvision.cuda import runtime
from arrayvision.cuda.constants import constant
from arrayvision.cuda.runtime import deterministic
from arrayvision.cuda.sums import ROUND_SUMS, round_sums, zero_sums
from arrayvision.cuda.types import FLOATS, c_type

CHANNELS = constant("three_interpolate.cu", "CHANNELS")  # of a thread
KERNELS = runtime.Kernels(
    "three_interpolate.cu",
    [*(f"{k}<{T}>" for k in ("sums_of_three", "spread_three", "spread_in_order") for T in FLOATS), *ROUND_SUMS],
)


def _tasks(batch, channels, count):
    """The grid, and the kernels' sizes."""
    groups = batch * -(-channels // CHANNELS)
    return (-(-count // 256), min(groups, 65535)), count, groups, channels


def interpolate(features, indices, weight, out):
    """Fill out (B, C, N) with sums of features (B, C, M) at indices (B, N, 3) by weight (B, N, 3)."""
    KERNELS.launch(
        f"sums_of_three<{c_type(out)}>", *_tasks(*out.shape), features.shape[2], features, indices, weight, out
    )


def spread(grad, indices, weight, out):
    """Fill out (B, C, M) with the gradient of `interpolate` for its features, given that of its result (B, C, N)."""
    batch, channels, size = out.shape
    count, sums = grad.shape[2], zero_sums(out)
    if deterministic(grad):
        rows = batch * channels
        KERNELS.launch(
            f"spread_in_order<{c_type(grad)}>", rows, rows, count, channels, size, grad, indices, weight, sums
        )
    else:
        KERNELS.launch(
            f"spread_three<{c_type(grad)}>", *_tasks(batch, channels, count), size, grad, indices, weight, sums
        )
    round_sums(KERNELS, sums, out)
