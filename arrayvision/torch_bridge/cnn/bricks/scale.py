"""Learned factors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from arrayvision.errors import require


class Scale(nn.Module):
    """Multiply by one learned number.

    Parameters
    ----------
    scale : float
        Its start.
    """

    def __init__(self, scale: float = 1.0):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale, dtype=torch.float))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class LayerScale(nn.Module):
    """Multiply each channel by a learned number. H. Touvron et al., "Going deeper with Image Transformers", 2021.

    Parameters
    ----------
    dim : int
        Channels.
    inplace : bool
        Write to the input.
    data_format : {"channels_last", "channels_first"}
        Whether channels are the last axis or the second.
    scale : float
        The factors' start.
    """

    def __init__(self, dim: int, inplace: bool = False, data_format: str = "channels_last", scale: float = 1e-5):
        super().__init__()
        require(
            data_format in ("channels_last", "channels_first"),
            f"LayerScale: data_format must be 'channels_last' or 'channels_first', got {data_format!r}",
        )
        self.inplace = inplace
        self.data_format = data_format
        self.weight = nn.Parameter(torch.ones(dim) * scale)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        if self.data_format == "channels_first":
            weight = weight.view(-1, *(1,) * (x.dim() - 2))
        return x.mul_(weight) if self.inplace else x * weight
