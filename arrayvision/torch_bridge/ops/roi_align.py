"""RoIAlign on tensors."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from arrayvision import check, ops
from arrayvision.ops import _roi
from arrayvision.torch_bridge.library import linear, selecting
from arrayvision.torch_bridge.ops._modules import renamed, shown
from arrayvision.torch_bridge.ops._regions import listed

_REST = "Tensor rois, SymInt[] output_size, float spatial_scale, int sampling_ratio, bool aligned"


def _shape(input, rois, size, *_):
    return rois.shape[0], input.shape[1], size[0], size[1]


_average = linear(
    "roi_align",
    _REST,
    lambda input, rois, size, scale, ratio, aligned: ops.roi_align(input, rois, size, scale, ratio, "avg", aligned),
    lambda grad, rois, size, scale, ratio, aligned, shape: ops.roi_align_backward(
        grad, rois, shape, scale, ratio, aligned
    ),
    _shape,
)
_maximum = selecting(
    "roi_align_max",
    _REST,
    lambda input, rois, size, scale, ratio, aligned: ops.roi_align_with_argmax(
        input, rois, size, scale, ratio, aligned
    ),
    lambda grad, argmax, rois, size, scale, ratio, aligned, shape: ops.roi_align_max_backward(
        grad, argmax, rois, shape, scale, ratio, aligned
    ),
    _shape,
    public="roi_align",
)


def roi_align(
    input: Tensor,
    rois: Tensor | Sequence[Tensor],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    pool_mode: str = "avg",
    aligned: bool = True,
) -> Tensor:
    """`arrayvision.ops.roi_align` on tensors, differentiable in `input` ("avg" any number of times).

    Parameters
    ----------
    input : Tensor (B, C, H, W)
        Features, contiguous or channels-last.
    rois : Tensor (K, 5), or list of Tensors (N, 4)
        (image's index, x1, y1, x2, y2); or a list of each image's (x1, y1, x2, y2).
    output_size, spatial_scale, sampling_ratio, pool_mode, aligned
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
    >>> roi_align(ramp, torch.tensor([[0, 0, 0, 4, 4.0]]), 2)
    tensor([[[[ 2.5000,  4.5000],
              [10.5000, 12.5000]]]])
    """
    if not (type(pool_mode) is str and pool_mode == "avg"):
        check.choice("roi_align", "pool_mode", pool_mode, ("avg", "max"))
    size = _roi.size("roi_align", "output_size", output_size)
    rois = listed("roi_align", "rois", rois, input)
    if pool_mode == "max":
        return _maximum(input, rois, size, spatial_scale, sampling_ratio, aligned)[0]
    return _average(input, rois, size, spatial_scale, sampling_ratio, aligned)


class RoIAlign(nn.Module):
    """`roi_align` as a module.

    Parameters
    ----------
    output_size, spatial_scale, sampling_ratio, pool_mode, aligned
        As of `roi_align`.
    use_torchvision : bool
        Accepted for compatibility: True averages whatever `pool_mode`, as torchvision's operator does.
    """

    @renamed(out_size="output_size", sample_num="sampling_ratio")
    def __init__(
        self,
        output_size: int | tuple[int, int],
        spatial_scale: float = 1.0,
        sampling_ratio: int = 0,
        pool_mode: str = "avg",
        aligned: bool = True,
        use_torchvision: bool = False,
    ) -> None:
        super().__init__()
        self.output_size = _roi.size("RoIAlign", "output_size", output_size)
        self.spatial_scale = _roi.scale("RoIAlign", spatial_scale)
        self.sampling_ratio = check.integer("RoIAlign", "sampling_ratio", sampling_ratio)
        self.pool_mode = check.choice("RoIAlign", "pool_mode", pool_mode, ("avg", "max"))
        self.aligned = check.flag("RoIAlign", "aligned", aligned)
        self.use_torchvision = use_torchvision

    def forward(self, input: Tensor, rois: Tensor | Sequence[Tensor]) -> Tensor:
        """Features (B, C, H, W) and RoIs (K, 5), or a list of each image's (N, 4), to (K, C, height, width)."""
        mode = "avg" if self.use_torchvision else self.pool_mode
        return roi_align(input, rois, self.output_size, self.spatial_scale, self.sampling_ratio, mode, self.aligned)

    def __repr__(self):
        return shown(self, "output_size", "spatial_scale", "sampling_ratio", "pool_mode", "aligned", "use_torchvision")
