"""Running maxima towards corners, on tensors."""

from __future__ import annotations

from torch import Tensor, nn

from arrayvision import check, ops
from arrayvision.ops.corner_pool import MODES
from arrayvision.torch_bridge.library import Gradient, register, result_dtype


def _like(moved, *_):
    return moved.new_empty(moved.shape, dtype=result_dtype(moved))


def _of_pool(call, grad):
    return (_backward(grad, call.args[0], call.results[0], call.args[1]),)


def _of_backward(call, grad):
    return (_tangent(grad, *call.args[1:]),)


def _of_tangent(call, grad):
    return (_backward(grad, *call.args[1:]),)


_corner_pool = register(
    "corner_pool(Tensor input, str mode) -> Tensor",
    ops.corner_pool,
    lambda input, mode: input.new_empty(input.shape),
    Gradient(_of_pool, results=(0,), once=False),
)
# These two are linear in their first argument, and each other's gradient.
_backward = register(
    "corner_pool_backward(Tensor grad, Tensor input, Tensor pooled, str mode) -> Tensor",
    ops.corner_pool_backward,
    _like,
    Gradient(_of_backward, unkept=(0,), once=False),
)
_tangent = register(
    "corner_pool_tangent(Tensor tangent, Tensor input, Tensor pooled, str mode) -> Tensor",
    ops.corner_pool_tangent,
    _like,
    Gradient(_of_tangent, unkept=(0,), once=False),
)


def corner_pool(input: Tensor, mode: str) -> Tensor:
    """`arrayvision.ops.corner_pool` on tensors, differentiable in `input` any number of times.

    Parameters
    ----------
    input : Tensor (N, C, H, W)
        Feature maps; integers stay integers, and have no gradient.
    mode : {"top", "bottom", "left", "right"}
        Where maxima arrive.

    Returns
    -------
    Tensor (N, C, H, W)
        In the dtype of input.

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    return _corner_pool(input, mode)


class CornerPool(nn.Module):
    """`corner_pool` as a module.

    Parameters
    ----------
    mode : {"top", "bottom", "left", "right"}
        Where maxima arrive.
    """

    def __init__(self, mode: str):
        super().__init__()
        self.mode = check.choice("CornerPool", "mode", mode, MODES)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to maps of the same shape."""
        return corner_pool(x, self.mode)
