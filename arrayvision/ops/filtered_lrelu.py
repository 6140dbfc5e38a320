"""Leaky ReLUs at a higher resolution, as StyleGAN3 has them: upsampled, bent, and downsampled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from arrayvision import check
from arrayvision.array import arrays
from arrayvision.errors import InvalidKind
from arrayvision.ops import _fir
from arrayvision.typing import Array


class _Geometry(NamedTuple):
    """Factors, paddings and sizes (columns, rows); `between` and `result` are (rows, columns)."""

    up: tuple[int, int]
    down: tuple[int, int]
    padding: tuple[int, int, int, int]
    sizes: tuple[tuple[int, int], tuple[int, int]]
    between: tuple[int, int]
    result: tuple[int, int]


def geometry(name: str, input_size, filter_up, filter_down, up, down, padding) -> _Geometry:
    """The sizes that follow from these."""
    up, down, padding = _fir.factors(name, "up", up), _fir.factors(name, "down", down), _fir.paddings(name, padding)
    sizes = _fir.extent(name, filter_up, "filter_up"), _fir.extent(name, filter_down, "filter_down")
    between = _fir.result_size(name, input_size, sizes[0], up, (1, 1), padding, "filter_up")
    result = _fir.result_size(name, between, sizes[1], (1, 1), down, (0, 0, 0, 0), "filter_down")
    return _Geometry(up, down, padding, sizes, between, result)


def _run(name, given, filter_up, filter_down, bias, up, down, padding, gain, slope, clamp, flip_filter, which):
    """The operator ("value"), its derivative times a tangent, or the gradient of it."""
    gain, slope = check.number(name, "gain", gain, above=0), check.number(name, "slope", slope, 0)
    clamp = math.inf if clamp is None else check.number(name, "clamp", clamp, 0)
    flip = check.flag(name, "flip_filter", flip_filter)
    for argument, a in given.items():
        if a is None:
            raise InvalidKind(f"{name}: {argument} must be an array, got None")
    at = arrays(name, **given, filter_up=filter_up, filter_down=filter_down, bias=bias)
    x = given["input"]
    n = at.sizes(input="N C H W")
    if bias is not None:
        at.sizes(input="N C H W", bias="C")
    dtype = at.floats(**{k: a for k, a in (*given.items(), ("bias", bias)) if a is not None})
    g = geometry(name, (n.H, n.W), filter_up, filter_down, up, down, padding)
    weights = [
        _fir.weights(at, a, at.accumulator(dtype), argument)
        for argument, a in (("filter_up", filter_up), ("filter_down", filter_down))
    ]
    up, down, before = g.up[::-1], g.down[::-1], (g.padding[2], g.padding[0])
    one, none = (1, 1), (0, 0)
    first = weights[0], flip, float(up[0] * up[1]), up, one, before
    last = weights[1], flip, 1.0, one, down, none
    planes = n.N * n.C
    read = [at.read(a, dtype) for a in given.values()]
    size = g.result
    if which == "value":
        filters, parts = (first, first, last), [*read, None]
    else:
        (argument, other), *_ = given.items()
        if which == "tangent":
            check.shape(name, argument, other, *x.shape)
            filters = first, first, last
        else:  # what filters do backwards: factors exchanged, flipped, with what they see of the other end before
            check.shape(name, argument, other, n.N, n.C, *g.result)
            size = n.H, n.W
            taps = [s[::-1] for s in g.sizes]
            ahead = [
                tuple(t - b - 1 for t, b in zip(t, b, strict=True)) for t, b in zip(taps, (before, none), strict=True)
            ]
            filters = (
                (weights[1], not flip, 1.0, down, one, ahead[1]), first, (weights[0], not flip, first[2], one, up, ahead[0])
            )  # fmt: skip
        parts = read
    out = at.empty((n.N, n.C, *size), dtype)
    at.kernels("filtered_lrelu").filtered_lrelu(
        *(a if a is None else a.reshape(planes, *a.shape[2:]) for a in parts),
        None if bias is None else at.read(bias, at.accumulator(dtype)), filters, g.between, slope, gain, clamp,
        out.view.reshape(planes, *size),
    )  # fmt: skip
    return out.result()


def filtered_lrelu(
    input: Array,
    filter_up: Array | None = None,
    filter_down: Array | None = None,
    bias: Array | None = None,
    up: int = 1,
    down: int = 1,
    padding: int | Sequence[int] = 0,
    gain: float = 2**0.5,
    slope: float = 0.2,
    clamp: float | None = None,
    flip_filter: bool = False,
    use_custom_op: bool = True,
) -> Array:
    """Add a bias, upsample, apply a leaky ReLU, and downsample: an activation without aliasing.

    It is ``upfirdn2d(bias_act(upfirdn2d(input + bias, filter_up, up, 1, padding, gain=up**2), act="lrelu", alpha=slope,
    gain=gain, clamp=clamp), filter_down, down=down)``, without what is between them in memory.

    Parameters
    ----------
    input : array (N, C, H, W)
        Images; any real dtype, integers count as float32.
    filter_up, filter_down : array (rows, columns) or (n,), optional
        As `upfirdn2d` takes filters; without one, nothing is filtered.
    bias : array (C,), optional
        Added to each channel, before zeros are put round it.
    up, down : int or (int, int)
        The factors, for both axes or (columns, rows).
    padding : int, (int, int) or (int, int, int, int)
        Round the upsampled images: for all sides, for (columns, rows), or (left, right, top, bottom).
    gain : float
        What the activation is multiplied by; above 0.
    slope : float
        Of the activation below 0; at least 0.
    clamp : float, optional
        The activation is clamped to within [-clamp, clamp]; at least 0.
    flip_filter : bool
        False: convolution. True: correlation.
    use_custom_op : bool
        Accepted for older code, and of no influence.

    Returns
    -------
    array (N, C, height, width)
        With ``height = (H * up + top + bottom - (rows of both filters - 2) + down - 1) // down``, and likewise its width; in
        the dtype of input and bias together. float16 and bfloat16 are computed in float32.

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape or a number is wrong, or a filter doesn't fit.

    Notes
    -----
    T. Karras et al., "Alias-Free Generative Adversarial Networks", 2021. NaN spreads as far as the filters reach.

    Examples
    --------
    >>> import numpy as np
    >>> filtered_lrelu(np.array([[[[1.0, -5]]]]), bias=np.array([2.0]), gain=1)
    array([[[[ 3. , -0.6]]]])
    """
    return _run(
        "filtered_lrelu", dict(input=input), filter_up, filter_down, bias, up, down, padding, gain, slope, clamp,
        flip_filter, "value",
    )  # fmt: skip


def filtered_lrelu_backward(
    grad: Array,
    input: Array,
    filter_up: Array | None = None,
    filter_down: Array | None = None,
    bias: Array | None = None,
    up: int = 1,
    down: int = 1,
    padding: int | Sequence[int] = 0,
    gain: float = 2**0.5,
    slope: float = 0.2,
    clamp: float | None = None,
    flip_filter: bool = False,
) -> Array:
    """The gradient of `filtered_lrelu` for its input; that for the bias is its sum over all axes but the channels'.

    Parameters
    ----------
    grad : array (N, C, height, width)
        The gradient of the result.
    input, filter_up, filter_down, bias, up, down, padding, gain, slope, clamp, flip_filter
        As given to `filtered_lrelu`.

    Returns
    -------
    array (N, C, H, W)
        In the dtype of grad, input and bias together.

    Raises
    ------
    TypeError, ValueError
        As `filtered_lrelu`.
    """
    return _run(
        "filtered_lrelu_backward", dict(grad=grad, input=input), filter_up, filter_down, bias, up, down, padding, gain,
        slope, clamp, flip_filter, "gradient",
    )  # fmt: skip


def filtered_lrelu_tangent(
    tangent: Array,
    input: Array,
    filter_up: Array | None = None,
    filter_down: Array | None = None,
    bias: Array | None = None,
    up: int = 1,
    down: int = 1,
    padding: int | Sequence[int] = 0,
    gain: float = 2**0.5,
    slope: float = 0.2,
    clamp: float | None = None,
    flip_filter: bool = False,
) -> Array:
    """The derivative of `filtered_lrelu` in its input along a direction, which is also the gradient of its gradient.

    Parameters
    ----------
    tangent : array (N, C, H, W)
        The direction.
    input, filter_up, filter_down, bias, up, down, padding, gain, slope, clamp, flip_filter
        As given to `filtered_lrelu`.

    Returns
    -------
    array (N, C, height, width)
        In the dtype of tangent, input and bias together.

    Raises
    ------
    TypeError, ValueError
        As `filtered_lrelu`.
    """
    return _run(
        "filtered_lrelu_tangent", dict(tangent=tangent, input=input), filter_up, filter_down, bias, up, down, padding,
        gain, slope, clamp, flip_filter, "tangent",
    )  # fmt: skip
