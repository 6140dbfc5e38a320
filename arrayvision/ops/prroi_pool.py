"""Precise RoI pooling: exact averages of the bilinear surface."""

from __future__ import annotations

from arrayvision.array import arrays
from arrayvision.ops import _roi
from arrayvision.typing import Array


def prroi_pool(features: Array, rois: Array, output_size: int | tuple[int, int], spatial_scale: float = 1.0) -> Array:
    """Pool regions of feature maps into a fixed size: the integral of the bilinear surface over each bin, by its area.

    Parameters
    ----------
    features : array (B, C, H, W)
        Feature maps. Those that lie channels-last in memory are used so, without a copy.
    rois : array (K, 5)
        Regions (image's index in the batch, x1, y1, x2, y2), in the input image's pixels; pixel i's centre is at i.
    output_size : int or (int, int)
        Bins (height, width).
    spatial_scale : float
        The features' size over the image's: coordinates are multiplied by it.

    Returns
    -------
    array (K, C, height, width)
        In the features' dtype (float16 and bfloat16 are computed in float32). A region without an area gives 0.

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape or value is wrong; on the CPU, if a batch index is not within [0, B).

    Notes
    -----
    B. Jiang et al., "Acquisition of Localization Confidence for Accurate Object Detection", 2018. Outside the map the
    surface falls to 0 within a pixel. A region with a NaN or infinite coordinate gives NaN; so does, on a GPU, one whose
    batch index names no image.

    Examples
    --------
    >>> import numpy as np
    >>> ramp = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> prroi_pool(ramp, np.array([[0, 0, 0, 2, 3.0]]), 1)
    array([[[[7.]]]])
    """
    name = "prroi_pool"
    at = arrays(name, features=features, rois=rois)
    dtype, real = _roi.features(at, "features", features)
    size = _roi.size(name, "output_size", output_size)
    scale = _roi.scale(name, spatial_scale)
    regions = _roi.rois(at, "rois", rois, 5, features.shape[0], real)
    out = at.empty((regions.shape[0], features.shape[1], *size), dtype)
    at.kernels("prroi_pool").forward(*_roi.read(at, features, dtype), regions, scale, out.view)
    return out.result()


def prroi_pool_backward(grad: Array, features: Array, rois: Array, spatial_scale: float = 1.0) -> tuple[Array, Array]:
    """The gradients of `prroi_pool` for its features and for its regions' coordinates.

    Parameters
    ----------
    grad : array (K, C, height, width)
        The gradient of the result.
    features, rois, spatial_scale
        As given to `prroi_pool`.

    Returns
    -------
    for_features : array (B, C, H, W)
        In the dtype of grad.
    for_rois : array (K, 5)
        0 in the first column; 0 for regions without an area. In the dtype of grad.

    Raises
    ------
    TypeError, ValueError
        As `prroi_pool`.
    """
    name = "prroi_pool_backward"
    at = arrays(name, grad=grad, features=features, rois=rois)
    _roi.features(at, "features", features)
    dtype, real = _roi.features(at, "grad", grad)
    scale = _roi.scale(name, spatial_scale)
    regions = _roi.rois(at, "rois", rois, 5, features.shape[0], real)
    _roi.check_grad(at, grad, regions, features.shape)
    out, out_rois = at.empty(tuple(features.shape), dtype), at.empty((regions.shape[0], 5), dtype)
    at.kernels("prroi_pool").backward(
        at.read(grad, dtype), *_roi.read(at, features, dtype), regions, scale, out.view, out_rois.view
    )
    return out.result(), out_rois.result()
