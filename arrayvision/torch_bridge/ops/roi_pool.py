"""RoI pooling on tensors."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from arrayvision import ops
from arrayvision.ops import _roi
from arrayvision.torch_bridge.library import selecting
from arrayvision.torch_bridge.ops._modules import shown
from arrayvision.torch_bridge.ops._regions import listed

_roi_pool = selecting(
    "roi_pool",
    "Tensor rois, SymInt[] output_size, float spatial_scale",
    ops.roi_pool_with_argmax,
    lambda grad, argmax, rois, size, scale, shape: ops.roi_pool_backward(grad, argmax, rois, shape),
    lambda input, rois, size, scale: (rois.shape[0], input.shape[1], size[0], size[1]),
)


def roi_pool(
    input: Tensor, rois: Tensor | Sequence[Tensor], output_size: int | tuple[int, int], spatial_scale: float = 1.0
) -> Tensor:
    """`arrayvision.ops.roi_pool` on tensors, differentiable in `input`.

    Parameters
    ----------
    input : Tensor (B, C, H, W)
        Features, contiguous or channels-last.
    rois : Tensor (K, 5), or list of Tensors (N, 4)
        (image's index, x1, y1, x2, y2); or a list of each image's (x1, y1, x2, y2).
    output_size, spatial_scale
        As there.

    Returns
    -------
    Tensor (K, C, height, width)
        In the dtype of input.

    Raises
    ------
    TypeError, ValueError
        As there.

    Examples
    --------
    >>> import torch
    >>> ramp = torch.arange(16.0).reshape(1, 1, 4, 4)
    >>> roi_pool(ramp, torch.tensor([[0, 0, 0, 3, 3.0]]), 2)
    tensor([[[[ 5.,  7.],
              [13., 15.]]]])
    """
    rois = listed("roi_pool", "rois", rois, input)
    return _roi_pool(input, rois, _roi.size("roi_pool", "output_size", output_size), spatial_scale)[0]


class RoIPool(nn.Module):
    """`roi_pool` as a module.

    Parameters
    ----------
    output_size, spatial_scale
        As of `roi_pool`.
    """

    def __init__(self, output_size: int | tuple[int, int], spatial_scale: float = 1.0) -> None:
        super().__init__()
        self.output_size = _roi.size("RoIPool", "output_size", output_size)
        self.spatial_scale = _roi.scale("RoIPool", spatial_scale)

    def forward(self, input: Tensor, rois: Tensor | Sequence[Tensor]) -> Tensor:
        """Features (B, C, H, W) and RoIs (K, 5), or a list of each image's (N, 4), to (K, C, height, width)."""
        return roi_pool(input, rois, self.output_size, self.spatial_scale)

    def __repr__(self):
        return shown(self, "output_size", "spatial_scale")
