"""The operators: functions on arrays of NumPy, CuPy, torch, JAX or any library with DLPack."""

from arrayvision.ops.bbox_overlaps import bbox_overlaps
from arrayvision.ops.nms import batched_nms, nms, nms_match, soft_nms
from arrayvision.ops.roi_align import roi_align, roi_align_backward, roi_align_max_backward, roi_align_with_argmax
from arrayvision.ops.rotated_boxes import box_iou_quadri, box_iou_rotated, nms_quadri, nms_rotated

__all__ = [
    "batched_nms",
    "bbox_overlaps",
    "box_iou_quadri",
    "box_iou_rotated",
    "nms",
    "nms_match",
    "nms_quadri",
    "nms_rotated",
    "roi_align",
    "roi_align_backward",
    "roi_align_max_backward",
    "roi_align_with_argmax",
    "soft_nms",
]
