"""Samples of clouds of points, each as far as possible from those before."""

from __future__ import annotations

from arrayvision import check
from arrayvision.array import arrays, replay
from arrayvision.typing import Array


def furthest_point_sample(points_xyz: Array, num_points: int) -> Array:
    """Choose points that cover a cloud: each is the one farthest from all chosen before.

    Parameters
    ----------
    points_xyz : array (B, N, 3)
        Points (x, y, z) in any unit; any real dtype, integers count as float32.
    num_points : int
        How many to choose; 0 at least. Once all are chosen, or equal to chosen ones, the first of these follow again.

    Returns
    -------
    array (B, num_points)
        Indices of points, int32: point 0, and then the farthest in turn. Of equally far ones the lowest index is chosen.

    Raises
    ------
    TypeError
        If something is no array or not of the wanted kind, or of a wrong dtype.
    ValueError
        If a shape is wrong, num_points is negative, or the clouds are empty and something is to be chosen.

    Notes
    -----
    Y. Eldar et al., "The farthest point strategy for progressive image sampling", 1997. Exact. A point with a NaN or infinite
    coordinate is chosen only as the first; a distance that is too large for the dtype when squared counts as infinite.

    Examples
    --------
    >>> import numpy as np
    >>> furthest_point_sample(np.array([[[0.0, 0, 0], [1, 0, 0], [5, 0, 0], [3, 0, 0]]]), 3)
    array([[0, 2, 3]], dtype=int32)
    """
    return replay(_sample, (points_xyz,), num_points)


def _sample(points_xyz, num_points):
    name = "furthest_point_sample"
    at = arrays(name, points_xyz=points_xyz)
    n = at.sizes(points_xyz="B N 3")
    count = _count(at, num_points, n.B, n.N)
    dtype = at.floats(points_xyz=points_xyz)
    out = at.empty((n.B, count), "int32", by="num_points")
    at.kernels(name).by_points(at.read(points_xyz, dtype), out.view)
    return out.result()


def furthest_point_sample_with_dist(points_dist: Array, num_points: int) -> Array:
    """Choose points that cover a cloud, by given distances: each is the one farthest from all chosen before.

    Parameters
    ----------
    points_dist : array (B, N, N)
        Distances, or anything that rises with them: row i has those from point i. Any real dtype.
    num_points : int
        How many to choose; 0 at least.

    Returns
    -------
    array (B, num_points)
        Indices of points, int32: point 0, and then the one whose least entry in the rows of the chosen ones is greatest, in
        turn. Of equals the lowest index is chosen.

    Raises
    ------
    TypeError
        If something is no array or not of the wanted kind, or of a wrong dtype.
    ValueError
        If a shape is wrong, num_points is negative, or the clouds are empty and something is to be chosen.

    Notes
    -----
    Z. Yang et al., "3DSSD: Point-based 3D Single Stage Object Detector", 2020. NaN counts as less than all numbers.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([0.0, 1, 5, 3])
    >>> furthest_point_sample_with_dist(np.abs(x[:, None] - x)[None], 3)
    array([[0, 2, 3]], dtype=int32)
    """
    name = "furthest_point_sample_with_dist"
    at = arrays(name, points_dist=points_dist)
    n = at.sizes(points_dist="B N N")
    count = _count(at, num_points, n.B, n.N)
    dtype = at.floats(points_dist=points_dist)
    out = at.empty((n.B, count), "int32", by="num_points")
    at.kernels("furthest_point_sample").by_distances(at.read(points_dist, dtype), out.view)
    return out.result()


def _count(at, num_points, clouds, size):
    count = check.integer(at.function, "num_points", num_points, 0, 2**31 - 1)
    at.require(size < 2**31, f"clouds must have fewer than 2**31 points, got {size}")
    at.require(size > 0 or not (count and clouds), f"num_points must be 0 for empty clouds, got {count}")
    return count
