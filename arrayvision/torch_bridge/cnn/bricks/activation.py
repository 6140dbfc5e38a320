"""Activations that torch has not, and `build_activation_layer`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arrayvision.errors import require
from arrayvision.registry import MODELS

for _kind in (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ReLU6, nn.ELU, nn.Sigmoid, nn.Tanh, nn.SiLU, nn.GELU):
    MODELS.register_module(module=_kind)
MODELS.register_module("HSwish", module=nn.Hardswish)


@MODELS.register_module(["Clamp", "Clip"])
class Clamp(nn.Module):
    """Limit every value to [min, max].

    Parameters
    ----------
    min, max : float
        The limits.
    """

    def __init__(self, min: float = -1.0, max: float = 1.0):
        super().__init__()
        self.min = min
        self.max = max

    def forward(self, x: Tensor) -> Tensor:
        return torch.clamp(x, min=self.min, max=self.max)


@MODELS.register_module()
class HSigmoid(nn.Module):
    """The hard sigmoid clamp((x + bias) / divisor, min_value, max_value), relu6(x + 3) / 6 by default.

    A. Howard et al., "Searching for MobileNetV3", 2019.

    Parameters
    ----------
    bias, divisor : float
        The line's offset and the inverse of its slope.
    min_value, max_value : float
        The limits of the result.
    """

    def __init__(self, bias: float = 3.0, divisor: float = 6.0, min_value: float = 0.0, max_value: float = 1.0):
        super().__init__()
        require(divisor != 0, f"HSigmoid: divisor must not be 0, got {divisor}")
        self.bias = bias
        self.divisor = divisor
        self.min_value = min_value
        self.max_value = max_value

    def forward(self, x: Tensor) -> Tensor:
        return ((x + self.bias) / self.divisor).clamp(self.min_value, self.max_value)


class GELU(nn.Module):
    """x times the normal distribution's CDF at x; the name "GELU" in configs builds torch's nn.GELU."""

    def forward(self, input: Tensor) -> Tensor:
        return F.gelu(input)


class HSwish(nn.Module):
    """The hard swish x * relu6(x + 3) / 6 of MobileNetV3; the name "HSwish" in configs builds torch's nn.Hardswish.

    Parameters
    ----------
    inplace : bool
        Accepted; x + 3 is a new tensor, so the input is never written to.
    """

    def __init__(self, inplace: bool = False):
        super().__init__()
        self.act = nn.ReLU6(inplace)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.act(x + 3) / 6


@MODELS.register_module()
class Swish(nn.Module):
    """x * sigmoid(x). P. Ramachandran et al., "Searching for Activation Functions", 2017."""

    def __init__(self):
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)


def build_activation_layer(cfg: dict) -> nn.Module:
    """An activation from ``dict(type=..., ...)``.

    Examples
    --------
    >>> build_activation_layer(dict(type="LeakyReLU", negative_slope=0.1))
    LeakyReLU(negative_slope=0.1)
    """
    return MODELS.build(cfg)
