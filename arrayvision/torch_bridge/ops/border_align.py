"""BorderAlign on tensors."""

from __future__ import annotations

from torch import Tensor, nn

from arrayvision import check, ops
from arrayvision.torch_bridge.library import selecting
from arrayvision.torch_bridge.ops._modules import shown

_border_align = selecting(
    "border_align",
    "Tensor boxes, int pool_size",
    ops.border_align_with_argmax,
    lambda grad, argmax, boxes, pool_size, shape: ops.border_align_backward(grad, argmax, boxes, shape, pool_size),
    lambda input, boxes, pool_size: (input.shape[0], input.shape[1] // 4, boxes.shape[1], 4),
)


def border_align(input: Tensor, boxes: Tensor, pool_size: int) -> Tensor:
    """`arrayvision.ops.border_align` on tensors, differentiable in `input`.

    Parameters
    ----------
    input : Tensor (B, 4 * C, H, W)
        Features of the top, left, bottom and right borders.
    boxes : Tensor (B, N, 4)
        (x1, y1, x2, y2), in the features' pixels.
    pool_size : int
        A border has pool_size + 1 samples.

    Returns
    -------
    Tensor (B, C, N, 4)
        In the dtype of input.

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    return _border_align(input, boxes, pool_size)[0]


class BorderAlign(nn.Module):
    """`border_align` as a module.

    Parameters
    ----------
    pool_size : int
        A border has pool_size + 1 samples.
    """

    def __init__(self, pool_size: int) -> None:
        super().__init__()
        self.pool_size = check.integer("BorderAlign", "pool_size", pool_size, 1)

    def forward(self, input: Tensor, boxes: Tensor) -> Tensor:
        """Features (B, 4 * C, H, W) and boxes (B, N, 4) to (B, C, N, 4)."""
        return border_align(input, boxes, self.pool_size)

    def __repr__(self):
        return shown(self, "pool_size")
