"""Launches of roiaware_pool3d.cu; the functions and arguments of `cpu/roiaware_pool3d.py`."""

from arrayvision.array import library_of
from arrayvision.cuda import runtime
from arrayvision.cuda.boxes3d import MEMBERS, members
from arrayvision.cuda.keys import CELLS, RUNS, rising_runs
from arrayvision.cuda.runtime import deterministic, empty
from arrayvision.cuda.sums import ROUND_SUMS, round_sums, zero_sums
from arrayvision.cuda.types import FLOATS, c_type

KERNELS = runtime.Kernels(
    "roiaware_pool3d.cu",
    [
        *MEMBERS,
        *RUNS,
        *ROUND_SUMS,
        *(f"{kernel}<{T}>" for T in FLOATS for kernel in ("pool", "spread_chosen", "spread")),
        "find_cells",
        "fill_none",
    ],
)


def _cells(rois, points, size):
    """The points in boxes, the cell of each, and the runs of one cell."""
    owners, found, _, _ = members(KERNELS, rois[None], points[None])
    n = found.shape[0]
    keys = empty(rois, (n,), "int64")
    KERNELS.launch("find_cells", n, n, *size, rois, points, owners, found, keys)
    return found, keys, *rising_runs(KERNELS, keys, CELLS)


def forward(rois, points, feats, size, most, mean, out, counts, argmax):
    """Fill out (K, cells, C), counts (K, cells) and, unless `mean`, argmax (K, cells, C)."""
    library, channels = library_of(out), out.shape[2]
    library.zero(out)
    library.zero(counts)
    chosen = argmax.shape[0] * argmax.shape[1] * channels
    KERNELS.launch("fill_none", chosen, chosen, argmax)
    if len(rois) == 0 or len(points) == 0:
        return
    found, keys, order, starts, lengths = _cells(rois, points, size)
    runs = starts.shape[0]
    args = runs, channels, most, mean, feats, found, keys, order, starts, lengths, out, counts, argmax
    KERNELS.launch(f"pool<{c_type(out)}>", runs * channels, *args)


def backward(grad, rois, points, size, most, mean, counts, argmax, out):
    """Fill out (N, C) with the gradient for the features, from that of the result, grad (K, cells, C)."""
    sums, ordered, T = zero_sums(out), deterministic(grad), c_type(grad)
    cells, channels = grad.shape[0] * grad.shape[1], grad.shape[2]
    if mean and len(rois) and len(points):
        found, keys, order, starts, lengths = _cells(rois, points, size)
        runs = starts.shape[0]
        n = channels * (bool(runs) if ordered else runs)
        args = n, runs, channels, most, ordered, grad, found, keys, order, starts, lengths, sums
        KERNELS.launch(f"spread<{T}>", n, *args)
    elif not mean:
        n = channels * (bool(cells) if ordered else cells)
        args = n, cells, channels, len(points), ordered, grad, argmax, sums
        KERNELS.launch(f"spread_chosen<{T}>", n, *args)
    round_sums(KERNELS, sums, out)
