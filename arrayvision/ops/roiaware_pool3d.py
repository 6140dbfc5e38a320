"""Features of the points in boxes, pooled into the cells of each box."""

from __future__ import annotations

import math
from collections.abc import Sequence

from arrayvision import check
from arrayvision.array import arrays
from arrayvision.errors import InvalidKind, InvalidValue
from arrayvision.typing import Array

MODES = ("max", "avg")


def roiaware_pool3d(
    rois: Array,
    pts: Array,
    pts_feature: Array,
    out_size: int | Sequence[int],
    max_pts_per_voxel: int = 128,
    mode: str = "max",
) -> Array:
    """Divide each box into cells, and pool the features of each cell's points.

    Parameters
    ----------
    rois : array (K, 7)
        Boxes (x, y, z, dx, dy, dz, yaw): the centre of the bottom, the sizes, and the angle in radians from the x axis to
        the y axis.
    pts : array (N, 3)
        Points (x, y, z).
    pts_feature : array (N, C)
        Their features; any real dtype, integers count as float32.
    out_size : int or (int, int, int)
        Cells along a box's x, y and z.
    max_pts_per_voxel : int
        How many points of a cell count, the first ones.
    mode : {"max", "avg"}
        What is made of a cell's points: their maximum or their mean.

    Returns
    -------
    array (K, cells along x, along y, along z, C)
        In the dtype of pts_feature. A cell without points is 0.

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape or value is wrong.

    Notes
    -----
    S. Shi et al., "From Points to Parts: 3D Object Detection from Point Cloud with Part-aware and Part-aggregation Network",
    2020. A point is in a box if it is strictly so along the box's x and y, and along z or at an end; this is decided in
    float64. A point or a box with NaN is in none, and has none. A NaN feature makes its cell's NaN. The maximum's gradient goes to the first of equal points.
    Where the original implementation counts `max_pts_per_voxel` - 1 points, this counts `max_pts_per_voxel`, as said.

    Examples
    --------
    >>> import numpy as np
    >>> box = np.array([[0.0, 0, 0, 4, 2, 2, 0]])
    >>> points = np.array([[-1.0, 0, 1], [1, 0, 1], [1.5, 0.5, 0.5], [9, 9, 9]])
    >>> roiaware_pool3d(box, points, np.array([[1.0], [2], [4], [8]]), (2, 1, 1), mode="avg").reshape(-1)
    array([1., 3.])
    """
    return roiaware_pool3d_with_points(rois, pts, pts_feature, out_size, max_pts_per_voxel, mode)[0]


def roiaware_pool3d_with_points(
    rois: Array,
    pts: Array,
    pts_feature: Array,
    out_size: int | Sequence[int],
    max_pts_per_voxel: int = 128,
    mode: str = "max",
) -> tuple[Array, Array, Array]:
    """`roiaware_pool3d`, and what its gradient needs.

    Parameters
    ----------
    rois, pts, pts_feature, out_size, max_pts_per_voxel, mode
        As of `roiaware_pool3d`.

    Returns
    -------
    pooled : array (K, cells along x, along y, along z, C)
        As there.
    counts : array (K, cells along x, along y, along z), int32
        How many points each cell has.
    argmax : array (K, cells along x, along y, along z, C), int32
        The points that are the maxima, -1 for none; without rows if `mode` is "avg".

    Raises
    ------
    TypeError, ValueError
        As `roiaware_pool3d`.
    """
    name = "roiaware_pool3d"
    at = arrays(name, rois=rois, pts=pts, pts_feature=pts_feature)
    n = at.sizes(rois="K 7", pts="N 3", pts_feature="N C")
    at.real(rois=rois, pts=pts)
    at.require(n.N < 2**31, f"pts must have fewer than 2**31 rows, got {n.N}")
    size = cells_of(name, out_size)
    most = check.integer(name, "max_pts_per_voxel", max_pts_per_voxel, 1, 2**31 - 1)
    mean = check.choice(name, "mode", mode, MODES) == "avg"
    dtype = at.floats(pts_feature=pts_feature)
    cells = math.prod(size)
    out, counts = at.empty((n.K, *size, n.C), dtype, by="out_size"), at.empty((n.K, *size), "int32", by="out_size")
    argmax = at.empty((0 if mean else n.K, *size, n.C), "int32", by="out_size")
    at.kernels("roiaware_pool3d").forward(
        at.read(rois, "float64"),
        at.read(pts, "float64"),
        at.read(pts_feature, dtype),
        size,
        most,
        mean,
        out.view.reshape((n.K, cells, n.C)),
        counts.view.reshape((n.K, cells)),
        argmax.view.reshape((0 if mean else n.K, cells, n.C)),
    )
    return out.result(), counts.result(), argmax.result()


def roiaware_pool3d_backward(
    grad: Array,
    rois: Array,
    pts: Array,
    counts: Array,
    argmax: Array,
    max_pts_per_voxel: int = 128,
    mode: str = "max",
) -> Array:
    """The gradient of `roiaware_pool3d` for the points' features.

    Parameters
    ----------
    grad : array (K, cells along x, along y, along z, C)
        The gradient of the result.
    rois, pts : arrays
        As given to it.
    counts, argmax : arrays
        What `roiaware_pool3d_with_points` gave.
    max_pts_per_voxel, mode
        As given to it.

    Returns
    -------
    array (N, C)
        In the dtype of grad.

    Raises
    ------
    TypeError, ValueError
        As `roiaware_pool3d`.
    """
    name = "roiaware_pool3d_backward"
    at = arrays(name, grad=grad, rois=rois, pts=pts, counts=counts, argmax=argmax)
    n = at.sizes(grad="K X Y Z C", rois="K 7", pts="N 3", counts="K X Y Z", argmax="W X Y Z C")
    at.real(rois=rois, pts=pts)
    size = cells_of(name, (n.X, n.Y, n.Z))
    most = check.integer(name, "max_pts_per_voxel", max_pts_per_voxel, 1, 2**31 - 1)
    mean = check.choice(name, "mode", mode, MODES) == "avg"
    at.require((0 if mean else n.K) == n.W, f"argmax must be of mode {mode!r}, got {n.W} boxes")
    dtype, cells = at.floats(grad=grad), math.prod(size)
    out = at.empty((n.N, n.C), dtype)
    at.kernels("roiaware_pool3d").backward(
        at.read(grad, dtype).reshape((n.K, cells, n.C)),
        at.read(rois, "float64"),
        at.read(pts, "float64"),
        size,
        most,
        mean,
        at.integers("int32", least=0, counts=counts).reshape((n.K, cells)),
        at.integers("int32", least=-1, below=n.N, argmax=argmax).reshape((n.W, cells, n.C)),
        out.view,
    )
    return out.result()


def cells_of(function: str, out_size: int | Sequence[int]) -> tuple[int, int, int]:
    """Cells along x, y and z."""
    if isinstance(out_size, (tuple, list)):
        if len(out_size) != 3:
            raise InvalidValue(f"{function}: out_size must be an int or three, got {len(out_size)}")
        given = tuple(out_size)
    elif isinstance(out_size, (str, float, dict)) or out_size is None:
        raise InvalidKind(f"{function}: out_size must be an int or three, got {type(out_size).__name__}")
    else:
        given = (out_size,) * 3
    x, y, z = (check.integer(function, "out_size", value, 1, 2**31 - 1) for value in given)
    if x * y * z >= 2**31:
        raise InvalidValue(f"{function}: out_size must make fewer than 2**31 cells, got {x} x {y} x {z}")
    return x, y, z
