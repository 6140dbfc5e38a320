"""BezierAlign on tensors."""

from __future__ import annotations

from torch import Tensor, nn

from arrayvision import check, ops
from arrayvision.ops import _roi
from arrayvision.torch_bridge.library import linear
from arrayvision.torch_bridge.ops._modules import shown

_bezier_align = linear(
    "bezier_align",
    "Tensor beziers, SymInt[] output_size, float spatial_scale, int sampling_ratio, bool aligned",
    ops.bezier_align,
    lambda grad, beziers, size, scale, ratio, aligned, shape: ops.bezier_align_backward(
        grad, beziers, shape, scale, ratio, aligned
    ),
    lambda input, beziers, size, *_: (beziers.shape[0], input.shape[1], size[0], size[1]),
)


def bezier_align(
    input: Tensor,
    beziers: Tensor,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    aligned: bool = True,
) -> Tensor:
    """`arrayvision.ops.bezier_align` on tensors, differentiable in `input` any number of times.

    Parameters
    ----------
    input : Tensor (B, C, H, W)
        Features, contiguous or channels-last.
    beziers : Tensor (K, 17)
        The image's index and eight points (x, y).
    output_size, spatial_scale, sampling_ratio, aligned
        As there.

    Returns
    -------
    Tensor (K, C, height, width)
        In the dtype of input.

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    size = _roi.size("bezier_align", "output_size", output_size)
    return _bezier_align(input, beziers, size, spatial_scale, sampling_ratio, aligned)


class BezierAlign(nn.Module):
    """`bezier_align` as a module.

    Parameters
    ----------
    output_size, spatial_scale, sampling_ratio, aligned
        As of `bezier_align`.
    """

    def __init__(
        self,
        output_size: int | tuple[int, int],
        spatial_scale: float,
        sampling_ratio: int,
        aligned: bool = True,
    ) -> None:
        super().__init__()
        self.output_size = _roi.size("BezierAlign", "output_size", output_size)
        self.spatial_scale = _roi.scale("BezierAlign", spatial_scale)
        self.sampling_ratio = check.integer("BezierAlign", "sampling_ratio", sampling_ratio)
        self.aligned = check.flag("BezierAlign", "aligned", aligned)

    def forward(self, input: Tensor, beziers: Tensor) -> Tensor:
        """Features (B, C, H, W) and curves (K, 17) to (K, C, height, width)."""
        return bezier_align(input, beziers, self.output_size, self.spatial_scale, self.sampling_ratio, self.aligned)

    def __repr__(self):
        return shown(self, "output_size", "spatial_scale", "sampling_ratio", "aligned")
