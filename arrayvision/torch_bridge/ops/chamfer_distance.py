"""Distances between clouds of points, on tensors."""

from __future__ import annotations

from torch import Tensor, int32

from arrayvision import ops
from arrayvision.torch_bridge.library import Gradient, register, result_dtype


def _fake(xyz1, xyz2):
    dtype = result_dtype(xyz1, xyz2)
    return tuple(x.new_empty(x.shape[:2], dtype=d) for d in (dtype, int32) for x in (xyz1, xyz2))


_backward = register(
    "chamfer_distance_backward(Tensor grad1, Tensor grad2, Tensor xyz1, Tensor xyz2, Tensor idx1, Tensor idx2) "
    "-> (Tensor, Tensor)",
    lambda grad1, grad2, xyz1, xyz2, *idx: tuple(
        g.to(result_dtype(x))
        for g, x in zip(ops.chamfer_distance_backward(grad1, grad2, xyz1, xyz2, *idx), (xyz1, xyz2), strict=True)
    ),
    lambda grad1, grad2, xyz1, xyz2, *idx: tuple(x.new_empty(x.shape, dtype=result_dtype(x)) for x in (xyz1, xyz2)),
)
_chamfer_distance = register(
    "chamfer_distance(Tensor xyz1, Tensor xyz2) -> (Tensor, Tensor, Tensor, Tensor)",
    ops.chamfer_distance,
    _fake,
    Gradient(
        lambda call, grad1, grad2, *_: _backward(grad1, grad2, *call.args, *call.results),
        results=(2, 3),
        constant=(2, 3),
    ),
)


def chamfer_distance(xyz1: Tensor, xyz2: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`arrayvision.ops.chamfer_distance` on tensors, differentiable once in both clouds.

    Parameters
    ----------
    xyz1, xyz2 : Tensor (B, N, D), (B, M, D)
        Points of any number of coordinates.

    Returns
    -------
    dist1, dist2 : Tensor (B, N), (B, M)
        Squares of the distances to the nearest point of the other cloud, in the promoted dtype.
    idx1, idx2 : Tensor (B, N), (B, M)
        Which it is, int32.

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    return _chamfer_distance(xyz1, xyz2)
