"""The operators: functions on arrays of NumPy, CuPy, torch, JAX or any library with DLPack."""

from arrayvision import operators
from arrayvision.ops.active_rotated_filter import (
    active_rotated_filter as active_rotated_filter,
    active_rotated_filter_backward as active_rotated_filter_backward,
)
from arrayvision.ops.assign_score_withk import (
    assign_score_withk as assign_score_withk,
    assign_score_withk_backward as assign_score_withk_backward,
)
from arrayvision.ops.ball_query import ball_query as ball_query
from arrayvision.ops.bbox_overlaps import bbox_overlaps as bbox_overlaps
from arrayvision.ops.bezier_align import bezier_align as bezier_align, bezier_align_backward as bezier_align_backward
from arrayvision.ops.bias_act import (
    bias_act as bias_act,
    bias_act_backward as bias_act_backward,
    fused_bias_leakyrelu as fused_bias_leakyrelu,
)
from arrayvision.ops.border_align import (
    border_align as border_align,
    border_align_backward as border_align_backward,
    border_align_with_argmax as border_align_with_argmax,
)
from arrayvision.ops.boxes_in_space import (
    boxes_iou3d as boxes_iou3d,
    boxes_iou_bev as boxes_iou_bev,
    boxes_overlap_bev as boxes_overlap_bev,
    nms3d as nms3d,
    nms3d_normal as nms3d_normal,
    nms_bev as nms_bev,
    nms_normal_bev as nms_normal_bev,
)
from arrayvision.ops.carafe import (
    carafe as carafe,
    carafe_features_backward as carafe_features_backward,
    carafe_masks_backward as carafe_masks_backward,
    carafe_naive as carafe_naive,
)
from arrayvision.ops.chamfer_distance import (
    chamfer_distance as chamfer_distance,
    chamfer_distance_backward as chamfer_distance_backward,
)
from arrayvision.ops.convex_iou import convex_giou as convex_giou, convex_iou as convex_iou
from arrayvision.ops.corner_pool import (
    corner_pool as corner_pool,
    corner_pool_backward as corner_pool_backward,
    corner_pool_tangent as corner_pool_tangent,
)
from arrayvision.ops.correlation import correlation as correlation, correlation_backward as correlation_backward
from arrayvision.ops.criss_cross_attention import (
    criss_cross_attention as criss_cross_attention,
    criss_cross_attention_backward as criss_cross_attention_backward,
    criss_cross_attention_with_logsumexp as criss_cross_attention_with_logsumexp,
)
from arrayvision.ops.deform_conv import (
    deform_conv2d as deform_conv2d,
    deform_conv2d_backward as deform_conv2d_backward,
    modulated_deform_conv2d as modulated_deform_conv2d,
    modulated_deform_conv2d_backward as modulated_deform_conv2d_backward,
)
from arrayvision.ops.deform_roi_pool import (
    deform_roi_pool as deform_roi_pool,
    deform_roi_pool_backward as deform_roi_pool_backward,
)
from arrayvision.ops.diff_iou_rotated import (
    diff_iou_rotated_2d as diff_iou_rotated_2d,
    diff_iou_rotated_2d_backward as diff_iou_rotated_2d_backward,
    diff_iou_rotated_3d as diff_iou_rotated_3d,
    diff_iou_rotated_3d_backward as diff_iou_rotated_3d_backward,
)
from arrayvision.ops.dynamic_scatter import (
    dynamic_scatter as dynamic_scatter,
    dynamic_scatter_backward as dynamic_scatter_backward,
    dynamic_scatter_with_points as dynamic_scatter_with_points,
)
from arrayvision.ops.filtered_lrelu import (
    filtered_lrelu as filtered_lrelu,
    filtered_lrelu_backward as filtered_lrelu_backward,
    filtered_lrelu_tangent as filtered_lrelu_tangent,
)
from arrayvision.ops.focal_loss import (
    sigmoid_focal_loss as sigmoid_focal_loss,
    sigmoid_focal_loss_backward as sigmoid_focal_loss_backward,
    softmax_focal_loss as softmax_focal_loss,
    softmax_focal_loss_backward as softmax_focal_loss_backward,
)
from arrayvision.ops.furthest_point_sample import (
    furthest_point_sample as furthest_point_sample,
    furthest_point_sample_with_dist as furthest_point_sample_with_dist,
)
from arrayvision.ops.gather_points import (
    gather_points as gather_points,
    gather_points_backward as gather_points_backward,
    grouping_operation as grouping_operation,
    grouping_operation_backward as grouping_operation_backward,
)
from arrayvision.ops.knn import knn as knn
from arrayvision.ops.masked_conv2d import masked_conv2d as masked_conv2d
from arrayvision.ops.min_area_polygons import min_area_polygons as min_area_polygons
from arrayvision.ops.multi_scale_deformable_attn import (
    multi_scale_deformable_attn as multi_scale_deformable_attn,
    multi_scale_deformable_attn_backward as multi_scale_deformable_attn_backward,
)
from arrayvision.ops.nms import batched_nms as batched_nms, nms as nms, nms_match as nms_match
from arrayvision.ops.point_sample import (
    abs_img_point_to_rel_img_point as abs_img_point_to_rel_img_point,
    denormalize as denormalize,
    normalize as normalize,
    point_sample as point_sample,
    rel_roi_point_to_abs_img_point as rel_roi_point_to_abs_img_point,
    rel_roi_point_to_rel_img_point as rel_roi_point_to_rel_img_point,
)
from arrayvision.ops.points_in_boxes import (
    points_in_boxes_all as points_in_boxes_all,
    points_in_boxes_cpu as points_in_boxes_cpu,
    points_in_boxes_part as points_in_boxes_part,
)
from arrayvision.ops.points_in_polygons import points_in_polygons as points_in_polygons
from arrayvision.ops.points_sampler import calc_square_dist as calc_square_dist
from arrayvision.ops.prroi_pool import prroi_pool as prroi_pool, prroi_pool_backward as prroi_pool_backward
from arrayvision.ops.psa_mask import psa_mask as psa_mask, psa_mask_backward as psa_mask_backward
from arrayvision.ops.riroi_align_rotated import (
    riroi_align_rotated as riroi_align_rotated,
    riroi_align_rotated_backward as riroi_align_rotated_backward,
)
from arrayvision.ops.roi_align import (
    roi_align as roi_align,
    roi_align_backward as roi_align_backward,
    roi_align_max_backward as roi_align_max_backward,
    roi_align_with_argmax as roi_align_with_argmax,
)
from arrayvision.ops.roi_align_rotated import (
    roi_align_rotated as roi_align_rotated,
    roi_align_rotated_backward as roi_align_rotated_backward,
)
from arrayvision.ops.roi_pool import (
    roi_pool as roi_pool,
    roi_pool_backward as roi_pool_backward,
    roi_pool_with_argmax as roi_pool_with_argmax,
)
from arrayvision.ops.roiaware_pool3d import (
    roiaware_pool3d as roiaware_pool3d,
    roiaware_pool3d_backward as roiaware_pool3d_backward,
    roiaware_pool3d_with_points as roiaware_pool3d_with_points,
)
from arrayvision.ops.roipoint_pool3d import roipoint_pool3d as roipoint_pool3d
from arrayvision.ops.rotated_boxes import (
    box_iou_quadri as box_iou_quadri,
    box_iou_rotated as box_iou_rotated,
    nms_quadri as nms_quadri,
    nms_rotated as nms_rotated,
)
from arrayvision.ops.rotated_feature_align import (
    rotated_feature_align as rotated_feature_align,
    rotated_feature_align_backward as rotated_feature_align_backward,
)
from arrayvision.ops.soft_nms import soft_nms as soft_nms
from arrayvision.ops.sparse_conv import (
    sparse_conv as sparse_conv,
    sparse_conv_backward as sparse_conv_backward,
    sparse_conv_by_features as sparse_conv_by_features,
    sparse_conv_by_weight as sparse_conv_by_weight,
    sparse_conv_pairs as sparse_conv_pairs,
    sparse_max_pool as sparse_max_pool,
    sparse_max_pool_backward as sparse_max_pool_backward,
    sparse_max_pool_with_argmax as sparse_max_pool_with_argmax,
)
from arrayvision.ops.text_growth import (
    contour_expand as contour_expand,
    contour_expand_labels as contour_expand_labels,
    pixel_group as pixel_group,
    pixel_group_labels as pixel_group_labels,
)
from arrayvision.ops.three_interpolate import (
    three_interpolate as three_interpolate,
    three_interpolate_backward as three_interpolate_backward,
    three_nn as three_nn,
)
from arrayvision.ops.tin_shift import tin_shift as tin_shift
from arrayvision.ops.upfirdn2d import (
    downsample2d as downsample2d,
    filter2d as filter2d,
    upfirdn2d as upfirdn2d,
    upfirdn2d_backward as upfirdn2d_backward,
    upsample2d as upsample2d,
)
from arrayvision.ops.voxelization import voxelization as voxelization

__all__ = operators.array_names()
