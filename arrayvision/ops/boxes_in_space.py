"""Upright boxes in space: overlaps seen from above ("bird's eye view") and in space, and non-maximum suppression."""

from __future__ import annotations

from arrayvision import check
from arrayvision.array import arrays, replay
from arrayvision.typing import Array

_SHARED, _FLAT_IOU, _IOU = 0, 1, 2


def boxes_overlap_bev(boxes_a: Array, boxes_b: Array) -> Array:
    """The areas that boxes share, seen from above.

    Parameters
    ----------
    boxes_a : array (M, 7)
        Boxes (x, y, z, dx, dy, dz, angle) by their centres and sizes in any unit of length; the angle, in radians, turns +x
        towards +y about z.
    boxes_b : array (N, 7)
        The others.

    Returns
    -------
    array (M, N)
        Areas in that unit squared, in the boxes' promoted float dtype. z and dz don't count. A box with a NaN or infinite
        x, y, dx, dy or angle, or without an area, overlaps nothing.

    Raises
    ------
    TypeError
        If something is no array, of two libraries or devices, or holds no real numbers.
    ValueError
        If a shape is wrong.

    Notes
    -----
    Exact to a few roundings of the smaller area in float64, like `box_iou_rotated`.

    Examples
    --------
    >>> import numpy as np
    >>> box = np.array([[0, 0, 0, 4, 2, 1, 0.0]])
    >>> boxes_overlap_bev(box, np.array([[0, 0, 9, 4, 2, 1, np.pi / 2]])).round(4)
    array([[4.]])
    """
    return replay(_pairs, (boxes_a, boxes_b), "boxes_overlap_bev", 7, _SHARED)


def boxes_iou_bev(boxes_a: Array, boxes_b: Array) -> Array:
    """Intersection over union of turned rectangles.

    Parameters
    ----------
    boxes_a : array (M, 5)
        Rectangles (x1, y1, x2, y2, angle): corners before they are turned by the angle, in radians, about their centre.
    boxes_b : array (N, 5)
        The others.

    Returns
    -------
    array (M, N)
        Within [0, 1], in the boxes' promoted float dtype; 0 for what isn't finite or has no area.

    Raises
    ------
    TypeError, ValueError
        As `boxes_overlap_bev`.

    Examples
    --------
    >>> import numpy as np
    >>> boxes_iou_bev(np.array([[0, 0, 4, 2, 0.0]]), np.array([[2, 0, 6, 2, 0.0]])).round(4)
    array([[0.3333]])
    """
    return replay(_pairs, (boxes_a, boxes_b), "boxes_iou_bev", 5, _FLAT_IOU)


def boxes_iou3d(boxes_a: Array, boxes_b: Array) -> Array:
    """Intersection over union of boxes in space.

    Parameters
    ----------
    boxes_a : array (M, 7)
        Boxes (x, y, z, dx, dy, dz, angle) as `boxes_overlap_bev` has them: z is the height of the **centre**, so a box is
        from z - dz / 2 to z + dz / 2.
    boxes_b : array (N, 7)
        The others.

    Returns
    -------
    array (M, N)
        Within [0, 1], in the boxes' promoted float dtype; 0 for boxes that aren't finite or have no volume.

    Raises
    ------
    TypeError, ValueError
        As `boxes_overlap_bev`.

    Notes
    -----
    Volumes, not areas seen from above: boxes at different heights overlap nothing. (Old versions of other libraries gave
    the latter.)

    Examples
    --------
    >>> import numpy as np
    >>> box = np.array([[0, 0, 0, 4, 2, 2, 0.0]])
    >>> boxes_iou3d(box, np.array([[0, 0, 1, 4, 2, 2, 0.0], [0, 0, 2, 4, 2, 2, 0]])).round(4)
    array([[0.3333, 0.    ]])
    """
    return replay(_pairs, (boxes_a, boxes_b), "boxes_iou3d", 7, _IOU)


def _pairs(first, second, name, columns, measure):
    at = arrays(name, boxes_a=first, boxes_b=second)
    n = at.sizes(boxes_a=f"M {columns}", boxes_b=f"N {columns}")
    dtype = at.floats(boxes_a=first, boxes_b=second)
    out = at.empty((n.M, n.N), dtype)
    at.kernels("boxes_in_space").overlaps(at.read(first, dtype), at.read(second, dtype), measure, out.view)
    return out.result()


def nms3d(boxes: Array, scores: Array, iou_threshold: float) -> Array:
    """Non-maximum suppression of boxes in space by their IoU seen from above.

    Parameters
    ----------
    boxes : array (N, 7)
        Boxes (x, y, z, dx, dy, dz, angle), as for `boxes_overlap_bev`.
    scores : array (N,)
        Their scores. A NaN score is never kept.
    iou_threshold : float
        A box goes if its IoU with a better kept one is greater; within [0, 1].

    Returns
    -------
    array (K,)
        Positions of the kept boxes by falling score, int64 (int32 in JAX without x64); ties by position.

    Raises
    ------
    TypeError
        If something is no array, of two libraries or devices, or holds no real numbers.
    ValueError
        If a shape is wrong, lengths differ, or the threshold is not within [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> boxes = np.array([[0, 0, 0, 4, 2, 1, 0], [0.1, 0, 5, 4, 2, 1, 0], [9, 0, 0, 4, 2, 1, 1.0]])
    >>> nms3d(boxes, np.array([0.5, 0.9, 0.7]), 0.5)
    array([1, 2])
    """
    return _suppress("nms3d", 7, boxes, scores, "iou_threshold", iou_threshold, True)


def nms3d_normal(boxes: Array, scores: Array, iou_threshold: float) -> Array:
    """`nms3d` with every angle taken for 0: of boxes that lie along the axes."""
    return _suppress("nms3d_normal", 7, boxes, scores, "iou_threshold", iou_threshold, False)


def nms_bev(
    boxes: Array, scores: Array, thresh: float, pre_max_size: int | None = None, post_max_size: int | None = None
) -> Array:
    """Non-maximum suppression of turned rectangles.

    Parameters
    ----------
    boxes : array (N, 5)
        Rectangles (x1, y1, x2, y2, angle), as for `boxes_iou_bev`.
    scores : array (N,)
        Their scores. A NaN score is never kept.
    thresh : float
        As `iou_threshold` of `nms3d`.
    pre_max_size : int, optional
        Only so many, with the best scores, are looked at.
    post_max_size : int, optional
        Only so many are kept.

    Returns
    -------
    array (K,)
        As `nms3d`.

    Raises
    ------
    TypeError, ValueError
        As `nms3d`; and if a size is no int or negative.

    Examples
    --------
    >>> import numpy as np
    >>> boxes = np.array([[0, 0, 4, 2, 0], [0, 0, 4, 2, 0.1], [9, 0, 13, 2, 0.0]])
    >>> nms_bev(boxes, np.array([0.5, 0.9, 0.7]), 0.5, post_max_size=1)
    array([1])
    """
    return _suppress("nms_bev", 5, boxes, scores, "thresh", thresh, True, pre_max_size, post_max_size)


def nms_normal_bev(boxes: Array, scores: Array, thresh: float) -> Array:
    """`nms_bev` with every angle taken for 0: of rectangles that lie along the axes."""
    return _suppress("nms_normal_bev", 5, boxes, scores, "thresh", thresh, False)


def _suppress(name, columns, boxes, scores, argument, threshold, turned, before=None, after=None):
    at = arrays(name, boxes=boxes, scores=scores)
    at.sizes(boxes=f"N {columns}", scores="N")
    threshold = check.number(name, argument, threshold, 0, 1)
    before, after = (
        None if most is None else check.integer(name, size, most, 0)
        for size, most in (("pre_max_size", before), ("post_max_size", after))
    )
    dtype = at.floats(boxes=boxes, scores=scores)
    kernels, view, own = at.kernels("boxes_in_space"), at.read(boxes, dtype), at.read(scores, "float64")
    if before is not None and before < len(view):
        best = at.kernels("nms").falling(own)[:before]
        keep = best[kernels.nms(view[best], own[best], threshold, turned)]
    else:
        keep = kernels.nms(view, own, threshold, turned)
    keep = keep[:after]
    out = at.empty((keep.shape[0],), "int64")
    out.view[...] = keep
    return out.result()
