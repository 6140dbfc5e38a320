"""Text regions grown from their kernels, on tensors; their results are lists, so graphs of torch.compile end there."""

from __future__ import annotations

from torch import Tensor

from arrayvision import ops
from arrayvision.torch_bridge.library import eager

_contour_expand, _pixel_group = eager(ops.contour_expand), eager(ops.pixel_group)


def contour_expand(
    kernel_mask: Tensor, internal_kernel_label: Tensor, min_kernel_area: int, kernel_num: int
) -> list[list[int]]:
    """`arrayvision.ops.contour_expand` on tensors, or arrays."""
    return _contour_expand(kernel_mask, internal_kernel_label, min_kernel_area, kernel_num)


def pixel_group(
    score: Tensor,
    mask: Tensor,
    embedding: Tensor,
    kernel_label: Tensor,
    kernel_contour: Tensor,
    kernel_region_num: int,
    distance_threshold: float,
) -> list[list[float]]:
    """`arrayvision.ops.pixel_group` on tensors, or arrays; none is differentiated."""
    return _pixel_group(score, mask, embedding, kernel_label, kernel_contour, kernel_region_num, distance_threshold)
