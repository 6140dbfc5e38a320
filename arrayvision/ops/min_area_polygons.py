"""The smallest rectangles round points."""

from __future__ import annotations

from arrayvision.array import arrays
from arrayvision.typing import Array


def min_area_polygons(pointsets: Array) -> Array:
    """The rectangles of least area, turned as need be, that enclose sets of 9 points.

    Parameters
    ----------
    pointsets : array (N, 18)
        9 points each, (x1, y1, ..., x9, y9), in any order.

    Returns
    -------
    array (N, 8)
        Their corners (x1, y1, ..., x4, y4), in the float dtype of `pointsets`. With u the side whose direction is within
        [0, 90) degrees of +x (towards +y), and v a quarter turn on, the corners are (most u, least v), (least u, least v),
        (least u, most v), (most u, most v). Points in a line give a rectangle without an area, equal points one point;
        a NaN or infinite number gives NaN.

    Raises
    ------
    TypeError
        If `pointsets` is no array, or holds no real numbers.
    ValueError
        If its shape is wrong.

    Notes
    -----
    One side lies on an edge of the convex hull (H. Freeman, R. Shapira, 1975). Of equally small rectangles the one on the
    first edge is taken, going round from the point of least y (of these, of least x), from +x to +y.

    Examples
    --------
    >>> import numpy as np
    >>> min_area_polygons(np.array([[1, 1, 3, 1, 3, 2, 1, 2, 2, 1, 2, 2, 2, 1.5, 1, 1, 1, 1]]))
    array([[3., 1., 1., 1., 1., 2., 3., 2.]])
    """
    name = "min_area_polygons"
    at = arrays(name, pointsets=pointsets)
    n = at.sizes(pointsets="N 18")
    dtype = at.floats(pointsets=pointsets)
    out = at.empty((n.N, 8), dtype)
    if n.N:
        at.kernels("min_area_polygons").min_area_polygons(at.read(pointsets, dtype), out.view)
    return out.result()
