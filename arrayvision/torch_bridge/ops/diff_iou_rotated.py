"""IoU of rotated boxes, differentiable in both; see `arrayvision.ops.diff_iou_rotated` for what they compute."""

from __future__ import annotations

from torch import Tensor

from arrayvision import ops
from arrayvision.torch_bridge.library import differentiable

_diff_iou_rotated_2d = differentiable(
    "diff_iou_rotated_2d",
    "Tensor box1, Tensor box2",
    ops.diff_iou_rotated_2d,
    ops.diff_iou_rotated_2d_backward,
    lambda box1, box2: box1.shape[:-1],
    2,
    promoted=2,
)
_diff_iou_rotated_3d = differentiable(
    "diff_iou_rotated_3d",
    "Tensor box3d1, Tensor box3d2",
    ops.diff_iou_rotated_3d,
    ops.diff_iou_rotated_3d_backward,
    lambda box3d1, box3d2: box3d1.shape[:-1],
    2,
    promoted=2,
)


def diff_iou_rotated_2d(box1: Tensor, box2: Tensor) -> Tensor:
    """`arrayvision.ops.diff_iou_rotated_2d` on tensors (B, N, 5), differentiable once, in both."""
    return _diff_iou_rotated_2d(box1, box2)


def diff_iou_rotated_3d(box3d1: Tensor, box3d2: Tensor) -> Tensor:
    """`arrayvision.ops.diff_iou_rotated_3d` on tensors (B, N, 7), differentiable once, in both."""
    return _diff_iou_rotated_3d(box3d1, box3d2)
