"""What the operators that filter planes share: their filters, factors and paddings, and the sizes that follow."""

from __future__ import annotations

import math

import numpy as np

from arrayvision import check
from arrayvision.errors import InvalidKind, InvalidValue

MOST = 2**31 - 1  # rows or columns
FACTOR, PADDING, TAPS = 1024, 65536, 1024  # at most


def factors(name: str, argument: str, value) -> tuple[int, int]:
    """Whole numbers of at least 1 for columns and rows, given so or as one for both."""
    found = value if isinstance(value, (tuple, list)) else (value, value)
    if len(found) != 2:
        raise InvalidValue(f"{name}: {argument} must be an int or two (columns, rows), got {len(found)} numbers")
    x, y = (check.integer(name, argument, v, 1, FACTOR) for v in found)
    return x, y


def paddings(name: str, value) -> tuple[int, int, int, int]:
    """(left, right, top, bottom), given so, as (columns, rows), or as one for all."""
    found = tuple(value) if isinstance(value, (tuple, list)) else (value,) * 4
    if len(found) == 2:
        found = found[0], found[0], found[1], found[1]
    if len(found) != 4:
        raise InvalidValue(
            f"{name}: padding must be an int, two (columns, rows) or four (left, right, top, bottom), got {len(found)} numbers"
        )
    left, right, top, bottom = (check.integer(name, "padding", v, -PADDING, PADDING) for v in found)
    return left, right, top, bottom


def extent(name: str, filter, argument: str = "filter") -> tuple[int, int]:
    """The columns and rows of a filter; (1, 1) of None, which changes nothing."""
    if filter is None:
        return 1, 1
    shape = getattr(filter, "shape", None)
    if shape is None:
        raise InvalidKind(f"{name}: {argument} must be an array or None, got {type(filter).__name__}")
    if len(shape) not in (1, 2):
        raise InvalidValue(f"{name}: {argument} must have shape (n,) or (rows, columns), got {tuple(shape)}")
    if not 1 <= math.prod(shape) <= TAPS:
        raise InvalidValue(f"{name}: {argument} must have 1 to {TAPS:,} numbers, got shape {tuple(shape)}")
    return shape[-1], shape[0]


def around(padding, filter_size, up=(1, 1), down=(1, 1)) -> tuple[int, int, int, int]:
    """A padding and what keeps a filter centred: (left, right, top, bottom) as `upfirdn2d` takes them."""
    found = []
    for axis in (0, 1):
        taps, u, d = filter_size[axis], up[axis], down[axis]
        found += [padding[2 * axis] + (taps + u - d) // 2, padding[2 * axis + 1] + (taps - u - d + 1) // 2]
    left, right, top, bottom = found
    return left, right, top, bottom


def result_size(name: str, input_size, filter_size, up, down, padding, argument: str = "filter") -> tuple[int, int]:
    """The (rows, columns) of what `upfirdn2d` makes of (rows, columns); a ValueError if they are fewer than 1 x 1."""
    padded = [input_size[1 - axis] * up[axis] + padding[2 * axis] + padding[2 * axis + 1] for axis in (0, 1)]
    columns, rows = ((size - taps) // d + 1 for size, taps, d in zip(padded, filter_size, down, strict=True))
    if columns < 1 or rows < 1:
        raise InvalidValue(
            f"{name}: {argument} must fit into the padded input of {padded[1]} x {padded[0]}, got {filter_size[1]} x {filter_size[0]}"
        )
    if max(padded) > MOST:
        raise InvalidValue(f"{name}: input must have fewer than 2**31 rows and columns when padded, got {max(padded)}")
    return rows, columns


def weights(at, filter, dtype: str, argument: str = "filter"):
    """What kernels see of a filter, in the dtype of sums; None is one number, 1."""
    if filter is None:
        filter = at.library.from_host(np.ones((1, 1), np.float32), dtype, at.device)
    at.real(**{argument: filter})
    return at.read(filter, dtype)


def swapped(filter_size, input_size, result, up, down, padding) -> tuple[int, int, int, int]:
    """The padding with which `upfirdn2d` of a gradient, with up and down exchanged and the filter flipped, is the gradient."""
    found = []
    for axis in (0, 1):
        taps, before, u, d = filter_size[axis], padding[2 * axis], up[axis], down[axis]
        after = input_size[1 - axis] * u - result[1 - axis] * d + before - u + 1
        found += [taps - before - 1, after]
    left, right, top, bottom = found
    return left, right, top, bottom
