"""The points within balls, on tensors."""

from __future__ import annotations

from torch import Tensor, int32

from arrayvision import ops
from arrayvision.torch_bridge.library import register

_ball_query = register(
    "ball_query(float min_radius, float max_radius, SymInt sample_num, Tensor xyz, Tensor center_xyz, "
    "Tensor? xyz_batch_cnt, Tensor? center_xyz_batch_cnt) -> Tensor",
    ops.ball_query,
    lambda min_radius, max_radius, sample_num, xyz, center_xyz, *counts: xyz.new_empty(
        (*center_xyz.shape[:-1], sample_num), dtype=int32
    ),
)


def ball_query(
    min_radius: float,
    max_radius: float,
    sample_num: int,
    xyz: Tensor,
    center_xyz: Tensor,
    xyz_batch_cnt: Tensor | None = None,
    center_xyz_batch_cnt: Tensor | None = None,
) -> Tensor:
    """`arrayvision.ops.ball_query` on tensors: int32 indices, without a gradient.

    Parameters
    ----------
    min_radius, max_radius, sample_num, xyz, center_xyz, xyz_batch_cnt, center_xyz_batch_cnt
        As there.

    Returns
    -------
    Tensor (B, M, sample_num) or (M1 + M2 + ..., sample_num)
        As there.

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    return _ball_query(min_radius, max_radius, sample_num, xyz, center_xyz, xyz_batch_cnt, center_xyz_batch_cnt)
