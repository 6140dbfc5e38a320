"""IoU and generalized IoU of the convex hulls of 9 points and quadrilaterals."""

from __future__ import annotations

from arrayvision.array import arrays
from arrayvision.typing import Array


def convex_iou(pointsets: Array, polygons: Array) -> Array:
    """Intersection over union of the convex hulls of point sets and quadrilaterals, each with each.

    Parameters
    ----------
    pointsets : array (N, 18)
        9 points each, (x1, y1, ..., x9, y9), in any order.
    polygons : array (K, 8)
        Quadrilaterals (x1, y1, ..., x4, y4); their hulls count, so corners may come in any order.

    Returns
    -------
    array (N, K)
        Values within [0, 1], in the promoted float dtype. A hull with a NaN or infinite point, or without an area,
        overlaps nothing: 0.

    Raises
    ------
    TypeError
        If they are no arrays, of two libraries or devices, or hold no real numbers.
    ValueError
        If a shape is wrong.

    See Also
    --------
    box_iou_quadri : of quadrilaterals, which need not be convex.
    convex_giou : row by row, with a gradient.

    Notes
    -----
    Hulls by A. M. Andrew's monotone chain (1979); the shared area as a sum of integrals over pairs of edges, in float64.

    Examples
    --------
    >>> import numpy as np
    >>> points = np.array([[0, 0, 2, 0, 2, 2, 0, 2, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1.0]])
    >>> convex_iou(points, np.array([[1, 1, 3, 1, 3, 3, 1, 3.0], [0, 0, 2, 0, 2, 2, 0, 2]])).round(4)
    array([[0.1429, 1.    ]])
    """
    name = "convex_iou"
    at = arrays(name, pointsets=pointsets, polygons=polygons)
    n = at.sizes(pointsets="N 18", polygons="K 8")
    dtype = at.floats(pointsets=pointsets, polygons=polygons)
    out = at.empty((n.N, n.K), dtype)
    if n.N and n.K:
        at.kernels("convex_iou").iou(at.read(pointsets, dtype), at.read(polygons, dtype), out.view)
    return out.result()


def convex_giou(pointsets: Array, polygons: Array) -> tuple[Array, Array]:
    """Generalized IoU of the convex hulls of point sets and quadrilaterals, each with its partner, and its gradient.

    Parameters
    ----------
    pointsets : array (N, 18)
        9 points each, (x1, y1, ..., x9, y9), in any order.
    polygons : array (N, 8)
        Quadrilaterals (x1, y1, ..., x4, y4); their hulls count.

    Returns
    -------
    giou : array (N,)
        The IoU, less the share of the hull round both that neither covers; within [-1, 1], in the promoted float dtype.
        NaN for a NaN or infinite point; 0 if all points and corners lie in a line.
    grad : array (N, 18)
        Its gradient for the points: 0 for those that are no corner of a hull.

    Raises
    ------
    TypeError
        If they are no arrays, of two libraries or devices, or hold no real numbers.
    ValueError
        If a shape is wrong, or the numbers of rows differ.

    Notes
    -----
    H. Rezatofighi et al.: Generalized intersection over union, CVPR 2019. Where an edge of the points' hull lies on one of
    the quadrilateral's, the GIoU has a kink. The gradient there takes the common boundary for the points'; where, going
    round from +x to +y, it ends in a corner of the quadrilateral, that corner stays put. So hulls that are equal have
    gradient 0. Of equal points the first gets the gradient.

    Examples
    --------
    >>> import numpy as np
    >>> points = np.array([[0, 0, 2, 0, 2, 2, 0, 2, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1.0]])
    >>> convex_giou(points, np.array([[1, 1, 3, 1, 3, 3, 1, 3.0]]))[0].round(4)
    array([0.0179])
    """
    name = "convex_giou"
    at = arrays(name, pointsets=pointsets, polygons=polygons)
    n = at.sizes(pointsets="N 18", polygons="N 8")
    dtype = at.floats(pointsets=pointsets, polygons=polygons)
    out, grads = at.empty((n.N,), dtype), at.empty((n.N, 18), dtype)
    if n.N:
        at.kernels("convex_iou").giou(at.read(pointsets, dtype), at.read(polygons, dtype), out.view, grads.view)
    return out.result(), grads.result()
