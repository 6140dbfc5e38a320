"""RoIAlign: regions of a feature map, averaged over (or the maximum of) bilinear samples, in a fixed size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from arrayvision import check
from arrayvision.array import _kernels, arrays, plain, replay
from arrayvision.ops import _roi
from arrayvision.typing import Array


def roi_align(
    input: Array,
    rois: Array,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    pool_mode: str = "avg",
    aligned: bool = True,
) -> Array:
    """Pool regions of feature maps into a fixed size, without rounding their borders.

    Parameters
    ----------
    input : array (B, C, H, W)
        Feature maps. Those that lie channels-last in memory are used so, without a copy.
    rois : array (K, 5)
        Regions (image's index in the batch, x1, y1, x2, y2), in the input image's pixels.
    output_size : int or (int, int)
        Bins (height, width).
    spatial_scale : float
        The features' size over the image's: coordinates are multiplied by it.
    sampling_ratio : int
        Samples in a bin along each axis; 0 takes as many as a bin has pixels, rounded up.
    pool_mode : {"avg", "max"}
        Average or maximum of a bin's samples.
    aligned : bool
        True: pixel i's centre is at i + 0.5. False: at i, and regions are at least 1 wide and high (older models).

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
    K. He et al., "Mask R-CNN", 2017. A sample up to one pixel outside the map takes the border's value, one further
    outside is 0. A region with a NaN or infinite coordinate gives NaN; so does, on a GPU, one whose batch index names no
    image. A bin without samples (a region without extent, `sampling_ratio` 0) is 0. A NaN among a bin's samples makes the
    bin NaN.

    Examples
    --------
    >>> import numpy as np
    >>> ramp = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> roi_align(ramp, np.array([[0, 0, 0, 4, 4.0]]), 2)
    array([[[[ 2.5,  4.5],
             [10.5, 12.5]]]])
    """
    if type(pool_mode) is str and pool_mode == "avg":
        usual = plain(input, rois)
        if usual is not None:
            pooled = _small(usual, output_size, spatial_scale, sampling_ratio, aligned)
            if pooled is not None:
                return pooled
    elif check.choice("roi_align", "pool_mode", pool_mode, ("avg", "max")) == "max":
        return roi_align_with_argmax(input, rois, output_size, spatial_scale, sampling_ratio, aligned)[0]
    return replay(_roi_align, (input, rois), output_size, spatial_scale, sampling_ratio, aligned)


def _roi_align(input, rois, output_size, spatial_scale, sampling_ratio, aligned):
    name = "roi_align"
    at = arrays(name, input=input, rois=rois)
    dtype, real = _roi.features(at, "input", input)
    size = _roi.size(name, "output_size", output_size)
    how = _roi.scale(name, spatial_scale), _roi.sampling(name, sampling_ratio), check.flag(name, "aligned", aligned)
    regions = _roi.rois(at, "rois", rois, 5, input.shape[0], real)
    out = at.empty((regions.shape[0], input.shape[1], *size), dtype)
    at.kernels("roi_align").forward(*_roi.read(at, input, dtype), regions, *how, out.view)
    return out.result()


def _small(usual, size, scale, ratio, aligned):
    """`roi_align` of few regions and channels without the checks that these need not; None where there is something to
    check, or more to do."""
    x, regions, give = usual
    if type(size) is int:
        height = width = size
    elif type(size) is tuple and len(size) == 2:
        height, width = size
    else:
        return None
    if (
        type(height) is int is type(width)
        and type(scale) is float
        and type(ratio) is int
        and type(aligned) is bool
        and x.ndim == 4
        and regions.ndim == 2
        and regions.shape[1] == 5
        and height > 0
        and width > 0
        and 0 <= ratio <= 1024
        and -1e30 < scale < 1e30
    ):
        kernels = _kernels("cpu", "roi_align")
        shape = regions.shape[0], x.shape[1], height, width
        if kernels.few(x, shape):
            out = np.empty(shape, np.float32)
            if kernels.forward_few(x, regions, scale, ratio, aligned, out):
                return give(out)
    return None


def roi_align_backward(
    grad: Array,
    rois: Array,
    input_shape: Sequence[int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    aligned: bool = True,
) -> Array:
    """The gradient of `roi_align` ("avg") for its features.

    Parameters
    ----------
    grad : array (K, C, height, width)
        The gradient of the result.
    rois, spatial_scale, sampling_ratio, aligned
        As given to `roi_align`.
    input_shape : (int, int, int, int)
        The features' shape (B, C, H, W).

    Returns
    -------
    array (B, C, H, W)
        In the dtype of grad; float16 and bfloat16 are summed in float32. The same to the bit for any number of threads; on
        a GPU, sums of few terms may differ in their last bits from run to run.

    Raises
    ------
    TypeError, ValueError
        As `roi_align`.
    """
    name = "roi_align_backward"
    at = arrays(name, grad=grad, rois=rois)
    dtype, real = _roi.features(at, "grad", grad)
    shape = _roi.input_shape(name, input_shape)
    how = _roi.scale(name, spatial_scale), _roi.sampling(name, sampling_ratio), check.flag(name, "aligned", aligned)
    regions = _roi.rois(at, "rois", rois, 5, shape[0], real)
    _roi.check_grad(at, grad, regions, shape)
    out = at.empty(shape, dtype)
    at.kernels("roi_align").backward(at.read(grad, dtype), regions, *how, out.view)
    return out.result()


def roi_align_with_argmax(
    input: Array,
    rois: Array,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    aligned: bool = True,
) -> tuple[Array, Array]:
    """`roi_align` with ``pool_mode="max"``, and what its gradient needs.

    Parameters
    ----------
    input, rois, output_size, spatial_scale, sampling_ratio, aligned
        As of `roi_align`.

    Returns
    -------
    pooled : array (K, C, height, width)
        The maxima. Of equal samples the first is taken.
    argmax : array (K, C, height, width), int32
        Which of a bin's samples they are, row by row, for `roi_align_max_backward` on any device; -1 is one outside the
        map, or none. (Along an axis with more than 1,024 samples and more than twice the map's pixels, the number starts
        over.)

    Raises
    ------
    TypeError, ValueError
        As `roi_align`.
    """
    return replay(_roi_align_max, (input, rois), output_size, spatial_scale, sampling_ratio, aligned)


def _roi_align_max(input, rois, output_size, spatial_scale, sampling_ratio, aligned):
    name = "roi_align"
    at = arrays(name, input=input, rois=rois)
    dtype, real = _roi.features(at, "input", input)
    size = _roi.size(name, "output_size", output_size)
    how = _roi.scale(name, spatial_scale), _roi.sampling(name, sampling_ratio), check.flag(name, "aligned", aligned)
    regions = _roi.rois(at, "rois", rois, 5, input.shape[0], real)
    shape = (regions.shape[0], input.shape[1], *size)
    out, which = at.empty(shape, dtype), at.empty(shape, "int32")
    at.kernels("roi_align").forward_max(*_roi.read(at, input, dtype), regions, *how, out.view, which.view)
    return out.result(), which.result()


def roi_align_max_backward(
    grad: Array,
    argmax: Array,
    rois: Array,
    input_shape: Sequence[int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    aligned: bool = True,
) -> Array:
    """The gradient of `roi_align_with_argmax`'s maxima for its features; arguments as `roi_align_backward`.

    Parameters
    ----------
    grad : array (K, C, height, width)
        The gradient of the maxima.
    argmax : array (K, C, height, width)
        What the forward pass said.
    rois, input_shape, spatial_scale, sampling_ratio, aligned
        As of `roi_align_backward`.

    Returns
    -------
    array (B, C, H, W)

    Raises
    ------
    TypeError, ValueError
        As `roi_align`.
    """
    name = "roi_align_max_backward"
    at = arrays(name, grad=grad, argmax=argmax, rois=rois)
    dtype, real = _roi.features(at, "grad", grad)
    shape = _roi.input_shape(name, input_shape)
    how = _roi.scale(name, spatial_scale), _roi.sampling(name, sampling_ratio), check.flag(name, "aligned", aligned)
    regions = _roi.rois(at, "rois", rois, 5, shape[0], real)
    _roi.check_grad(at, grad, regions, shape)
    check.shape(name, "argmax", argmax, *grad.shape)
    argmax = at.integers("int32", argmax=argmax)
    out = at.empty(shape, dtype)
    at.kernels("roi_align").backward_max(at.read(grad, dtype), argmax, regions, *how, out.view)
    return out.result()
