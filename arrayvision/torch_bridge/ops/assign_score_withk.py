"""Sums of neighbours' features, weighted by scores, on tensors."""

from __future__ import annotations

from torch import Tensor

from arrayvision import ops
from arrayvision.torch_bridge.library import differentiable

_assign_score_withk = differentiable(
    "assign_score_withk",
    "Tensor scores, Tensor point_features, Tensor center_features, Tensor knn_idx, str aggregate",
    ops.assign_score_withk,
    lambda grad, *args: ops.assign_score_withk_backward(grad, *args[:-1]),
    lambda scores, points, centers, index, aggregate: (
        scores.shape[0], points.shape[3], scores.shape[1], scores.shape[2],
    ),
    3,
    promoted=3,
)  # fmt: skip


def assign_score_withk(
    scores: Tensor, point_features: Tensor, center_features: Tensor, knn_idx: Tensor, aggregate: str = "sum"
) -> Tensor:
    """`arrayvision.ops.assign_score_withk` on tensors, differentiable once in scores and features.

    Parameters
    ----------
    scores : Tensor (B, P, K, M)
        Shares of M weight matrices.
    point_features, center_features : Tensor (B, N, M, O)
        Features by each.
    knn_idx : Tensor (B, P, K)
        Neighbours, the centre first.
    aggregate : {"sum", "avg", "max"}
        Makes no difference.

    Returns
    -------
    Tensor (B, O, P, K)
        In the promoted dtype.

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    return _assign_score_withk(scores, point_features, center_features, knn_idx, aggregate)
