"""Features at points given in relative coordinates, and the conversions between kinds of coordinates.

These are a few elementwise operations and a gather, written in the array API: they run in the arrays' own library, on their
device, and libraries that differentiate (JAX, torch) differentiate through them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import array_namespace, device as array_device

from arrayvision import check
from arrayvision.array import FLOATS, INTEGERS, library_of
from arrayvision.errors import InvalidKind, InvalidValue
from arrayvision.typing import Array

_QUIET = np.errstate(over="ignore", invalid="ignore")  # what isn't finite stays so, without a warning


def _floats(name: str, **given: Any) -> list[Any]:
    """Check that arguments are arrays of real numbers of one library, and give them as floats, integers as float32."""
    first, found = None, []
    for argument, x in given.items():
        library = library_of(x, name, argument)
        if first is None:
            first, wanted = argument, library
        elif library.name != wanted.name:
            raise InvalidKind(
                f"{name}: {first} is {wanted.noun}, {argument} is {library.noun}: give both from one library"
            )
        dtype = library.dtype(x)
        if dtype not in (*FLOATS, *INTEGERS):
            raise InvalidKind(f"{name}: {argument} must hold real numbers, got dtype {dtype}")
        xp = array_namespace(x)
        found.append(x if dtype in FLOATS else xp.astype(x, xp.float32))
    return found


@_QUIET
def normalize(grid: Array) -> Array:
    """Coordinates within [-1, 1] as within [0, 1].

    Parameters
    ----------
    grid : array
        Floats, of any shape.

    Returns
    -------
    array
        (grid + 1) / 2.
    """
    (points,) = _floats("normalize", grid=grid)
    return (points + 1.0) / 2.0


@_QUIET
def denormalize(grid: Array) -> Array:
    """Coordinates within [0, 1] as within [-1, 1].

    Parameters
    ----------
    grid : array
        Floats, of any shape.

    Returns
    -------
    array
        2 * grid - 1.
    """
    (points,) = _floats("denormalize", grid=grid)
    return points * 2.0 - 1.0


@_QUIET
def rel_roi_point_to_abs_img_point(rois: Array, rel_roi_points: Array) -> Array:
    """Points relative to regions as points of the image.

    Parameters
    ----------
    rois : array (N, 4) or (N, 5)
        (x1, y1, x2, y2), or with the image's index before; floats.
    rel_roi_points : array (N, P, 2)
        (x, y) within [0, 1].

    Returns
    -------
    array (N, P, 2)
        (x, y) in the image's pixels.

    Raises
    ------
    ValueError
        If a shape is wrong, or lengths differ.
    """
    name = "rel_roi_point_to_abs_img_point"
    rois, rel_roi_points = _floats(name, rois=rois, rel_roi_points=rel_roi_points)
    if len(rois.shape) != 2 or rois.shape[1] not in (4, 5):
        raise InvalidValue(f"{name}: rois must have shape (N, 4) or (N, 5), got {tuple(rois.shape)}")
    check.shape(name, "rel_roi_points", rel_roi_points, "N", "P", 2)
    check.same_length(name, "rel_roi_points", rel_roi_points, "rois", rois)
    corner, other = rois[:, None, -4:-2], rois[:, None, -2:]
    return rel_roi_points * (other - corner) + corner


@_QUIET
def abs_img_point_to_rel_img_point(
    abs_img_points: Array, img: tuple[int, int] | Array, spatial_scale: float = 1.0
) -> Array:
    """Points of the image as points relative to it, or to a feature map.

    Parameters
    ----------
    abs_img_points : array (N, P, 2)
        (x, y) in the image's pixels; floats.
    img : (int, int) or array (N, C, H, W)
        (height, width), or the image or feature map.
    spatial_scale : float
        The features' size over the image's.

    Returns
    -------
    array (N, P, 2)
        (x, y), within [0, 1] inside.

    Raises
    ------
    TypeError
        If img is neither.
    """
    name = "abs_img_point_to_rel_img_point"
    (abs_img_points,) = _floats(name, abs_img_points=abs_img_points)
    check.shape(name, "abs_img_points", abs_img_points, "N", "P", 2)
    spatial_scale = check.number(name, "spatial_scale", spatial_scale)
    if isinstance(img, (tuple, list)) and len(img) == 2:
        height, width = (check.number(name, "img", v) for v in img)
    elif len(getattr(img, "shape", ())) == 4:
        height, width = img.shape[2:]
    else:
        raise InvalidKind(
            f"{name}: img must be (height, width) or an array of shape (N, C, H, W), got {type(img).__name__}"
        )
    if not (height > 0 and width > 0):
        raise InvalidValue(f"{name}: img must have a height and width greater than 0, got {height:g} and {width:g}")
    xp = array_namespace(abs_img_points)
    x, y = abs_img_points[..., 0], abs_img_points[..., 1]
    return xp.stack([x * (spatial_scale / float(width)), y * (spatial_scale / float(height))], axis=-1)


def rel_roi_point_to_rel_img_point(
    rois: Array, rel_roi_points: Array, img: tuple[int, int] | Array, spatial_scale: float = 1.0
) -> Array:
    """Points relative to regions as points relative to the image, or to a feature map.

    Parameters
    ----------
    rois : array (N, 4) or (N, 5)
        (x1, y1, x2, y2), or with the image's index before; floats.
    rel_roi_points : array (N, P, 2)
        (x, y) within [0, 1].
    img : (int, int) or array (N, C, H, W)
        (height, width), or the image or feature map.
    spatial_scale : float
        The features' size over the image's.

    Returns
    -------
    array (N, P, 2)
        (x, y), within [0, 1] inside.

    Raises
    ------
    TypeError, ValueError
        As `rel_roi_point_to_abs_img_point` and `abs_img_point_to_rel_img_point`.

    Examples
    --------
    >>> import numpy as np
    >>> rel_roi_point_to_rel_img_point(np.array([[0, 2.0, 2, 4, 4]]), np.full((1, 1, 2), 0.5), (8, 16))
    array([[[0.1875, 0.375 ]]])
    """
    points = rel_roi_point_to_abs_img_point(rois, rel_roi_points)
    return abs_img_point_to_rel_img_point(points, img, spatial_scale)


@_QUIET
def point_sample(input: Array, points: Array, align_corners: bool = False) -> Array:
    """Features at points, bilinearly interpolated.

    Parameters
    ----------
    input : array (N, C, H, W)
        Feature maps, floats.
    points : array (N, P, 2) or (N, rows, columns, 2)
        (x, y); the map is the unit square.
    align_corners : bool
        False: the unit square's corners are the border pixels' outer corners. True: they are their centres.

    Returns
    -------
    array (N, C, P) or (N, C, rows, columns)
        Outside the map, 0; so are points that are not finite.

    Raises
    ------
    TypeError
        If something is no array, or the two are of different libraries.
    ValueError
        If a shape is wrong.

    Examples
    --------
    >>> import numpy as np
    >>> point_sample(np.arange(4.0).reshape(1, 1, 2, 2), np.array([[[0.5, 0.5], [0.25, 0.25]]]))
    array([[[1.5, 0. ]]])
    """
    name = "point_sample"
    input, points = _floats(name, input=input, points=points)
    xp = array_namespace(input, points)
    check.shape(name, "input", input, "N", "C", "H", "W")
    align_corners = check.flag(name, "align_corners", align_corners)
    if len(points.shape) not in (3, 4) or points.shape[-1] != 2:
        raise InvalidValue(
            f"{name}: points must have shape (N, P, 2) or (N, rows, columns, 2), got {tuple(points.shape)}"
        )
    check.same_length(name, "points", points, "input", input)
    n, channels, height, width = input.shape
    where: tuple[int, ...] = tuple(points.shape[1:-1])
    if not height * width:
        return xp.zeros((n, channels, *where), dtype=input.dtype, device=array_device(input))
    flat = xp.reshape(points, (n, -1, 2))
    x, y = (
        c * (size - 1) if align_corners else c * size - 0.5
        for c, size in ((flat[..., 0], width), (flat[..., 1], height))
    )
    x, y = (xp.where(xp.isfinite(c), c, xp.full_like(c, -2)) for c in (x, y))
    x0, y0 = xp.floor(x), xp.floor(y)
    pixels = xp.reshape(xp.permute_dims(input, (0, 2, 3, 1)), (n * height * width, channels))
    whole = xp.asarray(0).dtype  # the library's own integers: of 32 bits in JAX without x64
    image = xp.reshape(xp.arange(n, dtype=whole, device=array_device(points)), (n, 1))
    total = None
    for dy in (0, 1):
        for dx in (0, 1):
            column, row = x0 + dx, y0 + dy
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            weight = (x - x0 if dx else 1 - (x - x0)) * (y - y0 if dy else 1 - (y - y0))
            zero = xp.zeros_like(weight)
            column, row = (xp.astype(xp.where(inside, c, zero), whole) for c in (column, row))
            at: Any = (image * height + row) * width + column
            value = xp.reshape(xp.take(pixels, xp.reshape(at, (-1,)), axis=0), (*at.shape, channels))
            part = value * xp.astype(xp.where(inside, weight, zero), value.dtype)[..., None]
            total = part if total is None else total + part
    return xp.reshape(xp.permute_dims(total, (0, 2, 1)), (n, channels, *where))
