"""Features of points, reduced within voxels, on tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from arrayvision import check, ops
from arrayvision.ops import _voxels
from arrayvision.torch_bridge.library import Gradient, register, result_dtype
from arrayvision.torch_bridge.ops._modules import shown


def _fake(feats, coors, reduce_type):
    count = torch.library.get_ctx().new_dynamic_size()
    whole = torch.int32 if coors.dtype is torch.int32 else torch.int64
    channels = feats.shape[1]
    return (
        feats.new_empty((count, channels), dtype=result_dtype(feats)),
        feats.new_empty((count, coors.shape[1]), dtype=whole),
        feats.new_empty((feats.shape[0],), dtype=torch.int32),
        feats.new_empty((count,), dtype=torch.int32),
        feats.new_empty((count if reduce_type == "max" else 0, channels), dtype=torch.int32),
    )


_backward = register(
    "dynamic_scatter_backward(Tensor grad, Tensor voxels, Tensor counts, Tensor argmax, str reduce_type) -> Tensor",
    ops.dynamic_scatter_backward,
    lambda grad, voxels, counts, argmax, reduce_type: grad.new_empty(
        (voxels.shape[0], grad.shape[1]), dtype=result_dtype(grad)
    ),
)
_dynamic_scatter = register(
    "dynamic_scatter(Tensor feats, Tensor coors, str reduce_type) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    ops.dynamic_scatter_with_points,
    _fake,
    Gradient(
        lambda call, grad, *_: (_backward(grad, *call.results, call.args[2]),),
        unkept=(0, 1),
        results=(2, 3, 4),
        constant=(1, 2, 3, 4),
    ),
)


def dynamic_scatter(feats: Tensor, coors: Tensor, reduce_type: str = "max") -> tuple[Tensor, Tensor]:
    """`arrayvision.ops.dynamic_scatter` on tensors, differentiable in `feats`.

    Parameters
    ----------
    feats : Tensor (N, C)
        Features of points.
    coors : Tensor (N, D), integers
        Each point's voxel; a negative coordinate is none.
    reduce_type : {"max", "mean", "sum"}
        What is made of a voxel's points.

    Returns
    -------
    voxel_feats : Tensor (V, C)
        In the dtype of feats.
    voxel_coors : Tensor (V, D)
        Rising; int32 if coors is, else int64.

    Raises
    ------
    TypeError, ValueError
        As there.

    Examples
    --------
    >>> import torch
    >>> dynamic_scatter(torch.tensor([[1.0], [2], [4]]), torch.tensor([[0, 0, 5], [0, 0, 0], [0, 0, 5]]), "sum")
    (tensor([[2.],
            [5.]]), tensor([[0, 0, 0],
            [0, 0, 5]]))
    """
    return _dynamic_scatter(feats, coors, reduce_type)[:2]


class DynamicScatter(nn.Module):
    """`dynamic_scatter` as a module.

    Parameters
    ----------
    voxel_size : three floats
        A voxel's size along x, y and z.
    point_cloud_range : six floats
        The grid's ends (x, y, z, x, y, z).
    average_points : bool
        Whether to take the mean of a voxel's points; else the maximum.
    """

    def __init__(self, voxel_size: Sequence[float], point_cloud_range: Sequence[float], average_points: bool) -> None:
        super().__init__()
        name = type(self).__name__
        _voxels.grid(name, voxel_size, point_cloud_range, "point_cloud_range")
        self.voxel_size = voxel_size
        self.point_cloud_range = point_cloud_range
        self.average_points = check.flag(name, "average_points", average_points)

    def forward_single(self, points: Tensor, coors: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`."""
        return dynamic_scatter(points, coors, "mean" if self.average_points else "max")

    def forward(self, points: Tensor, coors: Tensor) -> tuple[Tensor, Tensor]:
        """Points (N, C) and their voxels (N, 3), or (N, 4) with the index in a batch first, in any order, to the reduced features
        (V, C) and their voxels (V, 3 or 4), which rise."""
        return self.forward_single(points, coors)

    def __repr__(self):
        return shown(self, "voxel_size", "point_cloud_range", "average_points")
