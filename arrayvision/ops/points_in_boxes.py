"""Which points lie in which boxes."""

from __future__ import annotations

from arrayvision.array import arrays, replay
from arrayvision.typing import Array


def points_in_boxes_part(points: Array, boxes: Array) -> Array:
    """Find the box in which each point lies.

    Parameters
    ----------
    points : array (B, M, 3)
        Points (x, y, z) of B clouds, in any unit; any real dtype, integers count as float32.
    boxes : array (B, T, 7)
        Boxes (x, y, z, dx, dy, dz, angle) of each cloud: z is the height of the **bottom** face's centre, and the angle, in
        radians, turns the box's x axis from +x towards +y about z.

    Returns
    -------
    array (B, M)
        The index of the first box in which the point lies, int32; -1 if it lies in none.

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape is wrong, or the clouds differ in number.

    Notes
    -----
    A point on a side of a box lies outside, one on its bottom or top inside. Nothing lies in a box with a NaN or infinite
    number, or a size below 0; a point with a NaN lies in none. Computed in float64.
    (The convention is that of LiDAR boxes in KITTI-based detectors.)

    Examples
    --------
    >>> import numpy as np
    >>> points = np.array([[[0, 0, 0.5], [0, 0, 2], [5, 0, 1]]])
    >>> points_in_boxes_part(points, np.array([[[5, 0, 0, 2, 2, 2, 0], [0, 0, 0, 4, 2, 1, 0.1]]]))
    array([[ 1, -1,  0]], dtype=int32)
    """
    return replay(_points, (points, boxes), "points_in_boxes_part", False)


def points_in_boxes_all(points: Array, boxes: Array) -> Array:
    """Find all boxes in which each point lies.

    Parameters
    ----------
    points : array (B, M, 3)
        As for `points_in_boxes_part`.
    boxes : array (B, T, 7)
        As there.

    Returns
    -------
    array (B, M, T)
        1 where the point lies in the box, else 0; int32.

    Raises
    ------
    TypeError, ValueError
        As there.

    Examples
    --------
    >>> import numpy as np
    >>> points = np.array([[[0, 0, 0.5], [0, 0, 2]]])
    >>> points_in_boxes_all(points, np.array([[[0, 0, 0, 2, 2, 3, 0], [0, 0, 0, 4, 2, 1, 0.1]]]))
    array([[[1, 1],
            [1, 0]]], dtype=int32)
    """
    return replay(_points, (points, boxes), "points_in_boxes_all", True)


def points_in_boxes_cpu(points: Array, boxes: Array) -> Array:
    """`points_in_boxes_all`, by the name that older code has for arrays in the CPU's memory."""
    return replay(_points, (points, boxes), "points_in_boxes_cpu", True)


def _points(points, boxes, name, every):
    at = arrays(name, points=points, boxes=boxes)
    n = at.sizes(points="B M 3", boxes="B T 7")
    at.require(n.T < 2**31 - 1, f"boxes must be fewer than {2**31 - 1}, got {n.T}")
    dtype = at.floats(points=points, boxes=boxes)
    out = at.empty((n.B, n.M, n.T) if every else (n.B, n.M), "int32")
    kernels = at.kernels("points_in_boxes")
    (kernels.all if every else kernels.part)(at.read(points, dtype), at.read(boxes, dtype), out.view)
    return out.result()
