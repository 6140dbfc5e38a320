"""Deformable convolution, plain and with a mask: each tap of the filter reads where an offset has moved it."""

from __future__ import annotations

from typing import NamedTuple

from arrayvision import check
from arrayvision.array import arrays
from arrayvision.errors import InvalidKind, InvalidValue
from arrayvision.ops import _roi
from arrayvision.typing import Array


def deform_conv2d(
    input: Array,
    offset: Array,
    weight: Array,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int | None = 1,
    deform_groups: int | None = 1,
    bias: bool = False,
    im2col_step: int = 32,
) -> Array:
    """Convolve maps with a filter whose taps are moved by offsets, each position's by its own.

    Parameters
    ----------
    input : array (B, C, H, W)
        Feature maps. Those that lie channels-last in memory are used so, without a copy.
    offset : array (B, deform_groups * kh * kw * 2, oh, ow)
        How far each tap moves, in pixels: for each group of channels and each tap, row by row, along y and then along x.
    weight : array (O, C / groups, kh, kw)
        The filter.
    stride, padding, dilation : int or (int, int)
        As of any convolution, along y and x: the result has oh = (H + 2 * padding - dilation * (kh - 1) - 1) // stride + 1 rows.
    groups : int or None
        Groups of channels that are convolved apart; None takes as many as the weight's shape says.
    deform_groups : int or None
        Groups of channels that have offsets of their own; None takes as many as the offset's shape says.
    bias : False
        There is none here: `modulated_deform_conv2d` adds one.
    im2col_step : int
        Accepted, and without influence: batches of any size are taken.

    Returns
    -------
    array (B, O, oh, ow)
        In the input's dtype (float16 and bfloat16 are computed in float32).

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape or value is wrong, or the result would have no position.

    Notes
    -----
    J. Dai et al., "Deformable Convolutional Networks", 2017. Samples are bilinear, and the map is 0 outside. A sample further
    than a pixel outside is 0, and so is one whose offset is NaN or infinite. A pixel that has no share in a sample doesn't
    count, whatever it holds.

    Examples
    --------
    >>> import numpy as np
    >>> ramp = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> by_half = np.broadcast_to(np.reshape([0, 0.5], (1, 2, 1, 1)), (1, 2, 3, 3))  # a pixel's half to the right
    >>> deform_conv2d(ramp, by_half, np.ones((1, 1, 1, 1)))
    array([[[[0.5, 1.5, 1. ],
             [3.5, 4.5, 2.5],
             [6.5, 7.5, 4. ]]]])
    """
    _no_bias("deform_conv2d", bias)
    check.integer("deform_conv2d", "im2col_step", im2col_step, 1)
    how = stride, padding, dilation, groups, deform_groups
    return _forward("deform_conv2d", input, offset, None, weight, None, how)


def modulated_deform_conv2d(
    input: Array,
    offset: Array,
    mask: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int | None = 1,
    deform_groups: int | None = 1,
) -> Array:
    """`deform_conv2d` whose samples are multiplied by a mask.

    Parameters
    ----------
    input, offset, weight, stride, padding, dilation, groups, deform_groups
        As of `deform_conv2d`.
    mask : array (B, deform_groups * kh * kw, oh, ow)
        What each sample is multiplied by.
    bias : array (O,), optional
        Added to the result's channels.

    Returns
    -------
    array (B, O, oh, ow)
        In the input's dtype (float16 and bfloat16 are computed in float32).

    Raises
    ------
    TypeError, ValueError
        As `deform_conv2d`.

    Notes
    -----
    X. Zhu et al., "Deformable ConvNets v2: More Deformable, Better Results", 2019. Samples outside the map, and those whose
    offset is not finite, are 0; a NaN in the mask gives NaN elsewhere.

    Examples
    --------
    >>> import numpy as np
    >>> ramp = np.arange(4.0).reshape(1, 1, 2, 2)
    >>> modulated_deform_conv2d(ramp, np.zeros((1, 2, 2, 2)), np.full((1, 1, 2, 2), 0.5), np.ones((1, 1, 1, 1)))
    array([[[[0. , 0.5],
             [1. , 1.5]]]])
    """
    how = stride, padding, dilation, groups, deform_groups
    if mask is None:
        raise InvalidKind("modulated_deform_conv2d: mask must be an array, got None")
    return _forward("modulated_deform_conv2d", input, offset, mask, weight, bias, how)


def deform_conv2d_backward(
    grad: Array,
    input: Array,
    offset: Array,
    weight: Array,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int | None = 1,
    deform_groups: int | None = 1,
) -> tuple[Array, Array, Array]:
    """The gradients of `deform_conv2d` for its input, offset and weight.

    Parameters
    ----------
    grad : array (B, O, oh, ow)
        The gradient of the result.
    input, offset, weight, stride, padding, dilation, groups, deform_groups
        As given to `deform_conv2d`.

    Returns
    -------
    for_input, for_offset, for_weight : arrays of their shapes
        In the dtype of grad.

    Raises
    ------
    TypeError, ValueError
        As `deform_conv2d`.

    Notes
    -----
    A sample's value is not smooth where it lies on a row or column of pixels: there, for the offset, it is the derivative
    towards greater coordinates. Samples that count as 0 have no gradient.
    """
    how = stride, padding, dilation, groups, deform_groups
    found = _backward("deform_conv2d_backward", grad, input, offset, None, weight, None, how)
    return found[0], found[1], found[3]


def modulated_deform_conv2d_backward(
    grad: Array,
    input: Array,
    offset: Array,
    mask: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int | None = 1,
    deform_groups: int | None = 1,
) -> tuple[Array, Array, Array, Array, Array | None]:
    """The gradients of `modulated_deform_conv2d` for its input, offset, mask, weight and bias.

    Parameters
    ----------
    grad : array (B, O, oh, ow)
        The gradient of the result.
    input, offset, mask, weight, bias, stride, padding, dilation, groups, deform_groups
        As given to `modulated_deform_conv2d`.

    Returns
    -------
    for_input, for_offset, for_mask, for_weight, for_bias : arrays of their shapes
        In the dtype of grad; None for the bias without one.

    Raises
    ------
    TypeError, ValueError
        As `modulated_deform_conv2d`.
    """
    how = stride, padding, dilation, groups, deform_groups
    return _backward("modulated_deform_conv2d_backward", grad, input, offset, mask, weight, bias, how)


# ---- what they share -----------------------------------------------------------------------------------------------
class Filter(NamedTuple):
    """A checked call: (height, width) of the result, steps for the kernels, and the groups."""

    size: tuple[int, int]
    how: tuple[int, ...]
    groups: int
    deform_groups: int


def _no_bias(name, bias):
    if bias is not None and (type(bias) is not bool or bias):
        raise InvalidValue(
            f"{name}: bias must be False, got {bias if type(bias) is bool else type(bias).__name__}: "
            "modulated_deform_conv2d adds one"
        )


def pair(name: str, argument: str, value, least: int) -> tuple[int, int]:
    """A step along y and x, given as one int (in a list, too) or two."""
    if isinstance(value, (tuple, list)) and len(value) == 1:
        value = (*value, *value)
    return check.pair(name, argument, value, least, 2**30)


def size_of(name: str, shape, kernel, steps) -> tuple[int, int]:
    """(height, width) of the result of a map of this shape; steps are (stride, padding, dilation) along y and x."""
    out = [
        (length + 2 * padding - dilation * (taps - 1) - 1) // stride + 1
        for length, taps, stride, padding, dilation in zip(shape, kernel, *steps, strict=True)
    ]
    if min(out) < 1:
        raise InvalidValue(
            f"{name}: input must be as large as the dilated filter, or padded so that it is: a map of {tuple(shape)} and a "
            f"filter of {tuple(kernel)} would give {tuple(out)} positions"
        )
    return out[0], out[1]


def _count(name, argument, value, whole, part, of):
    """A number of groups, given or what `whole` and `part` say."""
    if value is None:
        if part < 1 or whole % part:
            raise InvalidValue(f"{name}: {of} must fit a whole number of {argument}, got {whole} channels for {part}")
        return max(whole // part, 1)
    return check.integer(name, argument, value, 1)


def _checked(at, name, input, offset, mask, weight, bias, how):
    dtype, real = _roi.features(at, "input", input)
    n = at.sizes(input="B C H W", offset="B D h w", weight="O c kh kw", mask="B M h w ?", bias="O ?")
    at.real(offset=offset, weight=weight, **{k: x for k, x in (("mask", mask), ("bias", bias)) if x is not None})
    steps = [
        pair(name, argument, value, least)
        for argument, value, least in zip(("stride", "padding", "dilation"), how[:3], (1, 0, 1), strict=True)
    ]
    at.require(n.C > 0, "input must have at least one channel, got none")
    at.require(n.kh > 0 and n.kw > 0, f"weight must have a filter of at least 1 x 1, got {n.kh} x {n.kw}")
    taps = n.kh * n.kw
    groups = _count(name, "groups", how[3], n.C, n.c, "weight")
    at.require(
        n.C % groups == 0 and n.c == n.C // groups,
        f"weight must have input's {n.C} channels / {groups} groups, got shape {tuple(weight.shape)}",
    )
    at.require(n.O % groups == 0, f"weight must have a multiple of {groups} groups as rows, got {n.O}")
    deform_groups = _count(name, "deform_groups", how[4], n.D, 2 * taps, "offset")
    at.require(n.C % deform_groups == 0, f"deform_groups must divide input's {n.C} channels, got {deform_groups}")
    size = size_of(name, (n.H, n.W), (n.kh, n.kw), steps)
    at.require(size[0] * size[1] <= _roi.MOST, f"the result must have fewer than 2**31 positions, got {size}")
    check.shape(name, "offset", offset, n.B, deform_groups * taps * 2, *size)
    if mask is not None:
        check.shape(name, "mask", mask, n.B, deform_groups * taps, *size)
    return dtype, real, Filter(size, tuple(step for pair in steps for step in pair), groups, deform_groups)


def _forward(name, input, offset, mask, weight, bias, how):
    at = arrays(name, input=input, offset=offset, mask=mask, weight=weight, bias=bias)
    dtype, real, found = _checked(at, name, input, offset, mask, weight, bias, how)
    out = at.empty((input.shape[0], weight.shape[0], *found.size), dtype)
    at.kernels("deform_conv").forward(
        *_roi.read(at, input, dtype), at.read(offset, real), None if mask is None else at.read(mask, real),
        at.read(weight, dtype), None if bias is None else at.read(bias, real), *found[1:], out.view,
    )  # fmt: skip
    return out.result()


def _backward(name, grad, input, offset, mask, weight, bias, how):
    at = arrays(name, grad=grad, input=input, offset=offset, mask=mask, weight=weight, bias=bias)
    found = _checked(at, name, input, offset, mask, weight, bias, how)[2]
    check.shape(name, "grad", grad, input.shape[0], weight.shape[0], *found.size)
    dtype = at.floats(grad=grad)
    real = at.accumulator(dtype)
    out = [None if x is None else at.empty(tuple(x.shape), dtype) for x in (input, offset, mask, weight, bias)]
    views = [None if x is None else x.view for x in out]
    kernels, given = at.kernels("deform_conv"), at.read(grad, dtype)
    kernels.backward(
        given, *_roi.read(at, input, dtype), at.read(offset, real), None if mask is None else at.read(mask, real),
        at.read(weight, dtype), *found[1:], *views[:4],
    )  # fmt: skip
    if bias is not None:
        kernels.backward_bias(given, views[4])
    return tuple(None if x is None else x.result() for x in out)
