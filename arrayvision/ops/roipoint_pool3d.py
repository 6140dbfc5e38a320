"""The points in boxes, as many of each box as asked for."""

from __future__ import annotations

from arrayvision import check
from arrayvision.array import arrays
from arrayvision.typing import Array


def roipoint_pool3d(
    points: Array, point_features: Array, boxes3d: Array, num_sampled_points: int = 512
) -> tuple[Array, Array]:
    """Take the points in each box, with their features, as many of each box.

    Parameters
    ----------
    points : array (B, N, 3)
        Points (x, y, z) of B examples.
    point_features : array (B, N, C)
        Their features; any real dtype, integers count as float32.
    boxes3d : array (B, M, 7)
        Boxes (x, y, z, dx, dy, dz, yaw): the centre of the bottom, the sizes, and the angle in radians from the x axis to
        the y axis.
    num_sampled_points : int
        How many points of each box are taken.

    Returns
    -------
    pooled_features : array (B, M, num_sampled_points, 3 + C)
        Coordinates and features, in the promoted float dtype. Of a box with more points the first ones; of one with fewer
        all, again and again; of one without, zeros.
    pooled_empty_flag : array (B, M), int32
        1 for a box without points, else 0.

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape or value is wrong.

    Notes
    -----
    S. Shi et al., "PointRCNN: 3D Object Proposal Generation and Detection from Point Cloud", 2019. A point is in a box as
    for `roiaware_pool3d`; a point or a box that isn't finite is in none, and has none.

    Examples
    --------
    >>> import numpy as np
    >>> points = np.array([[[0.5, 0, 0.5], [9, 9, 9], [-0.5, 0.5, 1]]])
    >>> boxes = np.array([[[0.0, 0, 0, 2, 2, 2, 0], [5, 5, 5, 1, 1, 1, 0]]])
    >>> pooled, empty = roipoint_pool3d(points, np.array([[[1.0], [2], [3]]]), boxes, 3)
    >>> pooled[0, 0]
    array([[ 0.5,  0. ,  0.5,  1. ],
           [-0.5,  0.5,  1. ,  3. ],
           [ 0.5,  0. ,  0.5,  1. ]])
    >>> empty
    array([[0, 1]], dtype=int32)
    """
    name = "roipoint_pool3d"
    at = arrays(name, points=points, point_features=point_features, boxes3d=boxes3d)
    n = at.sizes(points="B N 3", point_features="B N C", boxes3d="B M 7")
    at.real(boxes3d=boxes3d)
    at.require(n.N < 2**31, f"points must be fewer than 2**31 in an example, got {n.N}")
    sampled = check.integer(name, "num_sampled_points", num_sampled_points, 1, 2**31 - 1)
    dtype = at.floats(points=points, point_features=point_features)
    out, empty = at.empty((n.B, n.M, sampled, 3 + n.C), dtype, by="num_sampled_points"), at.empty((n.B, n.M), "int32")
    at.kernels("roipoint_pool3d").roipoint_pool3d(
        at.read(points, "float64"),
        at.read(points, dtype),
        at.read(point_features, dtype),
        at.read(boxes3d, "float64"),
        out.view,
        empty.view,
    )
    return out.result(), empty.result()
