"""The three nearest points of each point."""

from __future__ import annotations

from arrayvision.array import arrays
from arrayvision.typing import Array


def three_nn(target: Array, source: Array) -> tuple[Array, Array]:
    """Find the three points of a cloud that are nearest to each point of another.

    Parameters
    ----------
    target : array (B, N, 3)
        Points (x, y, z) whose neighbours are looked for, in any unit; any real dtype, integers count as float32.
    source : array (B, M, 3)
        The points to look among; cloud b is searched for the points of target b.

    Returns
    -------
    distances : array (B, N, 3)
        Euclidean distances (not their squares), rising, in the promoted float dtype.
    indices : array (B, N, 3)
        The neighbours' indices in source, int32. Of equal distances the lower index comes first. Where source has fewer
        than three points the missing ones have an infinite distance and index 0, so that a weight of one over the
        distance is 0 for them.

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape is wrong.

    Notes
    -----
    Exact: C. Qi et al., "PointNet++", 2017, interpolate by these. A distance that is NaN or too large for the dtype counts
    as infinite: a point with a NaN coordinate comes after all others, and one of target has the neighbours 0, 1 and 2.

    Examples
    --------
    >>> import numpy as np
    >>> source = np.array([[[0.0, 0, 0], [3, 0, 0], [0, 4, 0], [9, 9, 9]]])
    >>> distances, indices = three_nn(np.array([[[0.0, 0, 0]]]), source)
    >>> distances, indices
    (array([[[0., 3., 4.]]]), array([[[0, 1, 2]]], dtype=int32))
    """
    at = arrays("three_nn", target=target, source=source)
    n = at.sizes(target="B N 3", source="B M 3")
    at.require(n.M < 2**31, f"source must have fewer than 2**31 points, got {n.M}")
    dtype = at.floats(target=target, source=source)
    distances, indices = at.empty((n.B, n.N, 3), dtype), at.empty((n.B, n.N, 3), "int32")
    at.kernels("three_nn").nearest(at.read(target, dtype), at.read(source, dtype), distances.view, indices.view)
    return distances.result(), indices.result()
