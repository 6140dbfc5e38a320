"""Running maxima towards corners."""

from __future__ import annotations

import functools
import math

from arrayvision import check
from arrayvision.array import INTEGERS, SMALL, _kernels, arrays, float_dtype, quick, replay
from arrayvision.typing import Array

MODES = ("top", "bottom", "left", "right")


def corner_pool(input: Array, mode: str) -> Array:
    """The greatest of each pixel and all that lie on one side of it, in its row or column.

    Parameters
    ----------
    input : array (N, C, H, W)
        Feature maps, of any real dtype.
    mode : {"top", "bottom", "left", "right"}
        Where maxima arrive: "top" runs upwards (a pixel has the maximum of itself and what is below it), "bottom"
        downwards, "left" to the left, "right" to the right.

    Returns
    -------
    array (N, C, H, W)
        Maxima, in the dtype of input: integers stay what they are. From a NaN on all are NaN.

    Raises
    ------
    TypeError
        If input is no array, or of a wrong dtype.
    ValueError
        If a shape is wrong, mode is none of these, or an integer is more than int64 holds.

    Notes
    -----
    H. Law and J. Deng, "CornerNet: Detecting Objects as Paired Keypoints", 2018.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[2, 1, 3, 0, 2]]).reshape(1, 1, 1, 5)
    >>> corner_pool(x, "left"), corner_pool(x, "right")
    (array([[[[3, 3, 3, 2, 2]]]]), array([[[[2, 2, 3, 3, 3]]]]))
    """
    out = quick(_small, (input,), mode)
    if out is not None:
        return out
    return replay(_corner_pool, (input,), mode)


def _corner_pool(input, mode):
    at = arrays("corner_pool", input=input)
    n = at.sizes(input="N C H W")
    check.choice("corner_pool", "mode", mode, MODES)
    shape = n.N, n.C, n.H, n.W
    if at.dtype(input) in INTEGERS:
        values, out = at.integers(input=input), at.empty(shape, "int64", result=at.dtype(input))
    else:
        dtype = at.floats(input=input)
        values, out = at.read(input, dtype), at.empty(shape, dtype)
    at.kernels("corner_pool").forward(values, mode, out.view)
    return out.result()


@functools.lru_cache(1024, typed=True)
def _small(shape, mode):
    """What a kernel takes for a call of few numbers in usual arrays; None where there is something to check, or more."""
    if len(shape) != 4 or not 0 < math.prod(shape) <= SMALL or mode not in MODES:
        return None
    kernels = _kernels("cpu", "corner_pool")
    place, kept = kernels.small(shape, mode)
    return kernels.pool_at, tuple(shape), (place,), kept


def corner_pool_backward(grad: Array, input: Array, pooled: Array, mode: str) -> Array:
    """The gradient of `corner_pool`.

    Parameters
    ----------
    grad : array (N, C, H, W)
        The gradient of the result.
    input : array (N, C, H, W)
        As given to it.
    pooled : array (N, C, H, W)
        What it gave.
    mode : {"top", "bottom", "left", "right"}
        As given to it.

    Returns
    -------
    array (N, C, H, W)
        In the dtype of grad; float16 and bfloat16 are summed in float32. Of equal maxima the last one that the run meets
        has the gradient.

    Raises
    ------
    TypeError, ValueError
        As `corner_pool`.
    """
    return _along("corner_pool_backward", "backward", "grad", grad, input, pooled, mode)


def corner_pool_tangent(tangent: Array, input: Array, pooled: Array, mode: str) -> Array:
    """The derivative of `corner_pool` along a tangent: at each pixel, the tangent where its maximum came from.

    Parameters
    ----------
    tangent : array (N, C, H, W)
        The direction in which the input moves.
    input, pooled, mode
        As of `corner_pool_backward`.

    Returns
    -------
    array (N, C, H, W)
        In the dtype of tangent.

    Raises
    ------
    TypeError, ValueError
        As `corner_pool`.
    """
    return _along("corner_pool_tangent", "tangent", "tangent", tangent, input, pooled, mode)


def _along(name, kernel, argument, moved, input, pooled, mode):
    given = {argument: moved, "input": input, "pooled": pooled}
    at = arrays(name, **given)
    n = at.sizes(**dict.fromkeys(given, "N C H W"))
    check.choice(name, "mode", mode, MODES)
    dtype, own = at.floats(**given), float_dtype(at.dtype(moved))
    out = at.empty((n.N, n.C, n.H, n.W), dtype, result=None if own == dtype else own)
    getattr(at.kernels("corner_pool"), kernel)(*(at.read(x, dtype) for x in given.values()), mode, out.view)
    return out.result()
