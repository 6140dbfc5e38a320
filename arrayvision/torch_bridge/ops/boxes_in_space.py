"""Upright boxes in space, on tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from arrayvision import ops
from arrayvision.torch_bridge.library import register, result_dtype


def _pairs(name):
    return register(
        f"{name}(Tensor boxes_a, Tensor boxes_b) -> Tensor",
        getattr(ops, name),
        lambda a, b: a.new_empty((a.shape[0], b.shape[0]), dtype=result_dtype(a, b)),
    )


def _some(boxes, *_):
    """As many indices as the data make."""
    return boxes.new_empty((torch.library.get_ctx().new_dynamic_size(),), dtype=torch.int64)


_boxes_overlap_bev, _boxes_iou_bev, _boxes_iou3d = map(_pairs, ("boxes_overlap_bev", "boxes_iou_bev", "boxes_iou3d"))
_nms3d = register("nms3d(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor", ops.nms3d, _some)
_nms3d_normal = register(
    "nms3d_normal(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor", ops.nms3d_normal, _some
)
_nms_bev = register(
    "nms_bev(Tensor boxes, Tensor scores, float thresh, SymInt? pre_max_size, SymInt? post_max_size) -> Tensor",
    ops.nms_bev,
    _some,
)
_nms_normal_bev = register(
    "nms_normal_bev(Tensor boxes, Tensor scores, float thresh) -> Tensor", ops.nms_normal_bev, _some
)


def boxes_overlap_bev(boxes_a: Tensor, boxes_b: Tensor) -> Tensor:
    """`arrayvision.ops.boxes_overlap_bev` on tensors (M, 7) and (N, 7); the areas (M, N) carry no gradient."""
    return _boxes_overlap_bev(boxes_a, boxes_b)


def boxes_iou_bev(boxes_a: Tensor, boxes_b: Tensor) -> Tensor:
    """`arrayvision.ops.boxes_iou_bev` on tensors (M, 5) and (N, 5); the result (M, N) carries no gradient."""
    return _boxes_iou_bev(boxes_a, boxes_b)


def boxes_iou3d(boxes_a: Tensor, boxes_b: Tensor) -> Tensor:
    """`arrayvision.ops.boxes_iou3d` on tensors (M, 7) and (N, 7); the result (M, N) carries no gradient: see
    `diff_iou_rotated_3d`."""
    return _boxes_iou3d(boxes_a, boxes_b)


def nms3d(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """`arrayvision.ops.nms3d` on tensors: int64 positions (K,) of the kept boxes."""
    return _nms3d(boxes, scores, iou_threshold)


def nms3d_normal(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """`arrayvision.ops.nms3d_normal` on tensors: int64 positions (K,) of the kept boxes."""
    return _nms3d_normal(boxes, scores, iou_threshold)


def nms_bev(
    boxes: Tensor, scores: Tensor, thresh: float, pre_max_size: int | None = None, post_max_size: int | None = None
) -> Tensor:
    """`arrayvision.ops.nms_bev` on tensors: int64 positions (K,) of the kept rectangles."""
    return _nms_bev(boxes, scores, thresh, pre_max_size, post_max_size)


def nms_normal_bev(boxes: Tensor, scores: Tensor, thresh: float) -> Tensor:
    """`arrayvision.ops.nms_normal_bev` on tensors: int64 positions (K,) of the kept rectangles."""
    return _nms_normal_bev(boxes, scores, thresh)
