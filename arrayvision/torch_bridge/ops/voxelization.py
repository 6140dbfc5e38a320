"""Points in space, grouped by the cells of a grid, on tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from arrayvision import check, ops
from arrayvision.errors import InvalidValue
from arrayvision.ops import _voxels
from arrayvision.ops.voxelization import limits
from arrayvision.torch_bridge.library import register, result_dtype
from arrayvision.torch_bridge.ops._modules import shown


def _fake(points, size, ends, max_points, max_voxels):
    count = torch.library.get_ctx().new_dynamic_size()
    whole = torch.int32
    return (
        points.new_empty((count, max_points, points.shape[1]), dtype=result_dtype(points)),
        points.new_empty((count, 3), dtype=whole),
        points.new_empty((count,), dtype=whole),
    )


_voxelization = register(
    "voxelization(Tensor points, float[] voxel_size, float[] coors_range, int max_points, int max_voxels) "
    "-> (Tensor, Tensor, Tensor)",
    ops.voxelization,
    _fake,
)
_voxel_of_points = register(
    "voxel_of_points(Tensor points, float[] voxel_size, float[] coors_range) -> Tensor",
    lambda points, size, ends: ops.voxelization(points, size, ends, -1, -1),
    lambda points, size, ends: points.new_empty((points.shape[0], 3), dtype=torch.int32),
    public="voxelization",
)


def voxelization(
    points: Tensor,
    voxel_size: Sequence[float],
    coors_range: Sequence[float],
    max_points: int = 35,
    max_voxels: int = 20000,
    deterministic: bool = True,
) -> Tensor | tuple[Tensor, Tensor, Tensor]:
    """`arrayvision.ops.voxelization` on tensors, without a gradient.

    Parameters
    ----------
    points : Tensor (N, F)
        Points, x, y and z first.
    voxel_size, coors_range, max_points, max_voxels, deterministic
        As there.

    Returns
    -------
    voxels : Tensor (V, max_points, F)
        In the dtype of points.
    coors : Tensor (V, 3), int32
        (z, y, x). With `max_points` or `max_voxels` -1 this alone, (N, 3), for each point.
    num_points : Tensor (V,), int32
        How many points each voxel keeps.

    Raises
    ------
    TypeError, ValueError
        As there.

    Examples
    --------
    >>> import torch
    >>> voxelization(torch.tensor([[0.5, 0.5, 0.5], [2.5, 0.5, 0.5]]), (1, 1, 1), (0, 0, 0, 4, 4, 4), 1)[1]
    tensor([[0, 0, 0],
            [0, 0, 2]], dtype=torch.int32)
    """
    name = "voxelization"
    size, ends = (
        _voxels.numbers(name, "voxel_size", voxel_size, 3),
        _voxels.numbers(name, "coors_range", coors_range, 6),
    )
    max_points, max_voxels = limits(name, max_points, max_voxels)
    check.flag(name, "deterministic", deterministic)
    if max_points == -1 or max_voxels == -1:
        return _voxel_of_points(points, size, ends)
    return _voxelization(points, size, ends, max_points, max_voxels)


class Voxelization(nn.Module):
    """`voxelization` as a module, which may keep more voxels in testing than in training.

    Parameters
    ----------
    voxel_size : three floats
        A voxel's size along x, y and z.
    point_cloud_range : six floats
        The grid's ends (x, y, z, x, y, z).
    max_num_points : int
        How many points a voxel keeps; -1 gives each point's voxel alone.
    max_voxels : int or (int, int)
        How many voxels are kept; in training and in testing, if two.
    deterministic : bool
        Taken for compatibility: results are always the same.

    Attributes
    ----------
    grid_size : Tensor (3,), int64
        Voxels along x, y and z.
    pcd_shape : list
        ``[1, voxels along y, voxels along x]``.
    """

    def __init__(
        self,
        voxel_size: Sequence[float],
        point_cloud_range: Sequence[float],
        max_num_points: int,
        max_voxels: tuple[int, int] | int = 20000,
        deterministic: bool = True,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        _, _, cells = _voxels.grid(name, voxel_size, point_cloud_range, "point_cloud_range")
        pair = tuple(max_voxels) if isinstance(max_voxels, (tuple, list)) else (max_voxels, max_voxels)
        if len(pair) != 2:
            raise InvalidValue(f"{name}: max_voxels must be an int or two, got {len(pair)}")
        for most in pair:
            limits(name, max_num_points, most)
        self.voxel_size = voxel_size
        self.point_cloud_range = point_cloud_range
        self.max_num_points = max_num_points
        self.max_voxels = pair
        self.deterministic = check.flag(name, "deterministic", deterministic)
        self.grid_size = torch.tensor(cells)
        self.pcd_shape = [1, self.grid_size[1], self.grid_size[0]]

    def forward(self, input: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """Points (N, F) to voxels (V, max_num_points, F), their coordinates (V, 3) and how many points each has (V,)."""
        return voxelization(
            input,
            self.voxel_size,
            self.point_cloud_range,
            self.max_num_points,
            self.max_voxels[0 if self.training else 1],
            self.deterministic,
        )

    def __repr__(self):
        return shown(self, "voxel_size", "point_cloud_range", "max_num_points", "max_voxels", "deterministic")
