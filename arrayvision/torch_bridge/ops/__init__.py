"""The operators as differentiable functions of torch tensors, and their modules."""

from arrayvision.torch_bridge.ops.boxes import (
    batched_nms,
    bbox_overlaps,
    box_iou_quadri,
    box_iou_rotated,
    nms,
    nms_match,
    nms_quadri,
    nms_rotated,
    soft_nms,
)
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
from arrayvision.torch_bridge.ops.roi_align import RoIAlign, roi_align

__all__ = [
    "RoIAlign",
    "SigmoidFocalLoss",
    "SoftmaxFocalLoss",
    "batched_nms",
    "bbox_overlaps",
    "box_iou_quadri",
    "box_iou_rotated",
    "convex_giou",
    "convex_iou",
    "diff_iou_rotated_2d",
    "diff_iou_rotated_3d",
    "min_area_polygons",
    "nms",
    "nms_match",
    "nms_quadri",
    "nms_rotated",
    "points_in_polygons",
    "roi_align",
    "sigmoid_focal_loss",
    "soft_nms",
    "softmax_focal_loss",
]
