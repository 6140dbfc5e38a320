"""Weighted sums of three features, on tensors."""

from __future__ import annotations

from torch import Tensor

from arrayvision import ops
from arrayvision.torch_bridge.library import linear

_three_interpolate = linear(
    "three_interpolate",
    "Tensor indices, Tensor weight",
    ops.three_interpolate,
    ops.three_interpolate_backward,
    lambda features, indices, weight: (features.shape[0], features.shape[1], indices.shape[1]),
)


def three_interpolate(features: Tensor, indices: Tensor, weight: Tensor) -> Tensor:
    """`arrayvision.ops.three_interpolate` on tensors, differentiable in `features` any number of times.

    Parameters
    ----------
    features : Tensor (B, C, M)
        Features.
    indices : Tensor (B, N, 3)
        Three points for each of N.
    weight : Tensor (B, N, 3)
        Their weights, which count as constant: they get no gradient.

    Returns
    -------
    Tensor (B, C, N)
        In the dtype of features.

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    return _three_interpolate(features, indices, weight)
