"""Rotated feature alignment on tensors."""

from __future__ import annotations

from torch import Tensor

from arrayvision import ops
from arrayvision.torch_bridge.library import linear

_rotated_feature_align = linear(
    "rotated_feature_align",
    "Tensor best_rbboxes, float spatial_scale, int points",
    ops.rotated_feature_align,
    lambda grad, boxes, scale, points, shape: ops.rotated_feature_align_backward(grad, boxes, scale, points),
    lambda features, *_: features.shape,
)


def rotated_feature_align(
    features: Tensor, best_rbboxes: Tensor, spatial_scale: float = 1 / 8, points: int = 1
) -> Tensor:
    """`arrayvision.ops.rotated_feature_align` on tensors, differentiable in `features` any number of times.

    Parameters
    ----------
    features : Tensor (B, C, H, W)
        Features, contiguous or channels-last.
    best_rbboxes : Tensor (B, H, W, 5), (B, H * W, 5) or (B * H * W, 5)
        Each position's box (cy, cx, w, h, angle).
    spatial_scale, points
        As there.

    Returns
    -------
    Tensor (B, C, H, W)
        In the dtype of features.

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    if (
        isinstance(features, Tensor)
        and features.dim() == 4
        and isinstance(best_rbboxes, Tensor)
        and best_rbboxes.dim() in (2, 3)
        and best_rbboxes.shape[-1] == 5
    ):
        b, _, h, w = features.shape
        if best_rbboxes.shape[:-1] in ((b * h * w,), (b, h * w)):
            best_rbboxes = best_rbboxes.reshape(b, h, w, 5)
    return _rotated_feature_align(features, best_rbboxes, spatial_scale, points)
