"""Launches of dynamic_scatter.cu; the functions and arguments of `cpu/dynamic_scatter.py`."""

from arrayvision.array import library_of
from arrayvision.cuda import runtime
from arrayvision.cuda.keys import CELLS, KINDS, RUNS, none, owners, pack, rising_runs, row_type
from arrayvision.cuda.types import FLOATS, c_type

KERNELS = runtime.Kernels(
    "dynamic_scatter.cu",
    [
        *RUNS,
        *(f"{kernel}<{T}>" for T in FLOATS for kernel in ("add", "choose", "spread_rows", "spread_chosen")),
        *(f"take_coors<{kind}>" for kind in KINDS),
    ],
)


def group(coors):
    """The points of each voxel by rising coordinates: ((all in some order, where a voxel's begin, how many they are), how many
    voxels); None if the keys would have more than 62 bits."""
    if len(coors) == 0:
        return none(coors), 0
    keys, fits = pack(KERNELS, coors)
    groups = rising_runs(KERNELS, keys, CELLS)
    return (groups, groups[1].shape[0]) if int(fits[0]) else None


def reduce(feats, coors, groups, kind, out, voxel_coors, voxels, counts, argmax):
    """Fill out (V, C), voxel_coors (V, D), voxels (N, or 0 if not wanted) with each point's, counts (V), and for "max" argmax
    (V, C)."""
    order, starts, lengths = groups
    (n, channels), columns, T = out.shape, coors.shape[1], c_type(feats)
    args = n, channels, feats, order, starts, lengths
    if kind == "max":
        KERNELS.launch(f"choose<{T}>", n * channels, *args, out, argmax)
    else:
        KERNELS.launch(f"add<{T}>", n * channels, *args, kind == "mean", out)
    KERNELS.launch(f"take_coors<{row_type(coors)}>", n * columns, n, columns, coors, order, starts, voxel_coors)
    if voxels.shape[0]:
        owners(KERNELS, order, starts, lengths, voxels)
    counts[:] = lengths


def backward(grad, voxels, counts, argmax, kind, out):
    """Fill out (N, C) with the gradient for the points from that for their voxels, grad (V, C)."""
    (points, channels), rows, T = out.shape, grad.shape[0], c_type(grad)
    if kind == "max":
        library_of(out).zero(out)
        KERNELS.launch(f"spread_chosen<{T}>", rows * channels, rows, channels, points, grad, argmax, out)
    else:
        args = points, channels, rows, grad, voxels, counts, kind == "mean", out
        KERNELS.launch(f"spread_rows<{T}>", points * channels, *args)
