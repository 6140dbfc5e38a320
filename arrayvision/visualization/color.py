"""Names of colors."""

from __future__ import annotations

import colorsys
import re
from enum import Enum
from typing import Any

import numpy as np

from arrayvision import check
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


# The other names of CSS Color Module Level 4, with their red, green and blue. (Its green is half as bright as ours.)
_CSS = dict(
    pair.split()
    for pair in [
        "\naliceblue f0f8ff",
        " antiquewhite faebd7",
        " aqua 00ffff",
        " aquamarine 7fffd4",
        " azure f0ffff",
        " beige f5f5dc",
        " bisque ffe4c4",
        "\nblanchedalmond ffebcd",
        " blueviolet 8a2be2",
        " brown a52a2a",
        " burlywood deb887",
        " cadetblue 5f9ea0",
        " chartreuse 7fff00",
        "\nchocolate d2691e",
        " coral ff7f50",
        " cornflowerblue 6495ed",
        " cornsilk fff8dc",
        " crimson dc143c",
        " darkblue 00008b",
        " darkcyan\n008b8b",
        " darkgoldenrod b8860b",
        " darkgray a9a9a9",
        " darkgreen 006400",
        " darkgrey a9a9a9",
        " darkkhaki bdb76b",
        " darkmagenta\n8b008b",
        " darkolivegreen 556b2f",
        " darkorange ff8c00",
        " darkorchid 9932cc",
        " darkred 8b0000",
        " darksalmon e9967a",
        " darkseagreen\n8fbc8f",
        " darkslateblue 483d8b",
        " darkslategray 2f4f4f",
        " darkslategrey 2f4f4f",
        " darkturquoise 00ced1",
        " darkviolet 9400d3",
        "\ndeeppink ff1493",
        " deepskyblue 00bfff",
        " dimgray 696969",
        " dimgrey 696969",
        " dodgerblue 1e90ff",
        " firebrick b22222",
        "\nfloralwhite fffaf0",
        " forestgreen 228b22",
        " fuchsia ff00ff",
        " gainsboro dcdcdc",
        " ghostwhite f8f8ff",
        " gold ffd700",
        " goldenrod\ndaa520",
        " gray 808080",
        " greenyellow adff2f",
        " grey 808080",
        " honeydew f0fff0",
        " hotpink ff69b4",
        " indianred cd5c5c",
        " indigo\n4b0082",
        " ivory fffff0",
        " khaki f0e68c",
        " lavender e6e6fa",
        " lavenderblush fff0f5",
        " lawngreen 7cfc00",
        " lemonchiffon fffacd",
        "\nlightblue add8e6",
        " lightcoral f08080",
        " lightcyan e0ffff",
        " lightgoldenrodyellow fafad2",
        " lightgray d3d3d3",
        " lightgreen\n90ee90",
        " lightgrey d3d3d3",
        " lightpink ffb6c1",
        " lightsalmon ffa07a",
        " lightseagreen 20b2aa",
        " lightskyblue 87cefa",
        "\nlightslategray 778899",
        " lightslategrey 778899",
        " lightsteelblue b0c4de",
        " lightyellow ffffe0",
        " lime 00ff00",
        " limegreen\n32cd32",
        " linen faf0e6",
        " maroon 800000",
        " mediumaquamarine 66cdaa",
        " mediumblue 0000cd",
        " mediumorchid ba55d3",
        " mediumpurple\n9370db",
        " mediumseagreen 3cb371",
        " mediumslateblue 7b68ee",
        " mediumspringgreen 00fa9a",
        " mediumturquoise 48d1cc",
        "\nmediumvioletred c71585",
        " midnightblue 191970",
        " mintcream f5fffa",
        " mistyrose ffe4e1",
        " moccasin ffe4b5",
        " navajowhite\nffdead",
        " navy 000080",
        " oldlace fdf5e6",
        " olive 808000",
        " olivedrab 6b8e23",
        " orange ffa500",
        " orangered ff4500",
        " orchid da70d6",
        "\npalegoldenrod eee8aa",
        " palegreen 98fb98",
        " paleturquoise afeeee",
        " palevioletred db7093",
        " papayawhip ffefd5",
        " peachpuff\nffdab9",
        " peru cd853f",
        " pink ffc0cb",
        " plum dda0dd",
        " powderblue b0e0e6",
        " purple 800080",
        " rebeccapurple 663399",
        " rosybrown\nbc8f8f",
        " royalblue 4169e1",
        " saddlebrown 8b4513",
        " salmon fa8072",
        " sandybrown f4a460",
        " seagreen 2e8b57",
        " seashell fff5ee",
        "\nsienna a0522d",
        " silver c0c0c0",
        " skyblue 87ceeb",
        " slateblue 6a5acd",
        " slategray 708090",
        " slategrey 708090",
        " snow fffafa",
        "\nspringgreen 00ff7f",
        " steelblue 4682b4",
        " tan d2b48c",
        " teal 008080",
        " thistle d8bfd8",
        " tomato ff6347",
        " turquoise 40e0d0",
        "\nviolet ee82ee",
        " wheat f5deb3",
        " whitesmoke f5f5f5",
        " yellowgreen 9acd32\n",
    ]
)


def color_val(color: Color | str | tuple | int | np.ndarray) -> tuple:
    """A color as a tuple (blue, green, red).

    Parameters
    ----------
    color : Color, str, tuple, int or array (3,)
        A member or name of `Color`, or any other name that CSS has; "#rrggbb"; three numbers from 0 to 255 (blue, green,
        red); or one for a gray.

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
    >>> color_val("green"), color_val("orange"), color_val("#102030")
    ((0, 255, 0), (0, 165, 255), (48, 32, 16))
    """
    if isinstance(color, str):
        if color in Color.__members__:
            return Color[color].value
        found = color[1:] if re.fullmatch("#[0-9a-fA-F]{6}", color) else _CSS.get(color.lower())
        if found is None:
            near = check.nearest(color, [*Color.__members__, *_CSS])
            known = ", ".join(Color.__members__)
            raise InvalidValue(
                f"color_val: color must be one of {known}, a name of CSS or '#rrggbb', got {color!r}{near}"
            )
        red, green, blue = bytes.fromhex(found)
        return blue, green, red
    if isinstance(color, Color):
        return color.value
    if isinstance(color, (int, np.integer)) and not isinstance(color, bool):
        return _three((color,) * 3)
    if isinstance(color, tuple):
        return _three(color)
    if isinstance(color, np.ndarray) and color.ndim == 1 and color.size == 3:
        return _three(tuple(color.astype(np.uint8).tolist()) if color.dtype == np.uint8 else tuple(color.tolist()))
    raise TypeError(f"color_val: color must be a Color, str, tuple, int or array (3,), got {type(color).__name__}")


def class_color(label: int) -> tuple:
    """A class's own color, as (blue, green, red): bright, and far from those of the classes beside it.

    Parameters
    ----------
    label : int
        The class.

    Returns
    -------
    (int, int, int)

    Notes
    -----
    Eight classes share the circle of hues, each far from the one before; the next eight lie between them, darker, then
    paler. The first 80 differ by 51 or more (sum over the three numbers).

    Examples
    --------
    >>> class_color(0), class_color(1)
    ((0, 0, 255), (255, 191, 0))
    """
    label = check.integer("class_color", "label", label)
    ring, place = divmod(label, 8)
    hue = (place * 5 % 8 + ring / 4) / 8 % 1
    saturation, value = (1, 0.55)[ring // 3 % 2], (1, 0.8, 0.6)[ring % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(255 * blue), round(255 * green), round(255 * red)


def _three(color: Any) -> tuple:
    if len(color) != 3:
        raise InvalidValue(f"color_val: color must have 3 numbers, got {len(color)}")
    for value in color:
        if not isinstance(value, (int, float, np.number)) or not 0 <= value <= 255 or value != int(value):
            raise InvalidValue(f"color_val: color must be of ints from 0 to 255, got {color}")
    return tuple(map(int, color))
