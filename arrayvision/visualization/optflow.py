"""Optical flow as colors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from arrayvision import check
from arrayvision.cpu import flow as kernels
from arrayvision.cpu.threads import parallel_for
from arrayvision.errors import InvalidValue
from arrayvision.image import _array
from arrayvision.image._array import images, to_numpy
from arrayvision.typing import ImageArray
from arrayvision.video.optflow import _flow, flowread
from arrayvision.visualization.image import imshow


def flowshow(flow: ImageArray | str, win_name: str = "", wait_time: int = 0) -> np.ndarray:
    """Show optical flow as colors.

    Parameters
    ----------
    flow : array (H, W, 2), str or path
        Flow, or a .flo file.
    win_name, wait_time
        As for `imshow`.

    Returns
    -------
    array (H, W, 3)
        The picture, BGR, uint8.

    Raises
    ------
    TypeError, ValueError, OSError
        As `flowread` and `imshow`.
    """
    rgb = flow2rgb(to_numpy("flowshow", "flow", flowread(flow)))
    return imshow(np.rint(rgb[:, :, ::-1] * 255).astype(np.uint8), win_name, wait_time)


@images("flow")
def flow2rgb(flow: ImageArray, color_wheel: np.ndarray | None = None, unknown_thr: float = 1e6) -> ImageArray:
    """Turn optical flow into colors: the hue is its direction; the longer, the stronger; no motion is white.

    Parameters
    ----------
    flow : array (H, W, 2)
        Any real dtype.
    color_wheel : array (bins, 3), optional
        RGB from 0 to 1 of directions; `make_color_wheel()` by default.
    unknown_thr : float
        Vectors with a greater (or NaN) component are unknown, and black.

    Returns
    -------
    array (H, W, 3)
        RGB, float32, 0 to 1. Colors are strongest at the longest known vector.

    Raises
    ------
    TypeError
        If flow or color_wheel is no array.
    ValueError
        If a shape is wrong, or unknown_thr NaN or negative.

    Notes
    -----
    The color code of S. Baker et al., "A Database and Evaluation Methodology for Optical Flow", 2011.
    """
    name = "flow2rgb"
    _flow(name, "flow", flow)
    unknown_thr = check.number(name, "unknown_thr", unknown_thr, 0)
    wheel = make_color_wheel() if color_wheel is None else to_numpy(name, "color_wheel", color_wheel)
    if wheel.ndim != 2 or wheel.shape[1] != 3 or len(wheel) == 0:
        raise InvalidValue(f"{name}: color_wheel must have shape (bins, 3), got {tuple(wheel.shape)}")
    kind = np.float32 if flow.dtype == np.float32 else np.float64
    vectors = _array.rows(flow.astype(kind, copy=False))
    h, w = flow.shape[:2]
    unknown, n = kind(min(unknown_thr, float(np.finfo(kind).max))), h * w
    most: np.ndarray = np.zeros(-(-n // kernels.GRAIN))
    parallel_for(kernels.largest, n, kernels.GRAIN, vectors, unknown, most, cost=0.5)
    longest = math.sqrt(most.max(initial=0))
    scale = kind(1 / longest if longest > np.finfo(np.float64).eps else 1)
    out = np.empty((h, w, 3), np.float32)
    wheel = _array.read_only(np.ascontiguousarray(wheel, np.float32))
    parallel_for(kernels.colors, n, kernels.GRAIN, vectors, wheel, unknown, scale, out.reshape(-1), cost=5)
    return out


def make_color_wheel(bins: Sequence[int] | None = None) -> np.ndarray:
    """Build a wheel of colors: red, yellow, green, cyan, blue, magenta, and back to red.

    Parameters
    ----------
    bins : six ints, optional
        How many steps from each of these colors to the next; (15, 6, 4, 11, 13, 6) by default.

    Returns
    -------
    array (sum of bins, 3)
        RGB, float32, 0 to 1.

    Raises
    ------
    ValueError
        If there aren't six, or one isn't positive.

    Examples
    --------
    >>> make_color_wheel([1] * 6)[1]
    array([1., 1., 0.], dtype=float32)
    """
    name = "make_color_wheel"
    bins = (15, 6, 4, 11, 13, 6) if bins is None else tuple(bins)
    if len(bins) != 6:
        raise InvalidValue(f"{name}: bins must have 6 numbers, got {len(bins)}")
    corners = [(1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1)]
    parts = []
    for i, count in enumerate(bins):
        steps = (np.arange(check.integer(name, "bins", count, 1)) / count)[:, None]
        start, stop = np.array(corners[i]), np.array(corners[(i + 1) % 6])
        parts.append(np.where(start == stop, start, np.where(stop > start, steps, 1 - steps)))
    return np.concatenate(parts).astype(np.float32)
