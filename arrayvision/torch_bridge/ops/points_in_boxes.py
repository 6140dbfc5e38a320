"""Which points lie in which boxes, on tensors."""

from __future__ import annotations

from torch import Tensor, int32

from arrayvision import ops
from arrayvision.torch_bridge.library import register


def _fake(points, boxes):
    return points.new_empty((*points.shape[:2], boxes.shape[1]), dtype=int32)


_points_in_boxes_part = register(
    "points_in_boxes_part(Tensor points, Tensor boxes) -> Tensor",
    ops.points_in_boxes_part,
    lambda points, boxes: points.new_empty(points.shape[:2], dtype=int32),
)
_points_in_boxes_all = register(
    "points_in_boxes_all(Tensor points, Tensor boxes) -> Tensor", ops.points_in_boxes_all, _fake
)
_points_in_boxes_cpu = register(
    "points_in_boxes_cpu(Tensor points, Tensor boxes) -> Tensor", ops.points_in_boxes_cpu, _fake
)


def points_in_boxes_part(points: Tensor, boxes: Tensor) -> Tensor:
    """`arrayvision.ops.points_in_boxes_part` on tensors (B, M, 3) and (B, T, 7): int32 indices (B, M)."""
    return _points_in_boxes_part(points, boxes)


def points_in_boxes_all(points: Tensor, boxes: Tensor) -> Tensor:
    """`arrayvision.ops.points_in_boxes_all` on tensors (B, M, 3) and (B, T, 7): int32 (B, M, T)."""
    return _points_in_boxes_all(points, boxes)


def points_in_boxes_cpu(points: Tensor, boxes: Tensor) -> Tensor:
    """`points_in_boxes_all`, by the name that older code has for tensors in the CPU's memory."""
    return _points_in_boxes_cpu(points, boxes)
