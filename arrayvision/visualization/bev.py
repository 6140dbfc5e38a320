"""Points and boxes in space, seen from above."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from arrayvision import check
from arrayvision.errors import InvalidKind, InvalidValue
from arrayvision.image._array import to_numpy
from arrayvision.typing import ImageArray
from arrayvision.visualization.color import color_val
from arrayvision.visualization.image import FAR, ColorLike, _finish, _thickness

LARGEST = 1 << 14  # pixels along a side


def imshow_bev(
    points: ImageArray,
    boxes: ImageArray | list | None = None,
    point_cloud_range: Sequence[float] | None = None,
    size: int = 800,
    colors: ColorLike | list = "green",
    thickness: int = 1,
    show: bool = True,
    win_name: str = "",
    wait_time: int = 0,
    out_file: str | None = None,
) -> np.ndarray:
    """Draw points and boxes in space as they are seen from above (bird's eye view): x to the right, y up.

    Parameters
    ----------
    points : array (N, 2 or more)
        Points (x, y), or (x, y, z) and any further features, which aren't looked at. z gives a point's color, from dark
        blue (low) to yellow (high), and the highest point of a pixel is seen; without it points are white. Points with a
        NaN or infinite coordinate are left out.
    boxes : array (K, 7 or more) or (K, 5), or a list of such, optional
        (x, y, z, dx, dy, dz, yaw) and any further columns, which aren't looked at, or seen from above already
        (x, y, dx, dy, yaw): centre, lengths along the box's own axes, and the angle in radians by which these are turned,
        from +x towards +y. A line from the centre shows where a box's own x points.
    point_cloud_range : six or four floats, optional
        What is drawn: (x, y, z, x, y, z) or (x, y, x, y), the lower ends first, in the points' unit. Points at the ends are
        drawn; those outside, in z too, are not. None takes the smallest range that holds all points and boxes.
    size : int
        Pixels of the picture's longer side.
    colors : color or list of colors
        Of boxes, as `color_val` takes them: one, or one for each array of the list.
    thickness : int
        Of lines; -1 fills the boxes.
    show : bool
        Show the result, as `imshow` does. Where that can't be, it is written to out_file only.
    win_name, wait_time
        As for `imshow`.
    out_file : str, optional
        Where to write the result.

    Returns
    -------
    array (H, W, 3), uint8
        The picture, BGR, NumPy.

    Raises
    ------
    RuntimeError
        If it is to be shown, can't be, and there is no out_file.
    TypeError, ValueError
        If something is of a wrong kind or shape, a box or the range isn't finite, or the range is empty or inverted.

    Examples
    --------
    >>> import numpy as np
    >>> picture = imshow_bev(np.array([[0.0, 0, 0], [4, 2, 1]]), np.array([[2, 1, 0, 2, 1, 1, 0.3]]), size=40, show=False)
    >>> picture.shape
    (20, 40, 3)
    """
    name = "imshow_bev"
    points = _rows(name, "points", points)
    if points.shape[1] < 2:
        raise InvalidValue(f"{name}: points must have shape (N, 2 or more), got {points.shape}")
    groups = list(boxes) if isinstance(boxes, (list, tuple)) else [] if boxes is None else [boxes]
    paints = list(colors) if isinstance(colors, list) else [colors] * len(groups)
    if len(paints) != len(groups):
        raise InvalidValue(f"{name}: colors must have one for each of {len(groups)} arrays of boxes, got {len(paints)}")
    rectangles = [_rectangles(name, group) for group in groups]
    paints = [color_val(paint) for paint in paints]
    size = check.integer(name, "size", size, 1)
    if size > LARGEST:
        raise InvalidValue(f"{name}: size must be at most {LARGEST}, got {size}")
    thickness = _thickness(name, thickness)
    points = points[np.isfinite(points[:, :3]).all(1)]
    low, high = _range(name, point_cloud_range, points, rectangles)
    axes = min(len(low), points.shape[1])
    points = points[((points[:, :axes] >= low[:axes]) & (points[:, :axes] <= high[:axes])).all(1)]

    with np.errstate(over="ignore"):
        extent = high[:2] - low[:2]
    with np.errstate(divide="ignore", over="ignore"):
        scale = size / extent.max()
    if not (np.isfinite(extent).all() and np.isfinite(scale)):
        raise InvalidValue(f"{name}: what is drawn must have an extent that floats hold, got {low} to {high}")
    width, height = (max(1, round(float(side * scale))) for side in extent)
    canvas = np.zeros((height, width, 3), np.uint8)

    def pixels(x, y):
        return np.floor((x - low[0]) * scale), np.floor((high[1] - y) * scale)

    across, down = pixels(points[:, 0], points[:, 1])
    across, down = np.minimum(across, width - 1).astype(np.int64), np.minimum(down, height - 1).astype(np.int64)
    if points.shape[1] == 2:
        canvas[down, across] = 255
    elif len(points):
        _heights(canvas, across, down, points[:, 2], (low[2], high[2]) if len(low) == 3 else None)
    for group, color in zip(rectangles, paints, strict=True):
        for x, y, dx, dy, yaw in group:
            cos, sin = math.cos(yaw), math.sin(yaw)
            along = (
                np.array([-0.5, 0.5, 0.5, -0.5, 0, 0.5]) * dx
            )  # corners, then the centre and the middle of the front
            aside = np.array([-0.5, -0.5, 0.5, 0.5, 0, 0]) * dy
            ends = pixels(x + along * cos - aside * sin, y + along * sin + aside * cos)
            ends = np.clip(np.stack(ends, 1), -FAR, FAR).astype(np.int32)
            if thickness < 0:
                cv2.fillPoly(canvas, [ends[:4]], color)
            else:
                cv2.polylines(canvas, [ends[:4]], True, color, thickness)
                cv2.polylines(canvas, [ends[4:]], False, color, thickness)
    return _finish(name, canvas, show, win_name, wait_time, out_file)


def _rows(name, argument, x):
    """An array of rows of numbers, in float64."""
    x = to_numpy(name, argument, x)
    if x.ndim != 2:
        raise InvalidValue(f"{name}: {argument} must have rows and columns, got shape {tuple(x.shape)}")
    if x.dtype.kind not in "iuf":
        raise InvalidKind(f"{name}: {argument} must hold real numbers, got dtype {x.dtype}")
    return x.astype(np.float64)


def _rectangles(name, boxes):
    """Boxes as seen from above: (x, y, dx, dy, yaw)."""
    boxes = _rows(name, "boxes", boxes)
    if boxes.shape[1] < 7 and boxes.shape[1] != 5:
        raise InvalidValue(f"{name}: boxes must have shape (K, 7 or more) or (K, 5), got {boxes.shape}")
    boxes = boxes if boxes.shape[1] == 5 else boxes[:, [0, 1, 3, 4, 6]]
    if not np.isfinite(boxes).all():
        raise InvalidValue(f"{name}: boxes must be finite")
    return boxes


def _range(name, given, points, rectangles):
    """The lower and the upper ends of what is drawn, (x, y) or (x, y, z)."""
    if given is not None:
        if not hasattr(given, "__iter__"):
            raise InvalidKind(f"{name}: point_cloud_range must be of 6 numbers or 4, got {type(given).__name__}")
        ends = [check.number(name, "point_cloud_range", value) for value in given]
        if len(ends) not in (4, 6):
            raise InvalidValue(f"{name}: point_cloud_range must have 6 numbers or 4, got {len(ends)}")
        low, high = np.array(ends).reshape(2, -1)
        if not (np.isfinite(ends).all() and (low < high).all()):
            raise InvalidValue(f"{name}: point_cloud_range must be finite, the lower ends first, got {tuple(ends)}")
        return low, high
    corners = [points[:, :2]]
    for group in rectangles:
        cos, sin = np.abs(np.cos(group[:, 4:])), np.abs(np.sin(group[:, 4:]))
        dx, dy = np.abs(group[:, 2:3]), np.abs(group[:, 3:4])
        reach = np.concatenate([dx * cos + dy * sin, dx * sin + dy * cos], 1) / 2
        corners += [group[:, :2] - reach, group[:, :2] + reach]
    ends = np.concatenate(corners)
    if not len(ends):
        return np.zeros(2), np.ones(2)
    low, high = ends.min(0), ends.max(0)
    if (high > low).any():
        return low, high
    around = np.maximum(0.5, np.spacing(np.abs(low)))  # one place: a unit round it
    return low - around, high + around


def _heights(canvas, across, down, z, ends):
    """Color pixels by the highest z in them, from dark blue to yellow."""
    highest = np.full(canvas.shape[:2], -np.inf)
    np.maximum.at(highest, (down, across), z)
    seen = np.isfinite(highest)
    low, high = ends if ends is not None else np.percentile(z, (2, 98))
    share = np.clip((highest[seen] - low) / (high - low), 0, 1) if high > low else np.full(seen.sum(), 0.5)
    shades = np.rint(40 + 215 * share).astype(np.uint8)  # the darkest ones can't be told from the background
    canvas[seen] = cv2.applyColorMap(shades[:, None], cv2.COLORMAP_VIRIDIS)[:, 0]
