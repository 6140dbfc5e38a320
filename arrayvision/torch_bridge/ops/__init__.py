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
from arrayvision.torch_bridge.ops.roi_align import RoIAlign, roi_align

__all__ = [
    "RoIAlign",
    "batched_nms",
    "bbox_overlaps",
    "box_iou_quadri",
    "box_iou_rotated",
    "nms",
    "nms_match",
    "nms_quadri",
    "nms_rotated",
    "roi_align",
    "soft_nms",
]
