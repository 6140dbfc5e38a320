"""Quantization of arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from arrayvision import check
from arrayvision.image._array import images
from arrayvision.typing import ImageArray


def _range(name, min_val, max_val, levels):
    if isinstance(levels, bool) or not isinstance(levels, (int, np.integer)) or levels <= 1:
        raise ValueError(f"{name}: levels must be an int greater than 1, got {levels!r}")
    least, greatest = check.number(name, "min_val", min_val), check.number(name, "max_val", max_val)
    if not least < greatest:
        raise ValueError(f"{name}: min_val must be less than max_val, got {least:g} and {greatest:g}")


@images("arr")
def quantize(arr: ImageArray, min_val: float, max_val: float, levels: int, dtype: Any = np.int64) -> ImageArray:
    """Sort values into levels of equal width.

    Parameters
    ----------
    arr : array
        Any shape, real numbers. Values out of range are clipped first; NaN gives level 0.
    min_val, max_val : float
        The range.
    levels : int
        How many levels, greater than 1.
    dtype : NumPy dtype
        The result's; its name counts for arrays of other libraries.

    Returns
    -------
    array
        Levels from 0 to levels - 1.

    Raises
    ------
    TypeError
        If arr is no array, or a bound no number.
    ValueError
        If levels is no int greater than 1, or min_val isn't less than max_val.

    Examples
    --------
    >>> import numpy as np
    >>> quantize(np.array([-1.0, 0.1, 1.0]), -1, 1, 4)
    array([0, 2, 3])
    """
    _range("quantize", min_val, max_val, levels)
    shifted = np.clip(arr, min_val, max_val) - min_val
    found = np.floor(levels * shifted / (max_val - min_val))
    return np.minimum(np.nan_to_num(found, copy=False), levels - 1).astype(dtype)


@images("arr")
def dequantize(arr: ImageArray, min_val: float, max_val: float, levels: int, dtype: Any = np.float64) -> ImageArray:
    """The middle of each level: undoes `quantize` up to half a level.

    Parameters
    ----------
    arr : array
        Levels, any shape.
    min_val, max_val : float
        The range.
    levels : int
        How many levels, greater than 1.
    dtype : NumPy dtype
        The result's.

    Returns
    -------
    array
        (arr + 0.5) * (max_val - min_val) / levels + min_val.

    Raises
    ------
    TypeError
        If arr is no array, or a bound no number.
    ValueError
        If levels is no int greater than 1, or min_val isn't less than max_val.

    Examples
    --------
    >>> import numpy as np
    >>> dequantize(np.array([0, 2, 3]), -1, 1, 4)
    array([-0.75,  0.25,  0.75])
    """
    _range("dequantize", min_val, max_val, levels)
    return (arr + 0.5).astype(dtype) * (max_val - min_val) / levels + min_val
