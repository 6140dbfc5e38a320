"""Names of colors."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np

from arrayvision.errors import InvalidValue


class Color(Enum):
    """Colors by name, as (blue, green, red)."""

    red = (0, 0, 255)
    green = (0, 255, 0)
    blue = (255, 0, 0)
    cyan = (255, 255, 0)
    yellow = (0, 255, 255)
    magenta = (255, 0, 255)
    white = (255, 255, 255)
    black = (0, 0, 0)


def color_val(color: Color | str | tuple | int | np.ndarray) -> tuple:
    """A color as a tuple (blue, green, red).

    Parameters
    ----------
    color : Color, str, tuple, int or array (3,)
        A member or name of `Color`; three numbers from 0 to 255; or one for a gray.

    Returns
    -------
    (int, int, int)

    Raises
    ------
    TypeError
        If it is none of these.
    ValueError
        If a number is out of range, there aren't three, or the name is unknown.

    Examples
    --------
    >>> color_val("green")
    (0, 255, 0)
    """
    if isinstance(color, str):
        if color not in Color.__members__:
            raise InvalidValue(f"color_val: color must be one of {', '.join(Color.__members__)}, got {color!r}")
        return Color[color].value
    if isinstance(color, Color):
        return color.value
    if isinstance(color, (int, np.integer)) and not isinstance(color, bool):
        return _three((color,) * 3)
    if isinstance(color, tuple):
        return _three(color)
    if isinstance(color, np.ndarray) and color.ndim == 1 and color.size == 3:
        return _three(tuple(color.astype(np.uint8).tolist()) if color.dtype == np.uint8 else tuple(color.tolist()))
    raise TypeError(f"color_val: color must be a Color, str, tuple, int or array (3,), got {type(color).__name__}")


def _three(color: Any) -> tuple:
    if len(color) != 3:
        raise InvalidValue(f"color_val: color must have 3 numbers, got {len(color)}")
    for value in color:
        if not isinstance(value, (int, float, np.number)) or not 0 <= value <= 255 or value != int(value):
            raise InvalidValue(f"color_val: color must be of ints from 0 to 255, got {color}")
    return tuple(map(int, color))
