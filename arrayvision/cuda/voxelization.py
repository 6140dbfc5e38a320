"""Launches of voxelization.cu; the functions and arguments of `cpu/voxelization.py`."""

from arrayvision.cuda import runtime
from arrayvision.cuda.keys import KINDS, RUNS, key_for, keys_for, runs_by_first_row
from arrayvision.cuda.loops import INDICES, divider, index
from arrayvision.cuda.types import FLOATS, c_type

KERNELS = runtime.Kernels(
    "voxelization.cu",
    [
        *(f"find_keys<{T}, {K}>" for T in FLOATS for K in KINDS),
        *RUNS,
        *(f"{kernel}<{T}>" for T in FLOATS for kernel in ("find_cells", "describe")),
        *(f"gather<{T}, {kind}>" for T in FLOATS for kind in INDICES),
    ],
)


def _grid(low, size, grid):
    return *low.tolist(), *size.tolist(), *grid.tolist()


def group(points, low, size, grid, most):
    """The points of each voxel: (all in some order, where a voxel's begin there, how many they are)."""
    n, columns = points.shape
    nx, ny, nz = grid.tolist()
    cells = nx * ny * nz
    keys = keys_for(points, n, cells)
    kernel = f"find_keys<{c_type(points)}, {key_for(cells)}>"
    KERNELS.launch(kernel, n, n, columns, points, *_grid(low, size, grid), keys)
    return runs_by_first_row(KERNELS, keys, cells, most)


def fill(points, low, size, grid, order, starts, lengths, voxels, coors, counts):
    """Fill voxels (V, max_points, F) with their points and zeros, coors (V, 3) with (z, y, x), counts (V) with how many."""
    n, slots, columns = voxels.shape
    values, T = n * slots * columns, c_type(points)
    kind = index(values)
    by = divider(kind, columns), divider(kind, slots)
    KERNELS.launch(
        f"gather<{T}, {kind}>", values, values, *by, columns, points, order, starts, lengths, voxels
    )  # fmt: skip
    args = n, slots, columns, points, *_grid(low, size, grid), order, starts, lengths, coors, counts
    KERNELS.launch(f"describe<{T}>", n, *args)


def cells(points, low, size, grid, coors):
    """Fill coors (N, 3) with each point's cell (z, y, x), -1 for all three outside."""
    n, columns = points.shape
    KERNELS.launch(f"find_cells<{c_type(points)}>", n, n, columns, points, *_grid(low, size, grid), coors)
