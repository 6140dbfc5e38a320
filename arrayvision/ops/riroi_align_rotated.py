"""Rotation-invariant RoIAlign: rotated regions of features that have a channel for each orientation."""

from __future__ import annotations

from collections.abc import Sequence

from arrayvision import check
from arrayvision.array import arrays
from arrayvision.errors import InvalidValue
from arrayvision.ops import _roi
from arrayvision.typing import Array


def riroi_align_rotated(
    features: Array,
    rois: Array,
    out_size: int | tuple[int, int],
    spatial_scale: float,
    num_samples: int = 0,
    num_orientations: int = 8,
    clockwise: bool = False,
) -> Array:
    """Pool rotated regions, and turn each group of orientation channels by the region's angle.

    Parameters
    ----------
    features : array (B, C, H, W)
        Feature maps; C is a multiple of `num_orientations`, whose channels stand together.
    rois : array (K, 6)
        Regions (image's index in the batch, cx, cy, w, h, angle), in the input image's pixels and radians.
    out_size : int or (int, int)
        Bins (height, width), along the region's own axes.
    spatial_scale : float
        The features' size over the image's: coordinates are multiplied by it.
    num_samples : int
        Samples in a bin along each axis; 0 takes as many as a bin has pixels, rounded up.
    num_orientations : int
        How many channels a full turn has.
    clockwise : bool
        True: a growing angle turns the region clockwise on the image. False: the other way.

    Returns
    -------
    array (K, C, height, width)
        In the features' dtype. Between two orientations, channels are interpolated.

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape or value is wrong; on the CPU, if a batch index is not within [0, B).

    Notes
    -----
    J. Han et al., "ReDet: A Rotation-equivariant Detector for Aerial Object Detection", 2021. Regions are pooled as by
    `roi_align_rotated` with ``aligned=False``.

    Examples
    --------
    >>> import numpy as np
    >>> constant = np.arange(4.0).reshape(1, 4, 1, 1) * np.ones((1, 1, 4, 4))
    >>> riroi_align_rotated(constant, np.array([[0, 2, 2, 2, 2, np.pi / 2]]), 1, 1.0, 2, 4).ravel()
    array([3., 0., 1., 2.])
    """
    name = "riroi_align_rotated"
    at = arrays(name, features=features, rois=rois)
    dtype, real = _roi.features(at, "features", features)
    size = _roi.size(name, "out_size", out_size)
    how = _how(name, features.shape[1], "features", spatial_scale, num_samples, num_orientations, clockwise)
    regions = _roi.rois(at, "rois", rois, 6, features.shape[0], real)
    out = at.empty((regions.shape[0], features.shape[1], *size), dtype)
    at.kernels("riroi_align_rotated").forward(*_roi.read(at, features, dtype), regions, *how, out.view)
    return out.result()


def _how(name, channels, argument, spatial_scale, num_samples, num_orientations, clockwise):
    orientations = check.integer(name, "num_orientations", num_orientations, 1)
    if channels % orientations:
        raise InvalidValue(f"{name}: {argument} must have a multiple of {orientations} channels, got {channels}")
    scale, samples = _roi.scale(name, spatial_scale), _roi.sampling(name, num_samples, "num_samples")
    return scale, samples, orientations, check.flag(name, "clockwise", clockwise)


def riroi_align_rotated_backward(
    grad: Array,
    rois: Array,
    input_shape: Sequence[int],
    spatial_scale: float,
    num_samples: int = 0,
    num_orientations: int = 8,
    clockwise: bool = False,
) -> Array:
    """The gradient of `riroi_align_rotated` for its features.

    Parameters
    ----------
    grad : array (K, C, height, width)
        The gradient of the result.
    rois, spatial_scale, num_samples, num_orientations, clockwise
        As given to `riroi_align_rotated`.
    input_shape : (int, int, int, int)
        The features' shape (B, C, H, W).

    Returns
    -------
    array (B, C, H, W)
        In the dtype of grad; float16 and bfloat16 are summed in float32.

    Raises
    ------
    TypeError, ValueError
        As `riroi_align_rotated`.
    """
    name = "riroi_align_rotated_backward"
    at = arrays(name, grad=grad, rois=rois)
    dtype, real = _roi.features(at, "grad", grad)
    shape = _roi.input_shape(name, input_shape)
    how = _how(name, shape[1], "input_shape", spatial_scale, num_samples, num_orientations, clockwise)
    regions = _roi.rois(at, "rois", rois, 6, shape[0], real)
    _roi.check_grad(at, grad, regions, shape)
    out = at.empty(shape, dtype)
    at.kernels("riroi_align_rotated").backward(at.read(grad, dtype), regions, *how, out.view)
    return out.result()
