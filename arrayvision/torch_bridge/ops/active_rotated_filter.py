"""Filters in several orientations, on tensors."""

from __future__ import annotations

from torch import Tensor

from arrayvision import ops
from arrayvision.torch_bridge.library import linear


def _shape(input, indices):
    own, turned = input.shape, indices.shape
    return own[0] * turned[3], own[1] * turned[0], turned[1], turned[2]


_active_rotated_filter = linear(
    "active_rotated_filter",
    "Tensor indices",
    ops.active_rotated_filter,
    ops.active_rotated_filter_backward,
    _shape,
)


def active_rotated_filter(input: Tensor, indices: Tensor) -> Tensor:
    """`arrayvision.ops.active_rotated_filter` on tensors, differentiable in `input` any number of times."""
    return _active_rotated_filter(input, indices)
