"""Which points lie inside which quadrilaterals."""

from __future__ import annotations

from arrayvision.array import arrays
from arrayvision.typing import Array


def points_in_polygons(points: Array, polygons: Array) -> Array:
    """Whether points lie inside quadrilaterals, each with each.

    Parameters
    ----------
    points : array (B, 2)
        Points (x, y).
    polygons : array (M, 8)
        Quadrilaterals (x1, y1, ..., x4, y4): corners in order, either way round, convex or not.

    Returns
    -------
    array (B, M)
        1 where the point is inside, else 0, in the promoted float dtype. A point on an edge or a corner is outside, and
        nothing is inside a quadrilateral with a NaN or infinite corner. Where sides cross, both lobes are inside.

    Raises
    ------
    TypeError
        If they are no arrays, of two libraries or devices, or hold no real numbers.
    ValueError
        If a shape is wrong.

    Notes
    -----
    The even-odd rule, in float64: exact for float32 coordinates of like size.

    Examples
    --------
    >>> import numpy as np
    >>> points_in_polygons(np.array([[1.0, 1], [2, 1], [3, 3]]), np.array([[0, 0, 2, 0, 2, 2, 0, 2.0]]))
    array([[1.],
           [0.],
           [0.]])
    """
    name = "points_in_polygons"
    at = arrays(name, points=points, polygons=polygons)
    n = at.sizes(points="B 2", polygons="M 8")
    dtype = at.floats(points=points, polygons=polygons)
    out = at.empty((n.B, n.M), dtype)
    if n.B and n.M:
        at.kernels("points_in_polygons").points_in_polygons(
            at.read(points, dtype), at.read(polygons, dtype), out.view
        )  # fmt: skip
    return out.result()
