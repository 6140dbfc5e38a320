"""The three nearest points, on tensors."""

from __future__ import annotations

from torch import Tensor, int32

from arrayvision import ops
from arrayvision.torch_bridge.library import register, result_dtype


def _fake(target, source):
    shape = target.shape[0], target.shape[1], 3
    return target.new_empty(shape, dtype=result_dtype(target, source)), target.new_empty(shape, dtype=int32)


_three_nn = register("three_nn(Tensor target, Tensor source) -> (Tensor, Tensor)", ops.three_nn, _fake)


def three_nn(target: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
    """`arrayvision.ops.three_nn` on tensors (B, N, 3) and (B, M, 3): distances and int32 indices, without a gradient."""
    return _three_nn(target, source)
