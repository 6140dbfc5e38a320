"""Distances between clouds of points: of each point of one from the nearest of the other."""

from __future__ import annotations

from arrayvision.array import arrays
from arrayvision.typing import Array


def chamfer_distance(xyz1: Array, xyz2: Array) -> tuple[Array, Array, Array, Array]:
    """Find, for each point of two clouds, the nearest point of the other, and the square of its distance.

    Parameters
    ----------
    xyz1 : array (B, N, D)
        Points of any number of coordinates, at least one, in any unit; any real dtype, integers count as float32.
    xyz2 : array (B, M, D)
        The other clouds' points.

    Returns
    -------
    dist1 : array (B, N)
        Squares of the distances from the points of xyz1 to the nearest of xyz2, in the promoted float dtype.
    dist2 : array (B, M)
        The same from the points of xyz2 to the nearest of xyz1.
    idx1 : array (B, N)
        Which points of xyz2 these are, int32; of equally near ones the lowest index. 0 where there are none, at an infinite
        distance.
    idx2 : array (B, M)
        Which points of xyz1 these are, int32.

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape is wrong.

    Notes
    -----
    H. Fan et al., "A Point Set Generation Network for 3D Object Reconstruction from a Single Image", 2017. Exact. A square
    that is NaN or too large for the dtype counts as infinite.

    Examples
    --------
    >>> import numpy as np
    >>> one, other = np.array([[[0.0, 0], [4, 0]]]), np.array([[[0.0, 1], [1, 0], [4, 3]]])
    >>> chamfer_distance(one, other)[:2]
    (array([[1., 9.]]), array([[1., 1., 9.]]))
    """
    at = arrays("chamfer_distance", xyz1=xyz1, xyz2=xyz2)
    n = at.sizes(xyz1="B N D", xyz2="B M D")
    at.require(n.D > 0, f"xyz1 must have at least one coordinate, got shape {tuple(xyz1.shape)}")
    at.require(max(n.N, n.M) < 2**31, f"clouds must have fewer than 2**31 points, got {max(n.N, n.M)}")
    dtype = at.floats(xyz1=xyz1, xyz2=xyz2)
    squares = [at.empty((n.B, size), dtype) for size in (n.N, n.M)]
    indices = [at.empty((n.B, size), "int32") for size in (n.N, n.M)]
    at.kernels("chamfer_distance").forward(
        at.read(xyz1, dtype), at.read(xyz2, dtype), *(out.view for out in (*squares, *indices))
    )
    dist1, dist2, idx1, idx2 = (out.result() for out in (*squares, *indices))
    return dist1, dist2, idx1, idx2


def chamfer_distance_backward(
    grad1: Array, grad2: Array, xyz1: Array, xyz2: Array, idx1: Array, idx2: Array
) -> tuple[Array, Array]:
    """The gradients of `chamfer_distance` for its clouds.

    Parameters
    ----------
    grad1 : array (B, N)
        The gradient of dist1.
    grad2 : array (B, M)
        The gradient of dist2.
    xyz1, xyz2
        As given to `chamfer_distance`.
    idx1, idx2
        As it returned them. An index that names no point adds nothing.

    Returns
    -------
    for_xyz1 : array (B, N, D)
        In the dtype that the distances have.
    for_xyz2 : array (B, M, D)
        The same.

    Raises
    ------
    TypeError, ValueError
        As `chamfer_distance`.
    """
    name = "chamfer_distance_backward"
    at = arrays(name, grad1=grad1, grad2=grad2, xyz1=xyz1, xyz2=xyz2, idx1=idx1, idx2=idx2)
    n = at.sizes(xyz1="B N D", xyz2="B M D", grad1="B N", grad2="B M", idx1="B N", idx2="B M")
    at.real(grad1=grad1, grad2=grad2)
    dtype = at.floats(xyz1=xyz1, xyz2=xyz2)
    outs = [at.empty((n.B, size, n.D), dtype) for size in (n.N, n.M)]
    at.kernels("chamfer_distance").backward(
        *(at.read(x, dtype) for x in (grad1, grad2, xyz1, xyz2)),
        at.integers("int32", idx1=idx1),
        at.integers("int32", idx2=idx2),
        *(out.view for out in outs),
    )
    return outs[0].result(), outs[1].result()
