"""RoI pooling: maxima of the pixels in a region's bins."""

from __future__ import annotations

from collections.abc import Sequence

from arrayvision import check
from arrayvision.array import arrays, replay
from arrayvision.ops import _roi
from arrayvision.typing import Array


def roi_pool(input: Array, rois: Array, output_size: int | tuple[int, int], spatial_scale: float = 1.0) -> Array:
    """Pool regions of feature maps into a fixed size: the maximum of each bin's pixels.

    Parameters
    ----------
    input : array (B, C, H, W)
        Feature maps. Those that lie channels-last in memory are used so, without a copy.
    rois : array (K, 5)
        Regions (image's index in the batch, x1, y1, x2, y2), in the input image's pixels, x2 and y2 inside.
    output_size : int or (int, int)
        Bins (height, width).
    spatial_scale : float
        The features' size over the image's: coordinates are multiplied by it.

    Returns
    -------
    array (K, C, height, width)
        In the features' dtype. A bin without pixels inside the map is 0.

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape or value is wrong; on the CPU, if a batch index is not within [0, B).

    Notes
    -----
    R. Girshick, "Fast R-CNN", 2015; the bins' borders are rounded outwards. A region with a NaN or infinite coordinate gives
    NaN; so does, on a GPU, one whose batch index names no image. A NaN among a bin's pixels makes the bin NaN.

    Examples
    --------
    >>> import numpy as np
    >>> ramp = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> roi_pool(ramp, np.array([[0, 0, 0, 3, 3.0]]), 2)
    array([[[[ 5.,  7.],
             [13., 15.]]]])
    """
    return roi_pool_with_argmax(input, rois, output_size, spatial_scale)[0]


def roi_pool_with_argmax(
    input: Array, rois: Array, output_size: int | tuple[int, int], spatial_scale: float = 1.0
) -> tuple[Array, Array]:
    """`roi_pool`, and what its gradient needs.

    Parameters
    ----------
    input, rois, output_size, spatial_scale
        As of `roi_pool`.

    Returns
    -------
    pooled : array (K, C, height, width)
        The maxima. Of equal pixels the first is taken.
    argmax : array (K, C, height, width), int32
        The pixels they are, row * W + column; -1 for none.

    Raises
    ------
    TypeError, ValueError
        As `roi_pool`.
    """
    return replay(_roi_pool, (input, rois), output_size, spatial_scale)


def _roi_pool(input, rois, output_size, spatial_scale):
    name = "roi_pool"
    at = arrays(name, input=input, rois=rois)
    dtype, real = _roi.features(at, "input", input)
    size = _roi.size(name, "output_size", output_size)
    scale = _roi.scale(name, spatial_scale)
    regions = _roi.rois(at, "rois", rois, 5, input.shape[0], real)
    shape = (regions.shape[0], input.shape[1], *size)
    out, which = at.empty(shape, dtype), at.empty(shape, "int32")
    at.kernels("roi_pool").forward(*_roi.read(at, input, dtype), regions, scale, out.view, which.view)
    return out.result(), which.result()


def roi_pool_backward(grad: Array, argmax: Array, rois: Array, input_shape: Sequence[int]) -> Array:
    """The gradient of `roi_pool` for its features.

    Parameters
    ----------
    grad : array (K, C, height, width)
        The gradient of the result.
    argmax : array (K, C, height, width)
        What `roi_pool_with_argmax` said.
    rois : array (K, 5)
        As given to it.
    input_shape : (int, int, int, int)
        The features' shape (B, C, H, W).

    Returns
    -------
    array (B, C, H, W)
        In the dtype of grad; float16 and bfloat16 are summed in float32.

    Raises
    ------
    TypeError, ValueError
        As `roi_pool`.
    """
    name = "roi_pool_backward"
    at = arrays(name, grad=grad, argmax=argmax, rois=rois)
    dtype, real = _roi.features(at, "grad", grad)
    shape = _roi.input_shape(name, input_shape)
    regions = _roi.rois(at, "rois", rois, 5, shape[0], real)
    _roi.check_grad(at, grad, regions, shape)
    check.shape(name, "argmax", argmax, *grad.shape)
    argmax = at.integers("int32", argmax=argmax)
    out = at.empty(shape, dtype)
    at.kernels("roi_pool").backward(at.read(grad, dtype), argmax, regions, out.view)
    return out.result()
