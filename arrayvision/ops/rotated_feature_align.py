"""Rotated feature alignment: features brought to where boxes are."""

from __future__ import annotations

from arrayvision import check
from arrayvision.array import arrays
from arrayvision.ops import _roi
from arrayvision.typing import Array


def rotated_feature_align(features: Array, best_rbboxes: Array, spatial_scale: float = 1 / 8, points: int = 1) -> Array:
    """Add to each position's features those at the centre of its box, and at its corners.

    Parameters
    ----------
    features : array (B, C, H, W)
        Feature maps. Those that lie channels-last in memory are used so, without a copy.
    best_rbboxes : array (B, H, W, 5)
        Each position's box (cy, cx, w, h, angle), in the input image's pixels and radians.
    spatial_scale : float
        The features' size over the image's: coordinates are multiplied by it.
    points : {1, 5}
        The centre alone, or the corners too.

    Returns
    -------
    array (B, C, H, W)
        In the features' dtype (float16 and bfloat16 are computed in float32).

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape or value is wrong.

    Notes
    -----
    X. Yang et al., "R3Det: Refined Single-Stage Detector with Feature Refinement for Rotating Object", 2021. The order of
    the box's first two numbers, y then x, is that of the established implementation. A sample up to one pixel outside the
    map takes the border's value, one further outside is 0. A box with a NaN or infinite number gives NaN.

    Examples
    --------
    >>> import numpy as np
    >>> ramp = np.arange(4.0).reshape(1, 1, 2, 2)
    >>> rotated_feature_align(ramp, np.broadcast_to([0, 8.0, 1, 1, 0], (1, 2, 2, 5)))
    array([[[[1., 2.],
             [3., 4.]]]])
    """
    name = "rotated_feature_align"
    at = arrays(name, features=features, best_rbboxes=best_rbboxes)
    dtype, real = _roi.features(at, "features", features)
    scale, points = _roi.scale(name, spatial_scale), check.choice(name, "points", points, (1, 5))
    b, _, h, w = features.shape
    check.shape(name, "best_rbboxes", best_rbboxes, b, h, w, 5)
    at.real(best_rbboxes=best_rbboxes)
    out = at.empty(tuple(features.shape), dtype)
    at.kernels("rotated_feature_align").forward(
        *_roi.read(at, features, dtype), at.read(best_rbboxes, real), scale, int(points), out.view
    )
    return out.result()


def rotated_feature_align_backward(
    grad: Array, best_rbboxes: Array, spatial_scale: float = 1 / 8, points: int = 1
) -> Array:
    """The gradient of `rotated_feature_align` for its features.

    Parameters
    ----------
    grad : array (B, C, H, W)
        The gradient of the result.
    best_rbboxes, spatial_scale, points
        As given to `rotated_feature_align`.

    Returns
    -------
    array (B, C, H, W)
        In the dtype of grad; float16 and bfloat16 are summed in float32.

    Raises
    ------
    TypeError, ValueError
        As `rotated_feature_align`.
    """
    name = "rotated_feature_align_backward"
    at = arrays(name, grad=grad, best_rbboxes=best_rbboxes)
    dtype, real = _roi.features(at, "grad", grad)
    scale, points = _roi.scale(name, spatial_scale), check.choice(name, "points", points, (1, 5))
    b, _, h, w = grad.shape
    check.shape(name, "best_rbboxes", best_rbboxes, b, h, w, 5)
    at.real(best_rbboxes=best_rbboxes)
    out = at.empty(tuple(grad.shape), dtype)
    at.kernels("rotated_feature_align").backward(
        at.read(grad, dtype), at.read(best_rbboxes, real), scale, int(points), out.view
    )
    return out.result()
