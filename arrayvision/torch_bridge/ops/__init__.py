"""The operators as differentiable functions of torch tensors, and their modules."""

from arrayvision.torch_bridge.ops._functions import (
    BezierAlignFunction,
    BorderAlignFunction,
    DeformRoIPoolFunction,
    PrRoIPoolFunction,
    RiRoIAlignRotatedFunction,
    RoIAlignFunction,
    RoIAlignRotatedFunction,
    RoIPoolFunction,
    SigmoidFocalLossFunction,
    SoftmaxFocalLossFunction,
)
from arrayvision.torch_bridge.ops.bezier_align import BezierAlign, bezier_align
from arrayvision.torch_bridge.ops.border_align import BorderAlign, border_align
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
from arrayvision.torch_bridge.ops.deform_roi_pool import (
    DeformRoIPool,
    DeformRoIPoolPack,
    ModulatedDeformRoIPoolPack,
    deform_roi_pool,
)
from arrayvision.torch_bridge.ops.diff_iou_rotated import diff_iou_rotated_2d, diff_iou_rotated_3d
from arrayvision.torch_bridge.ops.focal_loss import (
    SigmoidFocalLoss,
    SoftmaxFocalLoss,
    sigmoid_focal_loss,
    softmax_focal_loss,
)
from arrayvision.torch_bridge.ops.min_area_polygons import min_area_polygons
from arrayvision.torch_bridge.ops.point_sample import (
    SimpleRoIAlign,
    abs_img_point_to_rel_img_point,
    denormalize,
    generate_grid,
    get_shape_from_feature_map,
    normalize,
    point_sample,
    rel_roi_point_to_abs_img_point,
    rel_roi_point_to_rel_img_point,
)
from arrayvision.torch_bridge.ops.points_in_polygons import points_in_polygons
from arrayvision.torch_bridge.ops.prroi_pool import PrRoIPool, prroi_pool
from arrayvision.torch_bridge.ops.roi_align import RoIAlign, roi_align
from arrayvision.torch_bridge.ops.roi_align_rotated import (
    RiRoIAlignRotated,
    RoIAlignRotated,
    riroi_align_rotated,
    roi_align_rotated,
)
from arrayvision.torch_bridge.ops.roi_pool import RoIPool, roi_pool
from arrayvision.torch_bridge.ops.rotated_feature_align import rotated_feature_align

__all__ = [
    "BezierAlign",
    "BezierAlignFunction",
    "BorderAlign",
    "BorderAlignFunction",
    "DeformRoIPool",
    "DeformRoIPoolFunction",
    "DeformRoIPoolPack",
    "ModulatedDeformRoIPoolPack",
    "PrRoIPool",
    "PrRoIPoolFunction",
    "RiRoIAlignRotated",
    "RiRoIAlignRotatedFunction",
    "RoIAlign",
    "RoIAlignFunction",
    "RoIAlignRotated",
    "RoIAlignRotatedFunction",
    "RoIPool",
    "RoIPoolFunction",
    "SigmoidFocalLoss",
    "SigmoidFocalLossFunction",
    "SimpleRoIAlign",
    "SoftmaxFocalLoss",
    "SoftmaxFocalLossFunction",
    "abs_img_point_to_rel_img_point",
    "batched_nms",
    "bbox_overlaps",
    "bezier_align",
    "border_align",
    "box_iou_quadri",
    "box_iou_rotated",
    "convex_giou",
    "convex_iou",
    "deform_roi_pool",
    "denormalize",
    "diff_iou_rotated_2d",
    "diff_iou_rotated_3d",
    "generate_grid",
    "get_shape_from_feature_map",
    "min_area_polygons",
    "nms",
    "nms_match",
    "nms_quadri",
    "nms_rotated",
    "normalize",
    "point_sample",
    "points_in_polygons",
    "prroi_pool",
    "rel_roi_point_to_abs_img_point",
    "rel_roi_point_to_rel_img_point",
    "riroi_align_rotated",
    "roi_align",
    "roi_align_rotated",
    "roi_pool",
    "rotated_feature_align",
    "sigmoid_focal_loss",
    "soft_nms",
    "softmax_focal_loss",
]
