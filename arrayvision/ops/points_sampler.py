"""Distances between the features of points, all with all: by the arrays' own library, on their device."""

from __future__ import annotations

import numpy as np
from array_api_compat import array_namespace

from arrayvision import check
from arrayvision.array import library_of
from arrayvision.ops.point_sample import _floats
from arrayvision.typing import Array


@np.errstate(over="ignore", invalid="ignore")
def calc_square_dist(point_feat_a: Array, point_feat_b: Array, norm: bool = True) -> Array:
    """Squares of the distances between features; or distances by the number of features.

    Parameters
    ----------
    point_feat_a : array (B, N, C)
        Features; any real dtype, integers count as float32.
    point_feat_b : array (B, M, C)
        Others.
    norm : bool
        Whether to give the distance (not its square) divided by C.

    Returns
    -------
    array (B, N, M)
        In the promoted dtype; 16-bit features are computed in float32.

    Raises
    ------
    TypeError
        If something is no array or flag, of another library, or of a wrong dtype.
    ValueError
        If shapes are wrong.

    Notes
    -----
    By a matrix product, of features from which their mean is subtracted first: so features far from 0 lose no more digits than
    others. Equal features may be a rounding of their spread apart.

    Examples
    --------
    >>> import numpy as np
    >>> calc_square_dist(np.array([[[0.0, 0]]]), np.array([[[3.0, 4], [0, 2]]]), norm=False)
    array([[[25.,  4.]]])
    """
    name = "calc_square_dist"
    norm = check.flag(name, "norm", norm)
    a, b = _floats(name, point_feat_a=point_feat_a, point_feat_b=point_feat_b)
    check.shape(name, "point_feat_a", a, "B", "N", "C")
    check.shape(name, "point_feat_b", b, a.shape[0], "M", a.shape[2])
    xp = array_namespace(a)
    result = xp.result_type(a, b)
    if library_of(a).dtype(a) in _SHORT:
        a = xp.astype(a, xp.float32)
    if library_of(b).dtype(b) in _SHORT:
        b = xp.astype(b, xp.float32)
    mean = finite_mean(xp, a)
    a, b = a - mean, b - mean
    squares = xp.sum(a * a, axis=2)[:, :, None] + xp.sum(b * b, axis=2)[:, None, :] - 2.0 * (a @ xp.matrix_transpose(b))
    squares = xp.where(squares < 0, xp.zeros_like(squares), squares)
    if norm:
        squares = xp.sqrt(squares) / max(a.shape[2], 1)
    return xp.astype(squares, result)


def finite_mean(xp, a):
    """The mean (B, 1, C) over points of the features that are finite; 0 where none is. `xp` is the arrays' namespace."""
    good = xp.isfinite(a)
    total = xp.sum(xp.where(good, a, xp.zeros_like(a)), axis=1, keepdims=True)
    count = xp.sum(xp.where(good, xp.ones_like(a), xp.zeros_like(a)), axis=1, keepdims=True)
    return total / xp.where(count > 0, count, xp.ones_like(count))


_SHORT = ("float16", "bfloat16")
