"""What projects import from modules of `mmcv.utils`."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

parrots_jit_option = os.getenv("PARROTS_JIT_OPTION")

# of mmcv's compiled extension: those that return something rather than fill an argument
has_return_value_ops = [
    "nms", "softnms", "nms_match", "nms_rotated", "top_pool_forward", "top_pool_backward", "bottom_pool_forward",
    "bottom_pool_backward", "left_pool_forward", "left_pool_backward", "right_pool_forward", "right_pool_backward",
    "fused_bias_leakyrelu", "upfirdn2d", "ms_deform_attn_forward", "pixel_group", "contour_expand",
    "diff_iou_rotated_sort_vertices_forward",
]  # fmt: skip


def get_fake_func(name: str, e: Exception) -> Callable:
    """A function that warns of its name and raises an error."""

    def fake_func(*args: Any, **kwargs: Any) -> None:
        warnings.warn(f"{name} is not supported", stacklevel=2)
        raise e

    return fake_func
