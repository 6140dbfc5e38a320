"""Precise RoI pooling on tensors."""

from __future__ import annotations

from torch import Tensor, nn

from arrayvision import ops
from arrayvision.ops import _roi
from arrayvision.torch_bridge.library import differentiable
from arrayvision.torch_bridge.ops._modules import shown

_prroi_pool = differentiable(
    "prroi_pool",
    "Tensor features, Tensor rois, SymInt[] output_size, float spatial_scale",
    ops.prroi_pool,
    lambda grad, features, rois, size, scale: ops.prroi_pool_backward(grad, features, rois, scale),
    lambda features, rois, size, scale: (rois.shape[0], features.shape[1], size[0], size[1]),
    2,
)


def prroi_pool(
    features: Tensor, rois: Tensor, output_size: int | tuple[int, int], spatial_scale: float = 1.0
) -> Tensor:
    """`arrayvision.ops.prroi_pool` on tensors, differentiable in `features` and in the coordinates of `rois`.

    Parameters
    ----------
    features : Tensor (B, C, H, W)
        Features, contiguous or channels-last.
    rois : Tensor (K, 5)
        (image's index, x1, y1, x2, y2).
    output_size, spatial_scale
        As there.

    Returns
    -------
    Tensor (K, C, height, width)
        In the dtype of features.

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    return _prroi_pool(features, rois, _roi.size("prroi_pool", "output_size", output_size), spatial_scale)


class PrRoIPool(nn.Module):
    """`prroi_pool` as a module.

    Parameters
    ----------
    output_size, spatial_scale
        As of `prroi_pool`.
    """

    def __init__(self, output_size: int | tuple[int, int], spatial_scale: float = 1.0) -> None:
        super().__init__()
        self.output_size = _roi.size("PrRoIPool", "output_size", output_size)
        self.spatial_scale = _roi.scale("PrRoIPool", spatial_scale)

    def forward(self, features: Tensor, rois: Tensor) -> Tensor:
        """Features (B, C, H, W) and RoIs (K, 5) to (K, C, height, width)."""
        return prroi_pool(features, rois, self.output_size, self.spatial_scale)

    def __repr__(self):
        return shown(self, "output_size", "spatial_scale")
