"""Multi-scale deformable attention on tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from arrayvision import check, ops
from arrayvision.errors import InvalidValue
from arrayvision.torch_bridge.library import differentiable

_multi_scale_deformable_attn = differentiable(
    "multi_scale_deformable_attn",
    "Tensor value, Tensor sampling_locations, Tensor attention_weights, Tensor value_spatial_shapes, "
    "Tensor? value_level_start_index",
    lambda value, locations, weights, shapes, starts: ops.multi_scale_deformable_attn(
        value, shapes, locations, weights, starts
    ),
    lambda grad, value, locations, weights, shapes, starts: ops.multi_scale_deformable_attn_backward(
        grad, value, shapes, locations, weights, starts
    ),
    lambda value, locations, weights, *_: (*weights.shape[:2], value.shape[2] * value.shape[3]),
    3,
)


def multi_scale_deformable_attn(
    value: Tensor,
    value_spatial_shapes: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    value_level_start_index: Tensor | None = None,
) -> Tensor:
    """`arrayvision.ops.multi_scale_deformable_attn` on tensors, differentiable in `value`, `sampling_locations` and
    `attention_weights`.

    Parameters
    ----------
    value : Tensor (B, S, heads, channels)
        The maps' pixels, level after level.
    value_spatial_shapes : Tensor (L, 2)
        (height, width) of each level, as integers.
    sampling_locations : Tensor (B, Q, heads, L, P, 2)
        (x, y) as shares of a level's width and height.
    attention_weights : Tensor (B, Q, heads, L, P)
        What each sample counts.
    value_level_start_index : Tensor (L,), optional
        Where each level's pixels begin.

    Returns
    -------
    Tensor (B, Q, heads * channels)
        In the dtype of value; locations and weights may have another.

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    return _multi_scale_deformable_attn(
        value, sampling_locations, attention_weights, value_spatial_shapes, value_level_start_index
    )


def multi_scale_deformable_attn_pytorch(
    value: Tensor, value_spatial_shapes: Tensor, sampling_locations: Tensor, attention_weights: Tensor
) -> Tensor:
    """`multi_scale_deformable_attn` of levels that lie one behind another: the name that it has where one of torch's own
    operations was a second way to compute it.

    Parameters
    ----------
    value, value_spatial_shapes, sampling_locations, attention_weights : Tensor
        As there; value_spatial_shapes may be pairs of ints.

    Returns
    -------
    Tensor (B, Q, heads * channels)

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    if isinstance(value_spatial_shapes, (list, tuple)) and isinstance(value, Tensor):
        pairs = [_pair(level) for level in value_spatial_shapes]
        value_spatial_shapes = torch.tensor(pairs, dtype=torch.int64, device=value.device).reshape(len(pairs), 2)
    return multi_scale_deformable_attn(value, value_spatial_shapes, sampling_locations, attention_weights)


def _pair(level):
    name, argument = "multi_scale_deformable_attn", "value_spatial_shapes"
    if not isinstance(level, (list, tuple)) or len(level) != 2:
        raise InvalidValue(f"{name}: {argument} must be pairs (height, width), got {level!r}")
    return [check.integer(name, argument, size, 0) for size in level]


def _in_older_order(
    value, value_spatial_shapes, value_level_start_index, sampling_locations, attention_weights, im2col_step=64
):
    """The function as older code calls it; `im2col_step` has no influence."""
    check.integer("multi_scale_deformable_attn", "im2col_step", im2col_step, 1)
    return multi_scale_deformable_attn(
        value, value_spatial_shapes, sampling_locations, attention_weights, value_level_start_index
    )
