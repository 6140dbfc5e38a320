"""RoIAlign of rotated regions."""

from __future__ import annotations

from collections.abc import Sequence

from arrayvision import check
from arrayvision.array import arrays, replay
from arrayvision.ops import _roi
from arrayvision.typing import Array


def roi_align_rotated(
    input: Array,
    rois: Array,
    output_size: int | tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int = 0,
    aligned: bool = True,
    clockwise: bool = False,
) -> Array:
    """Pool rotated regions of feature maps into a fixed size: averages over grids of bilinear samples.

    Parameters
    ----------
    input : array (B, C, H, W)
        Feature maps. Those that lie channels-last in memory are used so, without a copy.
    rois : array (K, 6)
        Regions (image's index in the batch, cx, cy, w, h, angle), in the input image's pixels and radians.
    output_size : int or (int, int)
        Bins (height, width), along the region's own axes.
    spatial_scale : float
        The features' size over the image's: coordinates are multiplied by it.
    sampling_ratio : int
        Samples in a bin along each axis; 0 takes as many as a bin has pixels, rounded up.
    aligned : bool
        True: pixel i's centre is at i + 0.5. False: at i, and regions are at least 1 wide and high (older models).
    clockwise : bool
        True: a growing angle turns the region clockwise on the image. False: the other way.

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
    J. Ma et al., "Arbitrary-Oriented Scene Text Detection via Rotation Proposals", 2018, with the sampling of RoIAlign. A
    sample up to one pixel outside the map takes the border's value, one further outside is 0. A region with a NaN or
    infinite number gives NaN; so does, on a GPU, one whose batch index names no image.

    Examples
    --------
    >>> import numpy as np
    >>> ramp = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> roi_align_rotated(ramp, np.array([[0, 2, 2, 4, 4, np.pi / 2]]), 2, 1.0).round(3)
    array([[[[10.5,  2.5],
             [12.5,  4.5]]]])
    """
    how = output_size, spatial_scale, sampling_ratio, aligned, clockwise
    return replay(_roi_align_rotated, (input, rois), *how)


def _roi_align_rotated(input, rois, output_size, spatial_scale, sampling_ratio, aligned, clockwise):
    name = "roi_align_rotated"
    at = arrays(name, input=input, rois=rois)
    dtype, real = _roi.features(at, "input", input)
    size = _roi.size(name, "output_size", output_size)
    how = _how(name, spatial_scale, sampling_ratio, aligned, clockwise)
    regions = _roi.rois(at, "rois", rois, 6, input.shape[0], real)
    out = at.empty((regions.shape[0], input.shape[1], *size), dtype)
    at.kernels("roi_align_rotated").forward(*_roi.read(at, input, dtype), regions, *how, out.view)
    return out.result()


def _how(name, spatial_scale, sampling_ratio, aligned, clockwise):
    return (
        _roi.scale(name, spatial_scale),
        _roi.sampling(name, sampling_ratio),
        check.flag(name, "aligned", aligned),
        check.flag(name, "clockwise", clockwise),
    )


def roi_align_rotated_backward(
    grad: Array,
    rois: Array,
    input_shape: Sequence[int],
    spatial_scale: float,
    sampling_ratio: int = 0,
    aligned: bool = True,
    clockwise: bool = False,
) -> Array:
    """The gradient of `roi_align_rotated` for its features.

    Parameters
    ----------
    grad : array (K, C, height, width)
        The gradient of the result.
    rois, spatial_scale, sampling_ratio, aligned, clockwise
        As given to `roi_align_rotated`.
    input_shape : (int, int, int, int)
        The features' shape (B, C, H, W).

    Returns
    -------
    array (B, C, H, W)
        In the dtype of grad; float16 and bfloat16 are summed in float32.

    Raises
    ------
    TypeError, ValueError
        As `roi_align_rotated`.
    """
    name = "roi_align_rotated_backward"
    at = arrays(name, grad=grad, rois=rois)
    dtype, real = _roi.features(at, "grad", grad)
    shape = _roi.input_shape(name, input_shape)
    how = _how(name, spatial_scale, sampling_ratio, aligned, clockwise)
    regions = _roi.rois(at, "rois", rois, 6, shape[0], real)
    _roi.check_grad(at, grad, regions, shape)
    out = at.empty(shape, dtype)
    at.kernels("roi_align_rotated").backward(at.read(grad, dtype), regions, *how, out.view)
    return out.result()
