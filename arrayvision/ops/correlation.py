"""Correlation of two feature maps over displacements."""

from __future__ import annotations

from collections.abc import Sequence

from arrayvision import check
from arrayvision.array import arrays, replay
from arrayvision.errors import InvalidValue
from arrayvision.typing import Array

MOST = 2**14  # displacements, and what sizes are multiplied by
LONGEST = 2**29  # a map's side: with these, positions are numbers of 32 bits


def correlation(
    input1: Array,
    input2: Array,
    kernel_size: int | tuple[int, int] = 1,
    max_displacement: int = 1,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    dilation_patch: int | tuple[int, int] = 1,
) -> Array:
    """Sums of products of windows of one map with those of another, moved to all sides.

    Parameters
    ----------
    input1, input2 : array (N, C, H, W)
        Feature maps; any real dtype, integers count as float32.
    kernel_size : int or (int, int)
        The window, (height, width).
    max_displacement : int
        How many steps the window moves at most, up, down, to the left and to the right.
    stride : int or (int, int)
        The distance of windows.
    padding : int or (int, int)
        How far beyond the map they begin, and end.
    dilation : int or (int, int)
        The distance of a window's pixels.
    dilation_patch : int or (int, int)
        A displacement's step, in pixels.

    Returns
    -------
    array (N, P, P, h, w)
        ``out[n, P // 2 + v, P // 2 + u, y, x]`` is the sum over channels and window of the first map's pixels times those
        of the second that lie (v, u) * dilation_patch further down and right, for P = 2 * max_displacement + 1 displacements
        each way. Pixels outside either map don't count. There are ``h = (H + 2 * padding - dilation * (kernel_size - 1) -
        1) // stride + 1`` rows, and w columns likewise. In the dtype that both promote to; float16 and bfloat16 are summed
        in float32.

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape or number is wrong, or the window is larger than the padded map.

    Notes
    -----
    A. Dosovitskiy et al., "FlowNet: Learning Optical Flow with Convolutional Networks", 2015; sums are not divided by the
    number of products.

    Examples
    --------
    >>> import numpy as np
    >>> a, b = np.array([1.0, 2, 3]).reshape(1, 1, 1, 3), np.array([4.0, 5, 6]).reshape(1, 1, 1, 3)
    >>> correlation(a, b)[0, 1]  # moved by nothing, and by one to the left and right
    array([[[ 0.,  8., 15.]],
    <BLANKLINE>
           [[ 4., 10., 18.]],
    <BLANKLINE>
           [[ 5., 12.,  0.]]])
    """
    how = kernel_size, max_displacement, stride, padding, dilation, dilation_patch
    return replay(_correlation, (input1, input2), *how)


def _correlation(input1, input2, kernel_size, max_displacement, stride, padding, dilation, dilation_patch):
    name = "correlation"
    at = arrays(name, input1=input1, input2=input2)
    n = at.sizes(input1="N C H W", input2="N C H W")
    how = arguments(name, kernel_size, stride, padding, dilation, dilation_patch)
    patch = displacements(name, max_displacement)
    dtype = at.floats(input1=input1, input2=input2)
    out = at.empty((n.N, patch, patch, *size(name, n.H, n.W, how)), dtype)
    at.kernels("correlation").forward(at.read(input1, dtype), at.read(input2, dtype), how, out.view)
    return out.result()


def correlation_backward(
    grad: Array,
    other: Array,
    first: bool,
    input_shape: Sequence[int],
    kernel_size: int | tuple[int, int] = 1,
    max_displacement: int = 1,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    dilation_patch: int | tuple[int, int] = 1,
) -> Array:
    """The gradient of `correlation` for one of the maps.

    Parameters
    ----------
    grad : array (N, P, P, h, w)
        The gradient of the result.
    other : array (N, C, H, W)
        The map that the gradient isn't for.
    first : bool
        Whether it is for the first map.
    input_shape : (int, int, int, int)
        The maps' shape (N, C, H, W).
    kernel_size, max_displacement, stride, padding, dilation, dilation_patch
        As given to `correlation`.

    Returns
    -------
    array (N, C, H, W)
        In the dtype that grad and other promote to.

    Raises
    ------
    TypeError, ValueError
        As `correlation`.
    """
    name = "correlation_backward"
    at = arrays(name, grad=grad, other=other)
    shape = check.integers(name, "input_shape", input_shape, 4, 0)
    check.shape(name, "other", other, *shape)
    how = arguments(name, kernel_size, stride, padding, dilation, dilation_patch)
    patch = displacements(name, max_displacement)
    check.shape(name, "grad", grad, shape[0], patch, patch, *size(name, shape[2], shape[3], how))
    dtype = at.floats(grad=grad, other=other)
    out = at.empty(shape, dtype)
    first = check.flag(name, "first", first)
    at.kernels("correlation").backward(at.read(grad, dtype), at.read(other, dtype), first, how, out.view)
    return out.result()


def displacements(name: str, max_displacement) -> int:
    """How many there are each way."""
    return 2 * check.integer(name, "max_displacement", max_displacement, 0, MOST) + 1


def arguments(name: str, kernel_size, stride, padding, dilation, dilation_patch) -> tuple[tuple[int, int], ...]:
    """Pairs, as kernels take them."""
    return (
        check.pair(name, "kernel_size", kernel_size, 1, MOST),
        check.pair(name, "stride", stride, 1, MOST),
        check.pair(name, "padding", padding, 0, MOST),
        check.pair(name, "dilation", dilation, 1, MOST),
        check.pair(name, "dilation_patch", dilation_patch, 1, MOST),
    )


def size(name: str, height: int, width: int, how) -> tuple[int, int]:
    """The rows and columns of the result."""
    kernel, stride, padding, dilation, _ = how
    found = []
    for length, k, s, p, d in zip((height, width), kernel, stride, padding, dilation, strict=True):
        window = d * (k - 1) + 1
        if length > LONGEST:
            raise InvalidValue(f"{name}: maps must have at most {LONGEST} rows and columns, got {length}")
        if length + 2 * p < window:
            raise InvalidValue(
                f"{name}: kernel_size must be such that its {window} pixels fit the padded maps, whose length is {length + 2 * p}"
            )
        found.append((length + 2 * p - window) // s + 1)
    return found[0], found[1]
