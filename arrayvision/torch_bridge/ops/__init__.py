"""The operators as differentiable functions of torch tensors, and their modules."""

from arrayvision.torch_bridge.ops.convex_iou import convex_giou, convex_iou
from arrayvision.torch_bridge.ops.diff_iou_rotated import diff_iou_rotated_2d, diff_iou_rotated_3d
from arrayvision.torch_bridge.ops.focal_loss import (
    SigmoidFocalLoss,
    SoftmaxFocalLoss,
    sigmoid_focal_loss,
    softmax_focal_loss,
)
from arrayvision.torch_bridge.ops.min_area_polygons import min_area_polygons
from arrayvision.torch_bridge.ops.points_in_polygons import points_in_polygons

__all__ = [
    "SigmoidFocalLoss",
    "SoftmaxFocalLoss",
    "convex_giou",
    "convex_iou",
    "diff_iou_rotated_2d",
    "diff_iou_rotated_3d",
    "min_area_polygons",
    "points_in_polygons",
    "sigmoid_focal_loss",
    "softmax_focal_loss",
]
