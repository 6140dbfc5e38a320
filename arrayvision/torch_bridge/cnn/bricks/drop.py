"""Dropout of values and of whole paths."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from arrayvision.registry import MODELS


def drop_path(x: Tensor, drop_prob: float = 0.0, training: bool = False) -> Tensor:
    """Set whole samples (first axis) to zero with probability `drop_prob`, and scale the rest by 1 / (1 - drop_prob).

    G. Huang et al., "Deep Networks with Stochastic Depth", 2016. Without `training`, the input comes back.
    """
    if drop_prob == 0.0 or not training:
        return x
    keep = 1 - drop_prob
    # rand + keep, floored, is 1 with probability keep
    mask = (torch.rand((x.shape[0],) + (1,) * (x.ndim - 1), dtype=x.dtype, device=x.device) + keep).floor()
    return x.div(keep) * mask


@MODELS.register_module()
class DropPath(nn.Module):
    """`drop_path` as a module.

    Parameters
    ----------
    drop_prob : float
        Probability with which a sample's path is dropped.
    """

    def __init__(self, drop_prob: float = 0.1):
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x: Tensor) -> Tensor:
        return drop_path(x, self.drop_prob, self.training)


@MODELS.register_module()
class Dropout(nn.Dropout):
    """torch.nn.Dropout, whose argument p is called `drop_prob` here.

    Parameters
    ----------
    drop_prob : float
        Probability with which a value becomes zero.
    inplace : bool
        Write to the input.
    """

    def __init__(self, drop_prob: float = 0.5, inplace: bool = False):
        super().__init__(p=drop_prob, inplace=inplace)


def build_dropout(cfg: dict, default_args: dict | None = None) -> Any:
    """A dropout layer from ``dict(type="Dropout" | "DropPath", drop_prob=...)``."""
    return MODELS.build(cfg, default_args=default_args)
