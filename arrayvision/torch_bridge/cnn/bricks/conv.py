"""Convolutions with standardised weights or adaptive padding, and `build_conv_layer`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arrayvision.registry import MODELS
from arrayvision.torch_bridge.cnn.bricks import wrappers as _wrappers  # noqa: F401  (registers Conv, Conv3d ...)

MODELS.register_module("Conv1d", module=nn.Conv1d)
MODELS.register_module("Conv2d", module=nn.Conv2d)

# Layers that live with the operators they need, which are imported when one is built.
OPERATORS = "arrayvision.torch_bridge.ops"
for _name, _class in {
    "DCN": "DeformConv2dPack",
    "DCNv2": "ModulatedDeformConv2dPack",
    "SAC": "SAConv2d",
    "carafe": "CARAFEPack",
    "MMSyncBN": "SyncBatchNorm",
    **{
        name: name
        for name in (
            "SparseConv2d",
            "SparseConv3d",
            "SparseConvTranspose2d",
            "SparseConvTranspose3d",
            "SparseInverseConv2d",
            "SparseInverseConv3d",
            "SubMConv2d",
            "SubMConv3d",
            "CrissCrossAttention",
            "MultiScaleDeformableAttention",
        )
    },
}.items():
    MODELS.register_lazy(_name, OPERATORS, _class)


def check_cfg(function: str, cfg: dict) -> None:
    """A layer's config is a dict with a `type`."""
    if not isinstance(cfg, dict):
        raise TypeError(f"{function}: cfg must be a dict, got {type(cfg).__name__}")
    if "type" not in cfg:
        raise KeyError(f"{function}: cfg must have the key 'type', got {cfg!r}")


def build_conv_layer(cfg: dict | None, *args, **kwargs) -> nn.Module:
    """A convolution from ``dict(type=..., ...)``; None is a Conv2d.

    Parameters
    ----------
    cfg : dict or None
        `type` (a name or a class) and arguments for it.
    *args, **kwargs
        Further arguments: channels, kernel_size and so on.

    Examples
    --------
    >>> build_conv_layer(dict(type="Conv1d"), 3, 8, kernel_size=1)
    Conv1d(3, 8, kernel_size=(1,), stride=(1,))
    """
    if cfg is None:
        cfg = {"type": "Conv2d"}
    check_cfg("build_conv_layer", cfg)
    kind, scope, arguments = MODELS.split(cfg)
    return MODELS.find(kind, scope)(*args, **kwargs, **arguments)


def conv_ws_2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    eps: float = 1e-5,
) -> Tensor:
    """2D convolution whose weights have mean 0 and standard deviation 1 in each output channel.

    S. Qiao et al., "Micro-Batch Training with Batch-Channel Normalization and Weight Standardization", 2019.

    Parameters
    ----------
    input : Tensor (B, C_in, H, W)
    weight : Tensor (C_out, C_in / groups, kH, kW)
    bias : Tensor (C_out,), optional
    stride, padding, dilation, groups
        As in torch.nn.functional.conv2d.
    eps : float
        Added to the standard deviation.

    Returns
    -------
    Tensor (B, C_out, H', W')
    """
    std, mean = torch.std_mean(weight, dim=(1, 2, 3), keepdim=True)
    return F.conv2d(input, (weight - mean) / (std + eps), bias, stride, padding, dilation, groups)


@MODELS.register_module("ConvWS")
class ConvWS2d(nn.Conv2d):
    """`conv_ws_2d` as a module.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
        As in torch.nn.Conv2d.
    eps : float
        Added to the weights' standard deviation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        eps: float = 1e-5,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return conv_ws_2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups, self.eps)


@MODELS.register_module("ConvAWS")
class ConvAWS2d(nn.Conv2d):
    """Convolution with adaptive weight standardisation: after standardising, the old scale and mean are put back.

    S. Qiao et al., "DetectoRS: Detecting Objects with Recursive Feature Pyramid and Switchable Atrous Convolution", 2020.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
        As in torch.nn.Conv2d.

    Notes
    -----
    Loading a plain Conv2d's weights sets `weight_gamma` and `weight_beta` to their deviation and mean, so that the layer
    computes what the plain one did.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        self.weight_gamma: Tensor
        self.weight_beta: Tensor
        self.register_buffer("weight_gamma", torch.ones(out_channels, 1, 1, 1))
        self.register_buffer("weight_beta", torch.zeros(out_channels, 1, 1, 1))

    @staticmethod
    def _moments(weight):
        variance, mean = torch.var_mean(weight, dim=(1, 2, 3), keepdim=True)
        return torch.sqrt(variance + 1e-5), mean

    def _get_weight(self, weight: Tensor) -> Tensor:
        std, mean = self._moments(weight)
        return self.weight_gamma * ((weight - mean) / std) + self.weight_beta

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self._get_weight(self.weight), self.bias)

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ):
        missing: list[str] = []
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing, unexpected_keys, error_msgs)
        if prefix + "weight_gamma" in missing:
            with torch.no_grad():
                std, mean = self._moments(self.weight)
                self.weight_gamma.copy_(std)
                self.weight_beta.copy_(mean)
            missing = [key for key in missing if key not in (prefix + "weight_gamma", prefix + "weight_beta")]
        missing_keys += missing


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> int:
    """What to add to a side length so that a strided window covers all of it: ceil(size / stride) positions."""
    positions = (size + stride - 1) // stride
    return max((positions - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)


@MODELS.register_module()
class Conv2dAdaptivePadding(nn.Conv2d):
    """Convolution padded as TensorFlow's "same": the output has ceil(H / stride) x ceil(W / stride) positions.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
        As in torch.nn.Conv2d; `padding` is accepted and has no effect.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, 0, dilation, groups, bias)

    def forward(self, x: Tensor) -> Tensor:
        h = same_padding(x.shape[-2], self.weight.shape[-2], self.stride[0], self.dilation[0])
        w = same_padding(x.shape[-1], self.weight.shape[-1], self.stride[1], self.dilation[1])
        if h > 0 or w > 0:
            x = F.pad(x, (w // 2, w - w // 2, h // 2, h - h // 2))
        return self._conv_forward(x, self.weight, self.bias)
