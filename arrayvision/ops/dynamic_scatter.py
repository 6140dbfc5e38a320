"""Features of points, reduced within voxels."""

from __future__ import annotations

from arrayvision import check
from arrayvision.array import arrays
from arrayvision.typing import Array

KINDS = ("max", "mean", "sum")


def dynamic_scatter(feats: Array, coors: Array, reduce_type: str = "max") -> tuple[Array, Array]:
    """Reduce the features of the points of each voxel.

    Parameters
    ----------
    feats : array (N, C)
        Features of points; any real dtype, integers count as float32.
    coors : array (N, D), integers
        Each point's voxel: (z, y, x) for one, or with the index in a batch before these. A point with a negative coordinate
        is in no voxel.
    reduce_type : {"max", "mean", "sum"}
        What is made of a voxel's points.

    Returns
    -------
    voxel_feats : array (V, C)
        A row for each voxel that has points, in the dtype of feats.
    voxel_coors : array (V, D)
        Their coordinates, rising by the first, then the second and so on; int32 if coors is, else int64.

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape or `reduce_type` is wrong, or the largest coordinates of all columns have more than 62 bits in all.

    Notes
    -----
    Y. Zhou et al., "End-to-End Multi-View Fusion for 3D Object Detection in LiDAR Point Clouds", 2019. Sums are added in the points'
    order, on the CPU in float64. A NaN makes its voxel's feature NaN. The maximum's gradient goes to the first of equal points.

    Examples
    --------
    >>> import numpy as np
    >>> coors = np.array([[0, 0, 5], [0, 0, 0], [0, 0, 5], [-1, -1, -1]])
    >>> dynamic_scatter(np.array([[1.0], [2], [4], [8]]), coors, "mean")
    (array([[2. ],
           [2.5]]), array([[0, 0, 0],
           [0, 0, 5]]))
    """
    return _scatter(feats, coors, reduce_type, False)[:2]


def dynamic_scatter_with_points(
    feats: Array, coors: Array, reduce_type: str = "max"
) -> tuple[Array, Array, Array, Array, Array]:
    """`dynamic_scatter`, and what its gradient needs.

    Parameters
    ----------
    feats, coors, reduce_type
        As of `dynamic_scatter`.

    Returns
    -------
    voxel_feats : array (V, C)
    voxel_coors : array (V, D)
        As there.
    voxels : array (N,), int32
        Each point's voxel, -1 for none.
    counts : array (V,), int32
        How many points each voxel has.
    argmax : array (V, C), int32
        The points that are the maxima, the first of equal ones; without rows if `reduce_type` isn't "max".

    Raises
    ------
    TypeError, ValueError
        As `dynamic_scatter`.
    """
    return _scatter(feats, coors, reduce_type, True)


def _scatter(feats, coors, reduce_type, wanted):
    """The results, and if wanted each point's voxel."""
    name = "dynamic_scatter"
    at = arrays(name, feats=feats, coors=coors)
    n = at.sizes(feats="N C", coors="N D")
    at.require(n.D > 0, "coors must have at least 1 column, got 0")
    at.require(n.N < 2**31, f"feats must have fewer than 2**31 rows, got {n.N}")
    check.choice(name, "reduce_type", reduce_type, KINDS)
    dtype = at.floats(feats=feats)
    whole = "int32" if at.dtype(coors) == "int32" else "int64"
    given, rows = at.read(feats, dtype), at.integers(None, coors=coors)
    kernels = at.kernels("dynamic_scatter")
    found = kernels.group(rows)
    at.require(found is not None, "the largest coordinates in coors must have 62 bits at most, all columns together")
    groups, count = found
    out, voxel_coors = at.empty((count, n.C), dtype), at.empty((count, n.D), whole)
    voxels, counts = at.empty((n.N if wanted else 0,), "int32"), at.empty((count,), "int32")
    whom = reduce_type == "max" and (wanted or at.backend != "cpu")  # on a GPU maxima are found by them
    argmax = at.empty((count if whom else 0, n.C), "int32")
    kernels.reduce(
        given, rows, groups, reduce_type, out.view, voxel_coors.view, voxels.view, counts.view, argmax.view
    )  # fmt: skip
    return out.result(), voxel_coors.result(), voxels.result(), counts.result(), argmax.result()


def dynamic_scatter_backward(
    grad: Array, voxels: Array, counts: Array, argmax: Array, reduce_type: str = "max"
) -> Array:
    """The gradient of `dynamic_scatter` for its features.

    Parameters
    ----------
    grad : array (V, C)
        The gradient of the result.
    voxels, counts, argmax : arrays
        What `dynamic_scatter_with_points` gave.
    reduce_type : {"max", "mean", "sum"}
        As given to it.

    Returns
    -------
    array (N, C)
        In the dtype of grad.

    Raises
    ------
    TypeError, ValueError
        As `dynamic_scatter`.
    """
    name = "dynamic_scatter_backward"
    at = arrays(name, grad=grad, voxels=voxels, counts=counts, argmax=argmax)
    n = at.sizes(grad="V C", voxels="N", counts="V", argmax="W C")
    check.choice(name, "reduce_type", reduce_type, KINDS)
    at.require((n.V if reduce_type == "max" else 0) == n.W, f"argmax must be of {reduce_type!r}, got {n.W} rows")
    dtype = at.floats(grad=grad)
    out = at.empty((n.N, n.C), dtype)
    at.kernels("dynamic_scatter").backward(
        at.read(grad, dtype),
        at.integers("int32", least=-1, below=n.V, voxels=voxels),
        at.integers("int32", least=1, counts=counts),
        at.integers("int32", least=0, below=n.N, argmax=argmax),
        reduce_type,
        out.view,
    )
    return out.result()
