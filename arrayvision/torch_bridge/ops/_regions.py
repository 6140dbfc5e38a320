"""Regions as torchvision gives them."""

from __future__ import annotations

import torch

from arrayvision.errors import InvalidKind, InvalidValue
from arrayvision.torch_bridge.dtypes import is_real


def listed(function: str, argument: str, rois, input):
    """Regions (K, 5) from a list of each image's boxes (N, 4), in their order; what is no list is returned as it is."""
    if not isinstance(rois, (list, tuple)):
        return rois
    if not isinstance(input, torch.Tensor):
        raise InvalidKind(f"{function}: input must be a tensor, got {type(input).__name__}")
    for k, boxes in enumerate(rois):
        if not isinstance(boxes, torch.Tensor):
            raise InvalidKind(
                f"{function}: {argument} must be a tensor (K, 5), or a list of a tensor (N, 4) for each image, got a list "
                f"with {type(boxes).__name__}"
            )
        if boxes.dim() != 2 or boxes.shape[1] != 4:
            raise InvalidValue(f"{function}: {argument}[{k}] must have shape (N, 4), got {tuple(boxes.shape)}")
        if not is_real(boxes):
            raise InvalidKind(f"{function}: {argument}[{k}] must hold real numbers, got dtype {boxes.dtype}")
        if boxes.device != input.device:
            raise InvalidKind(
                f"{function}: input is on {input.device}, {argument}[{k}] is on {boxes.device}: give both on one device"
            )
    if input.dim() == 4 and len(rois) > input.shape[0]:
        raise InvalidValue(
            f"{function}: {argument} must be a list of at most {input.shape[0]} tensors, one for each image, got {len(rois)}"
        )
    if not rois:
        return torch.empty((0, 5), device=input.device)
    exact = {torch.float16: torch.float32, torch.bfloat16: torch.float32}  # an image's index is a number in its row
    rows = [boxes.to(exact.get(boxes.dtype, boxes.dtype)) for boxes in rois]
    return torch.cat([torch.cat([torch.full_like(boxes[:, :1], k), boxes], 1) for k, boxes in enumerate(rows)])
