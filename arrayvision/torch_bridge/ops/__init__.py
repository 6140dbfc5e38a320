"""The operators as differentiable functions of torch tensors, and their modules.

Results in the CPU's memory can't be resized (``resize_``, or ``out=`` of another size); their ``clone()`` can.
"""

import importlib

from arrayvision import operators
from arrayvision.torch_bridge.ops.active_rotated_filter import active_rotated_filter as active_rotated_filter
from arrayvision.torch_bridge.ops.assign_score_withk import assign_score_withk as assign_score_withk
from arrayvision.torch_bridge.ops.ball_query import ball_query as ball_query
from arrayvision.torch_bridge.ops.bezier_align import BezierAlign as BezierAlign, bezier_align as bezier_align
from arrayvision.torch_bridge.ops.bias_act import (
    FusedBiasLeakyReLU as FusedBiasLeakyReLU,
    bias_act as bias_act,
    fused_bias_leakyrelu as fused_bias_leakyrelu,
)
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
from arrayvision.torch_bridge.ops.boxes_in_space import (
    boxes_iou3d as boxes_iou3d,
    boxes_iou_bev as boxes_iou_bev,
    boxes_overlap_bev as boxes_overlap_bev,
    nms3d as nms3d,
    nms3d_normal as nms3d_normal,
    nms_bev as nms_bev,
    nms_normal_bev as nms_normal_bev,
)
from arrayvision.torch_bridge.ops.carafe import (
    CARAFE as CARAFE,
    CARAFENaive as CARAFENaive,
    CARAFEPack as CARAFEPack,
    carafe as carafe,
    carafe_naive as carafe_naive,
)
from arrayvision.torch_bridge.ops.chamfer_distance import chamfer_distance as chamfer_distance
from arrayvision.torch_bridge.ops.conv2d_gradfix import (
    conv2d as conv2d,
    conv_transpose2d as conv_transpose2d,
    no_weight_gradients as no_weight_gradients,
)
from arrayvision.torch_bridge.ops.convex_iou import convex_giou as convex_giou, convex_iou as convex_iou
from arrayvision.torch_bridge.ops.corner_pool import CornerPool as CornerPool, corner_pool as corner_pool
from arrayvision.torch_bridge.ops.correlation import Correlation as Correlation, correlation as correlation
from arrayvision.torch_bridge.ops.criss_cross_attention import (
    CrissCrossAttention as CrissCrossAttention,
    criss_cross_attention as criss_cross_attention,
)
from arrayvision.torch_bridge.ops.deform_conv import (
    DeformConv2d as DeformConv2d,
    DeformConv2dPack as DeformConv2dPack,
    ModulatedDeformConv2d as ModulatedDeformConv2d,
    ModulatedDeformConv2dPack as ModulatedDeformConv2dPack,
    deform_conv2d as deform_conv2d,
    modulated_deform_conv2d as modulated_deform_conv2d,
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
from arrayvision.torch_bridge.ops.dynamic_scatter import (
    DynamicScatter as DynamicScatter,
    dynamic_scatter as dynamic_scatter,
)
from arrayvision.torch_bridge.ops.filtered_lrelu import filtered_lrelu as filtered_lrelu
from arrayvision.torch_bridge.ops.focal_loss import (
    SigmoidFocalLoss as SigmoidFocalLoss,
    SoftmaxFocalLoss as SoftmaxFocalLoss,
    sigmoid_focal_loss as sigmoid_focal_loss,
    softmax_focal_loss as softmax_focal_loss,
)
from arrayvision.torch_bridge.ops.furthest_point_sample import (
    furthest_point_sample as furthest_point_sample,
    furthest_point_sample_with_dist as furthest_point_sample_with_dist,
)
from arrayvision.torch_bridge.ops.gather_points import (
    gather_points as gather_points,
    grouping_operation as grouping_operation,
)
from arrayvision.torch_bridge.ops.group_points import GroupAll as GroupAll, QueryAndGroup as QueryAndGroup
from arrayvision.torch_bridge.ops.info import (
    get_compiler_version as get_compiler_version,
    get_compiling_cuda_version as get_compiling_cuda_version,
)
from arrayvision.torch_bridge.ops.knn import knn as knn
from arrayvision.torch_bridge.ops.masked_conv2d import MaskedConv2d as MaskedConv2d, masked_conv2d as masked_conv2d
from arrayvision.torch_bridge.ops.min_area_polygons import min_area_polygons as min_area_polygons
from arrayvision.torch_bridge.ops.multi_scale_deformable_attn import (
    _in_older_order,
    multi_scale_deformable_attn as multi_scale_deformable_attn,
    multi_scale_deformable_attn_pytorch as multi_scale_deformable_attn_pytorch,
)
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
from arrayvision.torch_bridge.ops.points_in_boxes import (
    points_in_boxes_all as points_in_boxes_all,
    points_in_boxes_cpu as points_in_boxes_cpu,
    points_in_boxes_part as points_in_boxes_part,
)
from arrayvision.torch_bridge.ops.points_in_polygons import points_in_polygons as points_in_polygons
from arrayvision.torch_bridge.ops.points_sampler import (
    DFPSSampler as DFPSSampler,
    FFPSSampler as FFPSSampler,
    FSSampler as FSSampler,
    PointsSampler as PointsSampler,
    calc_square_dist as calc_square_dist,
    get_sampler_cls as get_sampler_cls,
)
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
from arrayvision.torch_bridge.ops.roiaware_pool3d import (
    RoIAwarePool3d as RoIAwarePool3d,
    roiaware_pool3d as roiaware_pool3d,
)
from arrayvision.torch_bridge.ops.roipoint_pool3d import (
    RoIPointPool3d as RoIPointPool3d,
    roipoint_pool3d as roipoint_pool3d,
)
from arrayvision.torch_bridge.ops.rotated_feature_align import rotated_feature_align as rotated_feature_align
from arrayvision.torch_bridge.ops.sparse_conv import (
    SparseConv2d as SparseConv2d,
    SparseConv3d as SparseConv3d,
    SparseConv4d as SparseConv4d,
    SparseConvolution as SparseConvolution,
    SparseConvTranspose2d as SparseConvTranspose2d,
    SparseConvTranspose3d as SparseConvTranspose3d,
    SparseInverseConv2d as SparseInverseConv2d,
    SparseInverseConv3d as SparseInverseConv3d,
    SubMConv2d as SubMConv2d,
    SubMConv3d as SubMConv3d,
    SubMConv4d as SubMConv4d,
)
from arrayvision.torch_bridge.ops.sparse_functional import (
    sparse_conv as sparse_conv,
    sparse_conv_pairs as sparse_conv_pairs,
    sparse_max_pool as sparse_max_pool,
)
from arrayvision.torch_bridge.ops.sparse_modules import (
    RemoveGrid as RemoveGrid,
    SparseModule as SparseModule,
    SparseSequential as SparseSequential,
    ToDense as ToDense,
)
from arrayvision.torch_bridge.ops.sparse_pool import (
    SparseMaxPool as SparseMaxPool,
    SparseMaxPool2d as SparseMaxPool2d,
    SparseMaxPool3d as SparseMaxPool3d,
)
from arrayvision.torch_bridge.ops.sparse_structure import SparseConvTensor as SparseConvTensor, scatter_nd as scatter_nd
from arrayvision.torch_bridge.ops.sync_bn import SyncBatchNorm as SyncBatchNorm
from arrayvision.torch_bridge.ops.text_growth import contour_expand as contour_expand, pixel_group as pixel_group
from arrayvision.torch_bridge.ops.three_interpolate import three_interpolate as three_interpolate, three_nn as three_nn
from arrayvision.torch_bridge.ops.tin_shift import TINShift as TINShift, tin_shift as tin_shift
from arrayvision.torch_bridge.ops.upfirdn2d import (
    downsample2d as downsample2d,
    filter2d as filter2d,
    upfirdn2d as upfirdn2d,
    upsample2d as upsample2d,
)
from arrayvision.torch_bridge.ops.voxelization import Voxelization as Voxelization, voxelization as voxelization

__all__ = operators.torch_names()
_DEPRECATED = ("Conv2d", "ConvTranspose2d", "Linear", "MaxPool2d")  # torch's, which older code imports from here


_LAYERS = {
    "MultiScaleDeformableAttention": "deformable_attention",
    "SAConv2d": "saconv",
}  # modules that are built of `torch_bridge.cnn`, which is imported when one is used


def __getattr__(name):
    if name in _LAYERS:
        return getattr(importlib.import_module(f"{__name__}.{_LAYERS[name]}"), name)
    if name.removesuffix("_deprecated") in _DEPRECATED:
        return getattr(importlib.import_module(f"{__name__}.deprecated_wrappers"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _older(name, function):
    """A class by which older code calls an operator: its `apply` is the function."""
    return type(name, (), {"apply": staticmethod(function), "__doc__": f"`apply` is `{function.__name__}`."})


_ORDERED = {"MultiScaleDeformableAttnFunction": _in_older_order}  # whose arguments come in another order there

for _row in operators.OPERATORS:
    for _name in _row.older:
        globals()[_name] = _older(_name, _ORDERED.get(_name, globals()[_row.name]))
