"""Attention masks of each pixel, laid over the map."""

from __future__ import annotations

import functools
import math

from arrayvision import check
from arrayvision.array import SMALL, _kernels, arrays, quick, replay
from arrayvision.typing import Array

TYPES = ("collect", "distribute")


def psa_mask(input: Array, psa_type: str | int, mask_size: int | tuple[int, int] | None = None) -> Array:
    """Lay each pixel's attention mask over the map, with its middle on the pixel.

    Parameters
    ----------
    input : array (N, M, H, W)
        For each pixel the M = height * width numbers of a mask, row by row; any real dtype, integers count as float32.
    psa_type : {"collect", "distribute"}
        Whether a channel of the result belongs to a pixel that is looked at, or to one that looks; older code's numbers 0
        and 1 count too.
    mask_size : int or (int, int), optional
        (height, width) of the masks, odd or even: the middle is at ((height - 1) // 2, (width - 1) // 2). (2 * H - 1,
        2 * W - 1), with which each pixel sees all, if not given.

    Returns
    -------
    array (N, H * W, H, W)
        With m(y, x; v, u) the number that the mask of pixel (y, x) has over pixel (v, u), 0 where it doesn't reach:
        ``out[n, v * W + u, y, x]`` for "collect", ``out[n, y * W + x, v, u]`` for "distribute". In the dtype of input.

    Raises
    ------
    TypeError
        If input is no array or of a wrong dtype.
    ValueError
        If a shape is wrong, the channels are not as many as a mask has numbers, or `psa_type` is none of these.

    Notes
    -----
    H. Zhao et al., "PSANet: Point-wise Spatial Attention Network for Scene Parsing", 2018.

    Examples
    --------
    >>> import numpy as np
    >>> masks = np.array([[1.0, 2], [3, 4], [5, 6]]).reshape(1, 3, 1, 2)  # of 1 x 3, for a map of 1 x 2
    >>> psa_mask(masks, "collect", (1, 3)).reshape(2, 2)
    array([[3., 2.],
           [5., 4.]])
    >>> psa_mask(masks, "distribute", (1, 3)).reshape(2, 2)
    array([[3., 5.],
           [2., 4.]])
    """
    out = quick(_small, (input,), psa_type, mask_size)
    if out is not None:
        return out
    return replay(_psa_mask, (input,), psa_type, mask_size)


def _psa_mask(input, psa_type, mask_size):
    name = "psa_mask"
    at = arrays(name, input=input)
    n = at.sizes(input="N M H W")
    collect, (height, width) = how(name, psa_type, mask_size, n.H, n.W)
    at.require(
        height * width == n.M,
        f"input must have as many channels as a mask of {height} x {width} has numbers, {height * width}, got {n.M}",
    )
    dtype = at.floats(input=input)
    out = at.empty((n.N, n.H * n.W, n.H, n.W), dtype)
    at.kernels("psa_mask").forward(
        at.read(input, dtype).reshape(n.N, height, width, n.H, n.W), collect, out.view.reshape(n.N, n.H, n.W, n.H, n.W)
    )
    return out.result()


@functools.lru_cache(1024, typed=True)
def _small(shape, psa_type, mask_size):
    """What a kernel takes for a call of few numbers in usual arrays; None where there is something to check, or more."""
    if len(shape) != 4:
        return None
    n, m, h, w = shape
    collect, (height, width) = how("psa_mask", psa_type, mask_size, h, w)
    result = n, h * w, h, w
    if height * width != m or not 0 < math.prod(result) <= SMALL:
        return None
    kernels = _kernels("cpu", "psa_mask")
    place, kept = kernels.small(n, height, width, h, w, collect)
    return kernels.lay_at, result, (place,), kept


def psa_mask_backward(grad: Array, psa_type: str | int, mask_size: int | tuple[int, int] | None = None) -> Array:
    """The gradient of `psa_mask` for the masks.

    Parameters
    ----------
    grad : array (N, H * W, H, W)
        The gradient of the result.
    psa_type, mask_size
        As of `psa_mask`.

    Returns
    -------
    array (N, height * width, H, W)
        In the dtype of grad.

    Raises
    ------
    TypeError, ValueError
        As `psa_mask`.
    """
    name = "psa_mask_backward"
    at = arrays(name, grad=grad)
    n = at.sizes(grad="N P H W")
    collect, (height, width) = how(name, psa_type, mask_size, n.H, n.W)
    check.shape(name, "grad", grad, n.N, n.H * n.W, n.H, n.W)
    dtype = at.floats(grad=grad)
    out = at.empty((n.N, height * width, n.H, n.W), dtype)
    at.kernels("psa_mask").backward(
        at.read(grad, dtype).reshape(n.N, n.H, n.W, n.H, n.W), collect, out.view.reshape(n.N, height, width, n.H, n.W)
    )
    return out.result()


def how(name: str, psa_type, mask_size, h: int, w: int) -> tuple[bool, tuple[int, int]]:
    """Whether masks are collected, and their size."""
    if type(psa_type) is int and psa_type in (0, 1):
        psa_type = TYPES[psa_type]
    collect = check.choice(name, "psa_type", psa_type, TYPES) == "collect"
    if mask_size is None:
        return collect, (max(2 * h - 1, 1), max(2 * w - 1, 1))
    return collect, check.pair(name, "mask_size", mask_size, 1)
