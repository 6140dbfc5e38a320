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
    _row(
        "border_align", "border_align", "once", "maxima along the borders of boxes",
        "backward with_argmax", "BorderAlign", "BorderAlignFunction",
    ),
    _row("box_iou_quadri", "rotated_boxes", "", "IoU of quadrilaterals, convex or not"),
    _row("box_iou_rotated", "rotated_boxes", "", "IoU of rotated boxes, exact for needles and equal boxes too"),
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
        "deform_roi_pool", "deform_roi_pool", "once", "pooling of regions whose bins are moved by offsets",
        "backward", "DeformRoIPool DeformRoIPoolPack ModulatedDeformRoIPoolPack", "DeformRoIPoolFunction",
    ),
    _row(
        "diff_iou_rotated_2d", "diff_iou_rotated", "once", "IoU of rotated boxes, row by row, differentiable in both",
        "backward",
    ),
    _row("diff_iou_rotated_3d", "diff_iou_rotated", "once", "the same of upright boxes in space", "backward"),
    _row(
        "masked_conv2d", "masked_conv2d", "any", "a convolution where a mask says so",
        "", "MaskedConv2d", "MaskedConv2dFunction",
    ),
    _row("min_area_polygons", "min_area_polygons", "", "the smallest rectangles round 9 points"),
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
    _row("rotated_feature_align", "rotated_feature_align", "any", "features moved to where refined boxes are", "backward"),
    _row(
        "sigmoid_focal_loss", "focal_loss", "once", "focal loss of independent classifiers",
        "backward", "SigmoidFocalLoss", "SigmoidFocalLossFunction",
    ),
    _row("soft_nms", "soft_nms", "any", "suppression that lowers scores: naive, linear, gaussian"),
    _row(
        "softmax_focal_loss", "focal_loss", "once", "focal loss of one classifier among several classes",
        "backward", "SoftmaxFocalLoss", "SoftmaxFocalLossFunction",
    ),
    _row("tin_shift", "tin_shift", "any", "groups of channels moved along time", "", "TINShift", "TINShiftFunction"),
)  # fmt: skip

# Functions without kernels of their own: the arrays' library computes them.
POINTS = (
    "abs_img_point_to_rel_img_point", "denormalize", "normalize", "point_sample", "rel_roi_point_to_abs_img_point",
    "rel_roi_point_to_rel_img_point",
)  # fmt: skip
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
    return sorted({*POINTS, *ON_TENSORS, *rows})
