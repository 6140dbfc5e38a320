"""Features of the points in boxes, pooled into the cells of each box, on tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from arrayvision import check, ops
from arrayvision.ops.roiaware_pool3d import MODES, cells_of
from arrayvision.torch_bridge.library import Gradient, register, result_dtype
from arrayvision.torch_bridge.ops._modules import shown


def _fake(rois, pts, pts_feature, size, most, mode):
    boxes, channels = rois.shape[0], pts_feature.shape[1]
    return (
        pts_feature.new_empty((boxes, *size, channels), dtype=result_dtype(pts_feature)),
        pts_feature.new_empty((boxes, *size), dtype=torch.int32),
        pts_feature.new_empty((0 if mode == "avg" else boxes, *size, channels), dtype=torch.int32),
    )


_backward = register(
    "roiaware_pool3d_backward(Tensor grad, Tensor rois, Tensor pts, Tensor counts, Tensor argmax, int most, str mode) "
    "-> Tensor",
    ops.roiaware_pool3d_backward,
    lambda grad, rois, pts, *_: grad.new_empty((pts.shape[0], grad.shape[4]), dtype=result_dtype(grad)),
)


def _gradient(call, grad, *_):
    rois, pts, _, _, most, mode = call.args
    return None, None, _backward(grad, rois, pts, *call.results, most, mode)


_roiaware_pool3d = register(
    "roiaware_pool3d(Tensor rois, Tensor pts, Tensor pts_feature, SymInt[] out_size, int max_pts_per_voxel, str mode) "
    "-> (Tensor, Tensor, Tensor)",
    ops.roiaware_pool3d_with_points,
    _fake,
    Gradient(_gradient, unkept=(2,), results=(1, 2), constant=(1, 2)),
)


def roiaware_pool3d(
    rois: Tensor,
    pts: Tensor,
    pts_feature: Tensor,
    out_size: int | Sequence[int],
    max_pts_per_voxel: int = 128,
    mode: str | int = "max",
) -> Tensor:
    """`arrayvision.ops.roiaware_pool3d` on tensors, differentiable in `pts_feature`.

    Parameters
    ----------
    rois, pts, pts_feature : Tensor
        (K, 7), (N, 3) and (N, C).
    out_size, max_pts_per_voxel
        As there.
    mode : {"max", "avg"}
        As there; older code writes 0 and 1.

    Returns
    -------
    Tensor (K, cells along x, along y, along z, C)
        In the dtype of pts_feature.

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    if type(mode) is int and 0 <= mode < len(MODES):
        mode = MODES[mode]
    check.choice("roiaware_pool3d", "mode", mode, MODES)
    return _roiaware_pool3d(
        rois, pts, pts_feature, cells_of("roiaware_pool3d", out_size), max_pts_per_voxel, mode
    )[0]  # fmt: skip


class RoIAwarePool3d(nn.Module):
    """`roiaware_pool3d` as a module.

    Parameters
    ----------
    out_size, max_pts_per_voxel, mode
        As of `roiaware_pool3d`.
    """

    def __init__(self, out_size: int | Sequence[int], max_pts_per_voxel: int = 128, mode: str = "max") -> None:
        super().__init__()
        name = "RoIAwarePool3d"
        cells_of(name, out_size)
        self.out_size = out_size
        self.max_pts_per_voxel = check.integer(name, "max_pts_per_voxel", max_pts_per_voxel, 1, 2**31 - 1)
        self.mode = check.choice(name, "mode", mode, MODES)

    def forward(self, rois: Tensor, pts: Tensor, pts_feature: Tensor) -> Tensor:
        """Boxes (K, 7), points (N, 3) and features (N, C) to (K, cells along x, along y, along z, C)."""
        return roiaware_pool3d(rois, pts, pts_feature, self.out_size, self.max_pts_per_voxel, self.mode)

    def __repr__(self):
        return shown(self, "out_size", "max_pts_per_voxel", "mode")
