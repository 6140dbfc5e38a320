"""Convolution, norm and activation as one module."""

from __future__ import annotations

import functools
import inspect
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm

from arrayvision.errors import InvalidKind, InvalidValue, require
from arrayvision.registry import MODELS
from arrayvision.torch_bridge.cnn.bricks import wrappers
from arrayvision.torch_bridge.cnn.bricks.activation import build_activation_layer
from arrayvision.torch_bridge.cnn.bricks.conv import build_conv_layer
from arrayvision.torch_bridge.cnn.bricks.init import constant_init, kaiming_init
from arrayvision.torch_bridge.cnn.bricks.norm import build_norm_layer
from arrayvision.torch_bridge.cnn.bricks.padding import build_padding_layer


def fused_weights(conv: nn.Module, bn: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of the one convolution that equals `conv` followed by `bn` with its running statistics."""
    factor = torch.rsqrt(bn.running_var + bn.eps)
    if bn.weight is not None:
        factor = factor * bn.weight
    shift = -bn.running_mean if conv.bias is None else conv.bias - bn.running_mean
    bias = shift * factor
    if bn.bias is not None:
        bias = bias + bn.bias
    return conv.weight * factor.view(-1, *(1,) * (conv.weight.dim() - 1)), bias


def is_plain_conv(conv: nn.Module) -> bool:
    """Whether a layer computes what torch's Conv1d, 2d or 3d does from its weight, so that a factor can go into it."""
    plain = (nn.Conv1d, nn.Conv2d, nn.Conv3d, wrappers.Conv2d, wrappers.Conv3d)
    return isinstance(conv, plain) and type(conv).forward in [kind.forward for kind in plain]


def efficient_conv_bn_eval_forward(bn: _BatchNorm, conv: _ConvNd, x: Tensor) -> Tensor:
    """`conv` and then `bn`, in evaluation mode, as one convolution; gradients reach the parameters of both.

    K. You et al., "Efficient ConvBN Blocks for Transfer Learning and Beyond", 2023.
    """
    return conv._conv_forward(x, *fused_weights(conv, bn))


def _accepts_inplace(activation) -> bool:
    if getattr(activation, "__init__", None) is nn.Module.__init__:  # its signature has more than it takes
        return False
    parameters = inspect.signature(activation).parameters
    return "inplace" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


@MODELS.register_module()
class ConvModule(nn.Module):
    """A convolution with a norm and an activation, in any order.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups
        As in torch.nn.Conv2d.
    bias : bool or "auto"
        Whether the convolution has a bias; "auto" means that it has one if there is no norm.
    conv_cfg : dict, optional
        Which convolution; Conv2d by default.
    norm_cfg : dict, optional
        Which norm; none by default.
    act_cfg : dict, optional
        Which activation; ReLU by default, None for none.
    inplace : bool
        Whether the activation writes to its input, where it can.
    with_spectral_norm : bool
        Divide the weight by its largest singular value.
    padding_mode : str
        "zeros" or "circular" (the convolution's own), or the name of a padding layer: "reflect", "replicate", "zero".
    order : tuple of str
        A permutation of ("conv", "norm", "act").
    efficient_conv_bn_eval : bool
        Compute convolution and batch norm as one convolution in evaluation mode.

    Examples
    --------
    >>> import torch
    >>> layer = ConvModule(3, 8, 3, padding=1, norm_cfg=dict(type="BN"))
    >>> layer(torch.zeros(2, 3, 4, 4)).shape
    torch.Size([2, 8, 4, 4])
    """

    _abbr_ = "conv_block"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool | str = "auto",
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = {"type": "ReLU"},  # noqa: B006  (never changed)
        inplace: bool = True,
        with_spectral_norm: bool = False,
        padding_mode: str = "zeros",
        order: tuple = ("conv", "norm", "act"),
        efficient_conv_bn_eval: bool = False,
    ):
        super().__init__()
        for name, cfg in (("conv_cfg", conv_cfg), ("norm_cfg", norm_cfg), ("act_cfg", act_cfg)):
            require(
                cfg is None or isinstance(cfg, dict),
                f"ConvModule: {name} must be a dict or None, got {type(cfg).__name__}",
                InvalidKind,
            )
        require(
            isinstance(order, tuple) and len(order) == 3 and set(order) == {"conv", "norm", "act"},
            f"ConvModule: order must be a tuple of 'conv', 'norm' and 'act', got {order!r}",
            InvalidValue,
        )
        self.conv_cfg = conv_cfg
        self.norm_cfg = norm_cfg
        self.act_cfg = act_cfg
        self.inplace = inplace
        self.with_spectral_norm = with_spectral_norm
        self.with_explicit_padding = padding_mode not in ("zeros", "circular")
        self.order = order
        self.with_norm = norm_cfg is not None
        self.with_activation = act_cfg is not None
        self.with_bias = not self.with_norm if bias == "auto" else bool(bias)

        options = {} if padding_mode != "circular" else {"padding_mode": "circular"}
        if self.with_explicit_padding:
            self.padding_layer = build_padding_layer({"type": padding_mode}, padding)
        self.conv = build_conv_layer(
            conv_cfg,
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=0 if self.with_explicit_padding else padding,
            dilation=dilation,
            groups=groups,
            bias=self.with_bias,
            **options,
        )
        self._take_shape(padding)
        if with_spectral_norm:
            self.conv = nn.utils.spectral_norm(self.conv)

        self.norm_name: str | None = None
        if norm_cfg is not None:
            norm_first = order.index("norm") < order.index("conv")
            self.norm_name, norm = build_norm_layer(norm_cfg, in_channels if norm_first else out_channels)
            self.add_module(self.norm_name, norm)
            if self.with_bias and isinstance(norm, (_BatchNorm, _InstanceNorm)):
                warnings.warn("Unnecessary conv bias before batch/instance norm", stacklevel=2)
        self.turn_on_efficient_conv_bn_eval(efficient_conv_bn_eval)

        if act_cfg is not None:
            kind, scope, _ = MODELS.split(act_cfg)
            cfg = dict(act_cfg)
            if _accepts_inplace(MODELS.find(kind, scope)):
                cfg.setdefault("inplace", inplace)
            self.activate = build_activation_layer(cfg)
        self.init_weights()

    def _take_shape(self, padding):
        for name in (
            "in_channels",
            "out_channels",
            "kernel_size",
            "stride",
            "dilation",
            "transposed",
            "output_padding",
            "groups",
        ):
            setattr(self, name, getattr(self.conv, name))
        self.padding = padding

    @property
    def norm(self) -> Any:
        """The norm, by whatever name it has; None if there is none."""
        return getattr(self, self.norm_name) if self.norm_name else None

    def init_weights(self) -> None:
        """Kaiming for the convolution (unless it initialises itself), 1 and 0 for the norm."""
        if not hasattr(self.conv, "init_weights"):
            leaky = self.act_cfg is not None and self.act_cfg["type"] in ("LeakyReLU", nn.LeakyReLU)
            slope = self.act_cfg.get("negative_slope", 0.01) if leaky and self.act_cfg is not None else 0
            kaiming_init(self.conv, a=slope, nonlinearity="leaky_relu" if leaky else "relu")
        if self.norm is not None:
            constant_init(self.norm, 1, bias=0)

    def forward(self, x: Tensor, activate: bool = True, norm: bool = True) -> Tensor:
        """Apply the layers in order.

        Parameters
        ----------
        x : Tensor (B, in_channels, H, W)
        activate, norm : bool
            False leaves the activation, or the norm, out.

        Returns
        -------
        Tensor (B, out_channels, H', W')
        """
        fused = False
        for i, layer in enumerate(self.order):
            if layer == "conv":
                if self.with_explicit_padding:
                    x = self.padding_layer(x)
                fused = (
                    norm
                    and self.efficient_conv_bn_eval_forward is not None
                    and self.order[i + 1 : i + 2] == ("norm",)
                    and not self.norm.training
                )
                x = self._fused(x) if fused else self.conv(x)
            elif layer == "norm" and norm and self.with_norm and not fused:
                x = self.norm(x)
            elif layer == "act" and activate and self.with_activation:
                x = self.activate(x)
        return x

    def _fused(self, x: Tensor) -> Tensor:
        conv: Any = self.conv
        together = functools.partial(efficient_conv_bn_eval_forward, self.norm, conv)
        if not (conv._forward_pre_hooks or conv._forward_hooks or conv._backward_pre_hooks or conv._backward_hooks):
            return together(x)
        conv.forward = together  # hooks run around it: one of them is the spectral norm, which sets the weight
        try:
            return conv(x)
        finally:
            del conv.forward

    def turn_on_efficient_conv_bn_eval(self, efficient_conv_bn_eval: bool = True) -> None:
        """Choose whether convolution and batch norm are computed as one in evaluation mode, where that is possible."""
        possible = isinstance(self.norm, _BatchNorm) and self.norm.track_running_stats and is_plain_conv(self.conv)
        self.efficient_conv_bn_eval_forward = (
            efficient_conv_bn_eval_forward if efficient_conv_bn_eval and possible else None
        )

    @staticmethod
    def create_from_conv_bn(conv: _ConvNd, bn: _BatchNorm, efficient_conv_bn_eval: bool = True) -> ConvModule:
        """A ConvModule of a convolution and a batch norm that exist already."""
        self = ConvModule.__new__(ConvModule)
        nn.Module.__init__(self)
        self.conv_cfg = self.norm_cfg = self.act_cfg = None
        self.inplace = self.with_spectral_norm = self.with_explicit_padding = self.with_activation = False
        self.order = ("conv", "norm", "act")
        self.with_norm = True
        self.with_bias = conv.bias is not None
        self.conv = conv
        self._take_shape(conv.padding)
        self.norm_name = "bn"
        self.add_module("bn", bn)
        self.turn_on_efficient_conv_bn_eval(efficient_conv_bn_eval)
        return self


class DepthwiseSeparableConvModule(nn.Module):
    """A depthwise and then a pointwise ConvModule. A. Howard et al., "MobileNets", 2017.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation
        As in torch.nn.Conv2d; all but the channels are the depthwise convolution's.
    norm_cfg, act_cfg : dict, optional
        Norm and activation of both.
    dw_norm_cfg, dw_act_cfg, pw_norm_cfg, pw_act_cfg : dict or "default"
        Those of the depthwise (dw) or pointwise (pw) one, if they differ.
    **kwargs
        More arguments for both ConvModules; not `groups`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        norm_cfg: dict | None = None,
        act_cfg: dict = {"type": "ReLU"},  # noqa: B006  (never changed)
        dw_norm_cfg: dict | str = "default",
        dw_act_cfg: dict | str = "default",
        pw_norm_cfg: dict | str = "default",
        pw_act_cfg: dict | str = "default",
        **kwargs,
    ):
        super().__init__()
        require("groups" not in kwargs, "DepthwiseSeparableConvModule: groups must not be given")

        def chosen(cfg, default):
            return default if isinstance(cfg, str) and cfg == "default" else cfg

        self.depthwise_conv = ConvModule(
            in_channels,
            in_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=in_channels,
            norm_cfg=chosen(dw_norm_cfg, norm_cfg),
            act_cfg=chosen(dw_act_cfg, act_cfg),
            **kwargs,
        )
        self.pointwise_conv = ConvModule(
            in_channels,
            out_channels,
            1,
            norm_cfg=chosen(pw_norm_cfg, norm_cfg),
            act_cfg=chosen(pw_act_cfg, act_cfg),
            **kwargs,
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise_conv(self.depthwise_conv(x))
