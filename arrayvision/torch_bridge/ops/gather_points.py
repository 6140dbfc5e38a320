"""Features of chosen points, on tensors, and modules that group points."""

from __future__ import annotations

from torch import Tensor

from arrayvision import ops
from arrayvision.torch_bridge.library import linear

_gather_points = linear(
    "gather_points",
    "Tensor indices",
    ops.gather_points,
    ops.gather_points_backward,
    lambda features, indices: (features.shape[0], features.shape[1], indices.shape[1]),
)


def _grouped(features, indices, features_batch_cnt, indices_batch_cnt):
    if features_batch_cnt is None:
        return features.shape[0], features.shape[1], indices.shape[1], indices.shape[2]
    return indices.shape[0], features.shape[1], indices.shape[1]


_grouping_operation = linear(
    "grouping_operation",
    "Tensor indices, Tensor? features_batch_cnt, Tensor? indices_batch_cnt",
    ops.grouping_operation,
    lambda grad, indices, features_batch_cnt, indices_batch_cnt, shape: ops.grouping_operation_backward(
        grad, indices, shape, features_batch_cnt, indices_batch_cnt
    ),
    _grouped,
)


def gather_points(features: Tensor, indices: Tensor) -> Tensor:
    """`arrayvision.ops.gather_points` on tensors (B, C, N) and (B, M), differentiable in `features` any number of times."""
    return _gather_points(features, indices)


def grouping_operation(
    features: Tensor,
    indices: Tensor,
    features_batch_cnt: Tensor | None = None,
    indices_batch_cnt: Tensor | None = None,
) -> Tensor:
    """`arrayvision.ops.grouping_operation` on tensors, differentiable in `features` any number of times.

    Parameters
    ----------
    features : Tensor (B, C, N) or (N1 + N2 + ..., C)
        Features of points.
    indices : Tensor (B, M, S) or (M1 + M2 + ..., S)
        Which are in each group.
    features_batch_cnt, indices_batch_cnt : Tensor (B,), optional
        N1, N2, ... and M1, M2, ..., with the second form.

    Returns
    -------
    Tensor (B, C, M, S) or (M1 + M2 + ..., C, S)
        In the dtype of features.

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    return _grouping_operation(features, indices, features_batch_cnt, indices_batch_cnt)
