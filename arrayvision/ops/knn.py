"""The k nearest points of each point."""

from __future__ import annotations

from arrayvision import check
from arrayvision.array import arrays, replay
from arrayvision.typing import Array


def knn(k: int, xyz: Array, center_xyz: Array | None = None, transposed: bool = False) -> Array:
    """Find the k points of a cloud that are nearest to each centre.

    Parameters
    ----------
    k : int
        How many, at least 1.
    xyz : array (B, N, 3)
        Points (x, y, z) in any unit; (B, 3, N) if `transposed`. Any real dtype, integers count as float32.
    center_xyz : array (B, M, 3), optional
        Centres whose neighbours are looked for, those of cloud b among the points of cloud b; (B, 3, M) if `transposed`.
        The points themselves if left out; then each is among its own neighbours.
    transposed : bool
        Whether coordinates come before points.

    Returns
    -------
    array (B, k, M)
        Indices of points, the nearest first, int32. Of equal distances the lower index comes first. Where k is more than N, the
        places that are left have index 0.

    Raises
    ------
    TypeError
        If something is no array or not of the wanted kind, of another library or device, or of a wrong dtype.
    ValueError
        If a shape is wrong, k is below 1, or there is no point.

    Notes
    -----
    Exact, for any k. A distance that is NaN, or too large for the dtype when squared, counts as infinite: a point with a NaN
    coordinate comes after all others, and a centre with one has the neighbours 0 to k - 1.

    Examples
    --------
    >>> import numpy as np
    >>> xyz = np.array([[[0.0, 0, 0], [3, 0, 0], [0, 4, 0]]])
    >>> knn(2, xyz, np.array([[[1.0, 0, 0], [0, 3, 0]]]))
    array([[[0, 2],
            [1, 0]]], dtype=int32)
    """
    return replay(_knn, (xyz, center_xyz), k, transposed)


def _knn(xyz, center_xyz, k, transposed):
    at = arrays("knn", xyz=xyz, center_xyz=center_xyz)
    turned = check.flag("knn", "transposed", transposed)
    n = at.sizes(xyz="B 3 N", center_xyz="B 3 M?") if turned else at.sizes(xyz="B N 3", center_xyz="B M 3?")
    k = check.integer("knn", "k", k, 1)
    at.require(n.N > 0, f"xyz must have at least 1 point, got shape {tuple(xyz.shape)}")
    at.require(n.N < 2**31, f"xyz must have fewer than 2**31 points, got {n.N}")
    dtype = at.floats(xyz=xyz) if center_xyz is None else at.floats(xyz=xyz, center_xyz=center_xyz)
    points = _rows(at, xyz, dtype, turned)
    centers = points if center_xyz is None else _rows(at, center_xyz, dtype, turned)
    out = at.empty((n.B, k, centers.shape[1]), "int32", by="k")
    at.kernels("knn").nearest(centers, points, out.view)
    return out.result()


def _rows(at, x, dtype, turned):
    """What a kernel sees of points, as rows."""
    if not turned:
        return at.read(x, dtype)
    return at.read(x.swapaxes(1, 2), dtype) if at.gpu else at.view(at.read(x, dtype).swapaxes(1, 2))
