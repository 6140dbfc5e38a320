"""The smallest rectangles round points; see `arrayvision.ops.min_area_polygons`."""

from __future__ import annotations

from torch import Tensor

from arrayvision import ops
from arrayvision.torch_bridge.library import register, result_dtype

_min_area_polygons = register(
    "min_area_polygons(Tensor pointsets) -> Tensor",
    ops.min_area_polygons,
    lambda pointsets: pointsets.new_empty((pointsets.shape[0], 8), dtype=result_dtype(pointsets)),
)


def min_area_polygons(pointsets: Tensor) -> Tensor:
    """`arrayvision.ops.min_area_polygons` on tensors (N, 18); the result (N, 8) carries no gradient."""
    return _min_area_polygons(pointsets)
