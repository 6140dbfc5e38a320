"""Deformable RoI pooling: RoIAlign whose bins are moved."""

from __future__ import annotations

from arrayvision import check
from arrayvision.array import arrays
from arrayvision.ops import _roi
from arrayvision.typing import Array


def deform_roi_pool(
    input: Array,
    rois: Array,
    offset: Array | None,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    gamma: float = 0.1,
) -> Array:
    """Pool regions of feature maps into a fixed size, each bin moved by an offset.

    Parameters
    ----------
    input : array (B, C, H, W)
        Feature maps. Those that lie channels-last in memory are used so, without a copy.
    rois : array (K, 5)
        Regions (image's index in the batch, x1, y1, x2, y2), in the input image's pixels.
    offset : array (K, 2, height, width), optional
        How far bins move along x and y, in units of gamma times the region's width and height.
    output_size : int or (int, int)
        Bins (height, width).
    spatial_scale : float
        The features' size over the image's: coordinates are multiplied by it.
    sampling_ratio : int
        Samples in a bin along each axis; 0 takes as many as a bin has pixels, rounded up.
    gamma : float
        Scales the offset.

    Returns
    -------
    array (K, C, height, width)
        In the features' dtype (float16 and bfloat16 are computed in float32).

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape or value is wrong; on the CPU, if a batch index is not within [0, B).

    Notes
    -----
    J. Dai et al., "Deformable Convolutional Networks", 2017, with the samples of `roi_align`, aligned. A region with a NaN or
    infinite coordinate gives NaN; so does, on a GPU, one whose batch index names no image. A bin whose offset is not finite
    is 0.

    Examples
    --------
    >>> import numpy as np
    >>> ramp = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> deform_roi_pool(ramp, np.array([[0, 0, 0, 2, 2.0]]), np.full((1, 2, 1, 1), 5.0), 1)
    array([[[[7.5]]]])
    """
    name = "deform_roi_pool"
    at = arrays(name, input=input, rois=rois, offset=offset)
    dtype, real = _roi.features(at, "input", input)
    size = _roi.size(name, "output_size", output_size)
    how = _how(name, spatial_scale, sampling_ratio, gamma)
    regions = _roi.rois(at, "rois", rois, 5, input.shape[0], real)
    moves = _offset(at, name, offset, regions, size, real)
    out = at.empty((regions.shape[0], input.shape[1], *size), dtype)
    at.kernels("deform_roi_pool").forward(*_roi.read(at, input, dtype), regions, moves, *how, out.view)
    return out.result()


def _how(name, spatial_scale, sampling_ratio, gamma):
    return _roi.scale(name, spatial_scale), _roi.sampling(name, sampling_ratio), check.number(name, "gamma", gamma)


def _offset(at, name, offset, regions, size, real):
    if offset is None:
        return None
    check.shape(name, "offset", offset, regions.shape[0], 2, *size)
    at.real(offset=offset)
    return at.read(offset, real)


def deform_roi_pool_backward(
    grad: Array,
    input: Array,
    rois: Array,
    offset: Array | None,
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    gamma: float = 0.1,
) -> tuple[Array, Array | None]:
    """The gradients of `deform_roi_pool` for its features and its offset.

    Parameters
    ----------
    grad : array (K, C, height, width)
        The gradient of the result.
    input, rois, offset, spatial_scale, sampling_ratio, gamma
        As given to `deform_roi_pool`.

    Returns
    -------
    for_input : array (B, C, H, W)
        In the dtype of grad.
    for_offset : array (K, 2, height, width), or None without an offset
        In the dtype of grad.

    Raises
    ------
    TypeError, ValueError
        As `deform_roi_pool`.
    """
    name = "deform_roi_pool_backward"
    at = arrays(name, grad=grad, input=input, rois=rois, offset=offset)
    _roi.features(at, "input", input)
    dtype, real = _roi.features(at, "grad", grad)
    how = _how(name, spatial_scale, sampling_ratio, gamma)
    regions = _roi.rois(at, "rois", rois, 5, input.shape[0], real)
    _roi.check_grad(at, grad, regions, input.shape)
    moves = _offset(at, name, offset, regions, tuple(grad.shape[2:]), real)
    out = at.empty(tuple(input.shape), dtype)
    out_offset = None if offset is None else at.empty(tuple(offset.shape), dtype)
    at.kernels("deform_roi_pool").backward(
        at.read(grad, dtype), *_roi.read(at, input, dtype), regions, moves, *how, out.view,
        None if out_offset is None else out_offset.view,
    )  # fmt: skip
    return out.result(), None if out_offset is None else out_offset.result()
