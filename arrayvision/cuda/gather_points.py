"""Launches of gather_points.cu; the functions and arguments of `cpu/gather_points.py`."""

from arrayvision.cuda import runtime
from arrayvision.cuda.constants import constant
from arrayvision.cuda.runtime import deterministic
from arrayvision.cuda.sums import ROUND_SUMS, round_sums, zero_sums
from arrayvision.cuda.types import FLOATS, SIXTEEN, c_type

CHANNELS, STAGED = (constant("gather_points.cu", name) for name in ("CHANNELS", "STAGED"))  # of a thread; threads
BLOCKS = 512  # that gather_staged has where indices are many: a few for each multiprocessor
FEW = 128  # with fewer than that it would leave multiprocessors idle, as with the three coordinates of a few clouds
_NAMES = "gather", "gather_staged", "scatter", "scatter_in_order", "gather_rows", "scatter_rows"
KERNELS = runtime.Kernels("gather_points.cu", [*(f"{name}<{T}>" for name in _NAMES for T in FLOATS), *ROUND_SUMS])


def _tasks(batch, channels, count):
    """The grid, and the kernels' sizes."""
    groups = batch * -(-channels // CHANNELS)
    return (-(-count // 256), min(groups, 65535)), count, groups, channels


def gather(features, indices, out):
    """Fill out (B, C, M) with features (B, C, N) at indices (B, M)."""
    (batch, channels, count), size = out.shape, features.shape[2]
    rows, shared = batch * channels, size * 16 // SIXTEEN[c_type(out)]
    parts = max(1, min(count // max(size, 1), BLOCKS // max(rows, 1)))  # each reads the channel again
    if 0 < shared <= runtime.shared_memory(out) and count >= size and rows * parts >= FEW:
        some = -(-count // parts)
        KERNELS.launch(
            f"gather_staged<{c_type(out)}>", (-(-count // some), min(rows, 65535)), rows, count, some, channels, size, features,
            indices, out, block=STAGED, shared=shared,
        )  # fmt: skip
        return
    KERNELS.launch(f"gather<{c_type(out)}>", *_tasks(*out.shape), features.shape[2], features, indices, out)


def scatter(grad, indices, out):
    """Fill out (B, C, N) with the gradient of `gather` for its features, given that of its result (B, C, M)."""
    batch, channels, size = out.shape
    count, sums, kind = grad.shape[2], zero_sums(out), c_type(out)
    if deterministic(grad):
        rows = batch * channels
        KERNELS.launch(f"scatter_in_order<{kind}>", rows, rows, count, channels, size, grad, indices, sums)
    else:
        KERNELS.launch(f"scatter<{kind}>", *_tasks(batch, channels, count), size, grad, indices, sums)
    round_sums(KERNELS, sums, out)


def _grid(n, channels):
    return -(-n // 256), min(-(-channels // CHANNELS), 65535)


def gather_rows(features, indices, counts, index_counts, out):
    """Fill out (M, C, S) with features (N, C) at indices (M, S): of clouds of so many points, and so many rows of indices."""
    rows, channels, samples = out.shape
    n = rows * samples
    KERNELS.launch(
        f"gather_rows<{c_type(out)}>", _grid(n, channels), n, len(counts), len(features), rows, channels, samples, features,
        indices, counts, index_counts, out,
    )  # fmt: skip


def scatter_rows(grad, indices, counts, index_counts, out):
    """Fill out (N, C) with the gradient of `gather_rows` for its features, given that of its result (M, C, S)."""
    rows, channels, samples = grad.shape
    n, sums, in_order = rows * samples, zero_sums(out), deterministic(grad)
    grid = (-(-channels // 256) if n else 0, 1) if in_order else _grid(n, channels)
    KERNELS.launch(
        f"scatter_rows<{c_type(out)}>", grid, n, in_order, len(counts), len(out), rows, channels, samples, grad, indices,
        counts, index_counts, sums,
    )  # fmt: skip
    round_sums(KERNELS, sums, out)
