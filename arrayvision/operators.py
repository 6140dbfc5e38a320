"""The table of operators: one row each.

What is public in `arrayvision.ops` and `arrayvision.torch_bridge.ops`, the names by which older code calls an operator's
gradient, the README's table, what `arrayvision warmup` compiles and what the tests cover all follow from these rows.
"""

from __future__ import annotations

from typing import NamedTuple


class Operator(NamedTuple):
    """A row.

    Attributes
    ----------
    name : str
        Of the function in `arrayvision.ops` and in `arrayvision.torch_bridge.ops`.
    file : str
        Where it is: ``ops/FILE.py``, ``cpu/FILE.py``, ``cuda/FILE.cu`` and ``.py``, ``torch_bridge/ops/FILE.py``.
    gradients : {"", "once", "any"}
        How many times its result can be differentiated; "" for not at all.
    does : str
        A line for the README.
    parts : tuple of str
        Further functions of `arrayvision.ops` that belong to it: its gradient, or what that needs.
    modules : tuple of str
        Further names of `arrayvision.torch_bridge.ops`.
    older : tuple of str
        Names of classes whose `apply` older code calls: ``RoIAlignFunction.apply(...)`` is ``roi_align(...)``.
    """

    name: str
    file: str
    gradients: str
    does: str
    parts: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    older: tuple[str, ...] = ()


def _row(name, file, gradients, does, parts="", modules="", older=""):
    """Parts by what follows the name: "backward" for roi_align_backward."""
    parts = tuple(f"{name}_{part}" for part in parts.split())
    return Operator(name, file, gradients, does, parts, tuple(modules.split()), tuple(older.split()))


OPERATORS = (
    _row(
        "active_rotated_filter", "active_rotated_filter", "any", "filters in several orientations", "backward",
        "", "ActiveRotatedFilterFunction",
    ),
    _row("batched_nms", "nms", "any", "suppression within classes or images, of any kind below"),
    _row("bbox_overlaps", "bbox_overlaps", "", "IoU of axis-aligned boxes"),
    _row(
        "bezier_align", "bezier_align", "any", "pooling between two Bezier curves",
        "backward", "BezierAlign", "BezierAlignFunction",
    ),
    _row("bias_act", "bias_act", "any", "a bias and one of nine activations in one pass", "backward"),
    _row(
        "border_align", "border_align", "once", "maxima along the borders of boxes",
        "backward with_argmax", "BorderAlign", "BorderAlignFunction",
    ),
    _row("box_iou_quadri", "rotated_boxes", "", "IoU of quadrilaterals, convex or not"),
    _row("box_iou_rotated", "rotated_boxes", "", "IoU of rotated boxes, exact for needles and equal boxes too"),
    _row(
        "carafe", "carafe", "any", "maps upsampled by weights given for each pixel",
        "features_backward masks_backward", "CARAFE CARAFEPack", "CARAFEFunction",
    ),
    _row("carafe_naive", "carafe", "any", "the same, by an older name", "", "CARAFENaive", "CARAFENaiveFunction"),
    _row("contour_expand", "text_growth", "", "kernels of text grown over a mask", "labels"),
    _row("convex_giou", "convex_iou", "once", "generalized IoU of the hulls of 9 points and quadrilaterals, and its gradient"),
    _row("convex_iou", "convex_iou", "", "IoU of the hulls of 9 points and quadrilaterals"),
    _row("corner_pool", "corner_pool", "any", "running maxima towards corners", "backward tangent", "CornerPool"),
    _row(
        "correlation", "correlation", "any", "products of two maps over displacements",
        "backward", "Correlation", "CorrelationFunction",
    ),
    _row(
        "criss_cross_attention", "criss_cross_attention", "once", "attention along columns and rows",
        "backward with_logsumexp", "CrissCrossAttention",
    ),
    _row(
        "deform_conv2d", "deform_conv", "once", "convolution whose taps are moved by offsets",
        "backward", "DeformConv2d DeformConv2dPack SAConv2d", "DeformConv2dFunction",
    ),
    _row(
        "deform_roi_pool", "deform_roi_pool", "once", "pooling of regions whose bins are moved by offsets",
        "backward", "DeformRoIPool DeformRoIPoolPack ModulatedDeformRoIPoolPack", "DeformRoIPoolFunction",
    ),
    _row(
        "diff_iou_rotated_2d", "diff_iou_rotated", "once", "IoU of rotated boxes, row by row, differentiable in both",
        "backward",
    ),
    _row("diff_iou_rotated_3d", "diff_iou_rotated", "once", "the same of upright boxes in space", "backward"),
    _row("downsample2d", "upfirdn2d", "any", "images filtered and reduced"),
    _row("filter2d", "upfirdn2d", "any", "images filtered, in their size"),
    _row(
        "filtered_lrelu", "filtered_lrelu", "any", "a leaky ReLU between an upsampling and a downsampling filter",
        "backward tangent",
    ),
    _row(
        "fused_bias_leakyrelu", "bias_act", "any", "a bias for each channel and a leaky ReLU in one pass",
        "", "FusedBiasLeakyReLU", "FusedBiasLeakyReLUFunction",
    ),
    _row(
        "dynamic_scatter", "dynamic_scatter", "once", "mean, maximum or sum of the points of each voxel",
        "backward with_points", "DynamicScatter", "_DynamicScatter",
    ),
    _row(
        "masked_conv2d", "masked_conv2d", "any", "a convolution where a mask says so",
        "", "MaskedConv2d", "MaskedConv2dFunction",
    ),
    _row("min_area_polygons", "min_area_polygons", "", "the smallest rectangles round 9 points"),
    _row(
        "modulated_deform_conv2d", "deform_conv", "once", "the same, its samples weighed by a mask",
        "backward", "ModulatedDeformConv2d ModulatedDeformConv2dPack", "ModulatedDeformConv2dFunction",
    ),
    _row(
        "multi_scale_deformable_attn", "multi_scale_deformable_attn", "once", "attention that samples several levels' maps",
        "backward", "MultiScaleDeformableAttention multi_scale_deformable_attn_pytorch", "MultiScaleDeformableAttnFunction",
    ),
    _row("nms", "nms", "any", "non-maximum suppression"),
    _row("nms_match", "nms", "", "suppression that tells which box suppressed which"),
    _row("nms_quadri", "rotated_boxes", "any", "suppression of quadrilaterals"),
    _row("nms_rotated", "rotated_boxes", "any", "suppression of rotated boxes"),
    _row("pixel_group", "text_growth", "", "kernels of text grown to pixels with like embeddings", "labels"),
    _row("points_in_polygons", "points_in_polygons", "", "which points lie inside which quadrilaterals"),
    _row(
        "prroi_pool", "prroi_pool", "once", "pooling by exact integrals, differentiable in the regions too",
        "backward", "PrRoIPool", "PrRoIPoolFunction",
    ),
    _row(
        "psa_mask", "psa_mask", "any", "attention masks of pixels laid over the map",
        "backward", "PSAMask", "PSAMaskFunction",
    ),
    _row(
        "riroi_align_rotated", "riroi_align_rotated", "any", "pooling of rotated regions of oriented features",
        "backward", "RiRoIAlignRotated", "RiRoIAlignRotatedFunction",
    ),
    _row(
        "roi_align", "roi_align", "any", "pooling of regions by bilinear samples, average or maximum",
        "backward with_argmax max_backward", "RoIAlign", "RoIAlignFunction",
    ),
    _row(
        "roi_align_rotated", "roi_align_rotated", "any", "the same of rotated regions",
        "backward", "RoIAlignRotated", "RoIAlignRotatedFunction",
    ),
    _row(
        "roi_pool", "roi_pool", "once", "maxima of regions rounded to pixels",
        "backward with_argmax", "RoIPool", "RoIPoolFunction",
    ),
    _row(
        "rotated_feature_align", "rotated_feature_align", "any", "features moved to where refined boxes are",
        "backward", "", "RotatedFeatureAlignFunction",
    ),
    _row(
        "roiaware_pool3d", "roiaware_pool3d", "once", "points in boxes, pooled into the cells of each box",
        "backward with_points", "RoIAwarePool3d", "RoIAwarePool3dFunction",
    ),
    _row(
        "roipoint_pool3d", "roipoint_pool3d", "", "as many points of each box as asked for, with their features", "",
        "RoIPointPool3d", "RoIPointPool3dFunction",
    ),
    _row(
        "sigmoid_focal_loss", "focal_loss", "once", "focal loss of independent classifiers",
        "backward", "SigmoidFocalLoss", "SigmoidFocalLossFunction",
    ),
    _row("soft_nms", "soft_nms", "any", "suppression that lowers scores: naive, linear, gaussian"),
    _row(
        "softmax_focal_loss", "focal_loss", "once", "focal loss of one classifier among several classes",
        "backward", "SoftmaxFocalLoss", "SoftmaxFocalLossFunction",
    ),
    _row(
        "sparse_conv", "sparse_conv", "any", "convolution of features at a few sites of a grid", "backward by_features by_weight",
        "RemoveGrid SparseConv2d SparseConv3d SparseConv4d SparseConvTensor SparseConvTranspose2d SparseConvTranspose3d "
        "SparseConvolution SparseInverseConv2d SparseInverseConv3d SparseModule SparseSequential SubMConv2d SubMConv3d SubMConv4d "
        "ToDense scatter_nd",
    ),
    _row("sparse_conv_pairs", "sparse_conv", "", "which sites a sparse convolution's result has, and what each is made of"),
    _row(
        "sparse_max_pool", "sparse_conv", "once", "maxima of features at a few sites of a grid",
        "backward with_argmax", "SparseMaxPool SparseMaxPool2d SparseMaxPool3d",
    ),
    _row("tin_shift", "tin_shift", "any", "groups of channels moved along time", "", "TINShift", "TINShiftFunction"),
    _row("upfirdn2d", "upfirdn2d", "any", "images upsampled, padded, filtered and downsampled in one pass", "backward"),
    _row("upsample2d", "upfirdn2d", "any", "images enlarged and filtered"),
    _row("three_nn", "three_interpolate", "", "the three nearest points of each point", older="ThreeNN"),
    _row(
        "three_interpolate", "three_interpolate", "any", "features interpolated from three points each", "backward",
        older="ThreeInterpolate",
    ),
    _row("knn", "knn", "", "the k nearest points of each point", older="KNN"),
    _row(
        "chamfer_distance", "chamfer_distance", "once", "distances of each point from the nearest of another cloud, both ways",
        "backward", older="ChamferDistanceFunction",
    ),
    _row("boxes_iou3d", "boxes_in_space", "", "IoU of boxes in space"),
    _row("boxes_iou_bev", "boxes_in_space", "", "IoU of turned rectangles, seen from above"),
    _row("boxes_overlap_bev", "boxes_in_space", "", "areas that boxes in space share, seen from above"),
    _row("nms3d", "boxes_in_space", "", "suppression of boxes in space by their IoU seen from above"),
    _row("nms3d_normal", "boxes_in_space", "", "the same of boxes along the axes"),
    _row("nms_bev", "boxes_in_space", "", "suppression of turned rectangles, seen from above"),
    _row("nms_normal_bev", "boxes_in_space", "", "the same of rectangles along the axes"),
    _row("points_in_boxes_all", "points_in_boxes", "", "which points lie in which boxes in space"),
    _row("points_in_boxes_cpu", "points_in_boxes", "", "the same, by an older name"),
    _row("points_in_boxes_part", "points_in_boxes", "", "the first box in which each point lies"),
    _row("ball_query", "ball_query", "", "the first points within balls", older="BallQuery"),
    _row("gather_points", "gather_points", "any", "features of chosen points", "backward", older="GatherPoints"),
    _row(
        "grouping_operation", "gather_points", "any", "features of groups of points",
        "backward", "QueryAndGroup GroupAll", "GroupingOperation",
    ),
    _row(
        "assign_score_withk", "assign_score_withk", "once", "sums of neighbours' features, weighted by scores", "backward",
        older="AssignScoreWithK",
    ),
    _row(
        "furthest_point_sample", "furthest_point_sample", "", "points that cover a cloud, each the farthest from those before",
        "", "PointsSampler DFPSSampler FFPSSampler FSSampler get_sampler_cls", "FurthestPointSampling",
    ),
    _row(
        "furthest_point_sample_with_dist", "furthest_point_sample", "", "the same by given distances",
        older="FurthestPointSamplingWithDist",
    ),
    _row("voxelization", "voxelization", "", "points grouped by the voxels of a grid", "", "Voxelization", "_Voxelization"),
)  # fmt: skip

# Functions without kernels of their own: the arrays' library computes them.
POINTS = (
    "abs_img_point_to_rel_img_point", "calc_square_dist", "denormalize", "normalize", "point_sample", "rel_roi_point_to_abs_img_point",
    "rel_roi_point_to_rel_img_point",
)  # fmt: skip
CONVOLUTIONS = ("conv2d", "conv_transpose2d", "no_weight_gradients")
# Of tensors alone, made of torch's operations; and what tells how kernels are compiled.
ON_TENSORS = (
    "SimpleRoIAlign", "SyncBatchNorm", "bilinear_grid_sample", "generate_grid", "get_compiler_version",
    "get_compiling_cuda_version", "get_shape_from_feature_map",
)  # fmt: skip


def array_names() -> list[str]:
    """What is public in `arrayvision.ops`."""
    return sorted({*POINTS, *(name for row in OPERATORS for name in (row.name, *row.parts))})


def torch_names() -> list[str]:
    """What is public in `arrayvision.torch_bridge.ops`."""
    rows = (name for row in OPERATORS for name in (row.name, *row.modules, *row.older))
    return sorted({*CONVOLUTIONS, *ON_TENSORS, *POINTS, *rows})
