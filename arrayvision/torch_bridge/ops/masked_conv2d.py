"""Convolution where a mask says so, on tensors."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import grad as of_conv

from arrayvision import check, ops
from arrayvision.errors import InvalidValue
from arrayvision.ops.masked_conv2d import MOST, arguments, checked, size
from arrayvision.torch_bridge.library import Gradient, register, result_dtype
from arrayvision.torch_bridge.ops._modules import check_input

DENSE = {"cpu": 0.9, "cuda": 0.5}  # the share of positions from which torch's convolution of all is about as fast
LARGE = 2**22  # products; smaller problems aren't looked at


def _wanted(mask):
    return mask > 0 if mask.dtype.is_signed else mask.bool()  # unsigned tensors can't all be compared


def _chosen(mask, shape):
    """Which positions of a result of that shape are computed, (N, 1, h, w)."""
    h, w = shape[2:]
    inside = _wanted(mask[:, :h, :w])
    return F.pad(inside, (0, w - inside.shape[2], 0, h - inside.shape[1]))[:, None]


def _masked_conv2d(features, mask, weight, bias, padding):
    checked(features, mask, weight, bias, padding)
    alike = all(x.dtype == features.dtype for x in (weight, bias) if x is not None) and features.is_floating_point()
    large = mask.numel() * weight.numel() > LARGE
    if alike and large and _wanted(mask).sum() > DENSE[features.device.type] * mask.numel():
        out = F.conv2d(features, weight, bias, padding=padding)
        return out.masked_fill_(~_chosen(mask, out.shape), 0)
    return ops.masked_conv2d(features, mask, weight, bias, padding)


def _fake(features, mask, weight, bias, padding):
    rows, columns = size("masked_conv2d", features.shape[2:], weight.shape[2:], padding)
    given = [x for x in (features, weight, bias) if x is not None]
    return features.new_empty((features.shape[0], weight.shape[0], rows, columns), dtype=result_dtype(*given))


def _gradient(call, grad):
    features, mask, weight, bias, padding = call.args
    grad = grad * _chosen(mask, grad.shape)
    x, filters = features.to(grad.dtype), weight.to(grad.dtype)
    needed = call.needed
    return (
        of_conv.conv2d_input(x.shape, filters, grad, padding=padding) if needed[0] else None,
        None,
        of_conv.conv2d_weight(x, filters.shape, grad, padding=padding) if needed[2] else None,
        grad.sum((0, 2, 3)) if bias is not None and needed[3] else None,
    )


_apply = register(
    "masked_conv2d(Tensor features, Tensor mask, Tensor weight, Tensor? bias, SymInt[] padding) -> Tensor",
    lambda features, mask, weight, bias, padding: _masked_conv2d(features, mask, weight, bias, tuple(padding)),
    _fake,
    Gradient(_gradient, once=False),
)


def masked_conv2d(
    features: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: int | tuple[int, int] = 0,
    stride: int | tuple[int, int] = 1,
) -> Tensor:
    """`arrayvision.ops.masked_conv2d` on tensors, differentiable in features, weight and bias any number of times.

    Parameters
    ----------
    features : Tensor (N, C, H, W)
        Feature maps.
    mask : Tensor (N, H, W)
        Where the result is computed: where this is greater than 0.
    weight, bias, padding, stride
        As there.

    Returns
    -------
    Tensor (N, O, h, w)
        0 where it isn't computed.

    Raises
    ------
    TypeError, ValueError
        As there.
    """
    return _apply(features, mask, weight, bias, arguments("masked_conv2d", padding, stride))


class MaskedConv2d(nn.Conv2d):
    """torch.nn.Conv2d, and with a mask `masked_conv2d`.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
        As of torch.nn.Conv2d; with a mask, stride, dilation and groups must be 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ):
        name = "MaskedConv2d"
        in_channels = check.integer(name, "in_channels", in_channels, 1)
        out_channels = check.integer(name, "out_channels", out_channels, 1)
        window, steps = (
            check.pair(name, "kernel_size", kernel_size, 1, MOST),
            check.pair(name, "stride", stride, 1, MOST),
        )
        border, apart = check.pair(name, "padding", padding, 0, MOST), check.pair(name, "dilation", dilation, 1, MOST)
        groups = check.integer(name, "groups", groups, 1)
        if in_channels % groups or out_channels % groups:
            raise InvalidValue(f"{name}: groups must divide in_channels and out_channels, got {groups}")
        bias = check.flag(name, "bias", bias)
        super().__init__(in_channels, out_channels, window, steps, border, apart, groups, bias)

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:
        """Features (N, C, H, W), and a mask (N, H, W) or None, to (N, O, h, w)."""
        if mask is None:
            check_input("MaskedConv2d", input, self.weight)
            check.shape("MaskedConv2d", "input", input, "N", self.in_channels, "H", "W")
            windows = [d * (k - 1) + 1 for k, d in zip(self.kernel_size, self.dilation, strict=True)]
            size("MaskedConv2d", input.shape[2:], windows, self.padding)
            return super().forward(input)
        for name, value in (("stride", self.stride), ("dilation", self.dilation), ("groups", (self.groups,))):
            if set(value) != {1}:
                raise InvalidValue(f"MaskedConv2d: {name} must be 1 where there is a mask, got {value}")
        return masked_conv2d(input, mask, self.weight, self.bias, self.padding)
