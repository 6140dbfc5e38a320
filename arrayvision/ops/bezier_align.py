"""BezierAlign: features along curved text."""

from __future__ import annotations

from collections.abc import Sequence

from arrayvision import check
from arrayvision.array import arrays
from arrayvision.ops import _roi
from arrayvision.typing import Array


def bezier_align(
    input: Array,
    beziers: Array,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    aligned: bool = True,
) -> Array:
    """Pool what lies between two cubic Bezier curves into a fixed size: averages over grids of bilinear samples.

    Parameters
    ----------
    input : array (B, C, H, W)
        Feature maps. Those that lie channels-last in memory are used so, without a copy.
    beziers : array (K, 17)
        The image's index in the batch and eight points (x, y), in the input image's pixels: four of the upper curve from
        left to right, four of the lower one from right to left.
    output_size : int or (int, int)
        Bins (height, width): across and along the curves.
    spatial_scale : float
        The features' size over the image's: coordinates are multiplied by it.
    sampling_ratio : int
        Samples in a bin along each axis; 0 takes as many as a bin has pixels, rounded up.
    aligned : bool
        True: pixel i's centre is at i + 0.5. False: at i, and bins are of regions at least 1 wide and high.

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
    Y. Liu et al., "ABCNet: Real-time Scene Text Spotting with Adaptive Bezier-Curve Network", 2020. A bin is upright, of the
    size of the curves' ends' bounding boxes over the bins. A row with a NaN or infinite number gives NaN; so does, on a GPU,
    one whose batch index names no image.

    Examples
    --------
    >>> import numpy as np
    >>> ramp = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> straight = np.array([[0, 0, 0, 1, 0, 2, 0, 3, 0, 3, 3, 2, 3, 1, 3, 0, 3.0]])
    >>> bezier_align(ramp, straight, 2, 1.0, 2, False).round(2)
    array([[[[0.44, 1.75],
             [6.19, 7.5 ]]]])
    """
    name = "bezier_align"
    at = arrays(name, input=input, beziers=beziers)
    dtype, real = _roi.features(at, "input", input)
    size = _roi.size(name, "output_size", output_size)
    how = _roi.scale(name, spatial_scale), _roi.sampling(name, sampling_ratio), check.flag(name, "aligned", aligned)
    regions = _roi.rois(at, "beziers", beziers, 17, input.shape[0], real)
    out = at.empty((regions.shape[0], input.shape[1], *size), dtype)
    at.kernels("bezier_align").forward(*_roi.read(at, input, dtype), regions, *how, out.view)
    return out.result()


def bezier_align_backward(
    grad: Array,
    beziers: Array,
    input_shape: Sequence[int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    aligned: bool = True,
) -> Array:
    """The gradient of `bezier_align` for its features.

    Parameters
    ----------
    grad : array (K, C, height, width)
        The gradient of the result.
    beziers, spatial_scale, sampling_ratio, aligned
        As given to `bezier_align`.
    input_shape : (int, int, int, int)
        The features' shape (B, C, H, W).

    Returns
    -------
    array (B, C, H, W)
        In the dtype of grad; float16 and bfloat16 are summed in float32.

    Raises
    ------
    TypeError, ValueError
        As `bezier_align`.
    """
    name = "bezier_align_backward"
    at = arrays(name, grad=grad, beziers=beziers)
    dtype, real = _roi.features(at, "grad", grad)
    shape = _roi.input_shape(name, input_shape)
    how = _roi.scale(name, spatial_scale), _roi.sampling(name, sampling_ratio), check.flag(name, "aligned", aligned)
    regions = _roi.rois(at, "beziers", beziers, 17, shape[0], real)
    _roi.check_grad(at, grad, regions, shape)
    out = at.empty(shape, dtype)
    at.kernels("bezier_align").backward(at.read(grad, dtype), regions, *how, out.view)
    return out.result()
