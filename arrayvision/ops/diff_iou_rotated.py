"""IoU of rotated boxes with exact gradients, row by row, in the plane and in space."""

from __future__ import annotations

import math

from arrayvision import check
from arrayvision.array import arrays
from arrayvision.typing import Array


def diff_iou_rotated_2d(box1: Array, box2: Array) -> Array:
    """Intersection over union of rotated boxes, each with its partner.

    Parameters
    ----------
    box1 : array (B, N, 5)
        Boxes (x, y, w, h, alpha): centre, size, and the angle in radians, which turns +x towards +y.
    box2 : array (B, N, 5)
        Their partners.

    Returns
    -------
    array (B, N)
        Values within [0, 1], in the boxes' promoted float dtype. A box of no or negative width or height overlaps
        nothing: 0. A NaN or infinite number gives NaN.

    Raises
    ------
    TypeError
        If the boxes are no arrays, of two libraries or devices, or hold no real numbers.
    ValueError
        If a shape is wrong, or the two differ.

    See Also
    --------
    diff_iou_rotated_2d_backward : its gradient.
    box_iou_rotated : each box with each.

    Notes
    -----
    Computed in float64, by integrals over edges (Green's theorem), without intersecting or sorting vertices: exact to the
    dtype's rounding for equal, touching and contained boxes too.

    Examples
    --------
    >>> import numpy as np
    >>> a, b = np.array([[[0.5, 0.5, 1, 1, 0]]]), np.array([[[0.5, 0.5, 1, 1, np.pi / 4]]])
    >>> diff_iou_rotated_2d(a, b).round(4)
    array([[0.7071]])
    """
    return _iou("diff_iou_rotated_2d", "box1", box1, "box2", box2, 5)


def diff_iou_rotated_2d_backward(grad: Array, box1: Array, box2: Array) -> tuple[Array, Array]:
    """The gradients of `diff_iou_rotated_2d` for both boxes.

    Parameters
    ----------
    grad : array (B, N)
        The gradient of what it returned.
    box1, box2 : array (B, N, 5)
        What it was called with.

    Returns
    -------
    two arrays (B, N, 5)
        In the boxes' promoted float dtype. 0 where there is no overlap, or a box has no extent; NaN for a NaN or infinite
        number.

    Raises
    ------
    TypeError, ValueError
        As `diff_iou_rotated_2d`, and for a `grad` of another shape.

    Notes
    -----
    The derivative of the shared area is the integral, over the parts of a box's edges inside the other box, of their speed
    outwards. Where edges lie on each other, or boxes touch, the IoU has a kink: the mean of the one-sided derivatives is
    given, as central differences find it. Equal boxes have gradient 0.

    Examples
    --------
    >>> import numpy as np
    >>> a, b = np.array([[[0.0, 0, 2, 2, 0]]]), np.array([[[1.0, 0.5, 2, 2, 0]]])
    >>> diff_iou_rotated_2d_backward(np.ones((1, 1)), a, b)[0].round(3)
    array([[[0.284, 0.189, 0.071, 0.024, 0.024]]])
    """
    return _gradients("diff_iou_rotated_2d_backward", grad, "box1", box1, "box2", box2, 5)


def diff_iou_rotated_3d(box3d1: Array, box3d2: Array) -> Array:
    """Intersection over union of upright rotated boxes in space, each with its partner.

    Parameters
    ----------
    box3d1 : array (B, N, 7)
        Boxes (x, y, z, w, h, l, alpha): centre; extents along the box's own x and y, and along z; the angle about z in
        radians, which turns +x towards +y.
    box3d2 : array (B, N, 7)
        Their partners.

    Returns
    -------
    array (B, N)
        Values within [0, 1], in the boxes' promoted float dtype. A box without a volume overlaps nothing: 0. A NaN or
        infinite number gives NaN.

    Raises
    ------
    TypeError
        If the boxes are no arrays, of two libraries or devices, or hold no real numbers.
    ValueError
        If a shape is wrong, or the two differ.

    See Also
    --------
    diff_iou_rotated_3d_backward : its gradient.

    Notes
    -----
    As `diff_iou_rotated_2d`, times the heights that the boxes share.

    Examples
    --------
    >>> import numpy as np
    >>> a, b = np.array([[[0.5, 0.5, 0.5, 1, 1, 1, 0]]]), np.array([[[0.5, 0.5, 0.5, 1, 1, 2, np.pi / 2]]])
    >>> diff_iou_rotated_3d(a, b).round(4)
    array([[0.5]])
    """
    return _iou("diff_iou_rotated_3d", "box3d1", box3d1, "box3d2", box3d2, 7)


def diff_iou_rotated_3d_backward(grad: Array, box3d1: Array, box3d2: Array) -> tuple[Array, Array]:
    """The gradients of `diff_iou_rotated_3d` for both boxes.

    Parameters
    ----------
    grad : array (B, N)
        The gradient of what it returned.
    box3d1, box3d2 : array (B, N, 7)
        What it was called with.

    Returns
    -------
    two arrays (B, N, 7)
        In the boxes' promoted float dtype; as `diff_iou_rotated_2d_backward` where the IoU has a kink, in z too.

    Raises
    ------
    TypeError, ValueError
        As `diff_iou_rotated_3d`, and for a `grad` of another shape.

    Examples
    --------
    >>> import numpy as np
    >>> a, b = np.array([[[0.0, 0, 0, 2, 2, 2, 0]]]), np.array([[[1.0, 0.5, 0, 2, 2, 4, 0]]])
    >>> diff_iou_rotated_3d_backward(np.ones((1, 1)), a, b)[0].round(3)
    array([[[0.163, 0.109, 0.   , 0.054, 0.027, 0.054, 0.014]]])
    """
    return _gradients("diff_iou_rotated_3d_backward", grad, "box3d1", box3d1, "box3d2", box3d2, 7)


def _shapes(name, argument1, box1, argument2, box2, width):
    check.shape(name, argument1, box1, "B", "N", width)
    check.shape(name, argument2, box2, *box1.shape)
    return tuple(box1.shape[:2]), math.prod(box1.shape[:2])


def _iou(name, argument1, box1, argument2, box2, width):
    at = arrays(name, **{argument1: box1, argument2: box2})
    shape, n = _shapes(name, argument1, box1, argument2, box2, width)
    dtype = at.floats(**{argument1: box1, argument2: box2})
    out = at.empty(shape, dtype)
    if n:
        first, second = (at.read(box, dtype).reshape(n, width) for box in (box1, box2))
        at.kernels("diff_iou_rotated").iou(first, second, out.view.reshape(n))
    return out.result()


def _gradients(name, grad, argument1, box1, argument2, box2, width):
    at = arrays(name, grad=grad, **{argument1: box1, argument2: box2})
    shape, n = _shapes(name, argument1, box1, argument2, box2, width)
    check.shape(name, "grad", grad, *shape)
    dtype = at.floats(**{argument1: box1, argument2: box2})
    at.real(grad=grad)
    out1, out2 = at.empty((*shape, width), dtype), at.empty((*shape, width), dtype)
    if n:
        first, second = (at.read(box, dtype).reshape(n, width) for box in (box1, box2))
        at.kernels("diff_iou_rotated").iou_backward(
            at.read(grad, dtype).reshape(n), first, second, out1.view.reshape(n, width), out2.view.reshape(n, width)
        )
    return out1.result(), out2.result()
