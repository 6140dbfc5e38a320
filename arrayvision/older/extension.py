"""Functions of mmcv's compiled extension that projects call themselves: `ext_loader.load_ext("_ext", [...])`.

Names, arguments and their order are mmcv's. Results are written to the tensors that are given for them, and no function
records gradients: projects call them inside autograd functions of their own. Buffers that the kernels here don't need are
left as they are.
"""

from __future__ import annotations

from typing import Any

from arrayvision import ops
from arrayvision.torch_bridge import Tensor, torch  # whose error says which extra is missing

quiet = torch.no_grad()
MODES = ("iou", "iof")


def _fill(out: Tensor, value: Any) -> None:
    out.copy_(value.reshape(out.shape))


def _falling(boxes: Tensor) -> Tensor:
    """Scores of boxes that are sorted already."""
    return torch.arange(len(boxes), 0, -1, device=boxes.device, dtype=torch.float64)


# ---- attention, and deformable convolutions --------------------------------------------------------------------------
@quiet
def ms_deform_attn_forward(
    value: Tensor, spatial_shapes: Tensor, level_start_index: Tensor, sampling_loc: Tensor, attn_weight: Tensor,
    im2col_step: int,
) -> Tensor:  # fmt: skip
    """`multi_scale_deformable_attn`."""
    return ops.multi_scale_deformable_attn(value, spatial_shapes, sampling_loc, attn_weight, level_start_index)


@quiet
def ms_deform_attn_backward(
    value: Tensor, spatial_shapes: Tensor, level_start_index: Tensor, sampling_loc: Tensor, attn_weight: Tensor,
    grad_output: Tensor, grad_value: Tensor, grad_sampling_loc: Tensor, grad_attn_weight: Tensor, im2col_step: int,
) -> None:  # fmt: skip
    """Its gradients, added to what `grad_value`, `grad_sampling_loc` and `grad_attn_weight` hold."""
    found = ops.multi_scale_deformable_attn_backward(
        grad_output, value, spatial_shapes, sampling_loc, attn_weight, level_start_index
    )
    for out, grad in zip((grad_value, grad_sampling_loc, grad_attn_weight), found, strict=True):
        out.add_(grad.reshape(out.shape))


@quiet
def deform_conv_forward(
    input: Tensor, weight: Tensor, offset: Tensor, output: Tensor, columns: Tensor, ones: Tensor, kW: int, kH: int,
    dW: int, dH: int, padW: int, padH: int, dilationW: int, dilationH: int, group: int, deformable_group: int,
    im2col_step: int,
) -> None:  # fmt: skip
    """`deform_conv2d`, in `output`."""
    how = (dH, dW), (padH, padW), (dilationH, dilationW), group, deformable_group
    _fill(output, ops.deform_conv2d(input, offset, weight, *how))


@quiet
def deform_conv_backward_input(
    input: Tensor, offset: Tensor, gradOutput: Tensor, gradInput: Tensor, gradOffset: Tensor, weight: Tensor,
    columns: Tensor, kW: int, kH: int, dW: int, dH: int, padW: int, padH: int, dilationW: int, dilationH: int,
    group: int, deformable_group: int, im2col_step: int,
) -> None:  # fmt: skip
    """The gradients of its features and offsets, in `gradInput` and `gradOffset`."""
    how = (dH, dW), (padH, padW), (dilationH, dilationW), group, deformable_group
    found = ops.deform_conv2d_backward(gradOutput, input, offset, weight, *how)
    _fill(gradInput, found[0])
    _fill(gradOffset, found[1])


@quiet
def deform_conv_backward_parameters(
    input: Tensor, offset: Tensor, gradOutput: Tensor, gradWeight: Tensor, columns: Tensor, ones: Tensor, kW: int,
    kH: int, dW: int, dH: int, padW: int, padH: int, dilationW: int, dilationH: int, group: int,
    deformable_group: int, scale: float, im2col_step: int,
) -> None:  # fmt: skip
    """The gradient of its weights, multiplied by `scale` and added to `gradWeight`."""
    how = (dH, dW), (padH, padW), (dilationH, dilationW), group, deformable_group
    found = ops.deform_conv2d_backward(gradOutput, input, offset, torch.zeros_like(gradWeight), *how)
    gradWeight.add_(found[2].reshape(gradWeight.shape), alpha=scale)


@quiet
def modulated_deform_conv_forward(
    input: Tensor, weight: Tensor, bias: Tensor, ones: Tensor, offset: Tensor, mask: Tensor, output: Tensor,
    columns: Tensor, kernel_h: int, kernel_w: int, stride_h: int, stride_w: int, pad_h: int, pad_w: int,
    dilation_h: int, dilation_w: int, group: int, deformable_group: int, with_bias: bool,
) -> None:  # fmt: skip
    """`modulated_deform_conv2d`, in `output`."""
    how = (stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w), group, deformable_group
    _fill(output, ops.modulated_deform_conv2d(input, offset, mask, weight, bias if with_bias else None, *how))


@quiet
def modulated_deform_conv_backward(
    input: Tensor, weight: Tensor, bias: Tensor, ones: Tensor, offset: Tensor, mask: Tensor, columns: Tensor,
    grad_input: Tensor, grad_weight: Tensor, grad_bias: Tensor, grad_offset: Tensor, grad_mask: Tensor,
    grad_output: Tensor, kernel_h: int, kernel_w: int, stride_h: int, stride_w: int, pad_h: int, pad_w: int,
    dilation_h: int, dilation_w: int, group: int, deformable_group: int, with_bias: bool,
) -> None:  # fmt: skip
    """Its gradients: those of the weights and the bias are added to what is there."""
    how = (stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w), group, deformable_group
    found = ops.modulated_deform_conv2d_backward(
        grad_output, input, offset, mask, weight, bias if with_bias else None, *how
    )
    for out, grad in zip((grad_input, grad_offset, grad_mask), found[:3], strict=True):
        _fill(out, grad)
    for out, grad in zip((grad_weight, grad_bias), found[3:], strict=True):
        if grad is not None:
            out.add_(grad.reshape(out.shape))


# ---- voxels ----------------------------------------------------------------------------------------------------------
@quiet
def hard_voxelize_forward(
    points: Tensor, voxel_size: Tensor, coors_range: Tensor, voxels: Tensor, coors: Tensor,
    num_points_per_voxel: Tensor, voxel_num: Tensor, max_points: int, max_voxels: int, NDim: int = 3,
    deterministic: bool = True,
) -> None:  # fmt: skip
    """`voxelization`: as many rows of `voxels`, `coors` and `num_points_per_voxel` as `voxel_num` then says."""
    size, ends = voxel_size.tolist(), coors_range.tolist()
    found = ops.voxelization(points, size, ends, max_points, max_voxels, deterministic)
    count = len(found[0])
    for out, rows in zip((voxels, coors, num_points_per_voxel), found, strict=True):
        _fill(out[:count], rows)
    voxel_num.fill_(count)


@quiet
def dynamic_voxelize_forward(
    points: Tensor, voxel_size: Tensor, coors_range: Tensor, coors: Tensor, NDim: int = 3
) -> None:
    """Each point's voxel, in `coors`."""
    _fill(coors, ops.voxelization(points, voxel_size.tolist(), coors_range.tolist(), -1, -1))


@quiet
def dynamic_point_to_voxel_forward(
    feats: Tensor, coors: Tensor, reduce_type: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`dynamic_scatter`, then each point's voxel and each voxel's number of points."""
    return ops.dynamic_scatter_with_points(feats, coors, reduce_type)[:4]


@quiet
def dynamic_point_to_voxel_backward(
    grad_feats: Tensor, grad_reduced_feats: Tensor, feats: Tensor, reduced_feats: Tensor, coors_idx: Tensor,
    reduce_count: Tensor, reduce_type: str,
) -> None:  # fmt: skip
    """The gradient of the points' features, in `grad_feats`."""
    found = ops.dynamic_scatter_with_points(feats, coors_idx[:, None], reduce_type)[2:]
    _fill(grad_feats, ops.dynamic_scatter_backward(grad_reduced_feats, *found, reduce_type))


# ---- boxes -----------------------------------------------------------------------------------------------------------
@quiet
def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """The positions that `nms` keeps."""
    return ops.nms(boxes, scores, iou_threshold, offset)[1]


@quiet
def softnms(
    boxes: Tensor, scores: Tensor, dets: Tensor, iou_threshold: float, sigma: float, min_score: float, method: int,
    offset: int,
) -> Tensor:  # fmt: skip
    """The positions that `soft_nms` keeps, and as many rows of `dets`."""
    kind = ("naive", "linear", "gaussian")[method]
    kept, inds = ops.soft_nms(boxes, scores, iou_threshold, sigma, min_score, kind, offset)
    _fill(dets[: len(kept)], kept)
    return inds


@quiet
def nms_rotated(
    dets: Tensor, scores: Tensor, order: Tensor, dets_sorted: Tensor, labels: Tensor, iou_threshold: float,
    multi_label: int,
) -> Tensor:  # fmt: skip
    """The positions that `nms_rotated` keeps; with `multi_label` the last column of `dets` has labels."""
    known = dets[:, 5].long() if multi_label else None
    return ops.nms_rotated(dets[:, :5], scores, iou_threshold, known)[1]


@quiet
def nms_quadri(
    dets: Tensor, scores: Tensor, order: Tensor, dets_sorted: Tensor, iou_threshold: float, multi_label: int
) -> Tensor:
    """The positions that `nms_quadri` keeps; with `multi_label` the last column of `dets` has labels."""
    known = dets[:, 8].long() if multi_label else None
    return ops.nms_quadri(dets[:, :8], scores, iou_threshold, known)[1]


@quiet
def bbox_overlaps(
    bboxes1: Tensor, bboxes2: Tensor, ious: Tensor, mode: int, aligned: bool = False, offset: int = 0
) -> None:
    """`bbox_overlaps`, in `ious`."""
    _fill(ious, ops.bbox_overlaps(bboxes1, bboxes2, MODES[mode], aligned, offset))


@quiet
def box_iou_rotated(boxes1: Tensor, boxes2: Tensor, ious: Tensor, mode_flag: int, aligned: bool) -> None:
    """`box_iou_rotated`, in `ious`."""
    _fill(ious, ops.box_iou_rotated(boxes1, boxes2, MODES[mode_flag], aligned))


@quiet
def box_iou_quadri(boxes1: Tensor, boxes2: Tensor, ious: Tensor, mode_flag: int, aligned: bool) -> None:
    """`box_iou_quadri`, in `ious`."""
    _fill(ious, ops.box_iou_quadri(boxes1, boxes2, MODES[mode_flag], aligned))


@quiet
def iou3d_boxes_overlap_bev_forward(boxes_a: Tensor, boxes_b: Tensor, ans_overlap: Tensor) -> None:
    """`boxes_overlap_bev`, in `ans_overlap`."""
    _fill(ans_overlap, ops.boxes_overlap_bev(boxes_a, boxes_b))


def _keep(kept, keep, num_out):
    _fill(keep[: len(kept)], kept)
    num_out.fill_(len(kept))


@quiet
def iou3d_nms3d_forward(boxes: Tensor, keep: Tensor, num_out: Tensor, nms_overlap_thresh: float) -> None:
    """The positions that `nms3d` keeps of boxes sorted by their scores, in the first `num_out` numbers of `keep`."""
    _keep(ops.nms3d(boxes, _falling(boxes), nms_overlap_thresh), keep, num_out)


@quiet
def iou3d_nms3d_normal_forward(boxes: Tensor, keep: Tensor, num_out: Tensor, nms_overlap_thresh: float) -> None:
    """The same of `nms3d_normal`."""
    _keep(ops.nms3d_normal(boxes, _falling(boxes), nms_overlap_thresh), keep, num_out)


# ---- points ----------------------------------------------------------------------------------------------------------
@quiet
def ball_query_forward(
    new_xyz: Tensor, xyz: Tensor, idx: Tensor, b: int, n: int, m: int, min_radius: float, max_radius: float,
    nsample: int,
) -> None:  # fmt: skip
    """`ball_query`, in `idx`."""
    _fill(idx, ops.ball_query(min_radius, max_radius, nsample, xyz, new_xyz))


@quiet
def knn_forward(xyz: Tensor, new_xyz: Tensor, idx: Tensor, dist2: Tensor, b: int, n: int, m: int, nsample: int) -> None:
    """`knn`, in `idx` (B, M, k), and squared distances in `dist2`."""
    _fill(idx, ops.knn(nsample, xyz, new_xyz).transpose(1, 2))
    near = torch.gather(xyz[:, None].expand(-1, idx.shape[1], -1, -1), 2, idx.long()[..., None].expand(-1, -1, -1, 3))
    _fill(dist2, (near - new_xyz[:, :, None]).pow(2).sum(-1))


@quiet
def furthest_point_sampling_forward(points: Tensor, temp: Tensor, idx: Tensor, b: int, n: int, m: int) -> None:
    """`furthest_point_sample`, in `idx`."""
    _fill(idx, ops.furthest_point_sample(points, m))


@quiet
def furthest_point_sampling_with_dist_forward(
    points: Tensor, temp: Tensor, idx: Tensor, b: int, n: int, m: int
) -> None:
    """`furthest_point_sample_with_dist`, in `idx`."""
    _fill(idx, ops.furthest_point_sample_with_dist(points, m))


@quiet
def gather_points_forward(points: Tensor, idx: Tensor, out: Tensor, b: int, c: int, n: int, npoints: int) -> None:
    """`gather_points`, in `out`."""
    _fill(out, ops.gather_points(points, idx))


@quiet
def gather_points_backward(
    grad_out: Tensor, idx: Tensor, grad_points: Tensor, b: int, c: int, n: int, npoints: int
) -> None:
    """The gradient of its points, added to `grad_points`."""
    grad_points.add_(ops.gather_points_backward(grad_out, idx, tuple(grad_points.shape)))


@quiet
def group_points_forward(
    points: Tensor, idx: Tensor, out: Tensor, b: int, c: int, n: int, npoints: int, nsample: int
) -> None:
    """`grouping_operation`, in `out`."""
    _fill(out, ops.grouping_operation(points, idx))


@quiet
def group_points_backward(
    grad_out: Tensor, idx: Tensor, grad_points: Tensor, b: int, c: int, n: int, npoints: int, nsample: int
) -> None:
    """The gradient of its points, added to `grad_points`."""
    grad_points.add_(ops.grouping_operation_backward(grad_out, idx, tuple(grad_points.shape)))


@quiet
def three_nn_forward(unknown: Tensor, known: Tensor, dist2: Tensor, idx: Tensor, b: int, n: int, m: int) -> None:
    """`three_nn`: squared distances in `dist2`, and `idx`."""
    distances, found = ops.three_nn(unknown, known)
    _fill(dist2, distances * distances)
    _fill(idx, found)


@quiet
def three_interpolate_forward(
    points: Tensor, idx: Tensor, weight: Tensor, out: Tensor, b: int, c: int, m: int, n: int
) -> None:
    """`three_interpolate`, in `out`."""
    _fill(out, ops.three_interpolate(points, idx, weight))


@quiet
def three_interpolate_backward(
    grad_out: Tensor, idx: Tensor, weight: Tensor, grad_points: Tensor, b: int, c: int, n: int, m: int
) -> None:
    """The gradient of its points, added to `grad_points`."""
    grad_points.add_(ops.three_interpolate_backward(grad_out, idx, weight, tuple(grad_points.shape)))


@quiet
def points_in_boxes_part_forward(boxes: Tensor, pts: Tensor, box_idx_of_points: Tensor) -> None:
    """`points_in_boxes_part`, in `box_idx_of_points`."""
    _fill(box_idx_of_points, ops.points_in_boxes_part(pts, boxes))


@quiet
def points_in_boxes_all_forward(boxes: Tensor, pts: Tensor, box_idx_of_points: Tensor) -> None:
    """`points_in_boxes_all`, in `box_idx_of_points`."""
    _fill(box_idx_of_points, ops.points_in_boxes_all(pts, boxes))


@quiet
def points_in_boxes_cpu_forward(boxes: Tensor, pts: Tensor, pts_indices: Tensor) -> None:
    """Of one cloud, which boxes each point is in: `pts_indices` (boxes, points)."""
    _fill(pts_indices, ops.points_in_boxes_all(pts[None], boxes[None])[0].t())


@quiet
def points_in_polygons_forward(points: Tensor, polygons: Tensor, output: Tensor) -> None:
    """`points_in_polygons`, in `output`."""
    _fill(output, ops.points_in_polygons(points, polygons))


@quiet
def min_area_polygons(pointsets: Tensor, polygons: Tensor) -> None:
    """`min_area_polygons`, in `polygons`."""
    _fill(polygons, ops.min_area_polygons(pointsets))


# ---- regions, losses -------------------------------------------------------------------------------------------------
@quiet
def roi_align_forward(
    input: Tensor, rois: Tensor, output: Tensor, argmax_y: Tensor, argmax_x: Tensor, aligned_height: int,
    aligned_width: int, spatial_scale: float, sampling_ratio: int, pool_mode: int, aligned: bool,
) -> None:  # fmt: skip
    """`roi_align`, in `output`; `pool_mode` 0 is the maximum, and what its gradient needs is in `argmax_y` and `argmax_x`."""
    how = (aligned_height, aligned_width), spatial_scale, sampling_ratio
    if pool_mode:
        _fill(output, ops.roi_align(input, rois, *how, "avg", aligned))
        return
    found, which = ops.roi_align_with_argmax(input, rois, *how, aligned)
    _fill(output, found)
    _fill(argmax_y, which >> 11)  # in two parts, which are exact in the features' dtype
    _fill(argmax_x, which & 2047)


@quiet
def roi_align_backward(
    grad_output: Tensor, rois: Tensor, argmax_y: Tensor, argmax_x: Tensor, grad_input: Tensor, aligned_height: int,
    aligned_width: int, spatial_scale: float, sampling_ratio: int, pool_mode: int, aligned: bool,
) -> None:  # fmt: skip
    """The gradient of its features, added to `grad_input`."""
    shape = tuple(grad_input.shape)
    if pool_mode:
        found = ops.roi_align_backward(grad_output, rois, shape, spatial_scale, sampling_ratio, aligned)
    else:
        which = (argmax_y.long() * 2048 + argmax_x.long()).int()
        found = ops.roi_align_max_backward(grad_output, which, rois, shape, spatial_scale, sampling_ratio, aligned)
    grad_input.add_(found)


@quiet
def roi_align_rotated_forward(
    input: Tensor, rois: Tensor, output: Tensor, pooled_height: int, pooled_width: int, spatial_scale: float,
    sampling_ratio: int, aligned: bool, clockwise: bool,
) -> None:  # fmt: skip
    """`roi_align_rotated`, in `output`."""
    size = pooled_height, pooled_width
    _fill(output, ops.roi_align_rotated(input, rois, size, spatial_scale, sampling_ratio, aligned, clockwise))


@quiet
def roi_align_rotated_backward(
    top_grad: Tensor, rois: Tensor, bottom_grad: Tensor, pooled_height: int, pooled_width: int, spatial_scale: float,
    sampling_ratio: int, aligned: bool, clockwise: bool,
) -> None:  # fmt: skip
    """The gradient of its features, added to `bottom_grad`."""
    how = tuple(bottom_grad.shape), spatial_scale, sampling_ratio, aligned, clockwise
    bottom_grad.add_(ops.roi_align_rotated_backward(top_grad, rois, *how))


@quiet
def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """`sigmoid_focal_loss` of each number, in `output`; an empty `weight` is none."""
    given = weight if weight.numel() else None
    _fill(output, ops.sigmoid_focal_loss(input, target, gamma, alpha, given, "none"))


@quiet
def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """The derivative of each loss by its logit, in `grad_input`."""
    given, ones = weight if weight.numel() else None, torch.ones_like(input)
    _fill(grad_input, ops.sigmoid_focal_loss_backward(ones, input, target, gamma, alpha, given, "none"))
