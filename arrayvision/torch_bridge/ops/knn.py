"""The k nearest points, on tensors."""

from __future__ import annotations

from torch import Tensor, int32

from arrayvision import ops
from arrayvision.torch_bridge.library import register


def _fake(k, xyz, center_xyz, transposed):
    centers = xyz if center_xyz is None else center_xyz
    return xyz.new_empty((xyz.shape[0], k, centers.shape[2 if transposed else 1]), dtype=int32)


_knn = register("knn(SymInt k, Tensor xyz, Tensor? center_xyz, bool transposed) -> Tensor", ops.knn, _fake)


def knn(k: int, xyz: Tensor, center_xyz: Tensor | None = None, transposed: bool = False) -> Tensor:
    """`arrayvision.ops.knn` on tensors (B, N, 3) and (B, M, 3): int32 indices (B, k, M), without a gradient."""
    return _knn(k, xyz, center_xyz, transposed)
