"""Convolution where a mask says so."""

from __future__ import annotations

from arrayvision import check
from arrayvision.array import FLOATS, Arrays, arrays
from arrayvision.errors import InvalidValue
from arrayvision.typing import Array

MOST = 2**20  # padding


def masked_conv2d(
    features: Array,
    mask: Array,
    weight: Array,
    bias: Array | None,
    padding: int | tuple[int, int] = 0,
    stride: int | tuple[int, int] = 1,
) -> Array:
    """A convolution whose result is computed at some positions, and 0 at the others.

    Parameters
    ----------
    features : array (N, C, H, W)
        Feature maps; any real dtype, integers count as float32.
    mask : array (N, H, W)
        The position (y, x) of the result is computed where this is greater than 0, and NaN isn't. Positions that the result
        hasn't don't matter, and what is beyond the mask isn't computed.
    weight : array (O, C, height, width)
        Filters.
    bias : array (O,) or None
        Added where a result is computed.
    padding : int or (int, int)
        Zeros above and below, and on both sides.
    stride : 1
        The mask is as large as the features, so nothing else makes sense.

    Returns
    -------
    array (N, O, h, w)
        With ``h = H + 2 * padding - height + 1`` and likewise w, in the dtype that all but the mask promote to.

    Raises
    ------
    TypeError
        If something is no array, of another library or device, or of a wrong dtype.
    ValueError
        If a shape is wrong, a filter is larger than the padded map, or stride is not 1.

    Notes
    -----
    J. Wang et al., "Region Proposal by Guided Anchoring", 2019. On a GPU columns of the positions are multiplied by
    the array library's own products of matrices, and their number is waited for.

    Examples
    --------
    >>> import numpy as np
    >>> x, mask = np.arange(4.0).reshape(1, 1, 1, 4), np.array([[[1, 0, 1, 0]]])
    >>> masked_conv2d(x, mask, np.ones((1, 1, 1, 3)), np.array([10.0]), (0, 1))
    array([[[[11.,  0., 16.,  0.]]]])
    """
    at, dtype, shape = checked(features, mask, weight, bias, padding, stride)
    out = at.empty(shape, dtype)
    own = None if bias is None else at.read(bias, dtype)
    kind = at.dtype(mask)
    at.kernels("masked_conv2d").forward(
        at.read(features, dtype),
        at.read(mask, kind if kind in FLOATS else "float64"),  # its own: CuPy's casts lose subnormal numbers
        at.read(weight, dtype),
        own,
        arguments("masked_conv2d", padding, stride),
        out.view,
    )
    return out.result()


def checked(features, mask, weight, bias, padding, stride=1) -> tuple[Arrays, str, tuple[int, ...]]:
    """The arrays of a call, the dtype to compute in, and the result's shape."""
    name = "masked_conv2d"
    at = arrays(name, features=features, mask=mask, weight=weight, bias=bias)
    n = at.sizes(features="N C H W", mask="N H W", weight="O C height width", bias="O?")
    shape = n.N, n.O, *size(name, (n.H, n.W), (n.height, n.width), arguments(name, padding, stride))
    if at.dtype(mask) != "bool":
        at.real(mask=mask)
    given = {"features": features, "weight": weight} | ({} if bias is None else {"bias": bias})
    return at, at.floats(**given), shape


def arguments(name: str, padding, stride) -> tuple[int, int]:
    """The padding; the stride must be 1."""
    strides = check.pair(name, "stride", stride)
    if strides != (1, 1):
        raise InvalidValue(f"{name}: stride must be 1, got {strides}")
    return check.pair(name, "padding", padding, 0, MOST)


def size(name: str, lengths, filters, padding) -> tuple[int, int]:
    """The rows and columns of the result."""
    found = []
    for length, k, p in zip(lengths, filters, padding, strict=True):
        if k < 1 or length + 2 * p < k:
            raise InvalidValue(
                f"{name}: weight must have filters of 1 x 1 or more that fit the padded features, got {k} for {length + 2 * p}"
            )
        found.append(length + 2 * p - k + 1)
    return found[0], found[1]
