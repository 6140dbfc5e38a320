"""Rotated boxes and quadrilaterals: how much they overlap, and non-maximum suppression."""

from __future__ import annotations

from arrayvision import check
from arrayvision.array import arrays, replay
from arrayvision.ops._suppression import suppress
from arrayvision.typing import Array


def box_iou_rotated(
    bboxes1: Array, bboxes2: Array, mode: str = "iou", aligned: bool = False, clockwise: bool = True
) -> Array:
    """Intersection over union (or over the first box's area) of rotated boxes.

    Parameters
    ----------
    bboxes1 : array (M, 5)
        Boxes (cx, cy, w, h, angle), the angle in radians.
    bboxes2 : array (N, 5)
        The others; N = M if `aligned`.
    mode : {"iou", "iof"}
        Over the union, or over the area of the box of `bboxes1` ("intersection over foreground").
    aligned : bool
        Compare row by row instead of each with each.
    clockwise : bool
        True: a growing angle turns +x towards +y, which is clockwise on an image, whose y points down. False: the other
        way.

    Returns
    -------
    array (M, N), or (M,) if `aligned`
        Values within [0, 1], in the boxes' promoted float dtype. A box with a NaN or infinite number, or of no or
        negative width or height, overlaps nothing: 0.

    Raises
    ------
    TypeError
        If the boxes are no arrays, of two libraries or devices, or hold no real numbers.
    ValueError
        If a shape or `mode` is wrong, or aligned boxes differ in number.

    Notes
    -----
    Exact to about 1e-7 for float32 boxes of any shape and place, needles, shared edges and equal boxes included: the
    overlap is integrated over edges in float64, in one box's own frame, by Green's theorem; no vertex is ever
    intersected, so none is lost.

    Examples
    --------
    >>> import numpy as np
    >>> box_iou_rotated(np.array([[0, 0, 4, 2, 0.0]]), np.array([[0, 0, 4, 2, np.pi / 2]])).round(4)
    array([[0.3333]])
    """
    name = "box_iou_rotated"
    clockwise = check.flag(name, "clockwise", clockwise)
    return replay(_iou, (bboxes1, bboxes2), name, 5, mode, aligned, clockwise)


def box_iou_quadri(bboxes1: Array, bboxes2: Array, mode: str = "iou", aligned: bool = False) -> Array:
    """Intersection over union (or over the first one's area) of quadrilaterals.

    Parameters
    ----------
    bboxes1 : array (M, 8)
        Quadrilaterals (x1, y1, x2, y2, x3, y3, x4, y4): corners in order, either way round, convex or not.
    bboxes2 : array (N, 8)
        The others; N = M if `aligned`.
    mode : {"iou", "iof"}
        Over the union, or over the area of the one of `bboxes1` ("intersection over foreground").
    aligned : bool
        Compare row by row instead of each with each.

    Returns
    -------
    array (M, N), or (M,) if `aligned`
        Values within [0, 1], in the promoted float dtype. One with a NaN or infinite corner, or without an area,
        overlaps nothing: 0. Where sides cross, each lobe counts with the sign of its orientation.

    Raises
    ------
    TypeError
        If they are no arrays, of two libraries or devices, or hold no real numbers.
    ValueError
        If a shape or `mode` is wrong, or aligned ones differ in number.

    Notes
    -----
    The overlap is a sum of integrals over pairs of edges (Green's theorem), in float64, relative to one's centre.

    Examples
    --------
    >>> import numpy as np
    >>> square = np.array([[0, 0, 2, 0, 2, 2, 0, 2.0]])
    >>> box_iou_quadri(square, square + 1).round(4)
    array([[0.1429]])
    """
    return replay(_iou, (bboxes1, bboxes2), "box_iou_quadri", 8, mode, aligned, True)


def _iou(bboxes1, bboxes2, name, width, mode, aligned, clockwise):
    at = arrays(name, bboxes1=bboxes1, bboxes2=bboxes2)
    check.choice(name, "mode", mode, ("iou", "iof"))
    aligned = check.flag(name, "aligned", aligned)
    at.sizes(bboxes1=f"M {width}", bboxes2=f"{'M' if aligned else 'N'} {width}")
    dtype = at.floats(bboxes1=bboxes1, bboxes2=bboxes2)
    m, n = bboxes1.shape[0], bboxes2.shape[0]
    out = at.empty((m,) if aligned else (m, n), dtype)
    if m and n:
        at.kernels("rotated_boxes").overlaps(
            at.read(bboxes1, dtype), at.read(bboxes2, dtype), mode == "iof", aligned, clockwise, out.view
        )
    return out.result()


def nms_rotated(
    dets: Array, scores: Array, iou_threshold: float, labels: Array | None = None, clockwise: bool = True
) -> tuple[Array, Array]:
    """Non-maximum suppression of rotated boxes.

    Parameters
    ----------
    dets : array (N, 5)
        Boxes (cx, cy, w, h, angle), the angle in radians.
    scores : array (N,)
        Their scores. A NaN score is never kept.
    iou_threshold : float
        A box goes if its IoU with a kept one is greater.
    labels : array (N,), optional
        Integers; boxes of different labels don't suppress each other.
    clockwise : bool
        True: a growing angle turns +x towards +y (clockwise on an image, whose y points down). False: the other way.

    Returns
    -------
    dets : array (K, 6)
        The kept boxes and their scores, by falling score; ties by position. In the promoted float dtype.
    inds : array (K,)
        Their int64 positions in the input (int32 in JAX without x64).

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape is wrong, lengths differ, or the threshold is NaN or negative.

    Notes
    -----
    A box with a NaN or infinite number, or of no or negative width or height, suppresses nothing and is suppressed by
    nothing. IoUs are those of `box_iou_rotated`.

    Examples
    --------
    >>> import numpy as np
    >>> boxes = np.array([[0, 0, 4, 2, 0.0], [0, 0, 4, 2, 0.1], [9, 9, 4, 2, 0]])
    >>> nms_rotated(boxes, np.array([0.9, 0.8, 0.7]), 0.5)[1]
    array([0, 2])
    """
    clockwise = check.flag("nms_rotated", "clockwise", clockwise)
    return suppress("nms_rotated", "rotated_boxes", 5, dets, scores, labels, iou_threshold, clockwise)


def nms_quadri(dets: Array, scores: Array, iou_threshold: float, labels: Array | None = None) -> tuple[Array, Array]:
    """Non-maximum suppression of quadrilaterals.

    Parameters
    ----------
    dets : array (N, 8)
        Quadrilaterals (x1, y1, x2, y2, x3, y3, x4, y4): corners in order, either way round, convex or not.
    scores : array (N,)
        Their scores. A NaN score is never kept.
    iou_threshold : float
        One goes if its IoU with a kept one is greater.
    labels : array (N,), optional
        Integers; quadrilaterals of different labels don't suppress each other.

    Returns
    -------
    dets : array (K, 9)
        The kept ones and their scores, by falling score; ties by position. In the promoted float dtype.
    inds : array (K,)
        Their int64 positions in the input (int32 in JAX without x64).

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape is wrong, lengths differ, or the threshold is NaN or negative.

    Notes
    -----
    One with a NaN or infinite corner, or without an area, suppresses nothing and is suppressed by nothing. IoUs are
    those of `box_iou_quadri`.

    Examples
    --------
    >>> import numpy as np
    >>> square = np.array([0, 0, 2, 0, 2, 2, 0, 2.0])
    >>> nms_quadri(np.stack([square, square + 0.1, square + 5]), np.array([0.9, 0.8, 0.7]), 0.5)[1]
    array([0, 2])
    """
    return suppress("nms_quadri", "rotated_boxes", 8, dets, scores, labels, iou_threshold, True)
