"""The points within balls."""

from __future__ import annotations

from arrayvision import check
from arrayvision.array import arrays, numpy_dtype, replay, scalar
from arrayvision.errors import InvalidValue
from arrayvision.ops import _stacked
from arrayvision.typing import Array


def ball_query(
    min_radius: float,
    max_radius: float,
    sample_num: int,
    xyz: Array,
    center_xyz: Array,
    xyz_batch_cnt: Array | None = None,
    center_xyz_batch_cnt: Array | None = None,
) -> Array:
    """Find points within a distance of each centre: the first ones by index.

    Parameters
    ----------
    min_radius, max_radius : float
        A point is found if its distance is 0, or at least min_radius and below max_radius; 0 <= min_radius < max_radius, in
        the unit of the coordinates.
    sample_num : int
        How many points of a centre are kept at most.
    xyz : array (B, N, 3) or (N1 + N2 + ..., 3)
        Points (x, y, z), each cloud's together in the second form; any real dtype, integers count as float32.
    center_xyz : array (B, M, 3) or (M1 + M2 + ..., 3)
        Centres, those of cloud b among the points of cloud b.
    xyz_batch_cnt, center_xyz_batch_cnt : array (B,), optional
        N1, N2, ... and M1, M2, ...: given together, and with the second form only.

    Returns
    -------
    array (B, M, sample_num) or (M1 + M2 + ..., sample_num)
        Indices of points within their cloud, rising, int32. The first one found fills the places that are left. A centre that
        finds none has zeros; in the second form -1 and then zeros, by which callers of that form tell it.

    Raises
    ------
    TypeError
        If something is no array or not of the wanted kind, of another library or device, or of a wrong dtype.
    ValueError
        If a shape or a radius is wrong, sample_num is below 1, or, on the CPU, counts don't add up. A GPU's counts are not
        looked at: nothing is read for what they say too much, and centres that they leave out have zeros.

    Notes
    -----
    C. Qi et al., "PointNet++", 2017. Squares are compared, in the dtype of the coordinates. Nothing is found at or from a NaN
    or infinite coordinate. Older code ignores min_radius in the second form; here it counts in both.

    Examples
    --------
    >>> import numpy as np
    >>> xyz = np.array([[[0.0, 0, 0], [0, 0, 5], [0, 0, 1], [0, 0, 2]]])
    >>> ball_query(0, 1.5, 3, xyz, np.array([[[0.0, 0, 1], [9, 9, 9]]]))
    array([[[0, 2, 3],
            [0, 0, 0]]], dtype=int32)
    """
    given = xyz, center_xyz, xyz_batch_cnt, center_xyz_batch_cnt
    return replay(_ball_query, given, min_radius, max_radius, sample_num)


def _ball_query(xyz, center_xyz, xyz_batch_cnt, center_xyz_batch_cnt, min_radius, max_radius, sample_num):
    name = "ball_query"
    at = arrays(
        name, xyz=xyz, center_xyz=center_xyz, xyz_batch_cnt=xyz_batch_cnt, center_xyz_batch_cnt=center_xyz_batch_cnt
    )
    least = check.number(name, "min_radius", min_radius, 0)
    most = check.number(name, "max_radius", max_radius)
    if not most > least:
        raise InvalidValue(f"{name}: max_radius must be greater than min_radius, {least:g}, got {most:g}")
    size = check.integer(name, "sample_num", sample_num, 1, 2**31 - 1)
    stacked = _stacked.given(at, "xyz_batch_cnt", xyz_batch_cnt, "center_xyz_batch_cnt", center_xyz_batch_cnt)
    n = at.sizes(xyz="N 3", center_xyz="M 3") if stacked else at.sizes(xyz="B N 3", center_xyz="B M 3")
    at.require(n.N < 2**31, f"xyz must have fewer than 2**31 points, got {n.N}")
    dtype = at.floats(xyz=xyz, center_xyz=center_xyz)
    points, centers = at.read(xyz, dtype), at.read(center_xyz, dtype)
    real = numpy_dtype(at.accumulator(dtype))
    squares = [scalar(float(r) * float(r), real) for r in (scalar(least, real), scalar(most, real))]
    if stacked:
        counts = _stacked.counts(
            at, xyz_batch_cnt=(xyz_batch_cnt, n.N), center_xyz_batch_cnt=(center_xyz_batch_cnt, n.M)
        )
        out = at.empty((n.M, size), "int32", by="sample_num")
        at.kernels(name).find_stacked(*squares, points, centers, *counts, out.view)
    else:
        out = at.empty((n.B, n.M, size), "int32", by="sample_num")
        at.kernels(name).find(*squares, points, centers, out.view)
    return out.result()
