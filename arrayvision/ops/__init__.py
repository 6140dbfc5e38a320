"""The operators: functions on arrays of NumPy, CuPy, torch, JAX or any library with DLPack."""

from arrayvision.ops.bbox_overlaps import bbox_overlaps
from arrayvision.ops.bezier_align import bezier_align, bezier_align_backward
from arrayvision.ops.border_align import border_align, border_align_backward, border_align_with_argmax
from arrayvision.ops.convex_iou import convex_giou, convex_iou
from arrayvision.ops.deform_roi_pool import deform_roi_pool, deform_roi_pool_backward
from arrayvision.ops.diff_iou_rotated import (
    diff_iou_rotated_2d,
    diff_iou_rotated_2d_backward,
    diff_iou_rotated_3d,
    diff_iou_rotated_3d_backward,
)
from arrayvision.ops.focal_loss import (
    sigmoid_focal_loss,
    sigmoid_focal_loss_backward,
    softmax_focal_loss,
    softmax_focal_loss_backward,
)
from arrayvision.ops.min_area_polygons import min_area_polygons
from arrayvision.ops.nms import batched_nms, nms, nms_match, soft_nms
from arrayvision.ops.point_sample import (
    abs_img_point_to_rel_img_point,
    denormalize,
    normalize,
    point_sample,
    rel_roi_point_to_abs_img_point,
    rel_roi_point_to_rel_img_point,
)
from arrayvision.ops.points_in_polygons import points_in_polygons
from arrayvision.ops.prroi_pool import prroi_pool, prroi_pool_backward
from arrayvision.ops.riroi_align_rotated import riroi_align_rotated, riroi_align_rotated_backward
from arrayvision.ops.roi_align import roi_align, roi_align_backward, roi_align_max_backward, roi_align_with_argmax
from arrayvision.ops.roi_align_rotated import roi_align_rotated, roi_align_rotated_backward
from arrayvision.ops.roi_pool import roi_pool, roi_pool_backward, roi_pool_with_argmax
from arrayvision.ops.rotated_boxes import box_iou_quadri, box_iou_rotated, nms_quadri, nms_rotated
from arrayvision.ops.rotated_feature_align import rotated_feature_align, rotated_feature_align_backward

__all__ = [
    "abs_img_point_to_rel_img_point",
    "batched_nms",
    "bbox_overlaps",
    "bezier_align",
    "bezier_align_backward",
    "border_align",
    "border_align_backward",
    "border_align_with_argmax",
    "box_iou_quadri",
    "box_iou_rotated",
    "convex_giou",
    "convex_iou",
    "deform_roi_pool",
    "deform_roi_pool_backward",
    "denormalize",
    "diff_iou_rotated_2d",
    "diff_iou_rotated_2d_backward",
    "diff_iou_rotated_3d",
    "diff_iou_rotated_3d_backward",
    "min_area_polygons",
    "nms",
    "nms_match",
    "nms_quadri",
    "nms_rotated",
    "normalize",
    "point_sample",
    "points_in_polygons",
    "prroi_pool",
    "prroi_pool_backward",
    "rel_roi_point_to_abs_img_point",
    "rel_roi_point_to_rel_img_point",
    "riroi_align_rotated",
    "riroi_align_rotated_backward",
    "roi_align",
    "roi_align_backward",
    "roi_align_max_backward",
    "roi_align_rotated",
    "roi_align_rotated_backward",
    "roi_align_with_argmax",
    "roi_pool",
    "roi_pool_backward",
    "roi_pool_with_argmax",
    "rotated_feature_align",
    "rotated_feature_align_backward",
    "sigmoid_focal_loss",
    "sigmoid_focal_loss_backward",
    "soft_nms",
    "softmax_focal_loss",
    "softmax_focal_loss_backward",
]
