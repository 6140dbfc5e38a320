"""Launches of assign_score_withk.cu; the functions and arguments of `cpu/assign_score_withk.py`."""

from arrayvision.cuda import runtime
from arrayvision.cuda.constants import constant
from arrayvision.cuda.runtime import deterministic
from arrayvision.cuda.sums import ROUND_SUMS, round_sums, zero_sums
from arrayvision.cuda.types import FLOATS, c_type

CHANNELS = constant("assign_score_withk.cu", "CHANNELS")  # of a thread
_NAMES = "combine", "differentiate_scores", "differentiate_features"
KERNELS = runtime.Kernels("assign_score_withk.cu", [*(f"{k}<{T}>" for k in _NAMES for T in FLOATS), *ROUND_SUMS])


def _blocks(n, rows):
    return -(-n // 256), max(1, min(rows, 65535))


def forward(scores, points, centers, index, out):
    """Fill out (B, O, P, K) from scores (B, P, K, M), features (B, N, M, O) and index (B, P, K)."""
    batch, channels, count, k = out.shape
    n, grid = batch * count * k, _blocks(batch * count * k, -(-channels // CHANNELS))
    KERNELS.launch(
        f"combine<{c_type(out)}>", grid if channels else (0, 1), n, count * k, k, points.shape[1], scores.shape[3], channels,
        scores, points, centers, index, out,
    )  # fmt: skip


def backward(grad, scores, points, centers, index, for_scores, for_points, for_centers):
    """Fill the gradients of `forward`, given that of its result."""
    batch, channels, count, k = grad.shape
    size, matrices, kind, in_order = points.shape[1], scores.shape[3], c_type(grad), deterministic(grad)
    sizes = count * k, k, size, matrices, channels
    n = batch * count * k * matrices
    KERNELS.launch(f"differentiate_scores<{kind}>", n, n, *sizes, grad, points, centers, index, for_scores)
    sums = zero_sums(for_points), zero_sums(for_centers)
    each = matrices * channels
    n = batch * each if in_order else batch * count * k
    grid = _blocks(n if each and count * k else 0, 1 if in_order else each)
    KERNELS.launch(f"differentiate_features<{kind}>", grid, n, in_order, *sizes, grad, scores, index, *sums)
    for total, out in zip(sums, (for_points, for_centers), strict=True):
        round_sums(KERNELS, total, out)
