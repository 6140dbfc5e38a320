"""The three nearest points and features interpolated from them, on tensors."""

from __future__ import annotations

from torch import Tensor, int32

from arrayvision import ops
from arrayvision.torch_bridge.library import linear, register, result_dtype


def _fake(target, source):
    shape = target.shape[0], target.shape[1], 3
    return target.new_empty(shape, dtype=result_dtype(target, source)), target.new_empty(shape, dtype=int32)


_three_nn = register("three_nn(Tensor target, Tensor source) -> (Tensor, Tensor)", ops.three_nn, _fake)
_three_interpolate = linear(
    "three_interpolate", "Tensor indices, Tensor weight", ops.three_interpolate, ops.three_interpolate_backward,
    lambda features, indices, weight: (features.shape[0], features.shape[1], indices.shape[1]),
)  # fmt: skip


def three_nn(target: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
    """`arrayvision.ops.three_nn` on tensors (B, N, 3) and (B, M, 3): distances and int32 indices, without a gradient."""
    return _three_nn(target, source)


def three_interpolate(features: Tensor, indices: Tensor, weight: Tensor) -> Tensor:
    """`arrayvision.ops.three_interpolate` on tensors, differentiable any number of times in `features`, not in `weight`."""
    return _three_interpolate(features, indices, weight)
