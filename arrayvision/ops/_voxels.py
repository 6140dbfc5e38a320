"""Grids of voxels: what their arguments must be."""

from __future__ import annotations

import math
import sys

import numpy as np

from arrayvision import check
from arrayvision.errors import InvalidValue

MOST = 2**63 - 1  # cells that a key counts
ALONG = 2**31 - 1  # cells along an axis that int32 counts
LARGEST = sys.float_info.max


def numbers(function: str, argument: str, value, count: int) -> tuple[float, ...]:
    """So many finite numbers, from any sequence or array."""
    found = check.several(function, argument, value, count, f"{count} numbers")
    values = tuple(check.number(function, f"{argument}[{k}]", v) for k, v in enumerate(found))
    for k, v in enumerate(values):
        if not -LARGEST <= v <= LARGEST:  # Dynamo, which follows this, can't follow math.isinf
            raise InvalidValue(f"{function}: {argument}[{k}] must be finite, got {v:g}")
    return values


def grid(function: str, voxel_size, coors_range, range_name: str = "coors_range"):
    """Check a grid: (voxel_size (x, y, z), coors_range (x, y, z of either end), cells (x, y, z))."""
    size = numbers(function, "voxel_size", voxel_size, 3)
    ends = numbers(function, range_name, coors_range, 6)
    cells = []
    for k, axis in enumerate("xyz"):
        if not size[k] > 0:
            raise InvalidValue(f"{function}: voxel_size must be greater than 0, got {size[k]:g} along {axis}")
        span = (ends[3 + k] - ends[k]) / size[k]
        if not span >= 0.5:
            raise InvalidValue(
                f"{function}: {range_name} must span at least half a voxel along each axis, "
                f"got {ends[k]:g} to {ends[3 + k]:g} along {axis} with voxels of {size[k]:g}"
            )
        if span >= ALONG:
            raise InvalidValue(
                f"{function}: {range_name} must span at most {ALONG} voxels along an axis, got {span:g} along {axis}"
            )
        cells.append(math.floor(span + 0.5))
    if math.prod(cells) > MOST:
        raise InvalidValue(f"{function}: the grid must have at most 2**63 - 1 cells, got {' x '.join(map(str, cells))}")
    return size, ends, tuple(cells)


def in_dtype(function: str, size, ends, cells, dtype: str):
    """A grid as kernels take it: (low, size) in the dtype of sums, (cells,) as int64."""
    with np.errstate(over="ignore", under="ignore"):
        low, by = np.array(ends[:3], dtype), np.array(size, dtype)
    if not (np.isfinite(low).all() and np.isfinite(by).all() and (by > 0).all()):
        raise InvalidValue(f"{function}: voxel_size and coors_range must be numbers that {dtype} holds")
    return low, by, np.array(cells, np.int64)
