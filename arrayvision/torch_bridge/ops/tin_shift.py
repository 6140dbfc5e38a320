"""Shifts along time on tensors."""

from __future__ import annotations

from torch import Tensor, nn

from arrayvision import ops
from arrayvision.torch_bridge.library import linear

_tin_shift = linear(
    "tin_shift", "Tensor shift", ops.tin_shift,
    lambda grad, shift, shape: ops.tin_shift(grad, -shift.long()),
    lambda input, shift: input.shape,
)  # fmt: skip


def tin_shift(input: Tensor, shift: Tensor) -> Tensor:
    """`arrayvision.ops.tin_shift` on tensors, differentiable in `input` any number of times."""
    return _tin_shift(input, shift)


class TINShift(nn.Module):
    """`tin_shift` as a module."""

    def forward(self, input: Tensor, shift: Tensor) -> Tensor:
        """Features (N, T, C, ...) and shifts (N, G) to features of the same shape."""
        return tin_shift(input, shift)
