"""Launches of chamfer_distance.cu; the functions and arguments of `cpu/chamfer_distance.py`."""

from arrayvision.cuda import runtime
from arrayvision.cuda.constants import constant
from arrayvision.cuda.nearest import lanes
from arrayvision.cuda.runtime import deterministic
from arrayvision.cuda.sums import ROUND_SUMS, round_sums, zero_sums
from arrayvision.cuda.types import FLOATS, c_type

BLOCK = constant("chamfer_distance.cu", "BLOCK")
DIMENSIONS = (1, 2, 3, 4)  # for which there are kernels of their own
KERNELS = runtime.Kernels(
    "chamfer_distance.cu",
    [
        *(f"search<{T}, {d}>" for T in FLOATS for d in DIMENSIONS),
        *(f"{k}<{T}>" for k in ("search_any", "pull") for T in FLOATS),
        *ROUND_SUMS,
    ],
)


def _nearest(queries, points, squares, indices):
    clouds, count, dimensions = queries.shape
    kind, sizes, each = c_type(queries), (clouds, count, points.shape[1]), 1
    if dimensions in DIMENSIONS:
        each = lanes(clouds * count, points.shape[1])
        kernel, sizes = f"search<{kind}, {dimensions}>", (*sizes, each)
    else:
        kernel, sizes = f"search_any<{kind}>", (*sizes, dimensions)
    grid = -(-count * each // BLOCK), min(clouds, 65535)
    KERNELS.launch(kernel, grid, *sizes, queries, points, squares, indices, block=BLOCK)


def forward(xyz1, xyz2, dist1, dist2, idx1, idx2):
    """Fill dist1 (B, N) and idx1 with what is nearest in xyz2 (B, M, D) to xyz1 (B, N, D), and dist2 and idx2 vice versa."""
    _nearest(xyz1, xyz2, dist1, idx1)
    _nearest(xyz2, xyz1, dist2, idx2)


def backward(grad1, grad2, xyz1, xyz2, idx1, idx2, out1, out2):
    """Fill out1 (B, N, D) and out2 (B, M, D) with the gradients of `forward`, given those of its distances."""
    sums, in_order = (zero_sums(out1), zero_sums(out2)), deterministic(grad1)
    for grad, own, other, index, targets in (
        (grad1, xyz1, xyz2, idx1, sums), (grad2, xyz2, xyz1, idx2, sums[::-1]),
    ):  # fmt: skip
        clouds, count, dimensions = own.shape
        n = clouds * (dimensions if in_order else count) if count else 0
        KERNELS.launch(
            f"pull<{c_type(own)}>", n, n, in_order, count, other.shape[1], dimensions, grad, own, other, index, *targets
        )
    for total, out in zip(sums, (out1, out2), strict=True):
        round_sums(KERNELS, total, out)
