"""Points in space, grouped by the cells of a grid."""

from __future__ import annotations

from collections.abc import Sequence

from arrayvision import check
from arrayvision.array import arrays, replay
from arrayvision.errors import InvalidValue
from arrayvision.ops import _voxels
from arrayvision.typing import Array


def voxelization(
    points: Array,
    voxel_size: Sequence[float],
    coors_range: Sequence[float],
    max_points: int = 35,
    max_voxels: int = 20000,
    deterministic: bool = True,
) -> Array | tuple[Array, Array, Array]:
    """Group points by the voxel that they lie in; or tell each point's voxel.

    Parameters
    ----------
    points : array (N, F)
        Points, x, y and z first, with F - 3 further features; any real dtype, integers count as float32.
    voxel_size : three floats
        A voxel's size along x, y and z, in the points' unit.
    coors_range : six floats
        The grid's ends (x, y, z, x, y, z), the lower ones first. An axis has (upper - lower) / size voxels, rounded to the
        nearest whole number (halves up), at least 1.
    max_points : int
        How many points a voxel keeps, its first ones. -1: all, and only each point's coordinates are given.
    max_voxels : int
        How many voxels are kept, the first ones. -1 is as `max_points` -1.
    deterministic : bool
        Taken for compatibility: results are always the same.

    Returns
    -------
    voxels : array (V, max_points, F)
        The points of each voxel in their order, then zeros, in the points' dtype. Voxels come in the order of their first
        points.
    coors : array (V, 3), int32
        The voxels' coordinates (z, y, x). If `max_points` or `max_voxels` is -1 this alone is returned, (N, 3), for each
        point; all three are -1 for a point outside.
    num_points : array (V,), int32
        How many points each voxel keeps.

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape is wrong, a voxel's size is not above 0, a range is shorter than half a voxel or inverted, the grid has
        2**31 - 1 cells along an axis or 2**63 in all, or no memory holds V voxels of max_points (also a MemoryError).

    Notes
    -----
    Y. Zhou and O. Tuzel, "VoxelNet", 2018. A point's voxel along an axis is ``floor((p - lower) / size)``, each operation
    rounded in the points' dtype (16-bit points: in float32), in which `lower` and `size` are first rounded too. So a point
    less than a rounding away from a border may count to either side of it, the same on every device. A point outside the grid, or with a
    coordinate that is NaN or infinite, is in no voxel. Points of voxels that are kept still fill these after `max_voxels`
    are found. There is no array of the grid's size: time and memory follow from the number of points and voxels.

    Examples
    --------
    >>> import numpy as np
    >>> points = np.array([[0.5, 0.5, 0.5], [2.5, 0.5, 0.5], [0.25, 0.5, 0.75]])
    >>> voxels, coors, num_points = voxelization(points, (1, 1, 1), (0, 0, 0, 4, 4, 4), max_points=2)
    >>> coors
    array([[0, 0, 0],
           [0, 0, 2]], dtype=int32)
    >>> num_points
    array([2, 1], dtype=int32)
    >>> voxelization(points, (1, 1, 1), (0, 0, 0, 2, 2, 2), max_points=-1)
    array([[ 0,  0,  0],
           [-1, -1, -1],
           [ 0,  0,  0]], dtype=int32)
    """
    size, ends = (tuple(x) if type(x) is list else x for x in (voxel_size, coors_range))
    return replay(_voxelization, (points,), size, ends, max_points, max_voxels, deterministic)


def _voxelization(points, voxel_size, coors_range, max_points, max_voxels, deterministic):
    name = "voxelization"
    at = arrays(name, points=points)
    n = at.sizes(points="N F")
    at.require(n.F >= 3, f"points must have at least 3 columns (x, y, z), got {n.F}")
    at.require(n.N < 2**31, f"points must be fewer than 2**31, got {n.N}")
    max_points, max_voxels = limits(name, max_points, max_voxels)
    check.flag(name, "deterministic", deterministic)
    size, ends, cells = _voxels.grid(name, voxel_size, coors_range)
    dtype = at.floats(points=points)
    grid = _voxels.in_dtype(name, size, ends, cells, at.accumulator(dtype))
    kernels, given = at.kernels("voxelization"), at.read(points, dtype)
    if max_points == -1 or max_voxels == -1:
        coors = at.empty((n.N, 3), "int32")
        kernels.cells(given, *grid, coors.view)
        return coors.result()
    order, starts, lengths = kernels.group(given, *grid, max_voxels)
    count = starts.shape[0]
    voxels = at.empty((count, max_points, n.F), dtype, by="max_points")
    coors, num_points = at.empty((count, 3), "int32"), at.empty((count,), "int32")
    kernels.fill(given, *grid, order, starts, lengths, voxels.view, coors.view, num_points.view)
    return voxels.result(), coors.result(), num_points.result()


def limits(function: str, max_points: int, max_voxels: int) -> tuple[int, int]:
    """Check how many points and voxels are kept."""
    found = []
    for argument, value in (("max_points", max_points), ("max_voxels", max_voxels)):
        value = check.integer(function, argument, value, -1)
        if value == 0:
            raise InvalidValue(f"{function}: {argument} must be at least 1, or -1 for all, got 0")
        found.append(value)
    return found[0], found[1]
