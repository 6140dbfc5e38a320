"""Farthest points, on tensors."""

from __future__ import annotations

from torch import Tensor, int32

from arrayvision import ops
from arrayvision.torch_bridge.library import register

_furthest_point_sample = register(
    "furthest_point_sample(Tensor points_xyz, SymInt num_points) -> Tensor",
    ops.furthest_point_sample,
    lambda points_xyz, num_points: points_xyz.new_empty((points_xyz.shape[0], num_points), dtype=int32),
)
_furthest_point_sample_with_dist = register(
    "furthest_point_sample_with_dist(Tensor points_dist, SymInt num_points) -> Tensor",
    ops.furthest_point_sample_with_dist,
    lambda points_dist, num_points: points_dist.new_empty((points_dist.shape[0], num_points), dtype=int32),
)


def furthest_point_sample(points_xyz: Tensor, num_points: int) -> Tensor:
    """`arrayvision.ops.furthest_point_sample` on tensors (B, N, 3): int32 indices (B, num_points), without a gradient."""
    return _furthest_point_sample(points_xyz, num_points)


def furthest_point_sample_with_dist(points_dist: Tensor, num_points: int) -> Tensor:
    """`arrayvision.ops.furthest_point_sample_with_dist` on tensors (B, N, N): int32 indices (B, num_points), without a
    gradient."""
    return _furthest_point_sample_with_dist(points_dist, num_points)
