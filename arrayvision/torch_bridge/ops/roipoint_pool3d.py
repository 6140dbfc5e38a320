"""The points in boxes, as many of each box as asked for, on tensors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from arrayvision import check, ops
from arrayvision.torch_bridge.library import register, result_dtype
from arrayvision.torch_bridge.ops._modules import shown


def _fake(points, point_features, boxes3d, sampled):
    shape = boxes3d.shape[0], boxes3d.shape[1]
    width = 3 + point_features.shape[2]
    return (
        points.new_empty((*shape, sampled, width), dtype=result_dtype(points, point_features)),
        points.new_empty(shape, dtype=torch.int32),
    )


_roipoint_pool3d = register(
    "roipoint_pool3d(Tensor points, Tensor point_features, Tensor boxes3d, int num_sampled_points) -> (Tensor, Tensor)",
    ops.roipoint_pool3d,
    _fake,
)


def roipoint_pool3d(
    points: Tensor, point_features: Tensor, boxes3d: Tensor, num_sampled_points: int = 512
) -> tuple[Tensor, Tensor]:
    """`arrayvision.ops.roipoint_pool3d` on tensors, without a gradient.

    Parameters
    ----------
    points, point_features, boxes3d : Tensor
        (B, N, 3), (B, N, C) and (B, M, 7).
    num_sampled_points : int
        How many points of each box are taken.

    Returns
    -------
    pooled_features : Tensor (B, M, num_sampled_points, 3 + C)
    pooled_empty_flag : Tensor (B, M), int32

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    return _roipoint_pool3d(points, point_features, boxes3d, num_sampled_points)


class RoIPointPool3d(nn.Module):
    """`roipoint_pool3d` as a module.

    Parameters
    ----------
    num_sampled_points : int
        How many points of each box are taken.
    """

    def __init__(self, num_sampled_points: int = 512) -> None:
        super().__init__()
        self.num_sampled_points = check.integer(
            "RoIPointPool3d", "num_sampled_points", num_sampled_points, 1, 2**31 - 1
        )

    def forward(self, points: Tensor, point_features: Tensor, boxes3d: Tensor) -> tuple[Tensor, Tensor]:
        """Points (B, N, 3), features (B, N, C) and boxes (B, M, 7) to (B, M, num_sampled_points, 3 + C) and (B, M)."""
        return roipoint_pool3d(points, point_features, boxes3d, self.num_sampled_points)

    def __repr__(self):
        return shown(self, "num_sampled_points")
