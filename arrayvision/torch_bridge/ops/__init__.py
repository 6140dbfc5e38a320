"""The operators as differentiable functions of torch tensors, and their modules.

Results in the CPU's memory can't be resized (``resize_``, or ``out=`` of another size); their ``clone()`` can.
"""

import importlib

from arrayvision import operators
from arrayvision.torch_bridge.ops.active_rotated_filter import active_rotated_filter as active_rotated_filter
from arrayvision.torch_bridge.ops.bezier_align import BezierAlign as BezierAlign, bezier_align as bezier_align
from arrayvision.torch_bridge.ops.border_align import BorderAlign as BorderAlign, border_align as border_align
from arrayvision.torch_bridge.ops.boxes import (
    batched_nms as batched_nms,
    bbox_overlaps as bbox_overlaps,
    box_iou_quadri as box_iou_quadri,
    box_iou_rotated as box_iou_rotated,
    nms as nms,
    nms_match as nms_match,
    nms_quadri as nms_quadri,
    nms_rotated as nms_rotated,
    soft_nms as soft_nms,
)
from arrayvision.torch_bridge.ops.convex_iou import convex_giou as convex_giou, convex_iou as convex_iou
from arrayvision.torch_bridge.ops.corner_pool import CornerPool as CornerPool, corner_pool as corner_pool
from arrayvision.torch_bridge.ops.correlation import Correlation as Correlation, correlation as correlation
from arrayvision.torch_bridge.ops.criss_cross_attention import (
    CrissCrossAttention as CrissCrossAttention,
    criss_cross_attention as criss_cross_attention,
)
from arrayvision.torch_bridge.ops.deform_roi_pool import (
    DeformRoIPool as DeformRoIPool,
    DeformRoIPoolPack as DeformRoIPoolPack,
    ModulatedDeformRoIPoolPack as ModulatedDeformRoIPoolPack,
    deform_roi_pool as deform_roi_pool,
)
from arrayvision.torch_bridge.ops.diff_iou_rotated import (
    diff_iou_rotated_2d as diff_iou_rotated_2d,
    diff_iou_rotated_3d as diff_iou_rotated_3d,
)
from arrayvision.torch_bridge.ops.focal_loss import (
    SigmoidFocalLoss as SigmoidFocalLoss,
    SoftmaxFocalLoss as SoftmaxFocalLoss,
    sigmoid_focal_loss as sigmoid_focal_loss,
    softmax_focal_loss as softmax_focal_loss,
)
from arrayvision.torch_bridge.ops.info import (
    get_compiler_version as get_compiler_version,
    get_compiling_cuda_version as get_compiling_cuda_version,
)
from arrayvision.torch_bridge.ops.masked_conv2d import MaskedConv2d as MaskedConv2d, masked_conv2d as masked_conv2d
from arrayvision.torch_bridge.ops.min_area_polygons import min_area_polygons as min_area_polygons
from arrayvision.torch_bridge.ops.point_sample import (
    SimpleRoIAlign as SimpleRoIAlign,
    abs_img_point_to_rel_img_point as abs_img_point_to_rel_img_point,
    bilinear_grid_sample as bilinear_grid_sample,
    denormalize as denormalize,
    generate_grid as generate_grid,
    get_shape_from_feature_map as get_shape_from_feature_map,
    normalize as normalize,
    point_sample as point_sample,
    rel_roi_point_to_abs_img_point as rel_roi_point_to_abs_img_point,
    rel_roi_point_to_rel_img_point as rel_roi_point_to_rel_img_point,
)
from arrayvision.torch_bridge.ops.points_in_polygons import points_in_polygons as points_in_polygons
from arrayvision.torch_bridge.ops.prroi_pool import PrRoIPool as PrRoIPool, prroi_pool as prroi_pool
from arrayvision.torch_bridge.ops.psa_mask import PSAMask as PSAMask, psa_mask as psa_mask
from arrayvision.torch_bridge.ops.roi_align import RoIAlign as RoIAlign, roi_align as roi_align
from arrayvision.torch_bridge.ops.roi_align_rotated import (
    RiRoIAlignRotated as RiRoIAlignRotated,
    RoIAlignRotated as RoIAlignRotated,
    riroi_align_rotated as riroi_align_rotated,
    roi_align_rotated as roi_align_rotated,
)
from arrayvision.torch_bridge.ops.roi_pool import RoIPool as RoIPool, roi_pool as roi_pool
from arrayvision.torch_bridge.ops.rotated_feature_align import rotated_feature_align as rotated_feature_align
from arrayvision.torch_bridge.ops.sync_bn import SyncBatchNorm as SyncBatchNorm
from arrayvision.torch_bridge.ops.text_growth import contour_expand as contour_expand, pixel_group as pixel_group
from arrayvision.torch_bridge.ops.tin_shift import TINShift as TINShift, tin_shift as tin_shift

__all__ = operators.torch_names()
_DEPRECATED = ("Conv2d", "ConvTranspose2d", "Linear", "MaxPool2d")  # torch's, which older code imports from here


def __getattr__(name):
    if name.removesuffix("_deprecated") in _DEPRECATED:
        return getattr(importlib.import_module(f"{__name__}.deprecated_wrappers"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _older(name, function):
    """A class by which older code calls an operator: its `apply` is the function."""
    return type(name, (), {"apply": staticmethod(function), "__doc__": f"`apply` is `{function.__name__}`."})


for _row in operators.OPERATORS:
    for _name in _row.older:
        globals()[_name] = _older(_name, globals()[_row.name])
