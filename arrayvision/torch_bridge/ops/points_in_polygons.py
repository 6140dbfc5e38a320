"""Which points lie inside which quadrilaterals; see `arrayvision.ops.points_in_polygons`."""

from __future__ import annotations

from torch import Tensor

from arrayvision import ops
from arrayvision.torch_bridge.library import register, result_dtype

_points_in_polygons = register(
    "points_in_polygons(Tensor points, Tensor polygons) -> Tensor",
    ops.points_in_polygons,
    lambda points, polygons: points.new_empty(
        (points.shape[0], polygons.shape[0]), dtype=result_dtype(points, polygons)
    ),
)


def points_in_polygons(points: Tensor, polygons: Tensor) -> Tensor:
    """`arrayvision.ops.points_in_polygons` on tensors (B, 2) and (M, 8): 1 or 0, (B, M), without a gradient."""
    return _points_in_polygons(points, polygons)
